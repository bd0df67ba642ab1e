"""The promise that few artifacts are missed, as choosing thresholds makes it and says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from desra.conformal import (
    certified,
    check_promise,
    labels_needed,
    most_precise,
    promise_p_value,
    try_splits,
)
from desra.errors import InputError
from desra.ledger import Row
from desra.operating_points import Choice, Sweep
from desra.region_scores import RegionScore, read_scores, score_map
from desra.regions import label_regions
from desra.rim import inside

Of = Literal["all", "prominent"]


@dataclass
class Promise:
    """At most ``rate`` of the labelled artifacts is missed, with ``confidence``.

    Args:
        rate: share of missed artifacts that is promised.
        confidence: share of draws of the labelled images in which the promise holds.
        of: ``"all"`` labelled artifacts, or the ``"prominent"`` ones, which enough viewers notice.
        scores: file of their shares, see `desra.region_scores`; needed for the latter.
        prominence: share from which an artifact is prominent.
        splits: random halves on which the promise is tried.

    Raises:
        InputError: a setting out of its range, or no scores.
    """

    rate: float
    confidence: float = 0.9
    of: Of = "all"
    scores: Path | None = None
    prominence: float = 0.5
    splits: int = 500

    def __post_init__(self) -> None:
        check_promise(self.rate, self.confidence)
        if self.of not in get_args(Of):
            raise InputError(f"of={self.of}: give all or prominent")
        if self.of == "prominent" and self.scores is None:
            raise InputError(
                "of=prominent: no scores of labelled regions; give scores=FILE, or regions.csv "
                "beside the labels"
            )
        self._scores: dict[str, list[RegionScore]] = {}
        if self.of == "prominent":
            assert self.scores is not None
            self._scores = read_scores(self.scores)

    @property
    def inputs(self) -> list[Path]:
        """Files that decide the rows, besides an image's own."""
        return [self.scores] if self.of == "prominent" and self.scores is not None else []

    def counted(self, key: str, gt_mask: NDArray[np.bool_], rim: int) -> list[bool] | None:
        """Which labelled regions within the rim count, in raster order; None for all."""
        if self.of == "all":
            return None
        scores = score_map(gt_mask, self._scores.get(key, []))
        inner, scores = inside(gt_mask, rim), inside(scores, rim)
        labels, count = (part.numpy() for part in label_regions(torch.from_numpy(inner.copy())))
        found = [scores[labels == number][0] for number in range(1, int(count) + 1)]
        return [bool(score >= self.prominence) for score in found]

    def choose(self, sweep: Sweep, counts: NDArray[np.int64]) -> tuple[Choice, Row]:
        """The certified setting of the highest precision, and what is to be said of it.

        Args:
            sweep: over all images and labels.
            counts: ``(N, T, M, 4)``, the thresholds in the order of the sweep, of the labelled
                regions that count.

        Returns:
            the choice; where nothing can be promised, the most sensitive setting, not reached.
        """
        order = slice(None, None, -1) if _more_with_larger(counts) else slice(None)
        counts = counts[:, order]
        labelled, missed = counts[:, 0, 0, 2], counts[..., 2] - counts[..., 3]
        total = counts.sum(0)
        allowed = certified(missed, labelled, self.rate, self.confidence)
        point = most_precise(allowed, total)
        areas = counts.shape[2]
        t, m = point or (0, 0)
        points = sweep.points()
        thresholds = list(range(counts.shape[1]))[order]
        chosen = points[thresholds[t] * areas + m]
        needed = labels_needed(missed[:, 0, 0], labelled, self.rate, self.confidence, areas)
        splits = try_splits(counts, self.rate, self.confidence, self.splits)
        best = max(points, key=lambda one: one.f1 or 0)
        count = int(labelled.sum())
        row = {
            "confidence": self.confidence,
            "of": self.of,
            "counted": count,
            "missed": int(missed[:, t, m].sum()),
            "miss_rate": float(missed[:, t, m].sum() / count) if count else None,
            "p_value": float(promise_p_value(missed[:, t, m], labelled, self.rate)),
            "images_labelled": int((labelled > 0).sum()),
            "images_needed": needed.images if needed else None,
            "regions_needed": needed.regions if needed else None,
            "lowest_miss_rate": float(missed[:, 0, 0].sum() / count) if count else None,
            "splits": self.splits,
            "splits_made": splits.made,
            "splits_broken": splits.broken,
            "splits_miss_rate": splits.missed,
            "best_f1": best.f1,
            "best_f1_precision": best.precision,
            "best_f1_recall": best.recall,
        }
        return Choice(chosen, point is not None), row


def counts_of(rows: Sequence[Row], sweep: Sweep) -> NDArray[np.int64]:
    """Counts ``(N, T, M, 4)`` of a sweep, with the labelled regions alone that count."""
    counts = sweep.counts.copy()
    least = np.array(sweep.min_areas)[:, None]
    for image, row in enumerate(rows):
        if row.get("counted") is None:
            continue
        kept = np.array(row["counted"], bool)
        counts[image, :, :, 2] = int(kept.sum())
        for place, record in enumerate(row["regions"]):
            decisive = np.array(record["decisive"], np.int64)[kept]
            counts[image, place, :, 3] = (decisive > least).sum(1)
    return counts


def _more_with_larger(counts: NDArray[np.int64]) -> bool:
    """Whether more is detected at larger thresholds, as with distances, or less, as with scores.

    Of labelled regions at a larger threshold never fewer are found, or never more.
    """
    found = counts[..., 3].sum(0)[:, 0]
    detected = counts[..., 0].sum(0)[:, 0]
    return bool((found[-1], detected[-1]) >= (found[0], detected[0]))


def lines(promise: Promise, summary: Row) -> list[str]:
    """What is said below the table."""
    what = "labelled artifacts" if promise.of == "all" else "artifacts that viewers notice"
    said = f"at most {100 * promise.rate:g} % of the {what} are missed, with a confidence of "
    said += f"{100 * promise.confidence:g} %"
    have = f"{summary['counted']} in {summary['images_labelled']} images"
    made = [f"On random halves ({promise.splits}): promised in {summary['splits_made']}, broken in "
            f"{100 * summary['splits_broken']:.1f} %"]  # fmt: skip
    if not summary["reached"]:
        lowest = summary["lowest_miss_rate"]
        if summary["images_needed"] is None:
            return [
                f"Not promised: {said}. The most sensitive setting itself misses "
                f"{100 * (lowest or 0):.1f} % ({have}); give another detector, or a higher value"
            ]
        return [
            f"Not promised: {said}. There are {have}; it would take {summary['regions_needed']} in "
            f"{summary['images_needed']} images like these (fewer with fewer min_areas)"
        ]
    price = summary["best_f1_precision"]
    prices = [] if price is None else [
        f"Its price: precision {_percent(summary['precision'])}, where the best F1 has "
        f"{_percent(price)} and misses {100 * (1 - (summary['best_f1_recall'] or 0)):.1f} %"
    ]  # fmt: skip
    most = "It holds for images with no more labelled artifacts than the most seen here"
    return [f"Promised: {said} ({have}). {most}.", *prices, *made]


def _percent(value: Any) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
