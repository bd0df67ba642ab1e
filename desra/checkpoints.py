"""Reading and writing network states. Nothing that a file contains is ever run.

Released weights are pickles, and a pickle can name any function to be called. Files are read with
PyTorch's restricted unpickler (``weights_only``), which calls nothing outside a short list; a file
that asks for more is refused.
"""

from __future__ import annotations

import argparse
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from desra.errors import InputError
from desra.files import atomic_path, is_regular, nature
from desra.pickle_check import DEEPEST, Refused, as_file, rehearse, rehearse_all
from desra.pickle_writing import write_pickle

CONTAINERS = (
    *("params_ema", "params-ema", "net_g_ema", "generator_ema", "g_ema", "params"),
    *("state_dict_ema", "ema_state_dict", "model_ema", "ema", "state_dict", "model_state_dict"),
)
"""Keys under which files keep a state, most wanted first; others come after, in file order."""

PREFIXES = (
    "ema.module.",
    "generator_ema.module.",
    "ema.",
    "generator_ema.",
    "g_ema.",
    "netG_ema.",
    "net_g_ema.",
    "G_ema.",
    "net_ema.",
    "model_ema.",
    "params_ema.",
    "params.",
    "generator.",
    "netG.",
    "net_g.",
    "discriminator.",
    "netD.",
    "net_d.",
    "ema_model.",
    "averaged_model.",
    "online_model.",
    "net.",
    "model.",
    "network.",
    "module.",
)
"""What keys begin with in checkpoints that hold several networks, or one in a wrapper (Lightning's
modules, ``AveragedModel``, ema_pytorch), most wanted first. Whether a network is left when a prefix
is cut, its architecture tells: old ESRGAN's own keys begin with ``model.``."""

METADATA = "metadata"
SAFETENSORS = ".safetensors"
PICKLES = (".pth", ".pt", ".ckpt")

