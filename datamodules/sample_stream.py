"""Endless training batches that are the same for any number of ranks and workers, and resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol

from torch.utils.data import DataLoader, Dataset

from desra.errors import InputError

Batch = dict[str, Any]


class Planner(Protocol):
    """Decides in the main process what each sample consists of, and may read what changes there."""

    @property
    def version(self) -> int:
        """Grows when something that plans depend on (a mask) has changed."""

    def plan(self, index: int) -> Any:
        """What sample ``index`` consists of."""


class SampleStream:
    """Batches for Lightning's training loop: samples position, position + 1, … shared among ranks.

    Each step takes ``world_size · batch_size`` consecutive samples, of which a rank makes its
    consecutive ``batch_size``; so the samples of a step are the same whether one process takes
    them all or several share them. ``position`` counts what was handed out, not what the workers
    have prepared, so that it is what a checkpoint has to keep. When the planner's version changes,
    prepared batches are thrown away and made again: every batch comes from the state at its step.

    It is no `DataLoader`, so Lightning puts no sampler of its own into it, and it has a length, so
    Lightning takes no batch ahead of the step.

    Args:
        planner: decides what the samples consist of.
        make: makes a batch of a list of plans; runs in the reading processes and must depend on
            nothing but the plans and the files. An InputError is raised in the main process.
        batch_size: samples a rank and step.
        epoch_steps: length of an epoch in batches; the samples go on across epochs.
        rank: of this process.
        world_size: number of processes.
        num_workers: reading processes; 0 reads in this one.
        pin_memory: hand out page-locked memory, for a GPU.
        prepared: batches that the reading processes make ahead, together.
        unfinished: how many of the batches handed out have not been trained on as a checkpoint is
            made; they are not counted in it.

    Attributes:
        position: number of the first sample of the next batch, over all ranks.
    """

    def __init__(
        self,
        planner: Planner,
        make: Callable[[list[Any]], Batch],
        batch_size: int,
        epoch_steps: int,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        prepared: int = 8,
        unfinished: Callable[[], int] = lambda: 0,
    ) -> None:
        self.planner, self.batch_size, self.epoch_steps = planner, batch_size, epoch_steps
        self.rank, self.world_size = rank, world_size
        self.unfinished = unfinished
        self.position = 0
        self._make = make
        self._options: dict[str, Any] = {"num_workers": num_workers, "pin_memory": pin_memory}
        if num_workers > 0:
            self._options["persistent_workers"] = True
            self._options["prefetch_factor"] = max(-(-prepared // num_workers), 2)
        self._loader: DataLoader | None = None
        self._batches: Iterator[Batch | InputError] | None = None
        self._prepared_for: tuple[int, int] | None = None

    def __len__(self) -> int:
        return self.epoch_steps

    @property
    def step_samples(self) -> int:
        """Samples a step over all ranks."""
        return self.world_size * self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self.epoch_steps):
            batch = self._next_batch()
            self.position += self.step_samples
            yield batch

    def _next_batch(self) -> Batch:
        """This rank's batch at the present position."""
        return next(self._read(1, self.position + self.step_samples))

    def _read(self, count: int, next_position: int) -> Iterator[Batch]:
        """Prepared batches, begun anew if those at hand are not for this position or version.

        Args:
            count: how many of `rank_indices`.
            next_position: where those after them belong.

        Raises:
            InputError: an image that cannot be read.
        """
        if self._loader is None:
            self._loader = DataLoader(
                _Maker(self._make),
                batch_sampler=_Plans(self),
                collate_fn=_as_it_is,
                **self._options,
            )
        if self._batches is None or self._prepared_for != (self.position, self.planner.version):
            self._batches = iter(self._loader)
        self._prepared_for = (next_position, self.planner.version)
        for batch in islice(self._batches, count):
            if isinstance(batch, InputError):
                self._batches = None
                raise batch
            yield batch

    def rank_indices(self) -> Iterator[list[int]]:
        """The numbers of this rank's samples, a step at a time, from the present position on."""
        first = self.position + self.rank * self.batch_size
        while True:
            yield list(range(first, first + self.batch_size))
            first += self.step_samples

    def state_dict(self) -> dict[str, int]:
        """The position; Lightning puts it into every checkpoint."""
        return {"position": self.position - self.unfinished() * self.step_samples}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on at the position of a checkpoint, whatever the ranks and batch size were."""
        self.position = state_dict["position"]

    def close(self) -> None:
        """End the reading processes; they are started again if another batch is asked for."""
        self._batches = self._loader = None


class _Plans:
    """A batch sampler of plans: runs in the main process, ahead of the workers."""

    def __init__(self, stream: SampleStream) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[list[Any]]:
        for indices in self.stream.rank_indices():
            yield [self.stream.planner.plan(index) for index in indices]


class _Maker(Dataset):
    """What the workers get."""

    def __init__(self, make: Callable[[list[Any]], Batch]) -> None:
        self.make = make

    def __getitems__(self, plans: list[Any]) -> Batch | InputError:
        try:
            return self.make(plans)
        except InputError as error:
            return error  # raised in the main process: from a worker it would come as a traceback


def _as_it_is(batch: Any) -> Any:
    return batch
