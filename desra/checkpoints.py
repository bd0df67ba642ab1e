"""Reading and writing network states. Nothing that a file contains is ever run.

Released weights are pickles, and a pickle can name any function to be called. Files are read with
PyTorch's restricted unpickler (``weights_only``), which calls nothing outside a short list; a file
that asks for more is refused.
"""

from __future__ import annotations

import argparse
import pickle
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from desra.errors import InputError
from desra.files import atomic_path

CONTAINERS = ("params_ema", "params", "state_dict_ema", "state_dict", "model_state_dict")
"""Keys under which files keep a state, most wanted first; others come after, in file order."""

PREFIXES = (
    "ema.module.",
    "generator_ema.module.",
    "ema.",
    "generator_ema.",
    "g_ema.",
    "generator.",
    "netG.",
    "net_g.",
    "discriminator.",
    "netD.",
    "net_d.",
)
"""What keys begin with in checkpoints that hold several networks, most wanted first."""

METADATA = "metadata"
SAFETENSORS = ".safetensors"
PICKLES = (".pth", ".pt", ".ckpt")

_WRAPPERS = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile
_LARGEST_HEADER = 100_000_000  # bytes; the limit of safetensors itself


class NamedState(NamedTuple):
    """A state, and where in its file it lay.

    Attributes:
        tensors: parameters and buffers by key, without wrappers' prefixes.
        container: the key it lay under (``"params_ema"``, ``"a.b"`` if nested), ``""`` at the top.
        prefix: what its keys began with, ``""`` if nothing was cut.
    """

    tensors: dict[str, Tensor]
    container: str
    prefix: str


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights holds.

    Attributes:
        path: the file.
        data: its content: tensors, or mappings and other plain values around them.
        metadata: how it was made, as text; empty where the file does not say.
    """

    path: Path
    data: Mapping[str, Any] = field(repr=False)
    metadata: Mapping[str, str]

    def states(self, key: str | None = None) -> list[NamedState]:
        """The states in the file, most wanted first.

        Averaged weights come before the others. Where keys of several networks share a container
        (``generator.…``, ``discriminator.…``), each group of `PREFIXES` is a state of its own.

        Args:
            key: only the state under this container (``"params"``) or with this prefix
                (``"generator"``).

        Raises:
            InputError: no tensors, or none under ``key``.
        """
        containers = sorted(_containers(self.data), key=lambda found: _rank(found[0]))
        states = [state for name, tensors in containers for state in _split(name, tensors)]
        if not states:
            raise InputError(f"{self.path}: no tensors by name in it; give a file of weights")
        if key is None:
            return sorted(states, key=lambda state: _prefix_rank(state.prefix))
        wanted = [state for state in states if key in (state.container, state.prefix.rstrip("."))]
        if not wanted:
            names = {state.container or state.prefix.rstrip(".") for state in states} - {""}
            there = f"there are {', '.join(sorted(names))}" if names else "its keys lie at the top"
            raise InputError(f"{self.path}: no state {key!r} in it; {there}")
        return wanted


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a file of weights: PyTorch's formats or safetensors, told apart by content.

    Tensors are mapped from the file where its format allows, and read as they are used.

    Raises:
        InputError: missing, damaged, not a file of weights, or one that would have to run code.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            head = file.read(64)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; give a file of weights") from error
    if _is_safetensors(head):
        return _read_safetensors(path)
    return _read_pickle(path, head)


def read_state(
    path: str | Path, key: str | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The most wanted state of a file (`Checkpoint.states`), and the file's metadata.

    Raises:
        InputError: as `read_checkpoint` and `Checkpoint.states`.
    """
    checkpoint = read_checkpoint(path)
    return checkpoint.states(key)[0].tensors, dict(checkpoint.metadata)


