"""Memory that is free, memory that a computation takes, and errors that say it ran out."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

UNKNOWN_SYSTEM_BYTES = 4 * 2**30
"""Assumed to be free where the system does not tell."""

_CGROUP_FILES = (  # limit and use of a container: version 2, then version 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)

# What allocators say when they fail. PyTorch has an exception of its own for accelerators only.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "bad_alloc", "out of memory")


def available_memory(device: torch.device) -> int:
    """Bytes that can be allocated on ``device`` without pushing anything out.

    On a GPU, what is free and what PyTorch's allocator holds without using it. On the CPU, what the
    system calls available, or less where a container has a limit.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return min([_system_memory(), *_container_memory()])


def _system_memory() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:  # other Unix systems tell the size only; half of it is a careful guess
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return UNKNOWN_SYSTEM_BYTES


def _container_memory() -> list[int]:
    room = []
    for limit, used in _CGROUP_FILES:
        try:
            room.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such file; "max": no limit
            continue
    return room


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on any device.

    Example:
        >>> is_out_of_memory(MemoryError())
        True
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make within the block, and their peak.

    Scratch memory inside a kernel is not seen. Works on every device, since it does not ask the
    allocator (PyTorch's CPU allocator keeps no statistics).

    Attributes:
        now: bytes alive.
        peak: the most there were at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch would import its compiler, 150 MB, to tell it to leave this class alone.
        return False

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        before = {_storage(leaf)._cdata for leaf in tree_leaves((args, kwargs)) if _has_data(leaf)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if _has_data(leaf) and _storage(leaf)._cdata not in before | self._seen:
                self._count(_storage(leaf))
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        handle, size = storage._cdata, storage.nbytes()
        self._seen.add(handle)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, handle, size)

    def _release(self, handle: int, size: int) -> None:
        self._seen.discard(handle)
        self.now -= size


def _has_data(leaf: object) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()


def peak_bytes(compute: Callable[[], object]) -> int:
    """The most bytes of tensors alive at once that ``compute`` makes, its result included.

    Example:
        >>> peak_bytes(lambda: torch.zeros(1000) + torch.zeros(1000))
        12000
    """
    with LiveBytes() as counter:
        result = compute()
        peak = counter.peak
        del result
    return peak


def peak_on(device: torch.device, compute: Callable[[], object]) -> int:
    """As `peak_bytes`, but on a GPU by its allocator, which also sees scratch memory of kernels."""
    if device.type != "cuda":
        return peak_bytes(compute)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    compute()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
