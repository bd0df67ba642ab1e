"""The tables and plots of a benchmark: in the terminal, as CSV, as LaTeX, as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger
from rich.table import Table

from desra.files import atomic_path, write_table, write_text
from desra.metrics.curves import precision_recall
from desra.terminal import terminal
from tasks.benchmark_counts import MEASURES, CellScores

TABLE, LATEX, RANKS, PLOT = "benchmark.csv", "benchmark.tex", "ranks.csv", "benchmark"
SHORT = {
    "precision": "prec.",
    "recall": "rec.",
    "f1": "F1",
    "iou": "IoU",
    "pixel_precision": "px prec.",
    "pixel_recall": "px rec.",
    "pixel_f1": "px F1",
    "pr_auc": "PR-AUC",
    "prominent_iou": "IoU prom.",
    "prominent_precision": "prec. prom.",
    "prominent_recall": "rec. prom.",
    "spearman": "rank corr.",
    "kendall": "tau-b",
    "masks_found": "masks found",
    "delta_iou": "ΔIoU",
}
"""Titles of columns."""
_PLAIN = ("spearman", "kendall", "masks_found")
"""Measures that are no percentages."""
_KEYS = ("set", "reference", "detector", "images")

Row = Mapping[str, Any]


def columns() -> list[str]:
    """Of the CSV: every measure with its interval."""
    names = list(_KEYS)
    for measure in MEASURES:
        names += [measure, f"{measure}_low", f"{measure}_high"]
    return [*names, "masks_confirmed", "seconds_per_megapixel"]


def write_tables(
    folder: Path,
    title: str,
    rows: Sequence[Row],
    ranks: Sequence[Row],
    measures: Sequence[str],
    scores: Mapping[tuple[str, str, str], CellScores],
) -> None:
    """Write ``benchmark.csv``, ``ranks.csv``, ``benchmark.tex``, curves and their picture."""
    there = [name for name in columns() if any(row.get(name) is not None for row in rows)]
    write_table(folder / TABLE, rows, there or list(_KEYS))
    names = ["reference", "detector", "sets", "rank", "rank_low", "rank_high"]
    write_table(folder / RANKS, ranks, names)
    write_text(folder / LATEX, latex_table(title, rows, measures))
    curves = {}
    for key, cell in scores.items():
        precision, recall = precision_recall(cell.histogram)
        points = [
            {"distance": (index + 1) / len(precision), "precision": p, "recall": r}
            for index, (p, r) in enumerate(zip(precision, recall, strict=True))
            if p == p and r == r
        ]
        curves[key] = points
        path = folder / "curves" / f"{'-'.join(key)}.csv"
        write_table(path, points, ["distance", "precision", "recall"])
    if curves:
        plot_curves(folder, curves)


def log_tables(logger: Logger, folder: Path, rows: Sequence[Row], ranks: Sequence[Row]) -> None:
    """Give the tables and the curves to W&B; other loggers have the figures alone."""
    if not isinstance(logger, WandbLogger):
        return
    for name, table in (("benchmark", rows), ("ranks", ranks)):
        names = list(dict.fromkeys(key for row in table for key in row))
        if names:
            data = [[row.get(key) for key in names] for row in table]
            logger.log_table(name, columns=names, data=data)
    if (folder / f"{PLOT}.png").is_file():
        logger.log_image("precision_recall", [str(folder / f"{PLOT}.png")])


def plot_curves(
    folder: Path, curves: Mapping[tuple[str, str, str], Sequence[Mapping[str, float]]]
) -> None:
    """Draw the precision-recall curves, a panel for each set and reference, as PNG and SVG."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(key[:2] for key in curves))
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(4.2 * across, 3.6 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False)
    detectors = list(dict.fromkeys(key[2] for key in curves))
    for place, panel in enumerate(panels):
        one = axes[place // across][place % across]
        one.set(xlim=(0, 1.01), ylim=(0, 1.01), title=", ".join(panel))
        one.set(xlabel="recall of pixels", ylabel="precision of pixels")
        one.grid(alpha=0.3)
        for number, name in enumerate(detectors):
            points = curves.get((*panel, name), [])
            recall, precision = ([p[role] for p in points] for role in ("recall", "precision"))
            one.plot(recall, precision, color=f"C{number}", label=name)
    for unused in range(len(panels), down * across):
        axes[unused // across][unused % across].set_axis_off()
    axes[0][0].legend(fontsize=8)
    for suffix in ("png", "svg"):
        with atomic_path(folder / f"{PLOT}.{suffix}") as temporary:
            figure.savefig(temporary, dpi=120)


def latex_table(title: str, rows: Sequence[Row], measures: Sequence[str]) -> str:
    """A booktabs table with 95 % intervals and the measures' definitions below it."""
    titles = [SHORT[name].replace("Δ", r"$\Delta$") for name in measures]
    lines = [
        f"% {title}",
        f"\\begin{{tabular}}{{lll{'r' * len(measures)}}}",
        "\\toprule",
        " & ".join(["set", "reference", "detector", *titles]) + r" \\",
        "\\midrule",
    ]
    for row in rows:
        names = [str(row[name]).replace("_", r"\_") for name in ("set", "reference", "detector")]
        lines.append(" & ".join([*names, *(_latex(row, name) for name in measures)]) + r" \\")
    lines += ["\\bottomrule", "\\end{tabular}"]
    notes = [f"% {SHORT[name]}: {MEASURES[name]}" for name in measures]
    return "\n".join([*lines, *notes, ""])


def _latex(row: Row, name: str) -> str:
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "--"
    if name in _PLAIN:
        return f"{value:.0f}" if name == "masks_found" else f"${value:.2f}$"
    ends = "" if low is None or high is None else f"_{{{100 * low:.1f}}}^{{{100 * high:.1f}}}"
    return f"${100 * value:.1f}{ends}$"


def show_tables(
    title: str,
    rows: Sequence[Row],
    ranks: Sequence[Row],
    measures: Sequence[str],
    rank_by: str,
    notes: Sequence[str],
) -> None:
    """Print the cells, the mean ranks, the definitions and what was checked."""
    console = terminal()
    table = Table(title=title, box=None, pad_edge=False)
    for name in ("set", "reference", "detector"):
        table.add_column(name, overflow="fold")
    for name in (*(SHORT[measure] for measure in measures), "s/MP"):
        table.add_column(name, justify="right", overflow="fold")
    last: tuple[str, str] | None = None
    for row in rows:
        panel = (row["set"], row["reference"])
        where = ("", "") if panel == last else panel
        cells = [_cell(row, name) for name in measures]
        table.add_row(*where, row["detector"], *cells, f"{row['seconds_per_megapixel']:.3g}")
        last = panel
    console.print(table)
    console.print("In %, below each its 95 % interval over images.")
    if ranks:
        ranking = Table(title=f"Mean rank by {SHORT[rank_by]}", box=None, pad_edge=False)
        for name in ("reference", "detector", "rank", "95 %", "sets"):
            ranking.add_column(
                name, justify="left" if name in ("reference", "detector") else "right"
            )
        for row in sorted(ranks, key=lambda one: (one["reference"], one["rank"])):
            ends = f"{row['rank_low']:.1f}-{row['rank_high']:.1f}" if row["rank_low"] else "–"
            ranking.add_row(
                row["reference"], row["detector"], f"{row['rank']:.2f}", ends, str(row["sets"])
            )
        console.print(ranking)
    for name in measures:
        console.print(f"{SHORT[name]}: {MEASURES[name]}", soft_wrap=True, highlight=False)
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False)


def _cell(row: Row, name: str) -> str:
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "–"
    if name == "masks_found":
        return f"{value:.0f}/{row['masks_confirmed']:.0f}"
    if name in _PLAIN:
        return f"{value:.2f}"
    ends = "" if low is None or high is None else f"\n{100 * low:.0f}–{100 * high:.0f}"
    return f"{100 * value:.1f}{ends}"