def write_state(
    path: str | Path,
    states: Mapping[str, Mapping[str, Tensor]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write states, whole or not at all.

    Args:
        path: ``.pth``, ``.pt`` or ``.ckpt`` for PyTorch's format, ``.safetensors`` for the other.
        states: container to state; ``""`` puts the state's keys at the top, and is then the only
            one. A safetensors file has no containers, and takes one state.
        metadata: how it was made. PyTorch's format keeps it beside the containers, under
            ``"metadata"``, and has no place for it where keys lie at the top.

    Raises:
        InputError: another suffix, or a place that cannot be written.
        ValueError: states that the format cannot hold.
    """
    path = Path(path)
    metadata = {name: str(value) for name, value in (metadata or {}).items()}
    if path.suffix not in (*PICKLES, SAFETENSORS):
        known = ", ".join((*PICKLES, SAFETENSORS))
        raise InputError(f"{path}: weights are written as one of {known}; change the suffix")
    if len(states) != 1 and (path.suffix == SAFETENSORS or "" in states):
        raise ValueError(f"one state is needed here, got {sorted(states)}")
    # A clone alone: a view would take its whole storage along.
    plain = {
        name: {
            key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for key, tensor in state.items()
        }
        for name, state in states.items()
    }
    try:
        with atomic_path(path) as temporary:
            if path.suffix == SAFETENSORS:
                save_file(next(iter(plain.values())), temporary, metadata)
            elif "" in plain:
                torch.save(plain[""], temporary)
            else:
                torch.save({**plain, METADATA: metadata} if metadata else plain, temporary)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _is_safetensors(head: bytes) -> bool:
    """An 8-byte length and then JSON: no pickle and no zip archive begins so."""
    if len(head) < 9 or head[8:9] != b"{":
        return False
    return struct.unpack("<Q", head[:8])[0] <= _LARGEST_HEADER


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return Checkpoint(path, tensors, file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); fetch it again") from error


def _read_pickle(path: Path, head: bytes) -> Checkpoint:
    archive = zipfile.is_zipfile(path)
    if archive and _is_program(path):
        raise InputError(
            f"{path}: a TorchScript program, and programs are not run; save its state_dict()"
        )
    try:
        with torch.serialization.safe_globals(_harmless()):
            data = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError as error:
        raise _refusal(path, head, archive, error) from error
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"{path}: {_nature(head)}; fetch or write it again") from error
    if isinstance(data, Tensor) or not isinstance(data, Mapping):
        raise InputError(f"{path}: holds a {type(data).__name__}, not a network's state")
    said = data.get(METADATA)
    said = said.items() if isinstance(said, Mapping) else ()
    return Checkpoint(path, data, {name: text for name, text in said if isinstance(text, str)})


def _is_program(path: Path) -> bool:
    """Whether a zip archive has the folder in which TorchScript keeps code."""
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def _harmless() -> list[Any]:
    """Classes that training scripts leave beside the weights, and that can only hold values."""
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(name)) for name in ("f2", "f4", "f8", "i4", "i8", "b1")]
    return [
        (scalar, "numpy.core.multiarray.scalar"),  # as NumPy 1 calls it
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *dtypes,
        argparse.Namespace,
    ]


def _refusal(path: Path, head: bytes, archive: bool, error: Exception) -> InputError:
    if not archive and head[:1] != b"\x80":  # every binary pickle begins with this byte
        return InputError(f"{path}: {_nature(head)}; fetch or write it again")
    if archive:
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    else:  # that function reads archives only; the error names the first
        names = re.findall(r"GLOBAL (\S+)", str(error))[:1]
    asks = ", ".join(names) or "code"
    return InputError(
        f"{path}: refused, since reading it would run {asks}; if you trust where it comes from, "
        "save its state_dict alone, there"
    )


def _nature(head: bytes) -> str:
    start = head.lstrip()
    if not head:
        return "the file is empty"
    if start[:1] == b"<":
        return "a web page, not a file of weights"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file itself"
    return "damaged, or not a file of weights"


def _containers(data: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping in ``data`` that holds tensors by name, with the keys that lead to it."""
    tensors = {
        key: value
        for key, value in data.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if tensors:
        yield path, tensors
    for key, value in data.items():
        if isinstance(key, str) and isinstance(value, Mapping):
            yield from _containers(value, f"{path}.{key}" if path else key)


def _rank(container: str) -> int:
    last = container.rpartition(".")[2]
    return CONTAINERS.index(last) if last in CONTAINERS else len(CONTAINERS)


def _prefix_rank(prefix: str) -> int:
    for rank, known in enumerate(PREFIXES):
        if prefix.startswith(known):
            return rank
    return len(PREFIXES)


def _split(container: str, tensors: dict[str, Tensor]) -> Iterator[NamedState]:
    for prefix in PREFIXES:
        part = {
            key.removeprefix(prefix): tensor
            for key, tensor in tensors.items()
            if key.startswith(prefix)
        }
        if part:
            yield _unwrapped(part, container, prefix)
    yield _unwrapped(tensors, container, "")


def _unwrapped(tensors: dict[str, Tensor], container: str, prefix: str) -> NamedState:
    for wrapper in _WRAPPERS * 2:  # either may be around the other
        if all(key.startswith(wrapper) for key in tensors):
            tensors = {key.removeprefix(wrapper): tensor for key, tensor in tensors.items()}
            prefix += wrapper
    return NamedState(tensors, container, prefix)
