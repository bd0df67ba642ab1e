"""Metrics of single images as rows of a table, and of a whole table of such rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from desra.errors import InputError
from desra.metrics.detection import MIN_SHARE, OverlapCounts, OverlapScores, overlap_counts
from desra.regions import label_regions, region_overlaps
from desra.rim import BORDER, inside

SCORES = ("iou", "precision", "recall", "f1")


def score_text(score: float | None) -> str:
    """A score as it is read by people; None is one that is undefined (0/0)."""
    return "–" if score is None else f"{score:.4f}"


def count_row(
    mask: NDArray,
    gt_mask: NDArray,
    border: int = BORDER,
    min_share: float = MIN_SHARE,
    device: torch.device | str = "cpu",
) -> dict[str, int]:
    """Counts of one image, by the names of `OverlapCounts`.

    Args:
        mask: detected artifacts, ``(H, W)`` bool, see `desra.rim.full_size`.
        gt_mask: labelled artifacts, likewise.
        border: pixels on each side that are left out, where nothing can be detected.
        min_share: see `overlap_counts`.
        device: where to count.

    Raises:
        InputError: sizes that differ, or nothing within the border.
    """
    if mask.shape != gt_mask.shape:
        raise InputError(f"masks of {mask.shape} and {gt_mask.shape}; give masks of one size")
    detected, labelled = (
        torch.from_numpy(inside(plane, border).copy()).to(device)[None, None]
        for plane in (mask, gt_mask)
    )
    counts = overlap_counts(detected, labelled, min_share)
    return {name: int(count) for name, count in counts._asdict().items()}


def split_regions(
    mask: NDArray[np.bool_], inside: NDArray[np.bool_], min_share: float = MIN_SHARE
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Part a mask into its regions that lie inside another and those that do not, to show them.

    Args:
        mask: ``(H, W)`` bool; its 8-connected regions stay whole.
        inside: of the same shape.
        min_share: share of a region's pixels that must be inside, as in `region_hits`.

    Returns:
        two masks ``(H, W)`` whose union is ``mask``.
    """
    plane = torch.from_numpy(mask)
    labels, _ = label_regions(plane)
    hit = region_overlaps(plane, torch.from_numpy(inside)).share >= min_share
    hits = torch.cat([hit.new_zeros(1), hit])[labels].numpy()  # label 0: no region
    return hits, mask & ~hits


def score_rows(rows: Iterable[Mapping[str, Any]]) -> dict[str, float | int | None]:
    """Scores and sums over rows that `count_row` made, of one image or of a set; JSON-able.

    The rows are all there is to count: in a distributed run call it on one rank, with all ranks'
    rows.

    Returns:
        what `OverlapScores` computes, as Python numbers; None where a score is undefined (0/0).

    Example:
        >>> row = dict(
        ...     intersection=1, union=4, detected=1, detected_hits=1, labelled=0, labelled_hits=0
        ... )
        >>> scores = score_rows([row])
        >>> scores["iou"], scores["recall"], scores["images"]
        (0.25, None, 1)
    """
    table = [[row[name] for name in OverlapCounts._fields] for row in rows]
    scores = OverlapScores(sync_on_compute=False)
    columns = torch.tensor(table, dtype=torch.int64).reshape(-1, len(OverlapCounts._fields))
    scores.update(OverlapCounts(*columns.unbind(1)))
    values = {name: value.item() for name, value in scores.compute().items()}
    return {name: None if value != value else value for name, value in values.items()}  # NaN
