import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from datamodules.mask_store import Mask, MaskStore
from desra.errors import InputError

bool_masks = npst.arrays(bool, npst.array_shapes(min_dims=2, max_dims=2, max_side=35))


@settings(deadline=None, max_examples=60)
@given(bool_masks, st.data())
def test_packed_mask_gives_back_every_part_and_counts_regions(mask, data):
    packed = Mask(mask)
    assert np.array_equal(packed.full(), mask)
    assert packed.area == mask.sum()
    assert packed.regions == ndimage.label(mask, np.ones((3, 3)))[1]
    top = data.draw(st.integers(0, mask.shape[0]))
    bottom = data.draw(st.integers(top, mask.shape[0]))
    left = data.draw(st.integers(0, mask.shape[1] - 1))
    right = data.draw(st.integers(left + 1, mask.shape[1]))
    assert np.array_equal(packed.cut(top, bottom, left, right), mask[top:bottom, left:right])


@settings(deadline=None, max_examples=40)
@given(bool_masks.filter(np.any))
def test_picks_every_artifact_pixel_and_nothing_else(mask):
    packed = Mask(mask)
    area = packed.area
    by_pixel = {packed.pick((number + 0.5) / area, "pixel") for number in range(area)}
    by_region = {
        packed.pick((region + 0.5) / packed.regions, "region", (number + 0.5) / area)
        for region in range(packed.regions)
        for number in range(area)
    }
    truth = set(map(tuple, np.argwhere(mask).tolist()))
    assert by_pixel == truth
    assert by_region == truth
    last = 1 - 2**-53
    assert packed.pick(last, "pixel") in truth
    assert packed.pick(last, "region", last) in truth


def masks_of(*rows: str) -> np.ndarray:
    return np.array([[char == "#" for char in row] for row in rows])


@pytest.fixture
def store():
    return MaskStore({key: Mask(masks_of("#..", "...")) for key in ("a", "b", "c")})


def test_replaces_unites_and_leaves_alone(store):
    new = masks_of("..#", "...")
    assert store.update({"a": new}, "off") == []
    assert store.version == 0
    assert store.update({"a": new, "b": masks_of("#..", "...")}, "replace") == ["a"]
    assert np.array_equal(store["a"].full(), new)
    assert store.version == 1
    assert store.update({"b": torch.from_numpy(new)[None, None]}, "union") == ["b"]
    assert np.array_equal(store["b"].full(), masks_of("#.#", "..."))
    assert store.update({"b": new}, "union") == []
    assert store.version == 2


def test_state_holds_the_changed_masks_alone_and_brings_them_back(store):
    assert store.state_dict() == {}
    store.update({"c": masks_of("###", "..#")}, "replace")
    state = store.state_dict()
    assert list(state) == ["c"]
    other = MaskStore({key: Mask(masks_of("#..", "...")) for key in ("a", "b", "c")})
    other.load_state_dict(state)
    assert np.array_equal(other["c"].full(), masks_of("###", "..#"))
    assert other["c"].regions == 1
    assert other["c"].area == 4
    assert other.version == 1
    assert torch.equal(other.state_dict()["c"], state["c"])


def test_state_can_be_read_without_running_code(store, tmp_path):
    store.update({"a": masks_of("###", "###")}, "replace")
    torch.save(store.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert torch.equal(state["a"], store.state_dict()["a"])


@pytest.mark.parametrize(
    ("masks", "mode", "said"),
    [
        ({"d": masks_of("#..", "...")}, "replace", "no training image"),
        ({"a": masks_of("#.", "..")}, "replace", "give bool of shape"),
        ({"a": masks_of("#..", "...").astype(np.uint8)}, "replace", "uint8"),
        ({"a": np.zeros((2, 2, 3), bool)}, "replace", "give bool of shape"),
        ({"a": masks_of("#..", "...")}, "merge", "replace, union or off"),
    ],
)
def test_refuses_masks_that_do_not_fit(store, masks, mode, said):
    with pytest.raises(InputError, match=said):
        store.update(masks, mode)


@pytest.mark.parametrize("other", [{}, {"a": Mask(np.zeros((2, 5), bool))}])
def test_refuses_the_checkpoint_of_other_data(store, other):
    store.update({"a": masks_of("###", "..#")}, "replace")
    with pytest.raises(InputError, match="mask of a"):
        MaskStore(other).load_state_dict(store.state_dict())
