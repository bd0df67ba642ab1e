"""Counts of one image and one detector in a benchmark, and the metrics of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from desra.files import atomic_path
from desra.metrics.curves import (
    average_precision,
    bootstrap_weights,
    percentile_interval,
    weighted_scores,
)

MEASURES = {
    "precision": "Region precision (DeSRA, ICML 2023): share of the detected 8-connected regions "
    "of the whole set of which at least half of the pixels are labelled.",
    "recall": "Region recall (DeSRA): share of the labelled regions of the whole set of which at "
    "least half of the pixels are detected.",
    "f1": "Region F1: harmonic mean of region precision and recall.",
    "iou": "IoU (DeSRA): intersection over union of detected and labelled pixels of an image, mean "
    "over the images in which either is not empty.",
    "pixel_precision": "Pixel precision: share of the set's detected pixels that are labelled.",
    "pixel_recall": "Pixel recall: share of all labelled pixels of the set that are detected.",
    "pixel_f1": "Pixel F1: harmonic mean of pixel precision and recall, of the detector's masks at "
    "its threshold.",
    "pr_auc": "PR-AUC: area below the precision-recall curve of all pixels of the set over the "
    "detector's map, by steps (average precision), without morphology; 1000 bins.",
    "prominent_iou": "IoU on the prominent subset: as IoU, with the artifacts alone whose share of "
    "viewers is at least `prominence`.",
    "prominent_precision": "Region precision on the prominent subset: what is detected on other "
    "artifacts counts as a false alarm.",
    "prominent_recall": "Region recall on the prominent subset.",
    "spearman": "Spearman's rank correlation of the detector's mean response on an artifact with "
    "the share of viewers who notice it.",
    "kendall": "Kendall's tau-b of the same.",
    "masks_found": "Masks found: confirmed artifacts (share of viewers at least `prominence`) of "
    "which at least half is detected.",
    "delta_iou": "ΔIoU: IoU of the detector's masks before finetuning minus that after, both with "
    "the labels of the original artifacts.",
}
"""Measures by name, each with its definition."""

_FIELDS = 6  # of `OverlapCounts`


@dataclass
class Counts:
    """Of one image and one detector.

    Attributes:
        regions: ``(6,)``, the fields of `OverlapCounts`, all labels.
        prominent: ``(6,)``, with the prominent artifacts alone; all −1 where nobody was asked.
        pixels: ``(3,)``: detected and labelled, detected alone, labelled alone.
        histogram: ``(2, bins)``, see `desra.metrics.curves.pixel_histogram`.
        responses: ``(R,)``, mean response on each artifact that has a score.
        scores: ``(R,)``, the shares of viewers.
        found: ``(R,)``, share of each such artifact that is detected.
        after: ``(6,)`` as ``regions``, of the output after finetuning; all −1 where there is none.
    """

    regions: NDArray[np.int64]
    prominent: NDArray[np.int64]
    pixels: NDArray[np.int64]
    histogram: NDArray[np.int64]
    responses: NDArray[np.float64]
    scores: NDArray[np.float64]
    found: NDArray[np.float64]
    after: NDArray[np.int64]


def save_counts(path: Path, counts: Mapping[str, Counts]) -> None:
    """Write the counts of an image, by detector, whole or not at all."""
    arrays = {
        f"{name}/{field}": value
        for name, one in counts.items()
        for field, value in vars(one).items()
    }
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_counts(path: Path, detector: str) -> Counts:
    """Read what `save_counts` wrote of one detector."""
    with np.load(path, allow_pickle=False) as stored:
        return Counts(
            **{field: stored[f"{detector}/{field}"] for field in Counts.__dataclass_fields__}
        )


class CellScores:
    """Measures of one set, reference and detector, with what the bootstrap needs.

    Args:
        counts: of each image.
        prominence: share of viewers from which on an artifact is prominent.
        replicates: of the bootstrap over images.
        seed: of the bootstrap; the same images are drawn for every detector of a set.
    """

    def __init__(
        self, counts: Sequence[Counts], prominence: float, replicates: int, seed: int
    ) -> None:
        self.counts, self.prominence = counts, prominence
        self.weights = bootstrap_weights(len(counts), replicates, seed)
        self.histogram = np.sum([one.histogram for one in counts], 0)

    def figures(self) -> dict[str, float | None]:
        """All measures, those with an interval with ``…_low`` and ``…_high``; None if undefined."""
        once = np.ones((1, len(self.counts)), np.int16)
        values, drawn = self._resampled(once), self._resampled(self.weights)
        figures: dict[str, float | None] = {}
        for name, value in values.items():
            figures[name] = _known(value[0])
            figures[f"{name}_low"], figures[f"{name}_high"] = percentile_interval(drawn[name])
        return figures | self._prominence()

    def replicates_of(self, measure: str) -> NDArray[np.float64]:
        """``(R,)``: a measure in each set of drawn images."""
        return self._resampled(self.weights)[measure]

    def _resampled(self, weights: NDArray) -> dict[str, NDArray[np.float64]]:
        regions = np.stack([one.regions for one in self.counts])
        scores = dict(weighted_scores(regions, weights))
        prominent = np.stack([one.prominent for one in self.counts])
        asked = prominent[:, 0] >= 0
        if asked.any():
            some = weighted_scores(prominent[asked], weights[:, asked])
            scores |= {f"prominent_{name}": some[name] for name in ("iou", "precision", "recall")}
        pixels = weights @ np.stack([one.pixels for one in self.counts]).astype(np.float64)
        scores |= _pixel_scores(pixels)
        stacked = np.stack([one.histogram for one in self.counts]).astype(np.float64)
        scores["pr_auc"] = average_precision(np.tensordot(weights.astype(np.float64), stacked, 1))
        after = np.stack([one.after for one in self.counts])
        both = after[:, 0] >= 0
        if both.any():
            before = weighted_scores(regions[both], weights[:, both])["iou"]
            then = weighted_scores(after[both], weights[:, both])["iou"]
            scores["delta_iou"] = before - np.nan_to_num(then)
        return scores

    def _prominence(self) -> dict[str, float | None]:
        responses, scores, found = (
            np.concatenate([getattr(one, name) for one in self.counts])
            for name in ("responses", "scores", "found")
        )
        if not len(scores):
            return {}
        confirmed = scores >= self.prominence
        figures: dict[str, float | None] = {
            "masks_found": float((confirmed & (found >= 0.5)).sum()),
            "masks_confirmed": float(confirmed.sum()),
        }
        varied = len(scores) > 1 and np.ptp(scores) > 0 and np.ptp(responses) > 0
        for name, test in (("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
            figures[name] = _known(test(responses, scores).statistic) if varied else None
        return figures


def _pixel_scores(pixels: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    hits, false, lost = pixels.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "pixel_precision": hits / (hits + false),
            "pixel_recall": hits / (hits + lost),
            "pixel_f1": 2 * hits / (2 * hits + false + lost),
        }


def _known(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def mean_ranks(
    values: Mapping[str, Sequence[float | None]], drawn: Mapping[str, Sequence[NDArray]]
) -> dict[str, dict[str, float | None]]:
    """The mean rank over sets of each detector, 1 for the highest; ties share their mean rank.

    Args:
        values: detector to its measure on each set; None, undefined, ranks last.
        drawn: detector to the measure on each set in each draw of the bootstrap, ``(R,)`` each.

    Returns:
        detector to ``rank``, ``rank_low``, ``rank_high`` (95 %, over draws of the images).
    """
    names = list(values)

    def rank(table: NDArray) -> NDArray:
        return np.asarray(stats.rankdata(-np.nan_to_num(table, nan=-np.inf), axis=0))

    given = np.array([[np.nan if v is None else v for v in values[name]] for name in names])
    means = rank(given).mean(1)
    draws = np.array([np.stack(list(drawn[name])) for name in names])  # detectors, sets, draws
    spread = rank(draws).mean(1)
    ranks: dict[str, dict[str, float | None]] = {}
    for place, name in enumerate(names):
        low, high = percentile_interval(spread[place])
        ranks[name] = {"rank": float(means[place]), "rank_low": low, "rank_high": high}
    return ranks
