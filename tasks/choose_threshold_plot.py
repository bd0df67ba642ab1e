"""The picture of a sweep of threshold and minimum area."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from desra.files import atomic_path
from desra.operating_points import Choice, OperatingPoint


def plot_sweep(
    path: str | Path,
    points: Sequence[OperatingPoint],
    choice: Choice,
    target: str,
    value: float | None,
) -> None:
    """Draw precision over recall, a line for each minimum area; and both scores at every point.

    Args:
        path: picture to write; its suffix says the format.
        points: of the sweep, all thresholds by all minimum areas.
        choice: marked by a star.
        target: the score that was to reach ``value``, a line in the first panel.
        value: None for no line.
    """
    figure = Figure(figsize=(14, 4.6), layout="constrained")
    curve, *maps = figure.subplots(1, 3)
    _draw_curves(curve, points, choice)
    if value is not None:
        draw = curve.axhline if target == "precision" else curve.axvline
        draw(value, color="C3", linestyle=":", label=f"{target} {value:g}")
    curve.legend(fontsize=7, title="min_area", ncols=2)
    for axes, name in zip(maps, ("precision", "recall"), strict=True):
        shown = _draw_map(axes, points, name, choice)
        figure.colorbar(shown, ax=axes)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _draw_curves(axes: Axes, points: Sequence[OperatingPoint], choice: Choice) -> None:
    areas = sorted({point.min_area for point in points})
    colours = colormaps["viridis"](np.linspace(0, 0.95, len(areas)))
    for area, colour in zip(areas, colours, strict=True):
        known = [
            (point.recall, point.precision)
            for point in points
            if point.min_area == area and point.recall is not None and point.precision is not None
        ]
        if known:
            recalls, precisions = zip(*known, strict=True)
            axes.plot(recalls, precisions, ".-", color=colour, linewidth=1, label=str(area))
    star = choice.point
    if star.precision is not None and star.recall is not None:
        axes.plot(star.recall, star.precision, "k*", markersize=14, mec="w", zorder=5)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.03), ylim=(0, 1.03))
    axes.grid(alpha=0.3)


def _draw_map(axes: Axes, points: Sequence[OperatingPoint], name: str, choice: Choice):  # type: ignore[no-untyped-def]
    thresholds = sorted({point.threshold for point in points})
    areas = sorted({point.min_area for point in points})
    values = [getattr(point, name) for point in points]
    grid = np.array([np.nan if score is None else score for score in values], float)
    shown = axes.imshow(
        grid.reshape(len(thresholds), len(areas)), aspect="auto", origin="lower", vmin=0, vmax=1
    )
    at = thresholds.index(choice.point.threshold)
    axes.plot(areas.index(choice.point.min_area), at, "k*", markersize=14, mec="w")
    ticks = np.unique(np.linspace(0, len(thresholds) - 1, 9).round().astype(int))
    axes.set_yticks(ticks, [f"{thresholds[tick]:g}" for tick in ticks])
    axes.set_xticks(range(len(areas)), [str(area) for area in areas], rotation=60, fontsize=8)
    axes.set(xlabel="min_area", ylabel="threshold", title=name)
    return shown
