"""A stream whose samples are made in groups and handed out mixed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from numpy.typing import NDArray

from datamodules.randomness import Purpose, generator_of
from datamodules.sample_stream import Batch, Planner, SampleStream


@dataclass(frozen=True)
class PoolLayout:
    """Which samples a rank makes together, and which it hands out together.

    The run's samples fall into windows of about ``pool_size``. Within a window they are handed out
    in a random order, each once; they are made in groups of ``group_size`` consecutive ones, of
    which a rank makes those that it hands out. All of it follows from the seed, so that any number
    of ranks hand out the same samples in the same steps, and nothing of the pool has to be in
    a checkpoint. (Real-ESRGAN's pool of 180 pairs serves the same purpose with a random queue.)

    Attributes:
        pool_size: least samples in a window, over all ranks.
        group_size: samples, over all ranks, that are made together.
        batch_size: samples a rank and step.
        rank: of this process.
        world_size: number of processes.
        seed: another seed, another order.
    """

    pool_size: int
    group_size: int
    batch_size: int
    rank: int
    world_size: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps in a window."""
        return max(-(-self.pool_size // (self.batch_size * self.world_size)), 1)

    @property
    def window_samples(self) -> int:
        """Samples in a window, over all ranks."""
        return self.steps * self.batch_size * self.world_size

    def handed_out(self, window: int, step: int) -> list[int]:
        """The numbers of this rank's samples in one step of a window, in their order."""
        order = _order(self.seed, window, self.window_samples)
        first = (step * self.world_size + self.rank) * self.batch_size
        return (window * self.window_samples + order[first : first + self.batch_size]).tolist()

    def groups(self, window: int) -> dict[int, list[int]]:
        """Group number to the numbers of the samples in it that this rank makes, in order."""
        groups: dict[int, list[int]] = {}
        numbers = (self.handed_out(window, step) for step in range(self.steps))
        for number in sorted(number for batch in numbers for number in batch):
            groups.setdefault(number // self.group_size, []).append(number)
        return groups


@lru_cache(maxsize=4)
def _order(seed: int, window: int, count: int) -> NDArray:
    return generator_of(seed, Purpose.POOL_ORDER, window).permutation(count)


class PooledStream(SampleStream):
    """A `SampleStream` of samples that are finished in groups on the device and mixed.

    Args:
        planner: decides what the samples consist of.
        make: makes a batch of plans, in a reading process.
        finish: takes such a batch of one group, and the group's number, to finished samples: a dict
            of tensors of equal length.
        layout: what is made and handed out together.
        epoch_steps: length of an epoch in batches.
        options: further ones of `SampleStream`.
    """

    def __init__(
        self,
        planner: Planner,
        make: Callable[[list[Any]], Batch],
        finish: Callable[[Batch, int], dict[str, torch.Tensor]],
        layout: PoolLayout,
        epoch_steps: int,
        **options: Any,
    ) -> None:
        super().__init__(
            planner,
            make,
            layout.batch_size,
            epoch_steps,
            layout.rank,
            layout.world_size,
            prepared=len(layout.groups(0)),
            **options,
        )
        self.finish, self.layout = finish, layout
        self._window = -1
        self._pool: dict[str, torch.Tensor] = {}
        self._places: dict[int, tuple[int, str]] = {}

    def rank_indices(self) -> Iterator[list[int]]:
        """The numbers of this rank's samples, a group at a time, from the present window on."""
        window = self.position // self.layout.window_samples
        while True:
            yield from self.layout.groups(window).values()
            window += 1

    def _next_batch(self) -> Batch:
        window, step = divmod(self.position // self.step_samples, self.layout.steps)
        if self._window != window:
            self._fill(window)
        numbers = self.layout.handed_out(window, step)
        places, keys = zip(*(self._places[number] for number in numbers), strict=True)
        chosen = torch.tensor(places)
        batch: Batch = {
            name: values[chosen.to(values.device)] for name, values in self._pool.items()
        }
        return {**batch, "index": torch.tensor(numbers), "keys": list(keys)}

    def _fill(self, window: int) -> None:
        self._window, self._pool = -1, {}  # the old pool is freed before the new one is made
        groups = self.layout.groups(window)
        made = self._read(len(groups), (window + 1) * self.layout.window_samples)
        finished, names = [], []
        for group, batch in zip(groups, made, strict=True):
            finished.append(self.finish(batch, group))
            names += batch["keys"]
        self._pool = {name: torch.cat([part[name] for part in finished]) for name in finished[0]}
        numbers = (number for group in groups.values() for number in group)
        self._places = dict(zip(numbers, enumerate(names), strict=True))
        self._window = window
