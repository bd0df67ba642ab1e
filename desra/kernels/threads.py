"""Threads of kernels: Python's, as many as PyTorch uses."""

from __future__ import annotations

import itertools
import math
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

_rooms = threading.local()


_pool: ThreadPoolExecutor | None = None


def run_parallel(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Call a compiled function with each tuple of arguments; results in the order of the calls.

    At most ``torch.get_num_threads()`` calls run at a time, one of them in the calling thread. The
    other threads are Python's, since Numba's own clash with PyTorch's OpenMP; they last, since a
    network of 360 convolutions would spend a tenth of its time on starting them.
    """
    calls = list(calls)
    threads = min(torch.get_num_threads(), len(calls))
    if threads <= 1:
        return [function(*arguments) for arguments in calls]
    left: SimpleQueue[int] = SimpleQueue()
    for number in range(len(calls)):
        left.put(number)
    results: list[Any] = [None] * len(calls)

    def work() -> None:
        with suppress(Empty):
            while True:
                number = left.get_nowait()
                results[number] = function(*calls[number])

    pool = _lasting_threads()
    others = [pool.submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        # Another caller may have them; what is begun is waited for, since it writes into arrays.
        begun = [other for other in others if not other.cancel()]
        wait(begun)
        calls.clear()  # a thread lets go of its work a moment later, and arrays are large
    for other in begun:
        other.result()
    return results


def _lasting_threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        most = max(os.cpu_count() or 1, 32)  # only those that are needed at a time are started
        _pool = ThreadPoolExecutor(most, "kernels")
    return _pool


def _forget_threads() -> None:
    global _pool
    _pool = None  # a forked process has none of them


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


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
