"""Images of one or several folders, served once each, with what is already done left out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from desra.errors import InputError
from desra.files import Match, match_folders
from desra.ledger import Ledger, Row


class ImageTask(Protocol):
    """What a task over folders of images tells the data about itself.

    Attributes:
        settings: everything but the input files that decides the outputs; JSON-able.
    """

    settings: Mapping[str, Any]

    def inputs(self, match: Match) -> Sequence[Path]:
        """The files whose bytes decide the outputs of ``match``."""

    def load(self, match: Match) -> Any:
        """Read what the task needs of ``match``; runs in a reading process. Raises InputError."""


@dataclass
class Sample:
    """One image on its way to the task.

    Attributes:
        match: the key and the files.
        fingerprint: digest of inputs and settings; empty if they could not be read.
        payload: what `ImageTask.load` returned; None if done before, or failed.
        row: the row of the table if the image was done before by the same inputs and settings.
        error: why the image cannot be done, in one line.
        seconds: time spent reading.
    """

    match: Match
    fingerprint: str = ""
    payload: Any = None
    row: Row | None = None
    error: str | None = None
    seconds: float = field(default=0.0, compare=False)


class ImageSamples(Dataset[Sample]):
    """Reads each match for a task, unless the ledger says that it is done."""

    def __init__(self, matches: Sequence[Match], task: ImageTask, ledger: Ledger) -> None:
        self.matches, self.task, self.ledger = matches, task, ledger

    def __len__(self) -> int:
        return len(self.matches)

    def __getitem__(self, index: int) -> Sample:
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
        except InputError as error:
            sample.error = str(error)
        except OSError as error:
            sample.error = f"{error.filename or match.key}: {error.strerror or error}"
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

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Lightning shares the images out among ranks without repeating any."""
        if self._samples is None:
            raise RuntimeError("ImageFolders.bind was not called before predict")
        ranks = self.trainer.num_devices if self.trainer else 1
        workers = self.num_workers
        if workers is None:
            workers = min(4, (os.cpu_count() or 1) // (2 * ranks))
        return DataLoader(
            self._samples,
            batch_size=self.batch_size,
            num_workers=min(workers, len(self._samples)),
            collate_fn=list,
        )
