"""Masks at full size, with and without their rim."""

import numpy as np
import pytest
import torch

from desra.errors import InputError
from desra.images import write_png
from desra.rim import clear_rim, full_size, inside, read_mask_of

FULL = np.random.default_rng(0).random((64, 40)) < 0.5
INNER = FULL[5:-5, 5:-5]


def test_a_cut_off_rim_comes_back_false_and_a_full_mask_stays(tmp_path):
    assert np.array_equal(full_size(FULL, FULL.shape), FULL)
    back = full_size(INNER, FULL.shape)
    assert back.shape == FULL.shape
    assert np.array_equal(back[5:-5, 5:-5], INNER)
    assert back.sum() == INNER.sum()
    write_png(tmp_path / "mask.png", INNER)
    assert np.array_equal(read_mask_of(tmp_path / "mask.png", FULL.shape), back)
    assert full_size(INNER, (58, 34), rim=2).sum() == INNER.sum()


@pytest.mark.parametrize(("size", "given"), [((64, 40), (64, 41)), ((20, 10), (10, 20))])
def test_other_sizes_are_named(size, given):
    height, width = given
    with pytest.raises(InputError, match=f"a mask of {width}x{height} for an image of .* by 5"):
        full_size(np.ones(given, bool), size, name="a mask")


def test_inside_is_a_view_of_arrays_and_tensors():
    assert np.shares_memory(inside(FULL, 5), FULL)
    assert inside(FULL, 0).shape == FULL.shape
    assert np.array_equal(inside(torch.from_numpy(FULL)[None, None], 5)[0, 0], INNER)
    assert inside(np.ones((11, 11)), 5).shape == (1, 1)
    with pytest.raises(InputError, match="30x10 has nothing inside a rim of 5"):
        inside(np.ones((10, 30)), 5)


def test_a_cleared_rim():
    assert np.array_equal(clear_rim(FULL, 5), full_size(INNER, FULL.shape))
