"""Loggers as Hydra nodes: W&B offline where there is no key."""

from __future__ import annotations

import csv
import io
import logging
import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf

from desra.files import write_text

log = logging.getLogger(__name__)

METRICS = "metrics.csv"
"""Where Lightning's CSV logger writes, in a run's folder."""


def wandb_logger(save_dir: str, offline: bool | None = None, **kwargs: Any) -> WandbLogger:
    """A W&B logger that writes offline where there is no key, or none that W&B takes.

    Args:
        save_dir: folder that gets ``wandb/``.
        offline: None decides by whether there is a key (``WANDB_API_KEY``, or what ``wandb login``
            left in the file of passwords), and by ``WANDB_MODE`` where it is set.
        **kwargs: as `lightning.pytorch.loggers.WandbLogger`.
    """
    if offline is None:
        mode = os.environ.get("WANDB_MODE")
        offline = mode in ("offline", "dryrun") if mode else not has_wandb_key()
        if offline and not mode:
            log.info("no W&B key: writing %s/wandb offline; `wandb sync` sends it", save_dir)
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    logger = WandbLogger(save_dir=save_dir, offline=offline, **kwargs)
    if offline or getattr(rank_zero_only, "rank", 0) != 0:
        return logger
    try:
        _ = logger.experiment  # begins the run
    except Exception as error:  # of many kinds: a key that is none, no network, no such project
        reason = " ".join(str(error).split())[:200]
        log.warning("W&B: %s; writing %s/wandb offline, `wandb sync` sends it", reason, save_dir)
        logger = WandbLogger(save_dir=save_dir, offline=True, **kwargs)
    return logger


def has_wandb_key() -> bool:
    """Whether this user has a key of W&B, found without starting W&B.

    Asking W&B itself makes it decide that it is online, for the rest of the process.
    """
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    files = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    for path in (os.path.expanduser(name) for name in files if name):
        try:
            if netrc.netrc(path).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


class CurveLogger(CSVLogger):
    """Lightning's CSV logger, whose curves go on where a run goes on from a checkpoint.

    Lightning deletes the ``metrics.csv`` that it finds. This one takes its rows over, up to the one
    that the first new row repeats: what follows, the run that was stopped had written after its
    last checkpoint. Each row is in the file as soon as it is logged.

    Args:
        save_dir: folder that gets ``metrics.csv`` and ``hparams.yaml``.
        continues: the checkpoint that the run goes on from; None: the file begins anew.

    Attributes:
        certain: rows at the beginning that are from before the checkpoint, and not repeated.
    """

    def __init__(self, save_dir: str | Path, continues: str | None = None) -> None:
        super().__init__(save_dir, name="", version="", flush_logs_every_n_steps=1)
        self._earlier = read_curves(Path(save_dir, METRICS)) if continues else []
        self.certain = 0

    @property
    @rank_zero_experiment
    def experiment(self) -> _CurveWriter:
        """What writes the files."""
        if self._experiment is None:
            self._experiment = _CurveWriter(self.log_dir, self._earlier)
        return cast(_CurveWriter, self._experiment)

    @property
    def rows(self) -> int:
        """Rows in the file."""
        return self.experiment.rows

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Add a row; the first one decides which of the earlier run's are kept."""
        kept = _rows_before(self._earlier, metrics, step or 0, self.certain)
        if kept < len(self._earlier):
            self.experiment.begin(self._earlier[:kept])
        self._earlier = []
        super().log_metrics(metrics, step)


class _CurveWriter(ExperimentWriter):
    """Lightning's, but whatever it writes anew is written whole or not at all."""

    def __init__(self, log_dir: str, rows: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(log_dir)
        self.begin(rows)

    def begin(self, rows: Sequence[Mapping[str, Any]], names: list[str] | None = None) -> None:
        """Let the file hold these rows and no others; without any, there is none."""
        self.rows = len(rows)
        self.metrics_keys = names or sorted({name for row in rows for name in row})
        if not rows:
            Path(self.metrics_file_path).unlink(missing_ok=True)
            return
        text = io.StringIO()
        table = csv.DictWriter(text, self.metrics_keys)
        table.writeheader()
        table.writerows(rows)
        write_text(self.metrics_file_path, text.getvalue())

    def save(self) -> None:
        """Append what was logged."""
        added = len(self.metrics)
        super().save()
        self.rows += added

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        with open(self.metrics_file_path, newline="") as file:
            rows = list(csv.DictReader(file))
        self.begin(rows, fieldnames)

    def _check_log_dir_exists(self) -> None:
        """Lightning deletes here what it finds."""


def read_curves(path: Path) -> list[dict[str, str]]:
    """The rows of a ``metrics.csv``, each without the metrics it lacks; none if there is no file.

    A last line without its end, as a killed run may leave it, is left out.
    """
    if not path.is_file():
        return []
    lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    rows = ({name: text for name, text in row.items() if text} for row in csv.DictReader(lines))
    return [row for row in rows if row.get("step", "").isdecimal()]


def _rows_before(
    rows: Sequence[Mapping[str, str]], metrics: Mapping[str, Any], step: int, certain: int
) -> int:
    """How many rows come before the one with these metrics; several rows may have one step."""
    figures = metrics.keys() - {"step", "epoch"}
    for place, row in enumerate(rows[certain:], certain):
        at = int(row["step"])
        if at > step or (at == step and not figures.isdisjoint(row)):
            return place
    return len(rows)


def log_settings(loggers: Sequence[Logger], config: Any) -> None:
    """Give the composed configuration of a run to its loggers."""
    settings = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    for logger in loggers:
        logger.log_hyperparams(settings)


def log_run(loggers: Sequence[Logger], config: Any, figures: Mapping[str, Any]) -> None:
    """Give a run's settings and final metrics to its loggers, and close it."""
    numbers = {name: value for name, value in figures.items() if isinstance(value, (int, float))}
    log_settings(loggers, config)
    for logger in loggers:
        logger.log_metrics(numbers)
    close_loggers(loggers)


def close_loggers(loggers: Sequence[Logger]) -> None:
    """Write what loggers hold back, and end their runs.

    Ending matters in a sweep, whose jobs share a process: each is a W&B run of its own.
    """
    for logger in loggers:
        logger.save()
        logger.finalize("success")
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()
