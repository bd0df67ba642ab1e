"""Going on from a checkpoint: what is other than when the run was started, and its last steps."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf

from callbacks.loggers import CurveLogger
from desra.checkpoints import read_checkpoint
from desra.errors import InputError

log = logging.getLogger(__name__)

KEY = "run"
"""Of a checkpoint: settings and metrics of the run that wrote it."""

_FREE = (
    *("output_dir", "iterations", "validate_every", "ckpt_path", "objective", "logger", "trainer"),
    *("callbacks", "data.num_workers", "data.cache_gb", "data.check_alignment", "hydra"),
)
"""Settings that are of this run alone; nothing of them is in a checkpoint."""

_RATES = ("model.learning_rate", "model.discriminator_learning_rate")
_IN_FORCE = ("model.", "detector.", "segmenter.", "data.root", "callbacks.artifact_detection")
"""Settings that a resumed run has anew: losses, the detector, where the images lie."""

_OF_THE_CHECKPOINT = (
    *("model.generator", "model.discriminator.", "model.betas", "model.milestones", "model.gamma"),
    *("model.discriminator_weights", "model.accumulate", "model._target_", "model.seed"),
)
"""Settings of the model that the checkpoint has decided."""


def start_of(ckpt_path: str | None) -> Mapping[str, Any] | None:
    """What the run that is to go on left in its checkpoint; None where a run begins.

    Raises:
        InputError: no such file, or no checkpoint of training.
    """
    if ckpt_path is None:
        return None
    data = read_checkpoint(ckpt_path).data
    if "pytorch-lightning_version" not in data or "loops" not in data:
        raise InputError(
            f"ckpt_path={ckpt_path}: weights, no checkpoint of training; to begin from them give "
            "generator_weights=FILE, to go on OUTPUT_DIR/checkpoints/last.ckpt"
        )
    found = data.get(KEY)
    return found if isinstance(found, Mapping) else {}


class ResumableRun(Callback):
    """Writes settings and metrics into checkpoints, and brings a new learning rate into force.

    Args:
        config: the composed configuration.
        earlier: of `start_of`.

    Attributes:
        figures: metrics of the run so far.
        rows: of its curves, when the checkpoint was saved.
        ended: whether training has come to its end in this process.

    Raises:
        InputError: the run cannot go on with these settings.
    """

    def __init__(self, config: DictConfig, earlier: Mapping[str, Any] | None) -> None:
        self.settings = flat_settings(config)
        self.figures: dict[str, float] = dict((earlier or {}).get("figures", {}))
        self.rows = int((earlier or {}).get("rows", 0))
        self.ended = False
        self._factors: dict[str, float] = {}
        before = json.loads((earlier or {}).get("settings", "null"))
        if before is not None:
            self._compare(before)

    def _compare(self, before: Mapping[str, Any]) -> None:
        changed = [
            name
            for name in sorted(before.keys() | self.settings.keys())
            if not _same(name, before.get(name), self.settings.get(name)) and not _is_free(name)
        ]
        refused = [name for name in changed if not _takes_effect(name)]
        if refused:
            raise InputError(
                f"ckpt_path: the run was started with {self._differences(refused, before)}, which "
                "its checkpoint has decided; give that again, or begin a new run with "
                "generator_weights=FILE"
            )
        if changed:
            log.warning("from here on: %s", self._differences(changed, before))
        for name in _RATES:
            old, new = before.get(name), self.settings.get(name)
            if name in changed and old and new:
                self._factors[name] = new / old

    def _differences(self, names: list[str], before: Mapping[str, Any]) -> str:
        return ", ".join(
            f"{name}={before.get(name)} (now {self.settings.get(name)})" for name in names
        )

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the settings and the newest metrics."""
        self.figures |= {name: float(value) for name, value in trainer.callback_metrics.items()}
        finite = {name: value for name, value in self.figures.items() if math.isfinite(value)}
        rows = [logger.rows for logger in trainer.loggers if isinstance(logger, CurveLogger)]
        checkpoint[KEY] = {
            "settings": json.dumps(self.settings),
            "figures": finite,
            "rows": rows[0] if rows and trainer.is_global_zero else 0,
        }

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Scale the rates that the checkpoint brought."""
        generator = self._factors.get(_RATES[0], 1.0)
        own = self.settings.get(_RATES[1]) is not None
        factors = [generator, self._factors.get(_RATES[1], 1.0) if own else generator]
        for optimizer, factor in zip(trainer.optimizers, factors, strict=False):
            for group in optimizer.param_groups:
                for name in ("lr", "initial_lr"):
                    if name in group:
                        group[name] *= factor
        for entry, factor in zip(trainer.lr_scheduler_configs, factors, strict=False):
            entry.scheduler.base_lrs = [rate * factor for rate in entry.scheduler.base_lrs]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training has come to its end."""
        self.ended = True


def finish(trainer: Trainer, model: LightningModule, run: ResumableRun) -> None:
    """What is left to do of a run that was stopped after its last step.

    Lightning has nothing to train then, and skips what callbacks do at the end.
    """
    if run.ended:
        return
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        callback.on_train_end(trainer, model)


def flat_settings(config: DictConfig) -> dict[str, Any]:
    """Settings by their names on the command line, JSON-able."""
    found: dict[str, Any] = {}

    def add(node: Any, prefix: str) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                add(value, f"{prefix}.{key}" if prefix else str(key))
        else:
            found[prefix] = node if isinstance(node, (int, float, str, type(None))) else str(node)

    add(OmegaConf.to_container(config, resolve=True), "")
    return found


def _same(name: str, one: Any, other: Any) -> bool:
    if one == other:
        return True
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    if name.endswith("weights"):  # a file may have been moved
        return Path(one).name == Path(other).name
    return name.endswith("root") and Path(one).resolve() == Path(other).resolve()


def _is_free(name: str) -> bool:
    detection = name.startswith("callbacks.artifact_detection")
    return not detection and any(name == free or name.startswith(f"{free}.") for free in _FREE)


def _takes_effect(name: str) -> bool:
    if name in _RATES:
        return True
    return name.startswith(_IN_FORCE) and not name.startswith(_OF_THE_CHECKPOINT)
