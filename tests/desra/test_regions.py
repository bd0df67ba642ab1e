import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from desra import regions
from desra.errors import InputError
from desra.regions import (
    count_regions,
    fill_holes,
    label_regions,
    region_areas,
    region_overlaps,
    region_table,
    remove_small_regions,
)
from desra.runs import find_runs_torch, paint_runs_torch
from tests.desra.masks import PATTERNS, mask_batches

EIGHT = np.ones((3, 3))
SHAPES = [(1, 1), (1, 12), (12, 1), (2, 2), (15, 16), (16, 15), (7, 40)]


@pytest.fixture(params=["cpu", "gpu"])
def _implementation(request, monkeypatch):
    """Both implementations, on CPU tensors: the one of CPUs and the one of GPUs."""
    use(request.param, monkeypatch)


def use(implementation, monkeypatch):
    if implementation == "gpu":
        monkeypatch.setattr(regions, "find_runs", find_runs_torch)
        monkeypatch.setattr(regions, "paint_runs", paint_runs_torch)


def scipy_labels(mask: np.ndarray) -> tuple[np.ndarray, int]:
    return ndimage.label(mask, EIGHT)


def check_against_scipy(masks: torch.Tensor, min_area: int) -> None:
    labels, counts = label_regions(masks)
    filled, kept = fill_holes(masks), remove_small_regions(masks, min_area)
    table, areas = region_table(masks), region_areas(masks)
    expected_areas, expected_boxes = [], []
    for index, mask in enumerate(masks[:, 0].numpy()):
        expected, count = scipy_labels(mask)
        assert counts[index] == count
        # Numbers may differ, as long as pixels of one number have one number.
        pairs = set(zip(expected.ravel(), labels[index].numpy().ravel(), strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
        assert (labels[index, 0].numpy() > 0).tolist() == mask.tolist()
        holes = ndimage.binary_fill_holes(mask, EIGHT)
        assert filled[index, 0].numpy().tolist() == holes.tolist()
        sizes = np.bincount(expected.ravel())
        large = (sizes > min_area) & (np.arange(len(sizes)) > 0)
        assert kept[index, 0].numpy().tolist() == large[expected].tolist()
        numbered = labels[index, 0].numpy()
        expected_areas += np.bincount(numbered.ravel(), minlength=count + 1)[1:].tolist()
        expected_boxes += [
            (index, x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(numbered)
        ]
    boxes = (table.image, table.left, table.top, table.right, table.bottom)
    assert list(zip(*boxes, strict=True)) == expected_boxes
    assert table.area.tolist() == areas.tolist() == expected_areas
    assert count_regions(masks).tolist() == counts.tolist()


@pytest.mark.parametrize("implementation", ["cpu", "gpu"])
@settings(max_examples=100, deadline=None)
@given(masks=mask_batches(), min_area=st.integers(0, 30))
def test_equals_scipy(implementation, masks, min_area):
    with pytest.MonkeyPatch.context() as patch:
        use(implementation, patch)
        check_against_scipy(masks, min_area)


@pytest.mark.usefixtures("_implementation")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_equal_scipy(pattern, shape):
    mask = torch.from_numpy(PATTERNS[pattern](*shape))
    check_against_scipy(torch.stack([mask, mask.flip(0), mask.flip(1)])[:, None], 9)


@pytest.mark.usefixtures("_implementation")
def test_equals_opencv_on_a_large_mask():
    noise = np.random.default_rng(0).standard_normal((300, 500))
    mask = cv2.GaussianBlur(noise, (0, 0), 4) > 0.05
    count, expected, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8))
    labels, counts = label_regions(torch.from_numpy(mask))
    assert counts.item() == count - 1 > 10
    pairs = np.unique(np.stack([expected.ravel(), labels.numpy().ravel()]), axis=1)
    assert pairs.shape[1] == count
    areas = region_areas(torch.from_numpy(mask))
    assert sorted(areas.tolist()) == sorted(stats[1:, cv2.CC_STAT_AREA].tolist())


@pytest.mark.usefixtures("_implementation")
def test_spiral_is_one_region_and_a_gap_makes_it_two():
    mask = PATTERNS["spiral"](63, 65)
    assert count_regions(torch.from_numpy(mask)) == 1
    mask[31, :] = False
    assert count_regions(torch.from_numpy(mask)) == scipy_labels(mask)[1] > 1


@pytest.mark.usefixtures("_implementation")
def test_regions_are_numbered_in_raster_order():
    mask = torch.tensor([[0, 0, 1, 0, 1], [1, 0, 0, 0, 0], [1, 0, 1, 1, 0]], dtype=torch.bool)
    labels, _ = label_regions(mask)
    assert labels.tolist() == [[0, 0, 1, 0, 2], [3, 0, 0, 0, 0], [3, 0, 4, 4, 0]]
    assert labels.dtype == torch.int32


@pytest.mark.usefixtures("_implementation")
def test_hole_joined_to_the_border_by_a_diagonal_is_none():
    ring = torch.tensor(
        [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]],
        dtype=torch.bool,
    )
    assert fill_holes(ring)[2, 2]
    ring[1, 1] = False
    assert not fill_holes(ring)[2, 2]


