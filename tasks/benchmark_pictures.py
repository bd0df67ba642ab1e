"""Images of a benchmark as read, and the counts made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desra.benchmark_labels import Labels
from desra.detectors import Detection
from desra.metrics import overlap_counts
from desra.metrics.curves import pixel_histogram
from tasks.benchmark_counts import Counts


@dataclass
class BenchmarkPictures:
    """What was read of one item, ``(H, W, 3)`` uint8 each, and its labels' source.

    Attributes:
        lr: None where it is not needed.
        mse_sr: the reference.
        gan_sr: the output that is judged.
        after: the output after finetuning, if there is one.
        labels: of the output.
    """

    gan_sr: NDArray
    labels: Labels
    lr: NDArray | None = None
    mse_sr: NDArray | None = None
    after: NDArray | None = None


def compare(
    detection: Detection,
    labels: Labels,
    after: Tensor | None,
    border: int,
    min_share: float,
    prominence: float,
) -> Counts:
    """Count what was found in one image.

    Args:
        detection: of one image.
        labels: without the border.
        after: mask of the output after finetuning, or None.
        border: width of the rim that is left out.
        min_share: share of a region's pixels that the other mask must cover.
        prominence: share of viewers from which an artifact is prominent.
    """
    height, width = detection.mask.shape[-2:]
    inside = (..., slice(border, height - border), slice(border, width - border))
    mask = detection.mask[inside]
    gt_mask, prominent = (
        torch.from_numpy(np.ascontiguousarray(one))[None, None].to(mask.device)
        for one in (labels.mask, labels.confirmed(prominence))
    )

    def regions(detected: Tensor, labelled: Tensor) -> NDArray[np.int64]:
        return torch.cat(overlap_counts(detected, labelled, min_share)).cpu().numpy()

    hits = int((mask & gt_mask).sum())
    asked = bool(labels.scores) or not labels.mask.any()
    nothing = np.full(6, -1, np.int64)
    area = np.bincount(labels.regions.ravel(), minlength=len(labels.scores) + 1)[1:]
    return Counts(
        regions=regions(mask, gt_mask),
        prominent=regions(mask, prominent) if asked else nothing,
        pixels=np.array([hits, int(mask.sum()) - hits, int(gt_mask.sum()) - hits]),
        histogram=pixel_histogram(detection.adjusted[inside], gt_mask),
        responses=_means(labels, 1 - detection.adjusted[inside], area),
        scores=np.array(labels.scores)[area > 0] if labels.scores else np.zeros(0),
        found=_means(labels, mask, area),
        after=nothing if after is None else regions(after[inside], gt_mask),
    )


def _means(labels: Labels, values: Tensor, area: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means of a map over the artifacts that have a score, and a pixel inside the rim."""
    plane = values[0, 0].double().cpu().numpy()
    sums = np.bincount(labels.regions.ravel(), plane.ravel(), len(area) + 1)[1:]
    there = area > 0
    return np.asarray(sums[there] / area[there])
