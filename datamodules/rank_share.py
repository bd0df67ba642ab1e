"""Shares of a dataset's items among ranks: each item once, no rank without one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from torch.utils.data import DistributedSampler

T = TypeVar("T")

NO_ITEM = -1
"""Index served to a rank that has no share; the dataset returns None for it."""


class RankShare(DistributedSampler[int]):
    """Indices of one rank's share, in order, with none repeated.

    Lightning's own sampler for prediction raises on a rank without a share, and its loops pass over
    the hooks of a rank without batches, for which the other ranks would wait. So a rank without a
    share gets the one index `NO_ITEM`, which `present` takes out of the batch again.

    Args:
        size: number of items.
        rank: of this process, from 0.
        ranks: number of processes.

    Example:
        >>> [list(RankShare(3, rank, 2)) for rank in range(2)]
        [[0, 2], [1]]
        >>> [list(RankShare(1, rank, 2)) for rank in range(2)]
        [[0], [-1]]
    """

    def __init__(self, size: int, rank: int, ranks: int) -> None:
        super().__init__(range(size), ranks, rank, shuffle=False)  # type: ignore[arg-type]
        self.share = range(rank, size, ranks)

    def __iter__(self) -> Iterator[int]:
        return iter(self.share or [NO_ITEM])

    def __len__(self) -> int:
        return max(1, len(self.share))


def present(items: Sequence[T | None]) -> list[T]:
    """Collate items to a list, without what stands for no item.

    Example:
        >>> present(["a", None])
        ['a']
    """
    return [item for item in items if item is not None]
