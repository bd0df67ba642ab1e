"""Pictures over the jobs of a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from callbacks.loggers import read_curves
from desra.files import atomic_path

Job = Mapping[str, Any]
Curve = list[tuple[int, float]]


def overrides_text(job: Job) -> str:
    """The overrides (strings in a row of the table) that set a job apart, for a legend."""
    pairs = [(name, value) for name, value in job.items() if isinstance(value, str)]
    return ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in pairs)


def plot_precision_recall(path: Path, jobs: Sequence[Job]) -> None:
    """Plot the jobs that have both figures, each with the overrides that set it apart."""
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


def read_curve(metrics: Path, figure: str) -> Curve:
    """(iteration, value) of a figure in a run's ``metrics.csv``; empty if it has none."""
    rows = [(row["step"], row.get(figure)) for row in read_curves(metrics)]
    points = [(int(step), float(value)) for step, value in rows if value not in (None, "")]
    return [point for point in points if math.isfinite(point[1])]


def plot_curves(path: Path, runs: Mapping[str, Path], figures: Sequence[str]) -> bool:
    """Plot figures of validation over the iterations, a panel a figure and a line a run.

    Args:
        path: the picture.
        runs: name in the legend to ``metrics.csv``.
        figures: names of columns; those that no run has are left out.

    Returns:
        whether there was anything to plot.
    """
    curves = {
        name: {run: read_curve(metrics, name) for run, metrics in runs.items()} for name in figures
    }
    curves = {name: lines for name, lines in curves.items() if any(lines.values())}
    if not curves:
        return False
    from matplotlib.figure import Figure

    columns = min(len(curves), 2)
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(5 * columns, 3.2 * rows), layout="constrained")
    for place, (name, lines) in enumerate(curves.items(), 1):
        axes = figure.add_subplot(rows, columns, place, title=name, xlabel="iterations")
        for run, points in lines.items():
            steps, values = zip(*points, strict=True) if points else ((), ())
            axes.plot(steps, values, label=run)
        first = min(step for points in lines.values() for step, _ in points if step)
        axes.set_xscale("symlog", linthresh=first)  # logarithmic, with a place for 0
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)
    return True