@pytest.mark.usefixtures("_implementation")
def test_area_must_be_exceeded():
    mask = torch.zeros(2, 1, 6, 8, dtype=torch.bool)
    mask[0, :, 1:3, 1:4] = True
    mask[1, :, 0:1, 0:7] = True
    assert remove_small_regions(mask, 6).flatten(1).any(1).tolist() == [False, True]


@pytest.mark.parametrize("implementation", ["cpu", "gpu"])
@settings(max_examples=60, deadline=None)
@given(masks=mask_batches(), seed=st.integers(0, 2**32 - 1))
def test_overlaps_equal_sums_over_labels(implementation, masks, seed):
    inside = torch.rand(masks.shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    with pytest.MonkeyPatch.context() as patch:
        use(implementation, patch)
        overlaps = region_overlaps(masks, inside)
        labels, counts = label_regions(masks)
    expected = []
    for index, count in enumerate(counts.flatten().tolist()):
        number = labels[index, 0].numpy()
        hits = ndimage.sum_labels(inside[index, 0].numpy(), number, range(1, count + 1))
        expected += [(index, (number == n + 1).sum(), hits[n]) for n in range(count)]
    columns = (overlaps.image, overlaps.area, overlaps.overlap)
    assert torch.stack(columns).T.tolist() == [[int(x) for x in row] for row in expected]
    assert overlaps.share.tolist() == [hits / area for _, area, hits in expected]


@pytest.mark.usefixtures("_implementation")
@pytest.mark.parametrize("shape", [(4, 6), (2, 4, 6), (2, 3, 1, 4, 6), (0, 1, 4, 6)])
def test_leading_dimensions_are_kept(shape):
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[..., 1:3, 2:4] = True
    labels, counts = label_regions(mask)
    assert labels.shape == fill_holes(mask).shape == remove_small_regions(mask, 3).shape == shape
    assert counts.shape == shape[:-2]
    assert (counts == 1).all()
    assert torch.equal(remove_small_regions(mask, 3), mask)


@pytest.mark.usefixtures("_implementation")
def test_input_is_left_as_it_is():
    mask = torch.from_numpy(PATTERNS["rings"](20, 20))
    before = mask.clone()
    fill_holes(mask)
    remove_small_regions(mask, 100)
    assert torch.equal(mask, before)


def test_masks_that_cannot_be_used_are_refused():
    with pytest.raises(InputError, match="bool"):
        label_regions(torch.zeros(4, 4))
    with pytest.raises(InputError, match="bool"):
        fill_holes(torch.zeros(3, 0, 4, dtype=torch.bool))
    mask = torch.zeros(4, 4, dtype=torch.bool)
    with pytest.raises(InputError, match="one size"):
        region_overlaps(mask, mask[1:])
