"""Writing what a task makes of each image while the next one is worked on, and the table at the end."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lightning import Callback, LightningModule, Trainer

import entry
from datamodules.image_folders import Sample
from desra.errors import InputError
from desra.files import write_text
from desra.ledger import Ledger, Row


@dataclass
class Result:
    """What a task made of one sample.

    Attributes:
        sample: as it came from the data.
        row: the image's row of the table; may be completed by ``write``.
        write: writes the outputs, returns their paths; called in a writing thread. None where there
            is nothing to write (done before, or failed).
    """

    sample: Sample
    row: Row = field(default_factory=dict)
    write: Callable[[], Sequence[Path]] | None = None


class FinishingTask(Protocol):
    """A LightningModule whose results `ResultWriter` writes."""

    columns: Sequence[str]
    table_name: str

    def finish(self, rows: Sequence[Row]) -> None:
        """Make the page or whatever else needs all rows; called once, on rank zero."""


class ResultWriter(Callback):
    """Write results in threads, record them, and make one table of all ranks' rows at the end.

    Args:
        ledger: where finished images are recorded. Ranks share it through the file system.
        keys: all images of the run, in the table's order.
        threads: writing threads a rank.
        queue: results waiting to be written; more than that and the task waits, which bounds memory.
    """

    def __init__(
        self, ledger: Ledger, keys: Sequence[str], threads: int = 2, queue: int = 4
    ) -> None:
        self.ledger, self.keys = ledger, keys
        self.threads, self.queue = threads, queue
        self.rows: list[Row] = []
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[Future[None]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the writing threads."""
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
            task: FinishingTask = pl_module  # type: ignore[assignment]
            write_table(self.ledger.output_dir / task.table_name, self.rows, task.columns)
            task.finish(self.rows)
            failures = [str(row["error"]) for row in self.rows if row.get("error")]
            entry.report_failures(failures, "images not done")
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
            if sample.error:
                raise InputError(sample.error)
            outputs = list(result.write()) if result.write else []
            row |= result.row
        except InputError as error:
            row = {"image": key, "error": str(error)}
        except OSError as error:
            row = {"image": key, "error": f"{error.filename or key}: {error.strerror or error}"}
        self.ledger.record(key, fingerprint, row, outputs)


def write_table(path: str | Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as CSV, whole or not at all; a value that a row lacks is left empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
