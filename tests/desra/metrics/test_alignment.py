import numpy as np
import pytest

from desra.errors import InputError
from desra.metrics import align_masks

FULL = np.random.default_rng(0).random((14, 17)) < 0.5
OTHER = np.random.default_rng(1).random((14, 17)) < 0.5
INNER = (slice(5, -5), slice(5, -5))


@pytest.mark.parametrize("mask", [FULL, FULL[INNER]])
@pytest.mark.parametrize("gt_mask", [OTHER, OTHER[INNER]])
def test_masks_with_and_without_rim_meet_in_the_inner_area(mask, gt_mask):
    if mask.shape == gt_mask.shape != FULL.shape:
        aligned = align_masks(mask, gt_mask, border=0)
    else:
        aligned = align_masks(mask, gt_mask)
    assert np.array_equal(aligned[0], FULL[INNER])
    assert np.array_equal(aligned[1], OTHER[INNER])


def test_equal_sizes_are_full_sizes_and_border_zero_compares_all():
    assert align_masks(FULL, OTHER, 2)[0].shape == (10, 13)
    assert all(aligned.shape == (14, 17) for aligned in align_masks(FULL, OTHER, 0))


def test_a_mask_of_a_rims_width_has_one_pixel_left():
    one = np.ones((11, 11), dtype=bool)
    assert align_masks(one, one)[0].shape == (1, 1)


@pytest.mark.parametrize(
    ("size", "gt_size", "message"),
    [
        ((20, 20), (20, 21), "20x20 and labelled mask of 21x20"),
        ((20, 20), (10, 20), "by the rim of 5"),
        ((20, 10), (10, 20), "by the rim of 5"),
        ((40, 40), (160, 160), "by the rim of 5"),
        ((10, 30), (10, 30), "nothing inside a rim of 5"),
    ],
)
def test_sizes_that_do_not_fit(size, gt_size, message):
    with pytest.raises(InputError, match=message):
        align_masks(np.ones(size, bool), np.ones(gt_size, bool))
