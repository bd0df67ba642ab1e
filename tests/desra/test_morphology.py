import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from desra.errors import InputError
from desra.morphology import dilate, dilate_torch, erode, erode_torch
from tests.desra.masks import PATTERNS, mask_batches


def opencv(operation, masks: torch.Tensor, size: int, iterations: int = 1) -> torch.Tensor:
    square = np.ones((size, size), np.uint8)
    planes = [
        operation(np.ascontiguousarray(mask[0]).view(np.uint8), square, iterations=iterations)
        for mask in masks.numpy()
    ]
    return torch.from_numpy(np.stack(planes)[:, None].astype(bool))


@settings(max_examples=60, deadline=None)
@given(mask_batches(), st.sampled_from([1, 3, 5, 7]), st.integers(1, 3))
def test_equals_opencv(masks, size, iterations):
    eroded = opencv(cv2.erode, masks, size)
    dilated = opencv(cv2.dilate, masks, size, iterations)
    assert torch.equal(erode(masks, size), eroded)
    assert torch.equal(erode_torch(masks, size), eroded)
    assert torch.equal(dilate(masks, size, iterations), dilated)
    assert torch.equal(dilate_torch(masks, iterations * (size - 1) + 1), dilated)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 13), (13, 1), (16, 17)])
def test_patterns_equal_opencv(pattern, shape):
    masks = torch.from_numpy(PATTERNS[pattern](*shape))[None, None]
    assert torch.equal(erode_torch(masks, 5), opencv(cv2.erode, masks, 5))
    assert torch.equal(dilate_torch(masks, 13), opencv(cv2.dilate, masks, 5, 3))


def test_outside_counts_as_neither():
    full = torch.ones(1, 1, 9, 9, dtype=torch.bool)
    assert erode(full).all()
    assert erode_torch(full, 5).all()
    assert not dilate(~full, iterations=3).any()
    assert not dilate_torch(~full, 13).any()


def test_input_is_left_as_it_is():
    mask = torch.from_numpy(PATTERNS["rings"](20, 20))
    before = mask.clone()
    erode(mask)
    dilate(mask)
    assert torch.equal(mask, before)


@pytest.mark.parametrize("size", [0, 4, -3])
def test_even_squares_are_refused(size):
    with pytest.raises(InputError, match="odd"):
        erode(torch.zeros(4, 4, dtype=torch.bool), size)


def test_only_masks_are_taken():
    with pytest.raises(InputError, match="bool"):
        dilate(torch.zeros(4, 4))
