"""A training run of a composed configuration."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning import LightningModule, Trainer, seed_everything
from omegaconf import DictConfig
from rich.table import Table

from callbacks.loggers import METRICS, CurveLogger, close_loggers, log_settings
from callbacks.plots import plot_run
from cli.failures import is_rank_zero, report_failures, stoppable
from cli.progress import RunProgress
from cli.resolvers import sweep_folder
from cli.resuming import ResumableRun, finish, start_of
from cli.sweep_summary import SUMMARY
from desra.checkpoints import read_checkpoint
from desra.errors import InputError
from desra.files import write_text
from desra.leftovers import remove_leftovers
from desra.report.before_after import figure_text
from desra.terminal import terminal
from models.generators import resolve_weights

Figures = dict[str, float]


def train(config: DictConfig) -> float:
    """Fit ``config.model`` to ``config.data`` on ``config.trainer``; the value of its objective.

    The metrics of validation are taken before the first iteration, every so many, and at the end
    of the run's result; those are written to ``summary.json``, which tables of sweeps are made
    from.

    Returns:
        the metric called ``config.objective``; NaN if there is none, outside of a sweep.

    Raises:
        InputError: in a sweep, no such metric; or whatever else a user can put right.
    """
    output_dir = Path(HydraConfig.get().runtime.output_dir)
    run = ResumableRun(config, start_of(config.ckpt_path))
    _read_weights(config)
    if is_rank_zero():
        remove_leftovers(output_dir)
    seed_everything(config.seed, workers=True, verbose=False)
    data = instantiate(config.data)
    data.setup("fit")  # what is wrong with the images is said before weights are fetched
    model = instantiate(config.model)
    callbacks = [instantiate(node) for node in config.callbacks.values()]
    loggers = [instantiate(node) for node in config.logger.values()]
    for logger in loggers:
        if isinstance(logger, CurveLogger):
            logger.certain = run.rows
    trainer: Trainer = instantiate(
        config.trainer,
        callbacks=[*callbacks, run, RunProgress()],
        logger=loggers,
        enable_progress_bar=False,
    )
    log_settings(loggers, config)
    first: Figures = {}
    with stoppable():
        if config.ckpt_path is None:
            first = _validate(trainer, model, data)
            if not config.objective.startswith("loss/"):
                _check_objective(config.objective, first)
        _fit(trainer, model, data, config.ckpt_path)
        finish(trainer, model, run)
        last = run.figures | _figures(trainer) | _validate(trainer, model, data)  # of the result
    last.pop("step", None)
    if trainer.is_global_zero:
        _write_summary(output_dir, trainer.global_step, last)
        _show(first, last)
    close_loggers(loggers)
    if trainer.is_global_zero:
        plot_run(output_dir / "curves.png", output_dir / METRICS)
        report_failures(getattr(data, "problems", ()), "left out of the training data")
    _check_objective(config.objective, last)
    return last.get(config.objective, math.nan)


def _read_weights(config: DictConfig) -> None:
    """Read the weights that are here, so that a file that is none is said before all else.

    Raises:
        InputError: what such a file is instead.
    """
    for name in ("generator_weights", "discriminator_weights"):
        weights = config.get(name)
        if weights and os.path.exists(os.path.expanduser(weights)):
            read_checkpoint(resolve_weights(weights))


def _fit(trainer: Trainer, model: LightningModule, data: Any, ckpt_path: str | None) -> None:
    try:
        trainer.fit(model, data, ckpt_path=ckpt_path)
    except RuntimeError as error:
        if ckpt_path is None or "loading state_dict" not in str(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"ckpt_path={ckpt_path}: of another network than the one given ({reason}); give the "
            "generator and discriminator that the run was started with"
        ) from error


def _validate(trainer: Trainer, model: LightningModule, data: Any) -> Figures:
    trainer.validate(model, data, verbose=False)
    return _figures(trainer)


def _figures(trainer: Trainer) -> Figures:
    figures = {name: value.item() for name, value in trainer.callback_metrics.items()}
    figures.pop("step", None)
    return figures


def _check_objective(objective: str, figures: Figures) -> None:
    """Only a sweep needs one; and it shall not find out after its first job.

    Raises:
        InputError: there is no such metric.
    """
    if sweep_folder() is not None and objective not in figures:
        there = ", ".join(["loss/generator", *figures])
        raise InputError(f"objective={objective}: no such metric; give one of {there}")


def _write_summary(output_dir: Path, iterations: int, figures: Figures) -> None:
    """``summary.json``: metrics of validation, and the whole loss; undefined ones are null."""
    known = {
        name: value if math.isfinite(value) else None
        for name, value in figures.items()
        if name == "loss/generator" or not name.startswith(("loss/", "gradient_norm/"))
    }
    summary = {"iterations": iterations, **known}
    write_text(output_dir / SUMMARY, json.dumps(summary, indent=2) + "\n")


def _show(first: Figures, last: Mapping[str, float]) -> None:
    """The metrics before and after as a table in the terminal."""
    names = [name for name in last if name in first]
    if not names:
        return
    table = Table("validation images", title="before and after finetuning")
    for column in ("before", "after"):
        table.add_column(column, justify="right")
    for name in names:
        values = (first[name], last[name])
        texts = (figure_text(name, None if math.isnan(value) else value) for value in values)
        table.add_row(name, *texts)
    terminal().print(table)
