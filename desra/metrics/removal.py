"""Removal rate and addition rate of artifacts after finetuning.

DeSRA (Xie et al., ICML 2023) reports both for the regions that its detector finds before and after.
A region counts as found, or as having been there, where at least half of it is covered: the rule
that precision and recall go by.

All masks are bool ``(B, 1, H, W)`` on any device. Regions are 8-connected.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from desra.metrics.detection import MIN_SHARE, region_hits
from desra.metrics.sums import SumMetric, check_masks, ratio
from desra.regions import region_overlaps


def removed_regions(
    before: Tensor, after: Tensor, gt_mask: Tensor | None = None, min_share: float = MIN_SHARE
) -> tuple[Tensor, Tensor]:
    """Count the labelled regions detected before finetuning, and those no longer detected after.

    Args:
        before: detected in the original generator's images, bool ``(B, 1, H, W)``.
        after: detected in the finetuned generator's images, of the same shape.
        gt_mask: labelled artifacts of the original images; None: what was detected counts as
            labelled, so that the rate is over the regions of ``before``.
        min_share: share of a labelled region's pixels that makes it detected.

    Returns:
        removed and originally detected regions of each image, int64 ``(B,)``.

    Raises:
        ValueError: masks of another type or of different shapes.

    Example:
        >>> before = torch.tensor([[[[True, False, True]]]])
        >>> removed_regions(torch.zeros_like(before), before)
        (tensor([0]), tensor([0]))
    """
    labelled = before if gt_mask is None else gt_mask
    check_masks(before=before, after=after, gt_mask=labelled)
    original = region_overlaps(labelled, before)
    detected = original.share >= min_share
    removed = detected & (region_overlaps(labelled, after).share < min_share)
    image, batch = original.image, before.shape[0]
    return (
        torch.bincount(image[removed], minlength=batch),
        torch.bincount(image[detected], minlength=batch),
    )


def added_regions(
    before: Tensor, after: Tensor, gt_mask: Tensor | None = None, min_share: float = MIN_SHARE
) -> tuple[Tensor, Tensor]:
    """Count the regions detected after finetuning, and those of them that were not there before.

    A region was there if at least ``min_share`` of its pixels were detected before or are labelled:
    a labelled artifact that the detector only now sees is not a new one.

    Args:
        before: detected in the original generator's images, bool ``(B, 1, H, W)``.
        after: detected in the finetuned generator's images, of the same shape.
        gt_mask: labelled artifacts of the original images, or None.
        min_share: share of a region's pixels that must have been artifacts.

    Returns:
        added regions, and all regions of ``after``, of each image, int64 ``(B,)``.

    Raises:
        ValueError: masks of another type or of different shapes.
    """
    labelled = before if gt_mask is None else gt_mask
    check_masks(before=before, after=after, gt_mask=labelled)
    known, regions = region_hits(after, before | labelled, min_share)
    return regions - known, regions


class RemovalRate(SumMetric):
    """Share, over the whole set, of originally detected labelled regions no longer detected.

    NaN where no labelled region was detected originally.

    Args:
        min_share: share of a labelled region's pixels that makes it detected.
        kwargs: of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> before = torch.zeros(1, 1, 3, 8, dtype=torch.bool)
        >>> before[..., :2], before[..., 5:] = True, True
        >>> after = before.clone()
        >>> after[..., 5:] = False
        >>> removal_rate = RemovalRate()
        >>> removal_rate.update(before, after)
        >>> float(removal_rate.compute())
        0.5
    """

    higher_is_better = True
    removed: Tensor
    detected: Tensor

    def __init__(self, min_share: float = MIN_SHARE, **kwargs: Any) -> None:
        super().__init__(("removed", "detected"), **kwargs)
        self.min_share = min_share

    def update(self, before: Tensor, after: Tensor, gt_mask: Tensor | None = None) -> None:
        """Add a batch; see `removed_regions`.

        Raises:
            ValueError: masks of another type or of different shapes.
        """
        removed, detected = removed_regions(before, after, gt_mask, self.min_share)
        self.add(removed=removed, detected=detected)

    def compute(self) -> Tensor:
        """The share, a float64 scalar."""
        return ratio(self.removed, self.detected)


class AdditionRate(SumMetric):
    """Share of images, or of regions, where artifacts appear that were not there before.

    Args:
        per: ``"image"``: images with at least one added region, of all images.
            ``"region"``: added regions, of all regions detected after; 0 where none are.
        min_share: share of a region's pixels that must have been artifacts for it not to be new.
        kwargs: of `torchmetrics.Metric`.

    NaN before any image is added.

    Example:
        >>> import torch
        >>> before = torch.zeros(2, 1, 3, 8, dtype=torch.bool)
        >>> before[..., :2] = True
        >>> after = before.clone()
        >>> after[0, ..., 5:] = True
        >>> per_image, per_region = AdditionRate(), AdditionRate(per="region")
        >>> per_image.update(before, after)
        >>> per_region.update(before, after)
        >>> float(per_image.compute()), round(float(per_region.compute()), 4)
        (0.5, 0.3333)
    """

    higher_is_better = False
    images: Tensor
    images_with_added: Tensor
    regions: Tensor
    added: Tensor

    def __init__(
        self,
        per: Literal["image", "region"] = "image",
        min_share: float = MIN_SHARE,
        **kwargs: Any,
    ) -> None:
        super().__init__(("images", "images_with_added", "regions", "added"), **kwargs)
        if per not in ("image", "region"):
            raise ValueError(f'per must be "image" or "region", not {per!r}')
        self.per, self.min_share = per, min_share

    def update(self, before: Tensor, after: Tensor, gt_mask: Tensor | None = None) -> None:
        """Add a batch; see `added_regions`.

        Raises:
            ValueError: masks of another type or of different shapes.
        """
        added, regions = added_regions(before, after, gt_mask, self.min_share)
        self.add(images=len(added), images_with_added=added > 0, regions=regions, added=added)

    def compute(self) -> Tensor:
        """The share, a float64 scalar."""
        if self.per == "image" or self.images == 0:
            return ratio(self.images_with_added, self.images)
        return ratio(self.added, self.regions.clamp(min=1))
