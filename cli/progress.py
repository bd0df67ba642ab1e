"""Progress of a run: a bar in a terminal, a line every half minute where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cli.failures import watch
from desra.terminal import terminal

EVERY = 30.0
"""Seconds from one line to the next, where there is no terminal."""

_LOSS = "loss/generator"


class RunProgress(Callback):
    """Shows on stderr how far training, validating and predicting are; rank zero alone.

    Args:
        terminal: whether to draw bars; None: if stderr is a terminal.
    """

    def __init__(self, terminal: bool | None = None) -> None:
        self.terminal = sys.stderr.isatty() if terminal is None else terminal
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._totals: dict[str, int] = {}
        self._said = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count iterations, of which a resumed run has done some."""
        _watch_ranks(trainer)
        self._begin(trainer, "training", trainer.max_steps, trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Count an iteration."""
        loss = trainer.callback_metrics.get(_LOSS) if self._is_due() else None
        text = "" if loss is None else f", {_LOSS} {float(loss):.4g}"
        self._show(trainer, "training", trainer.global_step, text)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        self._end("training")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count images."""
        self._begin(trainer, "validating", _total(trainer.num_val_batches))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count an image."""
        self._show(trainer, "validating", batch_idx + 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say the metrics where there is no terminal, and take the bar away."""
        self._end("validating")
        if not self.terminal and trainer.is_global_zero and trainer.state.fn == TrainerFn.FITTING:
            figures = _figures(trainer.callback_metrics)
            self._say(f"validated after {trainer.global_step} iterations{figures}")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count images."""
        _watch_ranks(trainer)
        self._begin(trainer, "images", _total(trainer.num_predict_batches))

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count an image."""
        self._show(trainer, "images", batch_idx + 1)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        self._end("images")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the terminal as it was."""
        for name in list(self._began):
            self._end(name)

    def _begin(self, trainer: Trainer, name: str, total: int, done: int = 0) -> None:
        if not trainer.is_global_zero:
            return
        self._began[name] = time.monotonic(), done
        self._totals[name] = total
        if not self.terminal:
            if name != "validating" and total > 0:
                self._say(f"{name}: {done} of {total}")
            return
        if self._bars is None:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=terminal(stderr=True),
                transient=True,
                expand=True,
            )
            self._bars.start()
        self._tasks[name] = self._bars.add_task(name, total=max(total, 0) or None, completed=done)

    def _show(self, trainer: Trainer, name: str, done: int, text: str = "") -> None:
        if not trainer.is_global_zero or name not in self._began:
            return
        if self._bars is not None:
            self._bars.update(self._tasks[name], completed=done)
        elif self._is_due():
            start, before = self._began[name]
            total = self._totals[name]
            each = (time.monotonic() - start) / max(done - before, 1)
            left = f", {each * (total - done) / 60:.0f} min left" if total > done else ""
            of = f" of {total}" if total > 0 else ""
            self._say(f"{name}: {done}{of}, {each:.2g} s each{left}{text}")

    def _is_due(self) -> bool:
        return not self.terminal and time.monotonic() - self._said >= EVERY

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        print(line, file=sys.stderr, flush=True)

    def _end(self, name: str) -> None:
        self._began.pop(name, None)
        if self._bars is not None:
            if name in self._tasks:
                self._bars.remove_task(self._tasks.pop(name))
            if not self._tasks:
                self._bars.stop()
                self._bars = None


def _watch_ranks(trainer: Trainer) -> None:
    """If one of them dies, the message shall say which."""
    watch(getattr(trainer.strategy.launcher, "procs", None) or [])


def _total(batches: Any) -> int:
    counts = batches if isinstance(batches, list) else [batches]
    return int(sum(count for count in counts if count != float("inf")))


def _figures(metrics: Mapping[str, Any]) -> str:
    names = [name for name in ("artifact_share/after", "psnr/outside") if name in metrics]
    return "".join(f", {name} {float(metrics[name]):.4g}" for name in names)
