"""IoU of pixels, precision and recall of regions: detected against labelled artifacts.

The definitions are those of DeSRA (Xie et al., ICML 2023) and of its released scripts. Those
turn the mean IoU of a set into NaN where one of its images has neither detected nor labelled
artifacts; here such images are left out of the mean and counted.

All masks are bool ``(B, 1, H, W)`` on any device. Regions are 8-connected.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from desra.metrics.sums import SumMetric, check_masks, ratio
from desra.regions import region_overlaps

MIN_SHARE = 0.5
"""Share of a region's pixels that the other mask must cover for the region to count as hit."""


class OverlapCounts(NamedTuple):
    """What detected and labelled masks have in common; each field is an int64 tensor ``(B,)``.

    Attributes:
        intersection: pixels both detected and labelled.
        union: pixels detected or labelled.
        detected: detected regions.
        detected_hits: those of them of which at least ``min_share`` is labelled.
        labelled: labelled regions.
        labelled_hits: those of them of which at least ``min_share`` is detected.
    """

    intersection: Tensor
    union: Tensor
    detected: Tensor
    detected_hits: Tensor
    labelled: Tensor
    labelled_hits: Tensor


def artifact_iou(mask: Tensor, gt_mask: Tensor) -> Tensor:
    """Intersection over union of the pixels of each image.

    Args:
        mask: detected artifacts, bool ``(B, 1, H, W)``.
        gt_mask: labelled artifacts, of the same shape.

    Returns:
        float64 ``(B,)`` in [0, 1]; NaN where nothing is detected and nothing labelled.

    Raises:
        ValueError: masks of another type or of different shapes.

    Example:
        >>> mask = torch.tensor([[[[True, True, False]]]])
        >>> artifact_iou(mask, torch.tensor([[[[True, False, False]]]]))
        tensor([0.5000], dtype=torch.float64)
    """
    return ratio(*_pixel_counts(mask, gt_mask))


def region_hits(
    mask: Tensor, inside: Tensor, min_share: float = MIN_SHARE
) -> tuple[Tensor, Tensor]:
    """Count the 8-connected regions of ``mask``, and those that lie in ``inside``.

    A region lies inside if at least ``min_share`` of its pixels do (a share equal to it counts).

    Returns:
        hits and regions of each image, int64 ``(B,)``.

    Raises:
        ValueError: masks of another type or of different shapes.
    """
    check_masks(mask=mask, inside=inside)
    regions = region_overlaps(mask, inside)
    image, batch = regions.image, mask.shape[0]
    hits = image[regions.share >= min_share]
    return torch.bincount(hits, minlength=batch), torch.bincount(image, minlength=batch)


def overlap_counts(mask: Tensor, gt_mask: Tensor, min_share: float = MIN_SHARE) -> OverlapCounts:
    """Everything the metrics of this module are made of, for each image.

    Raises:
        ValueError: masks of another type or of different shapes.
    """
    intersection, union = _pixel_counts(mask, gt_mask)
    detected_hits, detected = region_hits(mask, gt_mask, min_share)
    labelled_hits, labelled = region_hits(gt_mask, mask, min_share)
    return OverlapCounts(intersection, union, detected, detected_hits, labelled, labelled_hits)


def harmonic_mean(precision: Tensor, recall: Tensor) -> Tensor:
    """F1 of precision and recall, 2PR / (P + R).

    NaN where both are undefined. Where one is (nothing detected though there are labels, or nothing
    labelled though something was detected) F1 is 0, as it is where both are 0: nothing was hit.
    """
    total = precision.nan_to_num() + recall.nan_to_num()
    product = 2 * precision.nan_to_num() * recall.nan_to_num()
    f1 = torch.where(total > 0, product / total, torch.zeros_like(total))
    return torch.where(precision.isnan() & recall.isnan(), precision, f1)


def _pixel_counts(mask: Tensor, gt_mask: Tensor) -> tuple[Tensor, Tensor]:
    check_masks(mask=mask, gt_mask=gt_mask)
    return (mask & gt_mask).sum((1, 2, 3)), (mask | gt_mask).sum((1, 2, 3))


