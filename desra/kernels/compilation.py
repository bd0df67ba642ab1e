"""Compilation of kernels by Numba, and the folder that keeps their machine code."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import platformdirs
from numba.extending import intrinsic

CONTRACT = frozenset({"contract"})
"""Freedom to fuse multiplications and additions: results stay within the rounding of both."""

_KEPT_FOLDERS = 8


def compiled(fastmath: Iterable[str] = ()) -> Callable[[Callable[..., Any]], Any]:
    """A decorator that compiles a function at its first call, and keeps the code on disk.

    The function runs without the GIL; division by zero gives infinity. Its closure may hold
    numbers and arrays: they become constants, and the code is kept for each of their values. Where
    no folder can be written, the code lasts as long as the process.

    Args:
        fastmath: LLVM's freedoms with arithmetic that it may take.
    """

    def compile_function(function: Callable[..., Any]) -> Any:
        options: dict[str, Any] = {
            "nogil": True,
            "error_model": "numpy",
            "fastmath": set(fastmath),
        }
        folder = cache_folder()
        if folder is None:
            return numba.njit(**options)(function)
        before = numba.config.CACHE_DIR  # type: ignore[attr-defined]
        numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
        try:
            return numba.njit(cache=True, **options)(function)
        finally:
            numba.config.CACHE_DIR = before  # type: ignore[attr-defined]

    return compile_function


def inlined(function: Callable[..., Any]) -> Any:
    """A function as a part of the `compiled` functions that call it, constants and all."""
    return numba.njit(inline="always", nogil=True, error_model="numpy")(function)


def vector_code(function: Callable[..., tuple[Any, Any]]) -> Any:
    """A function for kernels out of one that emits LLVM's instructions (Numba's ``@intrinsic``)."""
    return intrinsic(function)


@cache
def cache_folder() -> Path | None:
    """The folder that keeps the machine code of exactly these kernels on this processor.

    Numba compiles a function anew when its own file changes, but not when one does that it takes
    code or constants from. Therefore the folder's name is a digest of every file of this package,
    of the versions of Numba and LLVM, and of the processor; the least recently used ones of other
    digests are removed. It lies in ``$NUMBA_CACHE_DIR``, or in the user's cache folder.

    Returns:
        None where it cannot be written.
    """
    digest = hashlib.blake2b(digest_size=10)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    features = llvmlite.binding.get_host_cpu_features().flatten()
    cpu = llvmlite.binding.get_host_cpu_name()
    digest.update(f"{numba.__version__} {llvmlite.__version__} {cpu} {features}".encode())
    root = numba.config.CACHE_DIR or platformdirs.user_cache_dir()  # type: ignore[attr-defined]
    folder = Path(root).expanduser() / "desra" / "kernels" / digest.hexdigest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        os.utime(folder)  # used now
    except OSError:
        return None
    with suppress(OSError):  # another process removes the same ones
        others = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in others[:-_KEPT_FOLDERS]:
            shutil.rmtree(old, ignore_errors=True)
    return folder
