"""Execution of a composed configuration, shared by all entry points."""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cli.resolvers  # noqa: F401  registers what the configs use
from cli.arguments import mistyped, quote_paths, unknown_flag, unusable_path
from cli.deferred import defer_imports
from cli.early_checks import check_choices, check_config, refuse_output_in_input
from cli.failures import (
    USAGE_ERROR,
    error_code,
    exit_code,
    fail,
    hydra_message,
    is_rank_zero,
    report_failures,
    say,
    stoppable,
    user_message,
)

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

_CONFIG_DIR = Path(__file__).parents[1] / "conf"

_ABOUT_TEXT = re.compile(r"\bstr\b|could not convert string|invalid literal")
"""What Python's errors say where a word is compared with a number, or made one."""

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
            check_choices(HydraConfig.get().runtime.choices, config)
            check_config(config)
            return task(config)
        except Exception as error:
            message = user_message(error) or mistyped(HydraConfig.get().overrides.task, _CONFIG_DIR)
            if message is None:
                raise
            _usage_error(message, code := error_code(error))
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                return float("nan")
            raise SystemExit(code) from None

    return run


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
    defer_imports()
    if sys.stderr.isatty():  # importing takes seconds, on a busy machine many
        say(f"{Path(sys.argv[0]).name}: loading PyTorch and Lightning …")
    given = sys.argv[1:]
    if problem := unknown_flag(given) or unusable_path(given) or _missing_extra(given):
        _usage_error(problem)
    else:
        sys.argv[1:] = quote_paths(arguments(sys.argv[1:]))
        _run_hydra(main)
    sys.exit(exit_code())


def _run_hydra(main: Callable[[], Any]) -> None:
    """Hydra's own words for a mistake are many lines, and its exit code is that of a failure."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # it raises what it would print
    try:
        main()
    except Exception as error:
        message = hydra_message(error, _CONFIG_DIR, sys.argv[1:]) or user_message(error)
        if message is None:
            raise
        _usage_error(message, error_code(error))


def _usage_error(message: str, code: int = USAGE_ERROR) -> None:
    say(f"error: {message}")
    fail(code)


def _missing_extra(arguments: Sequence[str]) -> str | None:
    """Which override needs a plugin that is missing; Hydra would list what it has instead."""
    for argument in arguments:
        plugin = _EXTRAS.get(argument.lstrip("+"))
        if plugin is None:
            continue
        if find_spec("hydra_plugins") is None or find_spec(f"hydra_plugins.{plugin}") is None:
            return f"{argument}: not installed; pip install 'desra[sweeps]'"
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
    from cli.progress import RunProgress
    from desra.ledger import Ledger
    from desra.leftovers import remove_leftovers

    detect_as_trained(config)
    data = instantiate(config.data)
    task = instantiate(config.task, **settings)
    refuse_output_in_input(task.output_dir, data.roots)
    ledger = Ledger(task.output_dir, task.name, task.settings)
    data.bind(task, ledger)
    if is_rank_zero():
        remove_leftovers(task.output_dir)
        _say_unknown(ledger.unreadable(match.key for match in data.matches))
    writer = ResultWriter(ledger, [match.key for match in data.matches])
    loggers = [instantiate(node) for node in config.logger.values()]
    trainer = instantiate(
        config.trainer,
        callbacks=[writer, RunProgress()],
        logger=loggers,
        enable_progress_bar=False,
    )
    with stoppable():
        trainer.predict(task, data, return_predictions=False)
    if trainer.is_global_zero:
        log_run(loggers, config, task.summary)
        log.info("%s", closing_line(task.output_dir, task.summary, len(writer.failures)))
    report_failures(writer.failures, "images not done")
    fail(getattr(task, "exit_code", 0))  # of a gate that stays closed
    return task


def detect_as_trained(config: DictConfig) -> None:
    """Judge finetuned weights by the detector's settings that their training had.

    Each setting that the command line gives wins, and nothing is taken over for another detector
    than that of the training.
    """
    from hydra.core.hydra_config import HydraConfig

    weights = config.get("finetuned")
    if not isinstance(weights, str):
        return
    given = [
        override.lstrip("+").partition("=")[0] for override in HydraConfig.get().overrides.task
    ]
    if "detector" in given:
        return
    from desra.checkpoints import read_checkpoint
    from models.generators import resolve_weights

    said = read_checkpoint(resolve_weights(weights)).metadata.get("detector")
    trained = json.loads(said) if said else {}
    if not str(config.detector.get("_target_", "")).endswith(f".{trained.get('name')}"):
        return
    for name in trained.keys() & config.detector.keys():
        value = trained[name]
        if f"detector.{name}" not in given and config.detector[name] != value:
            log.info("detector.%s=%s, as in the training of %s", name, value, weights)
            config.detector[name] = value


def run_task(config: DictConfig) -> Any:
    """Run ``config.task``, which finds its files itself; what it could not do is listed.

    Returns the task. Such a task has ``run() -> list[str]``, and ``summary`` where a sweep could
    optimise it.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.utils import instantiate

    from desra.leftovers import remove_leftovers

    task = instantiate(config.task)
    if is_rank_zero():
        remove_leftovers(HydraConfig.get().runtime.output_dir)
    with stoppable():
        report_failures(task.run())
    return task


def _say_unknown(records: Sequence[Path]) -> None:
    if records:
        log.warning(
            "%s: not a record of a finished image (%d such files); these images are done again",
            records[0],
            len(records),
        )


def closing_line(output_dir: Path, summary: Mapping[str, Any], failed: int) -> str:
    """What a run over images came to, and where to look.

    >>> closing_line(Path("out"), {"images": 3, "artifact_share": 0.0123, "regions": 4}, 0)
    '3 images, artifact share 1.23 %, 4 regions: out'
    """
    facts = []
    if (images := summary.get("images")) is not None:
        facts.append(f"{images} image{'' if images == 1 else 's'}")
    if (share := summary.get("artifact_share")) is not None:
        facts.append(f"artifact share {100 * share:.3g} %")
    if (regions := summary.get("regions")) is not None:
        facts.append(f"{regions} region{'' if regions == 1 else 's'}")
    if failed:
        facts.append(f"{failed} not done")
    page = output_dir / "index.html"
    return f"{', '.join(facts) or 'done'}: {page if page.is_file() else output_dir}"


def _quiet_libraries() -> None:
    # These two loggers greet with what hardware there is; importing Lightning resets their parents.
    for package in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{package}.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*LeafSpec.*deprecated.*")  # Lightning's, not ours to mend
    # The number of workers is a setting here (data.num_workers); its default fits the machine.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