_IMAGE_COUNTS = ("images", "images_without_artifacts")
_REGION_COUNTS = ("detected", "detected_hits", "labelled", "labelled_hits")


class ArtifactIoU(SumMetric):
    """Mean over images of the IoU of detected and labelled pixels.

    Images with nothing detected and nothing labelled are left out of the mean; the sums ``images``
    and ``images_without_artifacts`` say how many there were. NaN where no image is left.

    Example:
        >>> import torch
        >>> mask = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
        >>> gt_mask = mask.clone()
        >>> mask[0, 0, :2], gt_mask[0, 0, 1:] = True, True
        >>> iou = ArtifactIoU()
        >>> iou.update(mask, gt_mask)  # the second image has no artifact, found or not
        >>> float(iou.compute()), int(iou.images_without_artifacts)
        (0.25, 1)
    """

    higher_is_better = True
    iou_sum: Tensor
    images: Tensor
    images_without_artifacts: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(_IMAGE_COUNTS, ("iou_sum",), **kwargs)

    def update(self, mask: Tensor, gt_mask: Tensor) -> None:
        """Add a batch; bool ``(B, 1, H, W)`` each.

        Raises:
            ValueError: masks of another type or of different shapes.
        """
        _add_images(self, *_pixel_counts(mask, gt_mask))

    def compute(self) -> Tensor:
        """The mean, a float64 scalar."""
        return _mean_iou(self)


class _RegionMetric(SumMetric):
    """Sums that precision, recall and F1 share: in a `MetricCollection` they are counted once.

    Args:
        min_share: share of a region's pixels that the other mask must cover.
        kwargs: of `torchmetrics.Metric`.
    """

    higher_is_better = True
    detected: Tensor
    detected_hits: Tensor
    labelled: Tensor
    labelled_hits: Tensor

    def __init__(self, min_share: float = MIN_SHARE, **kwargs: Any) -> None:
        super().__init__(_REGION_COUNTS, **kwargs)
        self.min_share = min_share

    def update(self, mask: Tensor, gt_mask: Tensor) -> None:
        """Add a batch; bool ``(B, 1, H, W)`` each.

        Raises:
            ValueError: masks of another type or of different shapes.
        """
        detected_hits, detected = region_hits(mask, gt_mask, self.min_share)
        labelled_hits, labelled = region_hits(gt_mask, mask, self.min_share)
        self.add(
            detected=detected,
            detected_hits=detected_hits,
            labelled=labelled,
            labelled_hits=labelled_hits,
        )


class RegionPrecision(_RegionMetric):
    """Over the whole set, the share of detected regions at least half of which is labelled.

    NaN where nothing was detected.

    Args:
        min_share: share of a detected region's pixels that must be labelled.
        kwargs: of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 3, 8, dtype=torch.bool)
        >>> gt_mask = mask.clone()
        >>> mask[..., :2], mask[..., 6:], gt_mask[..., 1:3] = True, True, True
        >>> precision = RegionPrecision()
        >>> precision.update(mask, gt_mask)
        >>> float(precision.compute())
        0.5
    """

    def compute(self) -> Tensor:
        """The share, a float64 scalar."""
        return ratio(self.detected_hits, self.detected)


class RegionRecall(_RegionMetric):
    """Over the whole set, the share of labelled regions at least half of which is detected.

    NaN where nothing was labelled.

    Args:
        min_share: share of a labelled region's pixels that must be detected.
        kwargs: of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 3, 8, dtype=torch.bool)
        >>> gt_mask = mask.clone()
        >>> mask[..., :2], gt_mask[..., :3], gt_mask[..., 5:] = True, True, True
        >>> recall = RegionRecall()
        >>> recall.update(mask, gt_mask)
        >>> float(recall.compute())
        0.5
    """

    def compute(self) -> Tensor:
        """The share, a float64 scalar."""
        return ratio(self.labelled_hits, self.labelled)


