"""Agreement on masks, by hand."""

import numpy as np
import pytest

from desra.metrics.agreement import fleiss_kappa, rating_counts
from desra.metrics.mask_agreement import majority_mask, pairwise_iou, region_ratings


@pytest.fixture
def three():
    masks = np.zeros((3, 8, 12), bool)
    masks[:, 1:4, 1:4] = True  # all three
    masks[0, 1:4, 8:11] = True  # the first alone
    masks[:2, 6, 2:6] = True  # two of three
    return masks


def test_the_majority_is_more_than_half(three):
    expected = np.zeros((8, 12), bool)
    expected[1:4, 1:4] = expected[6, 2:6] = True
    assert np.array_equal(majority_mask(three), expected)
    assert not majority_mask(three[[0, 2]])[6].any()  # a tie


def test_iou_of_each_two(three):
    iou = pairwise_iou(three)
    assert iou[0, 1] == pytest.approx(13 / 22)
    assert iou[1, 2] == pytest.approx(9 / 13)
    assert np.array_equal(iou, iou.T)
    assert np.isnan(pairwise_iou(np.zeros((2, 3, 3), bool))[0, 1])


def test_regions_are_rated_by_each(three):
    assert region_ratings(three).tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    offered = np.zeros((8, 12), bool)
    offered[6:8, 9:11] = True  # what all rejected
    ratings = region_ratings(three, offered)
    assert ratings.tolist()[-1] == [0, 0, 0]
    assert fleiss_kappa(rating_counts(ratings, 2)) > fleiss_kappa(
        rating_counts(region_ratings(three), 2)
    )


def test_half_of_a_region_counts():
    masks = np.zeros((2, 1, 4), bool)
    masks[0] = True
    masks[1, 0, :2] = True
    assert region_ratings(masks).tolist() == [[1, 1]]
    masks[1, 0, 1] = False
    assert region_ratings(masks).tolist() == [[1, 0]]
