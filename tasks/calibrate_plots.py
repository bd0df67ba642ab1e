"""Pictures of a calibration: all classes beside each other, and each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from numpy.typing import NDArray

from desra.calibration import Calibration, ClassInterval, TextureDistribution
from desra.files import atomic_path

ROWS, COLUMNS = 4, 3
"""Panels of a page."""


def plot_overview(
    path: str | Path,
    calibration: Calibration,
    distribution: TextureDistribution,
    released: Sequence[int] | None = None,
    threshold: float | None = None,
) -> None:
    """Draw the distribution of D, a strip for all pixels and for each class that has enough.

    Args:
        path: picture to write; its suffix says the format.
        calibration: the intervals.
        distribution: what they were found from.
        released: intervals of 20 by class, to compare with.
        threshold: of the detector, drawn as each class's own: threshold / A_k.
    """
    rows = [row for row in calibration.classes if not row.fallback]
    rows.sort(key=lambda row: (row.interval, -(row.distance or 0)))
    rows.insert(0, calibration.overall)
    shares = np.stack([_shares(_histogram(distribution, row), row.intervals) for row in rows])
    figure = Figure(figsize=(8, 2 + 0.24 * len(rows)), layout="constrained")
    axes = figure.add_subplot(xlabel="texture distance D (1: the textures agree)")
    extent = (0, 1, len(rows) - 0.5, -0.5)
    shown = axes.imshow(
        np.sqrt(shares), extent=extent, cmap="Blues", aspect="auto", interpolation="nearest"
    )
    shown.set_clim(0, 1)
    bar = figure.colorbar(shown, ax=axes, shrink=min(1, 4 / len(rows)), anchor=(0, 1))
    marks = np.array([0, 0.05, 0.2, 0.5, 1])
    bar.set_ticks(np.sqrt(marks), labels=[f"{mark:.0%}" for mark in marks])
    bar.set_label("share of the class's pixels")
    heights = np.arange(len(rows))
    edges = np.array([1 / row.weight for row in rows])
    axes.plot(edges, heights, "kD", mec="w", label="1 − n / N: this table", clip_on=False)
    if released is not None:
        theirs = [(1 - released[row.index] / 20, y) for y, row in enumerate(rows) if row.index >= 0]
        if theirs:
            edges_there, heights_there = zip(*theirs, strict=True)
            axes.plot(edges_there, heights_there, "C1o", mfc="none", ms=9, label="released table")
    if threshold is not None:
        axes.plot(
            threshold * edges, heights, "C3.", label=f"artifacts below (threshold {threshold})"
        )
    axes.set_yticks(heights, [row.name for row in rows], fontsize=8)
    axes.set_xlim(0, 1)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def plot_classes(
    path: str | Path,
    calibration: Calibration,
    distribution: TextureDistribution,
    percentile: float,
) -> None:
    """Write a PDF with a panel for each class that was seen, by pixels: the share of each interval,
    and the share at or above each D, which reaches the percentage at the interval's number.
    """
    seen = sorted((row for row in calibration.classes if row.pixels), key=lambda row: -row.pixels)
    panels = [calibration.overall, *seen]
    whole = _histogram(distribution, calibration.overall)
    with atomic_path(path) as temporary, PdfPages(temporary) as pdf:
        for start in range(0, len(panels), ROWS * COLUMNS):
            figure = Figure(figsize=(11.7, 13), layout="constrained")
            grid = figure.subplots(ROWS, COLUMNS, squeeze=False, sharex=True, sharey=True)
            for axes, row in zip(grid.flat, panels[start : start + ROWS * COLUMNS], strict=False):
                _draw_class(axes, row, _histogram(distribution, row), whole, percentile)
            for axes in grid.flat[len(panels) - start :]:
                axes.set_visible(False)
            figure.supxlabel("texture distance D")
            figure.supylabel("share of pixels: bars of each interval, lines at or above D")
            pdf.savefig(figure)


def _draw_class(
    axes: Axes, row: ClassInterval, histogram: NDArray, whole: NDArray, percentile: float
) -> None:
    starts = np.arange(row.intervals) / row.intervals
    axes.bar(starts, _shares(histogram, row.intervals), 1 / row.intervals, align="edge", color="C0")
    for counts, style in ((whole, "0.6"), (histogram, "C0")):
        above = counts[::-1].cumsum()[::-1] / counts.sum()
        axes.plot(np.arange(len(counts)) / len(counts), above, color=style, linewidth=1)
    axes.axhline(percentile / 100, color="C3", linewidth=0.8, linestyle=":")
    axes.axvline(1 / row.weight, color="C3", linewidth=1)
    number = "" if row.index < 0 else f"{row.index} "
    note = ", too few pixels: as all" if row.fallback else ""
    axes.set_title(
        f"{number}{row.name}: n = {row.interval} of {row.intervals}{note}\n"
        f"{row.pixels:,} pixels, {row.images} images",
        fontsize=8,
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _histogram(distribution: TextureDistribution, row: ClassInterval) -> NDArray:
    counts = distribution.counts.cpu()
    return (counts.sum(0) if row.index < 0 else counts[row.index]).numpy()


def _shares(histogram: NDArray, intervals: int) -> NDArray:
    return histogram.reshape(intervals, -1).sum(1) / histogram.sum()
