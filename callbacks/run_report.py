"""Report of a training run: the page of images before and after, and their table."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray

from callbacks.artifact_detection import ValidatedBatch
from callbacks.artifact_validation import validated_of
from callbacks.ranks import gather_rows
from desra.errors import InputError
from desra.files import write_table
from desra.metrics.finetuning import score_finetuning
from desra.report import before_after


class RunReport(Callback):
    """Writes ``index.html`` and ``per_image.csv`` of the last validation.

    That is the one at the last iteration, or one after training (`cli.training.train` sees to it
    that there is one).

    Args:
        output_dir: gets the files.
        threads: writing threads a rank.
    """

    def __init__(self, output_dir: str | Path, threads: int = 2) -> None:
        self.output_dir, self.threads = Path(output_dir), threads
        self._trained = False
        self._rows: list[dict[str, Any]] = []
        self._last: ValidatedBatch | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[Future[Any]] = []

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on a validation is the last one."""
        self._trained = True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, if this validation is the last one."""
        at_end = trainer.state.fn == TrainerFn.FITTING and trainer.global_step == trainer.max_steps
        self._rows = []
        if at_end or self._trained:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="page")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Mapping[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the page's files of a batch, beside the work on the next.

        Raises:
            InputError: no `ArtifactValidation` came before.
        """
        if self._pool is None:
            return
        validated = validated_of(outputs, "run_report")
        if not validated.rows:
            raise InputError(
                "callbacks.run_report needs callbacks.artifact_validation before it; compose "
                "callbacks as conf/callbacks/default.yaml does"
            )
        self._rows += validated.rows
        self._last = validated
        distance = validated.distance_before()
        for index, key in enumerate(validated.keys):
            entry = page_entry(validated, distance, index)
            while len(self._waiting) > 2 * self.threads:  # images in memory
                self._waiting.pop(0).result()
            future = self._pool.submit(before_after.write_images, self.output_dir, key, **entry)
            self._waiting.append(future)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the files, and write the page and the table."""
        if self._pool is None:
            return
        self._stop_writing()
        rows = gather_rows(self._rows)
        if trainer.is_global_zero and self._last is not None:
            columns = before_after.table_columns(rows)
            write_table(self.output_dir / before_after.TABLE, rows, columns)
            figures = score_finetuning(rows)
            before_after.write_page(
                self.output_dir, rows, figures, self._last.detector, self._last.classes
            )
        self._last = None

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Finish what is being written."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _stop_writing(self) -> None:
        assert self._pool is not None
        for future in self._waiting:
            future.result()
        self._waiting.clear()
        self._pool.shutdown()
        self._pool = None


def page_entry(
    validated: ValidatedBatch, distance_before: torch.Tensor, index: int
) -> dict[str, Any]:
    """What `desra.report.before_after.write_images` needs of one image of a batch."""
    images = validated.images
    shown = (validated.lr, images.mse_sr, images.gan_sr, images.finetuned)
    masks = (images.before, images.after, images.gt_mask)
    distances = (distance_before, validated.after.distance)
    labels = validated.labels
    return {
        "images": [
            np.ascontiguousarray(image[index].permute(1, 2, 0).cpu().numpy()) for image in shown
        ],
        "masks": [None if mask is None else _plane(mask, index) for mask in masks],
        "distances": [_plane(distance, index) for distance in distances],
        "labels": None if labels is None else _plane(labels, index),
    }


def _plane(values: torch.Tensor, index: int) -> NDArray[Any]:
    return values[index, 0].cpu().numpy()
