"""Precision–recall curves of a detector, and confidence intervals of its scores.

Precision–recall curves are of pixels: each one's distance is held against every threshold, without
morphology. They come from histograms, one of the labelled pixels and one of the others, which are
summed over images: their memory does not grow with the set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desra.metrics.detection import OverlapCounts

BINS = 1000
"""Of the distances in [0, 1]."""

CONFIDENCE = 0.95
Interval = tuple[float | None, float | None]
_FIELDS = OverlapCounts._fields
_SCORES = ("iou", "precision", "recall", "f1")


def pixel_histogram(distance: Tensor, gt_mask: Tensor, bins: int = BINS) -> NDArray[np.int64]:
    """Count pixels by distance, labelled ones apart from the others.

    Args:
        distance: any shape, in [0, 1].
        gt_mask: bool, of the same shape.
        bins: equal intervals of [0, 1]; 1 itself is in the last.

    Returns:
        ``(2, bins)``: of labelled pixels, and of the others.

    Example:
        >>> distance = torch.tensor([0.05, 0.95, 1.0, 0.5])
        >>> pixel_histogram(distance, torch.tensor([True, False, False, False]), bins=2)
        array([[1, 0],
               [0, 3]])
    """
    index = (distance * bins).long().clamp_(0, bins - 1).flatten()
    sides = (gt_mask.flatten(), ~gt_mask.flatten())
    counts = [torch.bincount(index[side], minlength=bins) for side in sides]
    return torch.stack(counts).cpu().numpy()


def precision_recall(histogram: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall of the pixels below each bin's upper edge.

    Args:
        histogram: ``(…, 2, bins)``, counts or sums of weights.

    Returns:
        precision and recall, ``(…, bins)``; NaN where nothing is below the edge, or nothing
        labelled.
    """
    below = histogram.cumsum(-1)
    hits = below[..., 0, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        return hits / below.sum(-2), hits / hits[..., -1:]


def average_precision(histogram: NDArray) -> NDArray[np.float64]:
    """Area below the precision–recall curve of pixels, by steps: Σ (R_k − R_{k−1}) P_k.

    Args:
        histogram: ``(…, 2, bins)``.

    Returns:
        ``(…)``; NaN where nothing is labelled.

    Example:
        >>> area = average_precision(np.array([[2, 0, 1], [0, 1, 1]]))  # 2/3 · 1 + 1/3 · 3/5
        >>> round(float(area), 4)
        0.8667
    """
    precision, recall = precision_recall(histogram)
    steps = np.diff(recall, axis=-1, prepend=0)
    area = (steps * np.nan_to_num(precision)).sum(-1)
    return np.where(np.isnan(recall[..., -1]), np.nan, area)


def weighted_scores(counts: NDArray, weights: NDArray | None = None) -> dict[str, NDArray]:
    """IoU, precision, recall and F1 of a set of images, or of many weighted ones.

    They are those of `desra.metrics.OverlapScores`, for the bootstrap's sake in arrays.

    Args:
        counts: ``(N, …, 6)``, of each image the fields of `OverlapCounts`.
        weights: ``(R, N)`` how often each image is in each set; None for one set with each once.

    Returns:
        name to ``(R, …)`` float64 (without weights ``(…)``); NaN where undefined.
    """
    use = np.ones((1, len(counts))) if weights is None else weights
    fields = dict(zip(_FIELDS, np.moveaxis(counts.astype(np.float64), -1, 0), strict=True))
    some = fields["union"] > 0
    iou = fields["intersection"] / np.maximum(fields["union"], 1)

    def total(values: NDArray) -> NDArray[np.float64]:
        return np.tensordot(use, values.astype(np.float64), axes=1)

    with np.errstate(invalid="ignore", divide="ignore"):
        precision = total(fields["detected_hits"]) / total(fields["detected"])
        recall = total(fields["labelled_hits"]) / total(fields["labelled"])
        scores = {"iou": total(iou * some) / total(some), "precision": precision, "recall": recall}
    p, r = np.nan_to_num(precision), np.nan_to_num(recall)
    f1 = np.divide(2 * p * r, p + r, out=np.zeros_like(p), where=p + r > 0)
    scores["f1"] = np.where(np.isnan(precision) & np.isnan(recall), np.nan, f1)
    return scores if weights is not None else {name: score[0] for name, score in scores.items()}


def bootstrap_weights(images: int, replicates: int, seed: int) -> NDArray[np.int16]:
    """How often each image is drawn in each of many sets of as many images, with replacement.

    Returns:
        ``(replicates, images)``; of one seed always the same.
    """
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, max(images, 1), (replicates, images))
    weights = np.zeros((replicates, images), np.int16)
    np.add.at(weights, (np.arange(replicates)[:, None], drawn), 1)
    return weights


def percentile_interval(values: NDArray, confidence: float = CONFIDENCE) -> Interval:
    """The middle share of what the bootstrap found, without sets in which it is undefined.

    Returns:
        lower and upper end, or None twice where all are undefined.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return None, None
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, (tail, 1 - tail))
    return float(low), float(high)


def with_intervals(
    counts: NDArray, replicates: int, seed: int, prefix: str = ""
) -> dict[str, float | None]:
    """Scores of a set of images with their 95 % intervals over images, by percentile bootstrap.

    Args:
        counts: ``(N, 6)``, of each image the fields of `OverlapCounts`.
        replicates: of the bootstrap.
        seed: of the bootstrap.
        prefix: of the names.

    Returns:
        ``iou``, ``iou_low``, ``iou_high``, … for IoU, precision, recall and F1; None where
        undefined.
    """
    scores = weighted_scores(counts)
    spread = weighted_scores(counts, bootstrap_weights(len(counts), replicates, seed))
    row: dict[str, float | None] = {}
    for name in _SCORES:
        value = float(scores[name])
        low, high = percentile_interval(spread[name])
        row |= {f"{prefix}{name}": None if np.isnan(value) else value}
        row |= {f"{prefix}{name}_low": low, f"{prefix}{name}_high": high}
    return row


def counts_array(rows: Sequence[Mapping[str, int]]) -> NDArray[np.int64]:
    """Rows of `desra.metrics.count_row` as ``(N, 6)``."""
    table = [[row[name] for name in _FIELDS] for row in rows]
    return np.array(table, np.int64).reshape(-1, len(_FIELDS))
