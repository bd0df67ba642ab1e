"""Loggers as Hydra nodes, with defaults that work where nothing has been set up."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.loggers import Logger, WandbLogger
from omegaconf import OmegaConf

log = logging.getLogger(__name__)


def wandb_logger(save_dir: str, offline: bool | None = None, **kwargs: Any) -> WandbLogger:
    """A W&B logger that writes offline where there is no key.

    Args:
        save_dir: folder that gets ``wandb/``.
        offline: None decides by whether W&B finds a key (``wandb login`` or ``WANDB_API_KEY``).
        **kwargs: as `lightning.pytorch.loggers.WandbLogger`.
    """
    import wandb

    if offline is None:
        offline = wandb.api.api_key is None
        if offline:
            log.info("no W&B key: writing %s/wandb offline; `wandb sync` sends it", save_dir)
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    return WandbLogger(save_dir=save_dir, offline=offline, **kwargs)


def log_settings(loggers: Sequence[Logger], config: Any) -> None:
    """Give the composed configuration of a run to its loggers."""
    settings = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    for logger in loggers:
        logger.log_hyperparams(settings)


def log_run(loggers: Sequence[Logger], config: Any, figures: Mapping[str, Any]) -> None:
    """Give a run's settings and final figures to its loggers, and close it."""
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
