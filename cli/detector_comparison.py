"""One table over the detectors of a sweep: in the terminal, as CSV and LaTeX, as a plot, in W&B."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from cli.failures import fail
from cli.sweep_summary import SweepSummary, gather_jobs, job_folders
from desra.files import atomic_path, write_table, write_text

log = logging.getLogger(__name__)

TABLE, LATEX, PLOT = "sweep.csv", "sweep.tex", "precision_recall"
CURVE = "curve.csv"
_FIGURES = {
    "iou": "IoU",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "average_precision": "AP",
    "best_iou": "IoU",
    "best_f1": "F1",
}
_RANK = "spearman"
"""Correlation with how many viewers notice a region; where the sets' regions have scores."""
_GIVEN = ("iou", "precision", "recall", "f1", "average_precision")

Job = Mapping[str, Any]


class DetectorComparison(SweepSummary):
    """Hydra callback: what `SweepSummary` does, and where the jobs evaluated detectors (
    `tasks.detector`) a table and a plot that compare them.

    Leaves ``sweep.csv``, ``sweep.tex`` (a booktabs table) and ``precision_recall.png`` and
    ``.svg`` in the sweep's folder; with ``logger=wandb`` the same in a run named "comparison" of
    the sweep's group. The highest average precision comes first.

    Args:
        kwargs: of `SweepSummary`.
    """

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Gather the jobs, show and write the tables and the plot."""
        folder = Path(config.hydra.sweep.dir)
        folders = job_folders(folder, self.summary)
        jobs = gather_jobs(folders, self.summary)
        if not jobs or any("seconds_per_megapixel" not in job for job in jobs):
            super().on_multirun_end(config, **kwargs)
            return
        for job, path in zip(jobs, folders, strict=True):
            job["curve"] = path / CURVE
            # A single job's overrides set it apart from nothing.
            job["name"] = job_name(job) if len(jobs) > 1 else job["detector"]
        jobs.sort(key=lambda job: -(job["average_precision"] or 0))
        columns = [name for name in jobs[0] if name not in ("curve", "name")]
        write_table(folder / TABLE, jobs, columns)
        write_text(folder / LATEX, latex_table(jobs))
        plot_curves(folder, jobs)
        _show(jobs)
        log.info("%s: %d detectors, tables in %s and %s", folder, len(jobs), TABLE, LATEX)
        if any(job.get("images_not_done") for job in jobs):
            fail()
        if "wandb" in (config.get("logger") or {}):
            _log_to_wandb(config, folder, jobs, columns)


def job_name(job: Job) -> str:
    """What sets a job apart: the detector, and other overrides that the sweep varies."""
    from callbacks.plots import overrides_text  # loads Lightning, which a single run may never need

    others = overrides_text({name: job[name] for name in job if name != "detector"})
    return ", ".join(filter(None, (job.get("detector"), others))) or "detector"


def _show(jobs: Sequence[Job]) -> None:
    from rich.table import Table

    from desra.terminal import terminal

    title = "Detectors at their thresholds t, and at the best one on the other half of the images"
    table = Table(title=title, box=None, pad_edge=False)  # fits 80 columns
    given = ("t", "IoU", "prec.", "rec.", "F1", "AP")
    ranked = any(job.get(_RANK) is not None for job in jobs)
    for name in ("detector", *given, "best t", "IoU", "F1", "s/MP", *(["rank"] if ranked else [])):
        left = name == "detector"
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for job in jobs:
        table.add_row(
            job["name"],
            f"{job['threshold']:g}",
            *(_cell(job, name) for name in _GIVEN),
            _number(job.get("best_threshold"), ".3g"),
            *(_cell(job, name).partition("\n")[0] for name in ("best_iou", "best_f1")),
            _number(job["seconds_per_megapixel"], ".3g"),
            *([_number(job.get(_RANK), ".2f")] if ranked else []),
        )
    terminal().print(table)


def _cell(job: Job, name: str) -> str:
    """A metric over its interval, in percent."""
    value, low, high = (job.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "–"
    return f"{100 * value:.1f}" + (
        "" if low is None or high is None else f"\n{100 * low:.0f}–{100 * high:.0f}"
    )


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def latex_table(jobs: Sequence[Job]) -> str:
    """A table for ``\\usepackage{booktabs}``: percent, with 95 % intervals below and above.

    Args:
        jobs: rows of `gather_jobs`, each with its ``name``.
    """
    best = ("best_iou", "best_f1")
    header = ["detector", "threshold", *(_FIGURES[name] for name in _GIVEN)]
    header += ["best threshold", *(_FIGURES[name] for name in best), "s/MP"]
    ranked = any(job.get(_RANK) is not None for job in jobs)
    header += [r"$\rho$"] if ranked else []
    lines = [
        f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        "\\toprule",
        " & ".join(header) + r" \\",
        "\\midrule",
    ]
    for job in jobs:
        cells = [
            job["name"].replace("_", r"\_"),
            f"{job['threshold']:g}",
            *(_latex_cell(job, name) for name in _GIVEN),
            _number(job.get("best_threshold"), ".3g").replace("–", "--"),
            *(_latex_cell(job, name) for name in best),
            _number(job["seconds_per_megapixel"], ".3g"),
            *([_number(job.get(_RANK), ".2f").replace("–", "--")] if ranked else []),
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _latex_cell(job: Job, name: str) -> str:
    value, low, high = (job.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "--"
    ends = "" if low is None or high is None else f"_{{{100 * low:.1f}}}^{{{100 * high:.1f}}}"
    return f"${100 * value:.1f}{ends}$"


def plot_curves(folder: Path, jobs: Sequence[Job]) -> None:
    """Draw the precision–recall curves of pixels, as PNG and as SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot(
        xlabel="recall of pixels", ylabel="precision of pixels", xlim=(0, 1.01), ylim=(0, 1.01)
    )
    axes.grid(alpha=0.3)
    for job in jobs:
        with open(job["curve"], newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["precision"] and row["recall"]]
        area = _number(job["average_precision"], ".3f")
        recall, precision = ([float(row[name]) for row in rows] for name in ("recall", "precision"))
        axes.plot(recall, precision, label=f"{job['name']}, AP {area}")
    axes.legend(fontsize=8)
    for suffix in ("png", "svg"):
        with atomic_path(folder / f"{PLOT}.{suffix}") as temporary:
            figure.savefig(temporary, dpi=150)


def _log_to_wandb(
    config: DictConfig, folder: Path, jobs: Sequence[Job], columns: Sequence[str]
) -> None:
    from lightning.pytorch.loggers import WandbLogger

    from callbacks.loggers import close_loggers

    # What depends on a job (its folder, its group) is that of the sweep here.
    node = cast(dict[str, Any], OmegaConf.to_container(config.logger, resolve=False))["wandb"]
    node |= {"save_dir": str(folder), "group": folder.name, "name": "comparison"}
    logger: WandbLogger = instantiate(OmegaConf.create(node))
    data = [[job.get(name) for name in columns] for job in jobs]
    logger.log_table("detectors", columns=list(columns), data=data)
    logger.log_image("precision_recall", [str(folder / f"{PLOT}.png")])
    close_loggers([logger])
