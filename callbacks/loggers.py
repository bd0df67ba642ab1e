"""Loggers as Hydra nodes: W&B offline where there is no key."""

from __future__ import annotations

import csv
import logging
import netrc
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf

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
    """

    def __init__(self, save_dir: str | Path, continues: str | None = None) -> None:
        super().__init__(save_dir, name="", version="", flush_logs_every_n_steps=1)
        self._earlier = read_curves(Path(save_dir, METRICS)) if continues else []

    @rank_zero_only
    def log_hyperparams(self, params: Any = None) -> None:
        """Write them to ``hparams.yaml``."""
        self._open()
        super().log_hyperparams(params)

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Add a row; the first one decides which of the earlier run's are kept."""
        self._open()
        kept = _rows_before(self._earlier, metrics, step or 0)
        if kept < len(self._earlier):
            self._write_earlier(self._earlier[:kept])
        self._earlier = []
        super().log_metrics(metrics, step)

    def _open(self) -> None:
        if self._experiment is None:
            self._write_earlier(self._earlier)

    def _write_earlier(self, rows: Sequence[dict[str, str]]) -> None:
        """Let Lightning begin anew, and put these rows back."""
        self._experiment = None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # it is the run's own
            for row in rows:
                self.experiment.log_metrics(row, int(row["step"]))
            self.save()


def read_curves(path: Path) -> list[dict[str, str]]:
    """The rows of a ``metrics.csv``, each without the metrics it lacks; none if there is no file.

    A last line without its end, as a killed run may leave it, is left out.
    """
    if not path.is_file():
        return []
    lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    rows = ({name: text for name, text in row.items() if text} for row in csv.DictReader(lines))
    return [row for row in rows if row.get("step", "").isdecimal()]


def _rows_before(rows: Sequence[Mapping[str, str]], metrics: Mapping[str, Any], step: int) -> int:
    """How many rows come before the one with these metrics; several rows may have one step."""
    figures = metrics.keys() - {"step", "epoch"}
    for place, row in enumerate(rows):
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
