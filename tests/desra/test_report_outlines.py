"""Outlines against a rasteriser of SVG paths and SciPy's labelling."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from desra.report.outlines import find_regions, path_data, simple_path

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=14))


def fill(path: str, shape: tuple[int, int]) -> np.ndarray:
    """Even-odd fill of a path of M, h, v and z: a pixel is inside after an odd number of edges."""
    crossings = np.zeros((shape[0], shape[1] + 1), int)
    x = y = start_x = start_y = 0
    for command, numbers in re.findall(r"([Mhvz])([^Mhvz]*)", path):
        values = [int(number) for number in numbers.split()]
        end_y = y
        if command == "M":
            x, y = start_x, start_y = values
            end_y = y
        elif command == "h":
            x += values[0]
        elif command == "v":
            end_y = y + values[0]
        else:
            assert x == start_x, "z would draw a slanted edge"
            end_y = start_y
        crossings[min(y, end_y) : max(y, end_y), x] += 1
        y = end_y
    return (np.cumsum(crossings, axis=1) % 2)[:, :-1].astype(bool)


def check(mask: np.ndarray) -> None:
    regions = find_regions(mask)
    labelled, count = ndimage.label(mask, np.ones((3, 3)))
    expected = {
        (int(number > 0) and (labelled == number).tobytes()) for number in range(1, count + 1)
    }
    drawn = [fill(path_data(region.polygons), mask.shape) for region in regions]
    assert {picture.tobytes() for picture in drawn} == expected
    assert [region.number for region in regions] == list(range(1, count + 1))
    for region, picture in zip(regions, drawn, strict=True):
        rows, columns = np.nonzero(picture)
        left, top, width, height = region.box
        assert region.area == picture.sum()
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
    areas = [region.area for region in regions]
    assert areas == sorted(areas, reverse=True)


@given(masks)
@settings(deadline=None, max_examples=150)
def test_outlines_fill_to_the_regions(mask):
    check(mask)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (8, 7)])
def test_all_true_all_false_and_checkerboard(shape):
    check(np.ones(shape, bool))
    check(np.zeros(shape, bool))
    check(np.indices(shape).sum(axis=0) % 2 == 0)


def test_view_that_is_not_contiguous():
    mask = np.random.default_rng(0).random((30, 40)) < 0.4
    check(mask[::2, ::3])
    check(mask.T)


def test_hole_is_a_subpath_and_not_area():
    mask = np.ones((6, 6), bool)
    mask[2:4, 2:5] = False
    (region,) = find_regions(mask)
    assert region.area == 30
    assert path_data(region.polygons) == "M0 0h6v6h-6zM2 2h3v2h-3z"


def test_numbered_map_keeps_numbers_and_touching_regions_apart():
    numbered = np.zeros((6, 8), np.int32)
    numbered[:, :3] = 7
    numbered[:, 3:5] = 2
    numbered[5, 7] = 7
    regions = {region.number: region for region in find_regions(numbered)}
    assert {number: region.area for number, region in regions.items()} == {7: 19, 2: 12}
    for number, region in regions.items():
        assert (fill(path_data(region.polygons), numbered.shape) == (numbered == number)).all()


@given(masks, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_class_shares_are_those_of_the_pixels(mask, seed):
    labels = np.random.default_rng(seed).choice([3, 7, 255], mask.shape).astype(np.uint8)
    for region in find_regions(mask, labels):
        inside = fill(path_data(region.polygons), mask.shape)
        expected = {int(k): (labels[inside] == k).mean() for k in np.unique(labels[inside])}
        assert dict(region.classes) == pytest.approx(expected, abs=1e-4)
        shares = [share for _, share in region.classes]
        assert shares == sorted(shares, reverse=True)


def test_simplified_outline_stays_near_and_keeps_every_region():
    rows, columns = np.ogrid[:200, :200]
    disk = (rows - 100) ** 2 + (columns - 100) ** 2 < 80**2
    (region,) = find_regions(disk)
    path = simple_path(region.polygons, tolerance=2.0)
    corners = np.array(re.findall(r"(\d+) (\d+)", path), float)
    distance = np.hypot(*(corners - 100).T)
    assert len(path) < len(path_data(region.polygons)) / 3
    assert (abs(distance - 80) < 3).all()
    dot = np.zeros((50, 50), bool)
    dot[7, 9] = True
    assert simple_path(find_regions(dot)[0].polygons, tolerance=20.0).startswith("M")
