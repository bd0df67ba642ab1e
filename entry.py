"""What the entry points share: a user's mistake becomes one line and an exit code."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

if TYPE_CHECKING:
    from lightning import Callback
    from omegaconf import DictConfig

USAGE_ERROR = 2
SOME_FAILED = 1

_exit_code = 0

OmegaConf.register_new_resolver(
    "sweep_group", lambda: (folder := sweep_folder()) and folder.name, replace=True
)


def _on_sample(sample: Any, other: Any, *, _root_: DictConfig) -> Any:
    """``${on_sample:A,B}``: A where ``data.root`` is the shipped sample, whose images are small."""
    root = OmegaConf.select(_root_, "data.root")
    shipped = Path(__file__).parent / "samples" / "artifacts"
    return sample if root is not None and Path(root).resolve() == shipped.resolve() else other


OmegaConf.register_new_resolver("on_sample", _on_sample, replace=True)


def _with_shipped(shipped: Any, other: Any, *, _root_: DictConfig) -> Any:
    """``${with_shipped:A,B}``: A where ``generator_weights`` is one of the sample's networks."""
    from models.shipped import is_shipped

    return shipped if is_shipped(OmegaConf.select(_root_, "generator_weights")) else other


OmegaConf.register_new_resolver("with_shipped", _with_shipped, replace=True)


def better(objective: str) -> str:
    """``${better:OBJECTIVE}``: whether less or more of a figure is better, in a sweeper's words.

    What artifacts leave (their share, regions added, losses, LPIPS, and after finetuning all scores
    against their labels) shall be small; scores of a detector, rates of removal and PSNR large.
    """
    small = ("artifact_share", "regions", "addition_rate", "loss/", "lpips/", "residual/")
    return "minimize" if objective.startswith(small) else "maximize"


OmegaConf.register_new_resolver("better", better, replace=True)

LONGEST_NAME = 200
"""Characters of a folder's name, of the 255 bytes that file systems allow."""


def folder_name(overrides: str) -> str:
    """``${folder_name:OVERRIDES}``: one folder's name, not too long, whatever the values are.

    >>> folder_name("data.root=sets/small,iterations=100")
    'data.root=sets_small,iterations=100'
    """
    name = re.sub(r"[\\/:]", "_", overrides)
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.blake2b(overrides.encode(), digest_size=4).hexdigest()
    return f"{name[:LONGEST_NAME]}_{digest}"


OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)

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
            _say(f"error: {message}")
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


def launch(main: Callable[[], Any]) -> None:
    """Run a Hydra main function and leave the process with the exit code of the whole run."""
    missing = _missing_extra(sys.argv[1:])
    if missing is None:
        main()
    else:
        _say(f"error: {missing}: not installed; pip install 'desra[sweeps]'")
        fail(USAGE_ERROR)
    sys.exit(_exit_code)


def _missing_extra(arguments: Sequence[str]) -> str | None:
    """The first override whose plugin is missing; Hydra would list what it has instead."""
    for argument in arguments:
        plugin = _EXTRAS.get(argument.lstrip("+"))
        if plugin is None:
            continue
        if find_spec("hydra_plugins") is None or find_spec(f"hydra_plugins.{plugin}") is None:
            return argument
    return None


def report_failures(lines: Sequence[str], title: str = "not done") -> None:
    """List what failed on stderr, one line each; the process will exit with 1."""
    if not lines:
        return
    _say(f"{title} ({len(lines)}):")
    for line in lines:
        _say(f"  {line}")
    fail(SOME_FAILED)


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


def sweep_folder() -> Path | None:
    """The folder over all jobs of a sweep; None outside of one."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    return Path(hydra.sweep.dir).absolute() if hydra.mode == RunMode.MULTIRUN else None


def user_message(error: BaseException | None) -> str | None:
    """The line to show if a user's mistake caused ``error``; None if it is a bug."""
    from omegaconf.errors import MissingMandatoryValue

    from desra.errors import InputError

    while error is not None:
        if isinstance(error, InputError):
            return str(error)
        if isinstance(error, MissingMandatoryValue):
            return f"{error.full_key}: no value given; add {error.full_key}=VALUE to the command"
        error = error.__cause__
    return None


def progress_bar() -> list[Callback]:
    """A progress bar with rate and time left, where there is a terminal to show it."""
    from lightning.pytorch.callbacks import RichProgressBar

    return [RichProgressBar()] if sys.stderr.isatty() or sys.stdout.isatty() else []


def is_rank_zero() -> bool:
    """Whether this process speaks for the run, by what torchrun, SLURM and Lightning set."""
    return not any(int(os.environ.get(name, 0)) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))


def fail(code: int = SOME_FAILED) -> None:
    """Let the process exit with at least this code when the run is over."""
    global _exit_code
    _exit_code = max(_exit_code, code)


def _say(line: str) -> None:
    if is_rank_zero():
        print(line, file=sys.stderr, flush=True)


def _quiet_libraries() -> None:
    # These two loggers greet with what hardware there is; importing Lightning resets their parents.
    for package in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{package}.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*LeafSpec.*deprecated.*")  # Lightning's, not ours to mend
    # The number of workers is a setting here (data.num_workers); its default fits the machine.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
