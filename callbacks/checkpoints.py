"""Checkpoints: written whole, read without running code, saved when a run is stopped."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.trainer.states import TrainerFn

from desra.checkpoints import read_checkpoint
from desra.pickle_writing import write_pickle

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it, and reads without running code in it.

    Lightning writes to the system's temporary folder. From another disk a file is moved by copying:
    a process that is killed then leaves half a checkpoint. It also holds a second one in memory.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write to ``path``: the old checkpoint is there until the new one is whole."""
        write_pickle(path, checkpoint)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read onto the CPU.

        Raises:
            InputError: missing, damaged, or something that would have to run code.
        """
        return dict(read_checkpoint(path).data)


class LastCheckpoint(Callback):
    """Keeps the newest checkpoint: every so many iterations, at the end, and when asked to stop.

    On SIGTERM or the first Ctrl-C the step is finished, a checkpoint saved, and the run left; a
    second Ctrl-C ends it at once. All ranks stop after the same step, whichever of them got the
    signal. The process leaves with 128 plus the signal's number, as one ended by the signal does,
    so that schedulers see that the run was not finished.

    Args:
        path: the checkpoint, whole at any moment; give it as ``ckpt_path`` to go on.
        every: iterations from one to the next.
    """

    def __init__(self, path: str | Path, every: int = 250) -> None:
        self.path, self.every = Path(path), every
        self.received = 0
        self._saved_at: int | None = None  # nothing to save before training has started
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over from Lightning, whose handler talks to the other ranks at once."""
        self._saved_at = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Save if it is time, or stop if any rank was asked to."""
        self._stop_if_asked(trainer)
        if trainer.global_step - (self._saved_at or 0) >= self.every:
            self._save(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Stop if any rank was asked to, without waiting for the end of the validation."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._stop_if_asked(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the end, and give the signals back."""
        if self._saved_at is not None and trainer.global_step != self._saved_at:
            self._save(trainer)
        self._give_back()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back."""
        self._give_back()

    def _stop_if_asked(self, trainer: Trainer) -> None:
        if trainer.strategy.reduce_boolean_decision(bool(self.received), all=False):
            self._save(trainer)
            log.warning("stopped; add ckpt_path=%s to the command to go on", self.path)
            raise SystemExit(128 + (self.received or signal.SIGTERM))

    def _save(self, trainer: Trainer) -> None:
        self._saved_at = trainer.global_step
        trainer.save_checkpoint(self.path, weights_only=False)  # with the optimisers

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        log.warning("signal %d: stopping after this step", number)

    def _give_back(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
