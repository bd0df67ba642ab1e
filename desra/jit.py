"""Compiling loops to machine code, and running them on as many cores as PyTorch uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import torch

# Of the fast-math freedoms only the fused multiply-add is taken: results stay within the rounding
# of the operations as written. "numpy": division by zero gives infinity and needs no check.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract"},
}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function with Numba at its first call, and keep the code on disk if that can be.

    The function runs without the GIL. Its closure may hold numbers and arrays: they become
    constants, and the code on disk is kept for each of their values.
    """
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # none of the folders that Numba would keep the code in can be written
        return numba.njit(**_OPTIONS)(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function part of the `compiled` functions that call it, constants and all."""
    return numba.njit(inline="always", **_OPTIONS)(function)


def run_parallel(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Call a compiled function with each tuple of arguments; results in the order of the calls.

    At most ``torch.get_num_threads()`` calls run at a time. The threads are Python's and end with
    this call: Numba's own clash with PyTorch's OpenMP, and lasting ones would not survive a fork.
    """
    calls = list(calls)
    threads = min(torch.get_num_threads(), len(calls))
    if threads <= 1:
        return [function(*arguments) for arguments in calls]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda arguments: function(*arguments), calls))
