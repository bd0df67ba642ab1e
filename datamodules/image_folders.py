"""Images of one or several folders, served once each, with what is already done left out."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from datamodules.rank_share import NO_ITEM, RankShare, present
from desra.errors import InputError, describe
from desra.files import Match, match_folders
from desra.image_task import ImageTask, Sample
from desra.ledger import Ledger


class ImageSamples(Dataset[Sample | None]):
    """Reads each match for a task, unless the ledger says that it is done."""

    def __init__(self, matches: Sequence[Match], task: ImageTask, ledger: Ledger) -> None:
        self.matches, self.task, self.ledger = matches, task, ledger

    def __len__(self) -> int:
        return len(self.matches)

    def __getitem__(self, index: int) -> Sample | None:
        if index == NO_ITEM:
            return None
        match = self.matches[index]
        sample = Sample(match, error=match.error and f"{match.key}: {match.error}")
        if sample.error:
            return sample
        start = perf_counter()
        try:
            sample.fingerprint = self.ledger.fingerprint(match.key, self.task.inputs(match))
            sample.row = self.ledger.finished(match.key, sample.fingerprint)
            if sample.row is None:
                sample.payload = self.task.load(match)
        except (InputError, OSError) as error:
            sample.error = describe(error, match.key)
        sample.seconds = perf_counter() - start
        return sample


class ImageFolders(LightningDataModule):
    """Matched images of folders for `Trainer.predict`: each rank its share, none twice.

    Args:
        required: role to folder (or single image); every key must be in all of them.
        optional: role to folder; a null folder is left out.
        num_workers: reading processes a rank; null: half the processors of the rank, at most 4.
        batch_size: images handed to the task at once. They may differ in size.
    """

    def __init__(
        self,
        required: Mapping[str, str | Path],
        optional: Mapping[str, str | Path | None] | None = None,
        num_workers: int | None = None,
        batch_size: int = 1,
    ) -> None:
        super().__init__()
        given = {role: root for role, root in (optional or {}).items() if root is not None}
        self.matches = match_folders(required, given)
        self.num_workers, self.batch_size = num_workers, batch_size
        self._samples: ImageSamples | None = None

    def bind(self, task: ImageTask, ledger: Ledger) -> None:
        """Name the task that the images are read for, and the record of what it has done."""
        self._samples = ImageSamples(self.matches, task, ledger)

    def transfer_batch_to_device(self, batch: list[Sample], *_: Any) -> list[Sample]:
        """Samples stay as they are: a task moves what it computes with, and as late as it can."""
        return batch

    def predict_dataloader(self) -> DataLoader[Sample | None]:
        """The images of this rank's share, none of them twice."""
        if self._samples is None:
            raise RuntimeError("ImageFolders.bind was not called before predict")
        trainer = self.trainer
        rank, ranks = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        share = RankShare(len(self._samples), rank, ranks)
        workers = min(self._workers(), len(share))
        return DataLoader(
            self._samples,
            batch_size=self.batch_size,
            sampler=share,
            num_workers=workers,
            collate_fn=present,
            multiprocessing_context=_start_method() if workers else None,
            worker_init_fn=_end_with_parent,
        )

    def _workers(self) -> int:
        if self.num_workers is not None:
            return self.num_workers
        ranks_here = self.trainer.num_devices if self.trainer else 1
        return min(4, (os.cpu_count() or 1) // (2 * ranks_here))


def _start_method() -> str:
    """How reading processes start: by fork where there is one, at once and with all imports made.

    Named, because joblib's processes, in which the jobs of a sweep may run, default to a start
    method of their own that gives no readers.
    """
    return "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"


def _end_with_parent(_worker: int) -> None:
    """Let a reading process end when its parent is killed (Linux).

    It would notice by itself, but then wait for ever to hand over a sample that nobody takes.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


class DetectionFolders(ImageFolders):
    """The images that detection needs: each upscaling from its folder, or LR to make it from.

    Args:
        mse_root: folder of MSE-SR, or None where ``mse_weights`` make it.
        gan_root: folder of GAN-SR, or None where ``gan_weights`` make it.
        lr_root: folder of LR; needed where an upscaling is made, shown on the page otherwise.
        mse_weights: file or name of the MSE generator's weights.
        gan_weights: file or name of the GAN generator's weights.
        num_workers: see `ImageFolders`.
        batch_size: see `ImageFolders`.

    Raises:
        InputError: an upscaling is neither given nor can be made, or is both.
    """

    def __init__(
        self,
        mse_root: str | Path | None = None,
        gan_root: str | Path | None = None,
        lr_root: str | Path | None = None,
        mse_weights: str | None = None,
        gan_weights: str | None = None,
        num_workers: int | None = None,
        batch_size: int = 1,
    ) -> None:
        required: dict[str, str | Path] = {}
        made = {"mse": mse_weights, "gan": gan_weights}
        for name, root in {"mse": mse_root, "gan": gan_root}.items():
            if (root is None) == (made[name] is None):
                raise InputError(
                    f"{name.upper()}-SR: give either {name}_root=DIR (upscaled images) "
                    f"or {name}_weights=NAME_OR_FILE with lr_root=DIR (to make them)"
                )
            if root is not None:
                required[f"{name}_sr"] = root
        if len(required) == 2:
            super().__init__(required, {"lr": lr_root}, num_workers, batch_size)
            return
        if lr_root is None:
            raise InputError("lr_root: give the folder of low-resolution images to upscale")
        super().__init__({"lr": lr_root, **required}, None, num_workers, batch_size)
