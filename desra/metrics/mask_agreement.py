"""Agreement of several annotators on masks: pixel IoU, Fleiss' kappa on regions, majority masks."""

from __future__ import annotations

import math
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray


def majority_mask(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels that more than half of the annotators marked; in a tie a pixel is not marked.

    Args:
        masks: ``(annotators, H, W)`` bool.

    Example:
        >>> majority_mask(np.array([[[True, True]], [[True, False]], [[False, False]]])).tolist()
        [[True, False]]
    """
    return 2 * masks.sum(0) > len(masks)


def pairwise_iou(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Intersection over union of each two annotators' masks.

    Args:
        masks: ``(annotators, H, W)`` bool.

    Returns:
        ``(annotators, annotators)``, symmetric, 1 on the diagonal; NaN where neither of the two
        marked a pixel.
    """
    flat = masks.reshape(len(masks), -1)
    result = np.eye(len(masks))
    for one, other in combinations(range(len(masks)), 2):
        union = np.count_nonzero(flat[one] | flat[other])
        both = np.count_nonzero(flat[one] & flat[other])
        result[one, other] = result[other, one] = both / union if union else math.nan
    return result


def region_ratings(
    masks: NDArray[np.bool_], offered: NDArray[np.bool_] | None = None, min_share: float = 0.5
) -> NDArray[np.int64]:
    """Who marked which region, as ratings for `desra.metrics.agreement.fleiss_kappa`.

    The regions are the 8-connected ones of what anyone marked. Where it is known what was offered,
    regions that all annotators rejected count, too; without, kappa sees only regions that somebody
    marked, and is lower for it.

    Args:
        masks: ``(annotators, H, W)`` bool.
        offered: ``(H, W)`` bool, what a detector found and the annotators began with, or None.
        min_share: an annotator marked a region who marked this share of its pixels.

    Returns:
        ``(regions, annotators)``: 1 marked, 0 not.

    Example:
        >>> region_ratings(np.array([[[True, False, True]], [[True, False, False]]])).tolist()
        [[1, 1], [1, 0]]
    """
    union = masks.any(0) if offered is None else masks.any(0) | offered
    count, regions, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(union).view(np.uint8), connectivity=8
    )
    area = stats[1:, cv2.CC_STAT_AREA]
    marked = [np.bincount(regions[mask], minlength=count)[1:] >= min_share * area for mask in masks]
    return np.stack(marked, axis=1).astype(np.int64)
