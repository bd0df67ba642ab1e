"""Plots of metrics over the iterations of a run and over the jobs of a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from callbacks.loggers import read_curves
from desra.files import atomic_path

PANELS: Mapping[str, tuple[str, ...]] = {
    "Are artifacts going?": ("artifact_share/",),
    "Removed and added": ("removal_rate", "addition_rate", "residual/iou", "detection/iou"),
    "Is the rest kept, the target reached? (dB)": ("psnr/",),
    "Is training healthy? Losses": ("loss/",),
    "Gradient norms": ("gradient_norm/",),
    "Masks": ("masks/artifact_share", "masks/share_of_epoch"),
}
"""What to ask of a run, and the beginnings of the names of the metrics that answer."""

Job = Mapping[str, Any]
Curve = list[tuple[int, float]]


def overrides_text(job: Job) -> str:
    """The overrides (strings in a row of the table) that set a job apart, for a legend."""
    pairs = [(name, value) for name, value in job.items() if isinstance(value, str)]
    return ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in pairs)


def plot_precision_recall(path: Path, jobs: Sequence[Job]) -> None:
    """Plot the jobs that have both metrics, each with the overrides that set it apart."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="recall", ylabel="precision", xlim=(0, 1.05), ylim=(0, 1.05))
    axes.grid(alpha=0.3)
    shown = [job for job in jobs if None not in (job.get("precision"), job.get("recall"))]
    shown.sort(key=lambda job: job["recall"])
    axes.plot([j["recall"] for j in shown], [j["precision"] for j in shown], "o-", alpha=0.8)
    for job in shown:
        where = (job["recall"], job["precision"])
        axes.annotate(overrides_text(job), where, fontsize=7, rotation=20)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def curve_of(rows: Sequence[Mapping[str, str]], figure: str) -> Curve:
    """(iteration, value) of a metric in what `read_curves` returned; empty if it is not there."""
    points = [(int(row["step"]), float(row[figure])) for row in rows if figure in row]
    return [point for point in points if math.isfinite(point[1])]


def plot_run(path: Path, metrics: Path) -> None:
    """Plot what a run logged over its iterations, a panel a question of `PANELS`, if it did.

    Args:
        path: the picture.
        metrics: the run's ``metrics.csv``.
    """
    rows = read_curves(metrics)
    names = sorted({name for row in rows for name in row})
    panels: dict[str, dict[str, Curve]] = {}
    for title, beginnings in PANELS.items():
        chosen = [name for name in names if name.startswith(beginnings)]
        curves = {name: curve for name in chosen if (curve := curve_of(rows, name))}
        if curves:
            panels[title] = curves
    if panels:
        _draw(path, panels)


def plot_curves(path: Path, runs: Mapping[str, Path], figures: Sequence[str]) -> bool:
    """Plot metrics of validation over the iterations, a panel a metric and a line a run.

    Args:
        path: the picture.
        runs: name in the legend to ``metrics.csv``.
        figures: names of columns; those that no run has are left out.

    Returns:
        whether there was anything to plot.
    """
    rows = {run: read_curves(metrics) for run, metrics in runs.items()}
    curves = {name: {run: curve_of(rows[run], name) for run in rows} for name in figures}
    curves = {name: lines for name, lines in curves.items() if any(lines.values())}
    if not curves:
        return False
    _draw(path, curves, logarithmic=True)
    return True


def _draw(path: Path, panels: Mapping[str, Mapping[str, Curve]], logarithmic: bool = False) -> None:
    """A panel a title and a line a curve."""
    from matplotlib.figure import Figure

    columns = min(len(panels), 2 if logarithmic else 3)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5 * columns, 3.2 * rows), layout="constrained")
    for place, (title, lines) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(rows, columns, place, title=title, xlabel="iterations")
        for name, points in lines.items():
            steps, values = zip(*points, strict=True) if points else ((), ())
            axes.plot(steps, values, ".-" if len(points) < 100 else "-", label=name)
        later = sorted(step for points in lines.values() for step, _ in points if step)
        if logarithmic and later:
            axes.set_xscale("symlog", linthresh=later[0])  # logarithmic, with a place for 0
            ticks = (factor * 10**power for power in range(8) for factor in (1, 3))
            axes.set_xticks([0, *(tick for tick in ticks if later[0] <= tick <= later[-1])])
            axes.xaxis.set_major_formatter("{x:.0f}")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        if not logarithmic or place == len(panels):  # there all panels have the same lines
            axes.legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)
