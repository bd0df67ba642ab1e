"""One table over the jobs of a sweep, read from what each left in its folder."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cli.failures import fail
from desra.files import write_table

log = logging.getLogger(__name__)

SUMMARY = "summary.json"
CACHE = ".cache"


class SweepSummary(Callback):
    """Hydra callback: ``sweep.csv``, a table in the terminal, and plots.

    ``precision_recall.png`` where the jobs have both; ``curves.png`` of the jobs' ``metrics.csv``
    where there are some. Each job's folder is called by the settings that the sweep varies.

    Everything comes from files, so that jobs may run in this process, in others (joblib) or on
    other machines (submitit), today or in an earlier, interrupted sweep.

    Args:
        summary: file in each job's folder that holds its metrics.
        sort: the metric to sort by, the best first; jobs that lack it come last.
        direction: of the better values of that metric.
        metrics: those that the terminal and ``curves.png`` show; None: all, and no curves.
    """

    def __init__(
        self,
        summary: str = SUMMARY,
        sort: str | None = None,
        direction: Literal["minimize", "maximize"] = "maximize",
        metrics: Sequence[str] | None = None,
    ) -> None:
        self.summary, self.sort, self.metrics = summary, sort, metrics
        self.sign = 1 if direction == "minimize" else -1

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Leave out of the jobs' folder names what all jobs share: paths, mostly."""
        parsed = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        if any(override.is_sweep_override() for override in parsed):
            shared = [o.key_or_group for o in parsed if not o.is_sweep_override()]
            key = "hydra.job.config.override_dirname.exclude_keys"
            config.hydra.overrides.hydra.append(f"{key}={json.dumps([*shared, 'output_dir'])}")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Gather the jobs, show and write the table, drop what the jobs shared."""
        # Not at the top, which every single run loads too, before it can say what is missing.
        from callbacks.loggers import METRICS
        from callbacks.plots import overrides_text, plot_precision_recall

        folder = Path(config.hydra.sweep.dir)
        folders = job_folders(folder, self.summary)
        jobs = gather_jobs(folders, self.summary)
        curves = {
            overrides_text(job): path / METRICS for job, path in zip(jobs, folders, strict=True)
        }
        if self.sort:
            jobs.sort(key=partial(_rank, metric=self.sort, sign=self.sign))
        if jobs:
            write_table(folder / "sweep.csv", jobs, list(jobs[0]))
            show_jobs(jobs, self.metrics)
            if sum(job.get("recall") is not None for job in jobs) > 1:
                plot_precision_recall(folder / "precision_recall.png", jobs)
            self._plot_curves(folder, curves)
            log.info("%s: %d jobs, table in sweep.csv", folder, len(jobs))
            if any(job.get("images_not_done") for job in jobs):
                fail()  # of jobs in other processes this one knows by their summaries only
        shutil.rmtree(folder / CACHE, ignore_errors=True)

    def _plot_curves(self, folder: Path, curves: Mapping[str, Path]) -> None:
        from callbacks.plots import plot_curves

        there = sorted((name for name in curves if curves[name].is_file()), key=_natural)
        runs = {name: curves[name] for name in there}
        if self.metrics and plot_curves(folder / "curves.png", runs, self.metrics):
            log.info("%s: curves in curves.png", folder)


def _natural(text: str) -> list[tuple[float, str]]:
    """A key that sorts 5 before 10."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return [(float(part), "") if place % 2 else (0.0, part) for place, part in enumerate(parts)]


def job_folders(folder: Path, summary: str = SUMMARY) -> list[Path]:
    """The folders of the finished jobs below ``folder``, in their order.

    A job that was killed may have left Hydra's record of its overrides empty or cut short; it is
    none of them.
    """
    paths = (path.parent for path in sorted(folder.rglob(summary)))
    return [path for path in paths if _overrides(path) is not None]


def _overrides(job: Path) -> list[str] | None:
    """What the command said of a job; None where Hydra's record of it cannot be read."""
    try:
        found = OmegaConf.load(job / ".hydra" / "overrides.yaml")
        texts = [str(text) for text in found] if OmegaConf.is_list(found) else None
    except (OSError, YAMLError, UnicodeDecodeError, OmegaConfBaseException):
        return None
    return texts


def gather_jobs(folders: Sequence[Path], summary: str = SUMMARY) -> list[dict[str, Any]]:
    """Overrides and metrics of each finished job, in the order of their `job_folders`."""
    jobs = []
    for path in folders:
        pairs = (text.partition("=") for text in _overrides(path) or ())
        settings = {name.lstrip("+"): value for name, _, value in pairs}
        jobs.append({**settings, **json.loads((path / summary).read_text())})
    return _only_what_differs(jobs)


def _rank(job: Mapping[str, Any], metric: str, sign: int) -> tuple[bool, float]:
    value = job.get(metric)
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


def show_jobs(jobs: Sequence[Mapping[str, Any]], metrics: Sequence[str] | None = None) -> None:
    """Print one row a job as a table: its settings, and these metrics or all."""
    from rich.table import Table

    from desra.terminal import terminal

    table = Table(title="sweep")
    settings = [name for name in jobs[0] if any(isinstance(job[name], str) for job in jobs)]
    names = [name for name in jobs[0] if name in settings or name in (metrics or jobs[0])]
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for job in jobs:
        table.add_row(*(_cell(job[name]) for name in names))
    terminal().print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
