"""Writer of a task's results: in the background, image by image, and a table at the end."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from lightning import Callback, LightningModule, Trainer

from desra.errors import InputError, describe
from desra.files import write_table
from desra.image_task import ImageTask, Result
from desra.ledger import Ledger, Row

log = logging.getLogger(__name__)


class ResultWriter(Callback):
    """Write results in threads, record them, and make one table of all ranks' rows at the end.

    Args:
        ledger: where finished images are recorded. Ranks share it through the file system.
        keys: all images of the run, in the table's order.
        threads: writing threads a rank.
        queue: results waiting to be written at most, which bounds memory: the task waits.
    """

    def __init__(
        self, ledger: Ledger, keys: Sequence[str], threads: int = 2, queue: int = 4
    ) -> None:
        self.ledger, self.keys = ledger, keys
        self.threads, self.queue = threads, queue
        self.rows: list[Row] = []
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[Future[None]] = []
        self._said = False

    @property
    def failures(self) -> list[str]:
        """One line for each image that could not be done; complete after the run, on rank zero."""
        return [str(row["error"]) for row in self.rows if row.get("error")]

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the writing threads, and let SIGTERM end the run.

        Lightning notes the signal and goes on: where it has ended the reading processes, too, the
        run would wait for them for ever. Every image is whole or not there, so it can end at once.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _end)
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="write")

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Queue the batch's results for writing."""
        assert self._pool is not None
        for result in outputs:
            while len(self._waiting) >= self.queue:
                self._waiting.pop(0).result()
            self._waiting.append(self._pool.submit(self._finish_image, result))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for all writing on all ranks; rank zero then makes the table and the page."""
        self._drain()
        trainer.strategy.barrier("results written")
        self.rows = self.ledger.rows(self.keys)
        if trainer.is_global_zero:
            task: ImageTask = pl_module  # type: ignore[assignment]
            write_table(self.ledger.output_dir / task.table_name, self.rows, task.columns)
            task.finish(self.rows)
        trainer.strategy.barrier("table written")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Finish what is being written; what is not yet begun is left to the next run."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _drain(self) -> None:
        for future in self._waiting:
            future.result()
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _finish_image(self, result: Result) -> None:
        sample = result.sample
        key, fingerprint = sample.match.key, sample.fingerprint
        if sample.row is not None:
            return
        row, outputs = {"image": key, **result.row}, list[Path]()
        try:
            if error := sample.error or result.error:
                raise InputError(error)
            self._set_aside(key)
            outputs = list(result.write()) if result.write else []
            row |= result.row
        except (InputError, OSError) as reason:
            row = {"image": key, "error": describe(reason, key)}
        self.ledger.record(key, fingerprint, row, outputs)

    def _set_aside(self, key: str) -> None:
        moved = self.ledger.set_aside(key)
        if moved and not self._said:
            self._said = True
            log.warning(
                "%s: changed by hand since it was made, and made again; the changed file is kept "
                "as %s (others likewise)",
                key,
                moved[0],
            )


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
