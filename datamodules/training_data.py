"""Base of the data modules of training."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from datamodules.cache import ImageCache
from datamodules.crop_batches import to_unit_range
from datamodules.rank_share import RankShare
from datamodules.sample_stream import SampleStream
from desra.errors import InputError


class TrainingData(LightningDataModule):
    """A stream of training batches, whole images to validate on, and a cache that both read from.

    Batches travel to the device as 8-bit images and become float32 in [0, 1] there.

    Args:
        batch_size: samples a step on each rank.
        epoch_steps: steps an epoch, or None for the data module's own length.
        cache_gb: gigabytes of decoded images to keep in memory, a process.
        num_workers: reading processes a rank; None: none if all images fit in the cache, else half
            of the rank's processors, at most 4.

    Raises:
        InputError: a setting out of its range.
    """

    image_roles: tuple[str, ...] = ()

    def __init__(
        self, batch_size: int, epoch_steps: int | None, cache_gb: float, num_workers: int | None
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"data.batch_size={batch_size}: give at least 1")
        if epoch_steps is not None and epoch_steps < 1:
            raise InputError(f"data.epoch_steps={epoch_steps}: give at least 1")
        self.batch_size, self.epoch_steps, self.num_workers = batch_size, epoch_steps, num_workers
        self.images = ImageCache(int(cache_gb * 1e9))
        self._stream: SampleStream | None = None

    @property
    def rank(self) -> tuple[int, int]:
        """Number of this process, and how many there are."""
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)

    @property
    def device(self) -> torch.device:
        """Where training runs."""
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    @property
    def pin_memory(self) -> bool:
        """Whether batches go to a GPU."""
        return self.device.type == "cuda"

    def workers_for(self, paths: Iterable[Path]) -> int:
        """How many processes shall read these images."""
        if self.num_workers is not None:
            return self.num_workers
        if self.images.holds(paths):
            return 0
        local_ranks = self.trainer.num_devices if self.trainer else 1
        return min(4, max((os.cpu_count() or 1) // (2 * local_ranks), 1))

    def evaluation_loader(
        self, batches: Dataset[dict[str, Any]], workers: int = 0
    ) -> DataLoader[dict[str, Any]]:
        """Serve ready batches to Lightning, each on one rank.

        Raises:
            InputError: a rank would get none, and Lightning would leave out its hooks, for which
                the others wait.
        """
        rank, world_size = self.rank
        count = len(batches)  # type: ignore[arg-type]
        if count < world_size:
            raise InputError(
                f"{count} images to evaluate for {world_size} process(es); give more images "
                "(data.val_share, data.val_root, data.test_split) or fewer devices"
            )
        return self.ready_loader(batches, RankShare(count, rank, world_size), workers)

    def ready_loader(
        self, batches: Dataset[dict[str, Any]], places: Iterable[int], workers: int = 0
    ) -> DataLoader[dict[str, Any]]:
        """Serve ready batches at these places of a data set."""
        return DataLoader(
            batches,
            batch_size=None,
            sampler=places,
            num_workers=workers,
            pin_memory=self.pin_memory,
        )

    def unfinished_steps(self) -> int:
        """1 while a training step is under way, else 0."""
        if self.trainer is None:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return max(progress.ready - progress.processed, 0)

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """8-bit images to float32 in [0, 1], on the device."""
        return to_unit_range(batch, self.image_roles)

    def teardown(self, stage: str | None = None) -> None:
        """End the reading processes."""
        if self._stream is not None:
            self._stream.close()
