"""Images of one or several folders, served once each, with what is already done left out."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader, Dataset

from datamodules.problems import UNALIGNED_HINT
from datamodules.rank_share import NO_ITEM, RankShare, present
from datamodules.roles import FOLDER_NAMES, Given, Unmatched, locate_roles, match_roles
from datamodules.splits import SplitRule
from desra.errors import InputError, describe
from desra.files import Match
from desra.image_task import ImageTask, Sample
from desra.ledger import Ledger
from desra.same_scene import misalignment

log = logging.getLogger(__name__)


class ImageSamples(Dataset[Sample | None]):
    """Reads each match for a task, unless the ledger says that it is done."""

    def __init__(
        self,
        matches: Sequence[Match],
        task: ImageTask,
        ledger: Ledger,
        check_alignment: bool = False,
    ) -> None:
        self.matches, self.task, self.ledger = matches, task, ledger
        self.check_alignment = check_alignment

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
            sample.fingerprint = self.ledger.fingerprint(match.identity, self.task.inputs(match))
            sample.row = self.ledger.finished(match.key, sample.fingerprint)
            if sample.row is None:
                sample.payload = self.task.load(match)
                if self.check_alignment:
                    _refuse_misaligned(match, sample.payload)
        except (InputError, OSError) as error:
            sample.error, sample.payload = describe(error, match.key), None
        sample.seconds = perf_counter() - start
        return sample


def _refuse_misaligned(match: Match, payload: Any) -> None:
    """Raise InputError where LR, MSE-SR and GAN-SR, as far as they were read, are of two scenes."""
    pictures = {
        FOLDER_NAMES[role]: picture
        for role in ("lr", "mse_sr", "gan_sr")
        if (picture := getattr(payload, role, None)) is not None
    }
    if problem := misalignment(pictures):
        raise InputError(f"{match.key}: {problem}; {UNALIGNED_HINT}")


class MatchedImages(LightningDataModule):
    """Matched images for `Trainer.predict`: each rank its share, none twice.

    Args:
        matches: the images.
        num_workers: reading processes a rank; null: half the processors of the rank, at most 4.
        batch_size: images handed to the task at once. They may differ in size.
    """

    def __init__(
        self, matches: Sequence[Match], num_workers: int | None = None, batch_size: int = 1
    ) -> None:
        super().__init__()
        self.matches = list(matches)
        self.roots: dict[str, Path] = {}
        self.check_alignment = False
        self.num_workers, self.batch_size = num_workers, batch_size
        self._samples: ImageSamples | None = None

    def bind(self, task: ImageTask, ledger: Ledger) -> None:
        """Name the task that the images are read for, and the record of what it has done."""
        self._samples = ImageSamples(self.matches, task, ledger, self.check_alignment)

    def transfer_batch_to_device(self, batch: list[Sample], *_: Any) -> list[Sample]:
        """Samples stay as they are: a task moves what it computes with, and as late as it can."""
        return batch

    def predict_dataloader(self) -> DataLoader[Sample | None]:
        """The images of this rank's share, none of them twice."""
        if self._samples is None:
            raise RuntimeError("bind was not called before predict")
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
            worker_init_fn=partial(_end_with_parent, os.getpid()),
        )

    def _workers(self) -> int:
        if self.num_workers is not None:
            return self.num_workers
        ranks_here = self.trainer.num_devices if self.trainer else 1
        return min(4, (os.cpu_count() or 1) // (2 * ranks_here))


class ImageFolders(MatchedImages):
    """Matched images of folders.

    Args:
        roles: name to `Role`, its settings, or only the root of a required image.
        root: an artifact set in the release's layout; roles without a folder have theirs in it.
        method: whose folder, where ``root`` holds those of several methods.
        folder_names: role to its folder's name in the set, where it is not the release's.
        unmatched: see `match_roles`.
        num_workers: see `MatchedImages`.
        batch_size: likewise.
        test_split: the images that trained (``"train"``), those that validated (``"val"``) or all.
        check_alignment: refuse images whose LR, MSE-SR and GAN-SR do not lie on each other.
        split: settings of the `SplitRule` that training had; ``val_root`` is another ``root``.

    Raises:
        InputError: see `locate_roles`, `match_roles` and `SplitRule`; or no image in the split.
    """

    def __init__(
        self,
        roles: Mapping[str, Given],
        root: str | Path | None = None,
        method: str | None = None,
        folder_names: Mapping[str, str] | None = None,
        unmatched: Unmatched = "error",
        num_workers: int | None = None,
        batch_size: int = 1,
        test_split: Literal["train", "val", "all"] = "all",
        check_alignment: bool = True,
        **split: Any,
    ) -> None:
        rule = SplitRule(**split)
        if test_split not in ("train", "val", "all"):
            raise InputError(f"data.test_split={test_split}: give train, val or all")
        if rule.val_root and test_split == "all":
            raise InputError("data.test_split=all: there are two roots; evaluate one after another")
        if rule.val_root and test_split == "val":
            root = rule.val_root
            method = method if method and Path(root, method).is_dir() else None
        located = locate_roles(roles, root, method, folder_names)
        matches = match_roles(located, unmatched)
        if test_split != "all":
            if not rule.val_root:
                matches = _on_side(matches, rule, test_split == "val")
            _say_split(root, len(matches), test_split)
        super().__init__(matches, num_workers, batch_size)
        self.roots = {name: role.folder for name, role in located.items()}
        self.check_alignment = check_alignment


def _start_method() -> str:
    """How reading processes start: by fork where there is one, at once and with all imports made.

    Named, because joblib's processes, in which the jobs of a sweep may run, default to a start
    method of their own that gives no readers.
    """
    return "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"


def _end_with_parent(parent: int, _worker: int) -> None:
    """Let a reading process end when its parent is killed (Linux).

    It would notice by itself, but then wait for ever to hand over a sample that nobody takes.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:  # killed before it was asked for
            os._exit(1)


def _on_side(matches: Sequence[Match], rule: SplitRule, val: bool) -> list[Match]:
    """Those of one side, and all that are broken, which training refused.

    Raises:
        InputError: there are none.
    """
    held = rule.held_out([match.key for match in matches if not match.error])
    chosen = [match for match in matches if match.error or (match.key in held) == val]
    if not chosen:
        raise InputError(
            f"none of {len(matches)} images is in the {'val' if val else 'train'} split; give "
            "data.test_split=all, or more data.val_share"
        )
    return chosen


@rank_zero_only
def _say_split(root: str | Path | None, count: int, split: str) -> None:
    log.info("%s: %d images (data.test_split=%s)", root, count, split)
