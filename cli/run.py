"""Running a composed configuration: what every entry point does around its task."""

from __future__ import annotations

import functools
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

import cli.resolvers  # noqa: F401  registers what the configs use
from cli.failures import USAGE_ERROR, exit_code, fail, report_failures, say, user_message

if TYPE_CHECKING:
    from lightning import Callback
    from omegaconf import DictConfig

_EXTRAS = {
    "hparams_search=optuna": "hydra_optuna_sweeper",
    "hydra/sweeper=optuna": "hydra_optuna_sweeper",
    "hydra/launcher=joblib": "hydra_joblib_launcher",
    "hydra/launcher=submitit_slurm": "hydra_submitit_launcher",
    "hydra/launcher=submitit_local": "hydra_submitit_launcher",
}
"""Overrides and the plugin that each needs, of the extra ``sweeps``."""


def entry_point(task: Callable[..., Any]) -> Callable[..., Any]:
    """Turn `InputError` and configuration errors of a Hydra task function into a line on stderr.

    A single run then exits with 2; in a sweep the other jobs still run (this job's value is NaN),
    and the process exits with 2 at the end.
    """

    @functools.wraps(task)
    def run(config: Any) -> Any:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        _quiet_libraries()
        try:
            _require_values(config)
            return task(config)
        except Exception as error:
            message = user_message(error)
            if message is None:
                raise
            say(f"error: {message}")
            fail(USAGE_ERROR)
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                return float("nan")
            raise SystemExit(USAGE_ERROR) from None

    return run


def _require_values(config: DictConfig) -> None:
    """Name what the command must give, and not where in the configuration it would be used.

    Raises:
        InputError: a setting at the root has no value.
    """
    from desra.errors import InputError

    missing = [str(name) for name in config if OmegaConf.is_missing(config, name)]
    if missing:
        overrides = " ".join(f"{name}=VALUE" for name in missing)
        raise InputError(f"{', '.join(missing)}: no value given; add {overrides} to the command")


def on_sample_without_data(arguments: Sequence[str]) -> list[str]:
    """Arguments of train.py, with ``experiment=sample`` where they name no data.

    >>> on_sample_without_data(["model=ldl"])
    ['model=ldl', 'experiment=sample']
    """
    given = dict(argument.partition("=")[::2] for argument in arguments)
    own = given.keys() & {"data.root", "experiment"}
    if own or given.get("data", "desra_artifacts") != "desra_artifacts":
        return list(arguments)
    return [*arguments, "experiment=sample"]


def launch(main: Callable[[], Any], arguments: Callable[[Sequence[str]], list[str]] = list) -> None:
    """Run a Hydra main function and leave the process with the exit code of the whole run.

    Args:
        main: as decorated by ``hydra.main``.
        arguments: what becomes of the command line before Hydra sees it.
    """
    sys.argv[1:] = arguments(sys.argv[1:])
    missing = _missing_extra(sys.argv[1:])
    if missing is None:
        main()
    else:
        say(f"error: {missing}: not installed; pip install 'desra[sweeps]'")
        fail(USAGE_ERROR)
    sys.exit(exit_code())


def _missing_extra(arguments: Sequence[str]) -> str | None:
    """The first override whose plugin is missing; Hydra would list what it has instead."""
    for argument in arguments:
        plugin = _EXTRAS.get(argument.lstrip("+"))
        if plugin is None:
            continue
        if find_spec("hydra_plugins") is None or find_spec(f"hydra_plugins.{plugin}") is None:
            return argument
    return None


def run_over_images(config: DictConfig, **settings: Any) -> Any:
    """Run ``config.task`` over the images of ``config.data`` on ``config.trainer``.

    Images that cannot be done are listed at the end, and the process will exit with 1. Returns the
    task, which has seen all rows if this is rank zero.

    Args:
        config: the composed configuration.
        **settings: further arguments of the task, which no configuration decides.
    """
    from hydra.utils import instantiate

    from callbacks.loggers import log_run
    from callbacks.result_writer import ResultWriter
    from desra.ledger import Ledger

    data = instantiate(config.data)
    task = instantiate(config.task, **settings)
    ledger = Ledger(task.output_dir, task.name, task.settings)
    data.bind(task, ledger)
    writer = ResultWriter(ledger, [match.key for match in data.matches])
    loggers = [instantiate(node) for node in config.logger.values()]
    trainer = instantiate(config.trainer, callbacks=[writer, *progress_bar()], logger=loggers)
    trainer.predict(task, data, return_predictions=False)
    if trainer.is_global_zero:
        log_run(loggers, config, task.summary)
    report_failures(writer.failures, "images not done")
    return task


def refuse_unused_detector() -> None:
    """Raise InputError if a detector is named to a task that has none."""
    from hydra.core.hydra_config import HydraConfig

    from desra.errors import InputError

    choices = HydraConfig.get().runtime.choices
    detector = choices.get("detector")
    if choices["task"] == "masks" and detector is not None:
        raise InputError(
            f"detector={detector}: masks made before are scored without one; to score what it "
            f"detects give task=detector detector={detector}"
        )


def progress_bar() -> list[Callback]:
    """A progress bar with rate and time left, where there is a terminal to show it."""
    from lightning.pytorch.callbacks import RichProgressBar

    return [RichProgressBar()] if sys.stderr.isatty() or sys.stdout.isatty() else []


def _quiet_libraries() -> None:
    # These two loggers greet with what hardware there is; importing Lightning resets their parents.
    for package in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{package}.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*LeafSpec.*deprecated.*")  # Lightning's, not ours to mend
    # The number of workers is a setting here (data.num_workers); its default fits the machine.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
