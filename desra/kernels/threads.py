"""Threads of kernels: Python's, as many as PyTorch uses."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

_rooms = threading.local()


def run_parallel(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Call a compiled function with each tuple of arguments; results in the order of the calls.

    At most ``torch.get_num_threads()`` calls run at a time. The threads end with this call:
    Numba's own clash with PyTorch's OpenMP, and lasting ones would not survive a fork.
    """
    calls = list(calls)
    threads = min(torch.get_num_threads(), len(calls))
    if threads <= 1:
        return [function(*arguments) for arguments in calls]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda arguments: function(*arguments), calls))


def thread_shares(count: int) -> list[tuple[int, int]]:
    """First and last (exclusive) of each thread's share of ``count`` pieces of work."""
    shares = min(torch.get_num_threads(), count)
    edges = [count * share // shares for share in range(shares + 1)] if shares else []
    return list(itertools.pairwise(edges))


def scratch(use: str, *shape: int) -> NDArray[np.float32]:
    """Room of a shape, with what an earlier kernel left in it, or zeros.

    It is kept for the next kernel that the calling thread runs.
    """
    size = math.prod(shape)
    rooms = vars(_rooms)
    if use not in rooms or rooms[use].size < size:
        rooms[use] = np.zeros(size, np.float32)
    return rooms[use][:size].reshape(shape)