class RegionF1(_RegionMetric):
    """Harmonic mean of `RegionPrecision` and `RegionRecall` over the whole set.

    NaN where nothing was detected and nothing labelled, 0 where only one of the two was.

    Args:
        min_share: share of a region's pixels that the other mask must cover.
        kwargs: of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 3, 8, dtype=torch.bool)
        >>> gt_mask = mask.clone()
        >>> mask[..., :2], mask[..., 6:], gt_mask[..., 1:3] = True, True, True
        >>> f1 = RegionF1()
        >>> f1.update(mask, gt_mask)  # precision 1/2, recall 1
        >>> round(float(f1.compute()), 4)
        0.6667
    """

    def compute(self) -> Tensor:
        """The mean, a float64 scalar."""
        return harmonic_mean(
            ratio(self.detected_hits, self.detected), ratio(self.labelled_hits, self.labelled)
        )


class OverlapScores(SumMetric):
    """All of the above from counts already taken: those of other images, or of an earlier run.

    Args:
        kwargs: of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 3, 8, dtype=torch.bool)
        >>> gt_mask = mask.clone()
        >>> mask[..., :2], mask[..., 6:], gt_mask[..., 1:3] = True, True, True
        >>> scores = OverlapScores()
        >>> scores.update(overlap_counts(mask, gt_mask))
        >>> {name: round(float(value), 4) for name, value in scores.compute().items()}
        ... # doctest: +NORMALIZE_WHITESPACE
        {'iou': 0.2, 'precision': 0.5, 'recall': 1.0, 'f1': 0.6667, 'images': 1.0,
         'images_without_artifacts': 0.0, 'detected': 2.0, 'detected_hits': 1.0,
         'labelled': 1.0, 'labelled_hits': 1.0}
    """

    iou_sum: Tensor
    images: Tensor
    images_without_artifacts: Tensor
    detected: Tensor
    detected_hits: Tensor
    labelled: Tensor
    labelled_hits: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(_IMAGE_COUNTS + _REGION_COUNTS, ("iou_sum",), **kwargs)

    def update(self, counts: OverlapCounts) -> None:
        """Add the counts of a batch of images, as `overlap_counts` returns them."""
        _add_images(self, counts.intersection, counts.union)
        self.add(**{name: getattr(counts, name) for name in _REGION_COUNTS})

    def compute(self) -> dict[str, Tensor]:
        """``iou``, ``precision``, ``recall``, ``f1`` (float64) and the counts (int64), scalars."""
        precision = ratio(self.detected_hits, self.detected)
        recall = ratio(self.labelled_hits, self.labelled)
        scores = {
            "iou": _mean_iou(self),
            "precision": precision,
            "recall": recall,
            "f1": harmonic_mean(precision, recall),
        }
        return scores | {name: getattr(self, name) for name in _IMAGE_COUNTS + _REGION_COUNTS}


class ArtifactMetrics(OverlapScores):
    """All of the above from one pass over the masks, with the counts behind them.

    Called on a batch, it adds the batch and returns the batch's own values.

    Args:
        min_share: share of a region's pixels that the other mask must cover.
        kwargs: of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 3, 8, dtype=torch.bool)
        >>> gt_mask = mask.clone()
        >>> mask[..., :2], mask[..., 6:], gt_mask[..., 1:3] = True, True, True
        >>> metrics = ArtifactMetrics()
        >>> batch = metrics(mask, gt_mask)
        >>> float(batch["precision"]), float(batch["recall"]), int(batch["detected"])
        (0.5, 1.0, 2)
    """

    def __init__(self, min_share: float = MIN_SHARE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.min_share = min_share

    def update(self, mask: Tensor, gt_mask: Tensor) -> None:  # type: ignore[override]
        """Add a batch; bool ``(B, 1, H, W)`` each.

        Raises:
            ValueError: masks of another type or of different shapes.
        """
        super().update(overlap_counts(mask, gt_mask, self.min_share))


def _add_images(metric: SumMetric, intersection: Tensor, union: Tensor) -> None:
    metric.add(
        iou_sum=ratio(intersection, union).nan_to_num(),
        images=len(union),
        images_without_artifacts=union == 0,
    )


def _mean_iou(metric: ArtifactIoU | OverlapScores) -> Tensor:
    return ratio(metric.iou_sum, metric.images - metric.images_without_artifacts)
