"""Communication between the ranks of a run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, TypeVar

import torch
from torch.distributed import all_gather_object

T = TypeVar("T")


def gather(item: T) -> list[T]:
    """One item of each rank, in the order of ranks, on every rank; it must be picklable."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [item]
    items: list[T] = [item] * torch.distributed.get_world_size()
    all_gather_object(items, item)
    return items


def gather_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all ranks, on every rank, sorted by their image."""
    return sorted(chain.from_iterable(gather(list(rows))), key=lambda row: row["image"])