_WRAPPERS = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile
_MOST_PREFIXES = 3
_SMALL = 2**20  # bytes
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

    @property
    def alone(self) -> bool:
        """Whether the file held it as one network, though perhaps in wrappers."""
        return not re.sub("|".join(map(re.escape, _WRAPPERS)), "", self.prefix)


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

        EMA weights come before the others. Where keys of several networks share a container
        (``generator.…``, ``discriminator.…``), each group of `PREFIXES` is a state of its own.

        Args:
            key: only the state under this container (``"params"``) or with this prefix
                (``"generator"``).

        Raises:
            InputError: no tensors, or none under ``key``.
        """
        containers = sorted(_containers(self.data), key=lambda found: _rank(found[0]))
        split = [state for name, tensors in containers for state in _split(name, tensors)]
        states = list({(state.container, state.prefix): state for state in split}.values())
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

    Example:
        >>> torch.save({"params": {"conv.weight": torch.ones(2)}}, "net.pth")
        >>> state = read_checkpoint("net.pth").states()[0]
        >>> state.container, list(state.tensors)
        ('params', ['conv.weight'])
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a directory; give the file of weights in it")
    if path.exists() and not is_regular(path):
        raise InputError(f"{path}: not a regular file; give a file of weights")
    try:
        with open(path, "rb") as file:
            head = file.read(64)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: {reason}; give a file of weights") from error
    try:
        return _read_safetensors(path) if _is_safetensors(head) else _read_pickle(path, head)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: not enough memory to read it") from error
    except Exception as error:  # the readers raise whatever a damaged file leads them to
        raise InputError(f"{path}: {_what_it_is(head)}; fetch or write it again") from error


def read_state(
    path: str | Path, key: str | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The most wanted state of a file (`Checkpoint.states`), and the file's metadata.

    Raises:
        InputError: as `read_checkpoint` and `Checkpoint.states`.

    Example:
        >>> torch.save({"params": {"conv.weight": torch.ones(2)}}, "net.pth")
        >>> [*read_state("net.pth", "params")[0]]
        ['conv.weight']
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
        if path.suffix == SAFETENSORS:
            with atomic_path(path) as temporary:  # its own writer takes another mode than the umask
                temporary.write_bytes(to_safetensors(next(iter(plain.values())), metadata))
        elif "" in plain:
            write_pickle(path, plain[""])
        else:
            write_pickle(path, {**plain, METADATA: metadata} if metadata else plain)
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
    except Exception as error:
        raise InputError(f"{path}: damaged ({str(error)[:200]}); fetch it again") from error


def _read_pickle(path: Path, head: bytes) -> Checkpoint:
    archive = zipfile.is_zipfile(path)
    try:
        _rehearse(path, archive)
    except Refused as refusal:
        if refusal.name is None:
            text = f"{path}: {_what_it_is(head)} ({refusal}); fetch or write it again"
            raise InputError(text) from refusal
        raise InputError(_names_refused(path, archive, refusal.name)) from refusal
    # PyTorch goes by the suffix where a path has that of safetensors.
    misnamed = path.suffix.lower() == SAFETENSORS
    with ExitStack() as stack:
        stack.enter_context(torch.serialization.safe_globals(_harmless()))
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        source = stack.enter_context(open(path, "rb")) if misnamed else path
        mapped = archive and not misnamed
        data = torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
    if isinstance(data, Tensor) or not isinstance(data, Mapping):
        raise InputError(f"{path}: holds a {type(data).__name__}, not a network's state")
    said = data.get(METADATA)
    said = said.items() if isinstance(said, Mapping) else ()
    return Checkpoint(path, data, {name: text for name, text in said if isinstance(text, str)})


def _rehearse(path: Path, archive: bool) -> None:
    """See what reading the file would ask for, with sizes only.

    Raises:
        InputError: a program.
        Refused: code, more memory than the file explains, or no state of a network.
        Exception: damaged.
    """
    size = path.stat().st_size
    known = frozenset(
        item[1] if isinstance(item, tuple) else f"{item.__module__}.{item.__qualname__}"
        for item in (*_harmless(), *torch.serialization.get_safe_globals())  # and a caller's
    )
    if not archive:
        with open(path, "rb") as file:
            rehearse_all(file, known, size)
        return
    with zipfile.ZipFile(path) as members:
        names = members.namelist()
        if any("/code/" in name for name in names):
            raise InputError(
                f"{path}: a TorchScript program, and programs are not run; save its state_dict()"
            )
        if sum(member.file_size for member in members.infolist()) > 4 * size + _SMALL:
            raise Refused("its content is far larger than the file")
        pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if not pickles:
            raise Refused("an archive without a state in it")
        with members.open(pickles[0]) as file:
            rehearse(as_file(file.read()), known, 4 * size + _SMALL)


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


def _names_refused(path: Path, archive: bool, first: str) -> str:
    names = [first]
    if archive:  # the function reads archives only
        with suppress(Exception):
            names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path)) or names
    return (
        f"{path}: refused, since reading it would run {', '.join(names)}; if you trust where it "
        "comes from, save its state_dict alone, there"
    )


def _what_it_is(head: bytes) -> str:
    found = nature(head)
    return "damaged, or not a file of weights" if found.startswith("damaged") else found


def _containers(
    data: Mapping[str, Any], path: str = "", depth: int = 0
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping in ``data`` that holds tensors by name, with the keys that lead to it."""
    tensors = {
        key: value
        for key, value in data.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if tensors:
        yield path, tensors
    for key, value in data.items():
        if isinstance(key, str) and isinstance(value, Mapping) and depth < DEEPEST:
            yield from _containers(value, f"{path}.{key}" if path else key, depth + 1)


def _rank(container: str) -> int:
    last = container.rpartition(".")[2]
    return CONTAINERS.index(last) if last in CONTAINERS else len(CONTAINERS)


def _prefix_rank(prefix: str) -> int:
    for rank, known in enumerate(PREFIXES):
        if prefix.startswith(known):
            return rank
    return len(PREFIXES)


def _split(container: str, tensors: dict[str, Tensor], before: str = "") -> Iterator[NamedState]:
    """The state of each prefix, also behind another one, and that of all keys."""
    if before.count(".") <= _MOST_PREFIXES:
        for prefix in PREFIXES:
            part = {
                key.removeprefix(prefix): tensor
                for key, tensor in tensors.items()
                if key.startswith(prefix)
            }
            if part:
                yield from _split(container, part, before + prefix)
    yield _unwrapped(tensors, container, before)


def _unwrapped(tensors: dict[str, Tensor], container: str, prefix: str) -> NamedState:
    for wrapper in _WRAPPERS * 2:  # either may be around the other
        if all(key.startswith(wrapper) for key in tensors):
            tensors = {key.removeprefix(wrapper): tensor for key, tensor in tensors.items()}
            prefix += wrapper
    return NamedState(tensors, container, prefix)
