"""One table over the jobs of a sweep, read from what each left in its folder."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

import entry
from desra.files import atomic_path, write_table

log = logging.getLogger(__name__)

SUMMARY = "summary.json"
CACHE = ".cache"


class SweepSummary(Callback):
    """Hydra callback: ``sweep.csv``, a table in the terminal, and a precision–recall plot.

    Everything comes from files, so that jobs may run in this process, in others (joblib) or on
    other machines (submitit), today or in an earlier, interrupted sweep.

    Args:
        summary: file in each job's folder that holds its figures.
        sort: the figure to sort by, the best first; jobs that lack it come last.
        direction: of the better values of that figure.
    """

    def __init__(
        self,
        summary: str = SUMMARY,
        sort: str | None = None,
        direction: Literal["minimize", "maximize"] = "maximize",
    ) -> None:
        self.summary, self.sort = summary, sort
        self.sign = 1 if direction == "minimize" else -1

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Gather the jobs, show and write the table, drop what the jobs shared."""
        folder = Path(config.hydra.sweep.dir)
        jobs = gather_jobs(folder, self.summary)
        if self.sort:
            jobs.sort(key=partial(_rank, figure=self.sort, sign=self.sign))
        if jobs:
            write_table(folder / "sweep.csv", jobs, list(jobs[0]))
            show_jobs(jobs)
            if sum(job.get("recall") is not None for job in jobs) > 1:
                plot_precision_recall(folder / "precision_recall.png", jobs)
            log.info("%s: %d jobs, table in sweep.csv", folder, len(jobs))
            if any(job.get("images_not_done") for job in jobs):
                entry.fail()  # of jobs in other processes this one knows by their summaries only
        shutil.rmtree(folder / CACHE, ignore_errors=True)


def gather_jobs(folder: Path, summary: str = SUMMARY) -> list[dict[str, Any]]:
    """Overrides and figures of each finished job below ``folder``, in order of their folders."""
    jobs = []
    for path in sorted(folder.rglob(summary)):
        overrides = path.parent / ".hydra" / "overrides.yaml"
        if not overrides.is_file():
            continue
        pairs = (str(text).partition("=") for text in OmegaConf.load(overrides))
        settings = {name.lstrip("+"): value for name, _, value in pairs}
        jobs.append({**settings, **json.loads(path.read_text())})
    return _only_what_differs(jobs)


def _rank(job: Mapping[str, Any], figure: str, sign: int) -> tuple[bool, float]:
    value = job.get(figure)
    return value is None, 0.0 if value is None else sign * value


def _only_what_differs(jobs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Drop overrides (strings) that all jobs share; they say nothing in a table."""
    names = dict.fromkeys(name for job in jobs for name in job)
    same = {
        name
        for name in names
        if len(jobs) > 1
        and all(isinstance(job.get(name), str) for job in jobs)
        and len({job[name] for job in jobs}) == 1
    }
    return [{name: job.get(name) for name in names if name not in same} for job in jobs]


def show_jobs(jobs: Sequence[Mapping[str, Any]]) -> None:
    """Print one row a job as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="sweep")
    for name in jobs[0]:
        table.add_column(name, justify="right", overflow="fold")
    for job in jobs:
        table.add_row(*(_cell(value) for value in job.values()))
    Console().print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def plot_precision_recall(path: Path, jobs: Sequence[Mapping[str, Any]]) -> None:
    """Plot the jobs that have both figures, each with the overrides that set it apart."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="recall", ylabel="precision", xlim=(0, 1.05), ylim=(0, 1.05))
    axes.grid(alpha=0.3)
    shown = [job for job in jobs if None not in (job.get("precision"), job.get("recall"))]
    shown.sort(key=lambda job: job["recall"])
    axes.plot([j["recall"] for j in shown], [j["precision"] for j in shown], "o-", alpha=0.8)
    for job in shown:
        name = ", ".join(
            f"{key.rpartition('.')[2]} {value}"
            for key, value in job.items()
            if isinstance(value, str)
        )
        axes.annotate(name, (job["recall"], job["precision"]), fontsize=7, rotation=20)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)
