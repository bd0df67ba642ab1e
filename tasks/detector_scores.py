"""Metrics of a detector over a set of labelled images, from the counts of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from desra.files import atomic_path
from desra.metrics.curves import (
    average_precision,
    bootstrap_weights,
    percentile_interval,
    weighted_scores,
    with_intervals,
)

TuneFor = Literal["f1", "iou"]
_IMAGES_AT_ONCE = 64


@dataclass
class ImageScores:
    """What is counted in an image.

    Attributes:
        given: ``(6,)``, the fields of `OverlapCounts` at the detector's own threshold.
        counts: ``(T, 6)``, likewise at each of T cutoffs.
        histogram: ``(2, bins)``, see `desra.metrics.curves.pixel_histogram`.
    """

    given: NDArray[np.int64]
    counts: NDArray[np.int64]
    histogram: NDArray[np.int64]

    def save(self, path: Path) -> None:
        """Write to a ``.npz``, whole or not at all."""
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **vars(self))

    @classmethod
    def read(cls, path: Path) -> ImageScores:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(stored["given"], stored["counts"], stored["histogram"])


@dataclass
class SetScores:
    """What a detector comes to.

    Attributes:
        figures: of the set, JSON-able; undefined ones are None.
        histogram: ``(2, bins)`` of all images.
        by_cutoff: name of a score to ``(T,)``, of all images.
    """

    figures: dict[str, Any]
    histogram: NDArray[np.int64]
    by_cutoff: dict[str, NDArray[np.float64]]


def first_half(keys: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Which images thresholds are chosen on: a seeded half, the same for every detector.

    It depends on the keys and the seed alone, not on their order.
    """
    digests = [hashlib.blake2b(f"{seed}/{key}".encode()).digest() for key in keys]
    chosen = np.zeros(len(keys), bool)
    chosen[np.argsort(np.array(digests))[: len(keys) // 2]] = True
    return chosen


def score_set(
    paths: Sequence[Path], keys: Sequence[str], tune_for: TuneFor, seed: int, replicates: int
) -> SetScores:
    """Scores at the given and at the best threshold, and the curve of pixels, with their intervals.

    The best of the cutoffs is chosen on `first_half` and scored on the rest. Intervals are of 95 %,
    by percentile bootstrap over images. Of an image only counts are kept in memory, a few hundred
    bytes; the histograms are read one after another.

    Args:
        paths: of what `ImageScores.save` wrote, one an image; at least one.
        keys: of the images.
        tune_for: the score by which the best threshold is chosen.
        seed: of the halves and of the bootstrap.
        replicates: of the bootstrap.

    Returns:
        metrics ``iou``, ``precision``, ``recall``, ``f1``, ``average_precision``, each with
        ``…_low`` and ``…_high``; the same with the prefix ``best_`` (but for average precision),
        ``best_index`` of the cutoff and ``best_images``, how many these scores are of.
    """
    weights = bootstrap_weights(len(paths), replicates, seed)
    given, counts = [], []
    histogram: NDArray[np.int64] | None = None
    resampled: NDArray[np.float64] | None = None
    for start, some in _read(paths):
        given += [scores.given for scores in some]
        counts += [scores.counts for scores in some]
        stacked = np.stack([scores.histogram for scores in some])
        part = weights[:, start : start + len(some)].astype(np.float64)
        drawn = np.tensordot(part, stacked.astype(np.float64), axes=1)
        histogram = stacked.sum(0) + (0 if histogram is None else histogram)
        resampled = drawn if resampled is None else resampled + drawn
    assert histogram is not None
    assert resampled is not None
    table = np.stack(counts)
    area = float(average_precision(histogram))
    low, high = percentile_interval(average_precision(resampled))
    figures: dict[str, Any] = {
        **with_intervals(np.stack(given), replicates, seed),
        "average_precision": None if np.isnan(area) else area,
        "average_precision_low": low,
        "average_precision_high": high,
    }
    tuned = first_half(keys, seed)
    on_half = weighted_scores(table[tuned])[tune_for] if tuned.any() else np.array([np.nan])
    if np.isfinite(on_half).any():
        # Of equally good ones the middle one, which is the safest on other images.
        equal = np.flatnonzero(on_half == np.nanmax(on_half))
        best = int(equal[len(equal) // 2])
        rest = table[~tuned][:, best]
        figures |= {"best_index": best, "best_images": len(rest)}
        figures |= with_intervals(rest, replicates, seed, "best_")
    return SetScores(figures, histogram, weighted_scores(table))


def _read(paths: Sequence[Path]) -> Iterator[tuple[int, list[ImageScores]]]:
    for start in range(0, len(paths), _IMAGES_AT_ONCE):
        some = paths[start : start + _IMAGES_AT_ONCE]
        yield start, [ImageScores.read(path) for path in some]
