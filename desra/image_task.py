"""Interface of the tasks over folders of images: what is read, computed and written for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from desra.files import Match
from desra.ledger import Row


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


@dataclass
class Result:
    """What a task made of one sample.

    Attributes:
        sample: as it came from the data.
        row: the image's row of the table; may be completed by ``write``.
        write: writes the outputs, returns their paths; called in a writing thread. None where there
            is nothing to write (done before, or failed).
        error: why the image could not be done, in one line.
    """

    sample: Sample
    row: Row = field(default_factory=dict)
    write: Callable[[], Sequence[Path]] | None = None
    error: str | None = None


class ImageTask(Protocol):
    """A task over folders of images: a LightningModule whose ``predict_step`` takes a list of
    `Sample` and returns a list of `Result`.

    Attributes:
        name: of the task; names its records.
        settings: everything but the input files that decides the outputs; JSON-able.
        columns: of the table, in order.
        table_name: file name of the table.
    """

    name: str
    settings: Mapping[str, Any]
    columns: Sequence[str]
    table_name: str

    def inputs(self, match: Match) -> Sequence[Path]:
        """The files whose bytes decide the outputs of ``match``."""

    def load(self, match: Match) -> Any:
        """Read what the task needs of ``match``; runs in a reading process. Raises InputError."""

    def finish(self, rows: Sequence[Row]) -> None:
        """Make the page or whatever else needs all rows; called once, on rank zero."""
