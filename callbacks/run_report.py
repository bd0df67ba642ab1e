"""Report of a training run: the page of images before and after, and their table."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray

from callbacks.ranks import gather_rows
from desra.files import write_table
from desra.judge import Judged
from desra.metrics.finetuning import score_finetuning
from desra.report import before_after
from models.finetuner import GANFinetuner


class RunReport:
    """Writes ``index.html`` and ``per_image.csv`` of the validation after training, which is of the
    run's result.

    Args:
        output_dir: gets the files.
        threads: writing threads a rank.
    """

    def __init__(self, output_dir: str | Path, threads: int = 2) -> None:
        self.output_dir, self.threads = Path(output_dir), threads
        self._rows: list[dict[str, Any]] = []
        self._last: Judged | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[Future[Any]] = []

    def begin(self, trainer: Trainer) -> None:
        """Begin, if this validation is the one after training."""
        self._rows = []
        if trainer.state.fn == TrainerFn.VALIDATING and trainer.global_step:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="page")

    def add(self, trainer: Trainer, judged: Judged) -> None:
        """Write the page's files of a batch, beside the work on the next."""
        if self._pool is None:
            return
        self._rows += judged.rows
        self._last = judged
        distance = judged.distance_before()
        for index, key in enumerate(judged.keys):
            entry = page_entry(judged, distance, index)
            while len(self._waiting) > 2 * self.threads:  # images in memory
                self._waiting.pop(0).result()
            future = self._pool.submit(before_after.write_images, self.output_dir, key, **entry)
            self._waiting.append(future)

    def finish(self, trainer: Trainer, module: GANFinetuner) -> None:
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

    def _stop_writing(self) -> None:
        assert self._pool is not None
        for future in self._waiting:
            future.result()
        self._waiting.clear()
        self._pool.shutdown()
        self._pool = None


def page_entry(judged: Judged, distance_before: torch.Tensor, index: int) -> dict[str, Any]:
    """What `desra.report.before_after.write_images` needs of one image of a batch."""
    images = judged.images
    shown = (judged.lr, images.mse_sr, images.gan_sr, images.finetuned)
    masks = (images.before, images.after, images.gt_mask)
    distances = (distance_before, judged.after.distance)
    labels = judged.labels
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
