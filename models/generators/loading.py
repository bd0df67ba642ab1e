"""Generators from files of weights and back, with nothing said about architecture or sizes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from desra.checkpoints import SAFETENSORS, Checkpoint, NamedState, read_checkpoint, write_state
from desra.errors import InputError
from models.generators.elan import ELAN
from models.generators.ncnn import is_pair, read_ncnn
from models.generators.onnx_import import SUFFIX as ONNX
from models.generators.onnx_import import read_onnx
from models.generators.rcan import RCAN
from models.generators.rlfn import RLFN
from models.generators.rrdbnet import RRDBNet
from models.generators.rrdbnet_keys import KeyStyle, from_basicsr, key_style
from models.generators.rrdbnet_ps import RRDBPSNet
from models.generators.srvgg import SRVGGNetCompact
from models.generators.swinir import SwinIR
from models.generators.zoo import resolve_weights

log = logging.getLogger(__name__)

Architecture = type[RRDBNet | RRDBPSNet | SRVGGNetCompact | SwinIR | RCAN | ELAN | RLFN]

ARCHITECTURES: tuple[Architecture, ...] = (
    RRDBNet,
    RRDBPSNet,
    SRVGGNetCompact,
    SwinIR,
    RCAN,
    ELAN,
    RLFN,
)
"""Each recognises its states, and builds itself from one."""


_INSIDE = ("module", "_orig_mod", "network")
"""What wrappers and the spandrel adapter call the network in them."""

_WRAPPERS_AT_MOST = 4
"""Around each other, by names that nobody has told of."""


@dataclass(frozen=True)
class SourceLayout:
    """How the file was laid out that a network came from, so that it can be written alike.

    Attributes:
        source: the file's name.
        container: the key its state lay under; ``""`` at the top.
        key_style: whose names an RRDBNet's keys were.
    """

    source: str
    container: str
    key_style: KeyStyle = "basicsr"


def load_generator(weights: str | Path, *, key: str | None = None, **options: Any) -> nn.Module:
    """The generator that a file of weights holds.

    Architecture and sizes are read from keys and shapes (see `ARCHITECTURES`), from PyTorch's
    formats or safetensors; released files, checkpoints of finetuning (of which the EMA weights
    are taken), and files with wrappers' prefixes. RRDBNet and SRVGGNetCompact also from ncnn's
    pairs and from ONNX, where they are recognised in the graph. What none of these is, spandrel is
    asked for where it is installed.

    Args:
        weights: a file (of an ncnn pair, either), or a name of `models.generators.zoo`.
        key: which of a file's states (``"params"``, ``"generator"``); None for the most wanted one.
        options: what no key tells: ``activation`` of an SRVGGNetCompact without slopes
            (`SRVGGNetCompact.from_state`), ``img_range`` of a SwinIR, an RCAN or an ELAN
            (`SwinIR.from_state`). Files written by `write_generator` say it.

    Returns:
        the network in evaluation mode, float32, with ``.scale``, ``.multiple`` and
        ``.source_layout``.

    Raises:
        InputError: no such file or name, a file that would have to run code, or no network that is
            known.

    Example:
        >>> from models.generators.srvgg import SRVGGNetCompact
        >>> torch.save({"params": SRVGGNetCompact(features=8, depth=2).state_dict()}, "tiny.pth")
        >>> generator = load_generator("tiny.pth")
        >>> type(generator).__name__, generator.scale
        ('SRVGGNetCompact', 4)
    """
    path = resolve_weights(weights)
    checkpoint = _from_graph(path) or read_checkpoint(path)
    states = checkpoint.states(key)
    for state in states:
        for architecture in ARCHITECTURES:
            if _recognises(architecture, state, path):
                return _build(architecture, state, checkpoint, options)
    if (found := _wrapped(states, path)) is not None:
        return _build(*found, checkpoint, options)
    if find_spec("spandrel") is not None:
        from models.generators.spandrel_adapter import from_checkpoint

        return from_checkpoint(checkpoint, key)
    raise InputError(
        f"{path}: not a network known here: {', '.join(a.__name__ for a in ARCHITECTURES)}; its "
        f"keys are {sample_of_keys(states)}; with pip install 'desra[spandrel]' more are read"
    )


def _wrapped(states: list[NamedState], path: Path) -> tuple[Architecture, NamedState] | None:
    """The network that lies behind names of a wrapper that nobody has told of.

    Raises:
        InputError: several lie there, and none is the one that is meant.
    """
    found = [
        (architecture, part)
        for part in wrapped_parts(states)
        for architecture in ARCHITECTURES
        if _recognises(architecture, part, path)
    ]
    averaged = [(kind, part) for kind, part in found if "ema" in part.prefix.lower()]
    found = averaged if len(averaged) == 1 else found
    if not found:
        return None
    names = [part.prefix for _, part in found]
    if len(found) > 1:
        raise InputError(
            f"{path}: holds several networks, {', '.join(names)}; save the state_dict of the one "
            "that is meant, alone"
        )
    log.info("%s: the network behind %r is taken", path, names[0])
    return found[0]


def wrapped_parts(states: list[NamedState], *, alone: bool = False) -> Iterator[NamedState]:
    """States behind unknown names: of what all keys begin with, and of the parts below that.

    A part is what shares the first name of its keys, as the attributes of a wrapper do; what lies
    deeper is of a network already. Numbers beside the parts are counters of the wrapper.

    Args:
        states: of one file.
        alone: only those behind what all keys begin with.
    """
    for state in states:
        if not state.alone:
            continue
        tensors, before = state.tensors, state.prefix
        for _ in range(_WRAPPERS_AT_MOST):
            parts: dict[str, dict[str, Tensor]] = {}
            for key, tensor in tensors.items():
                name, dot, rest = key.partition(".")
                if dot and ("." in rest or tensor.ndim):
                    parts.setdefault(f"{before}{name}.", {})[rest] = tensor
            if len(parts) == 1 or not alone:
                for prefix, part in parts.items():
                    yield NamedState(part, state.container, prefix)
            if len(parts) != 1:
                break
            ((before, tensors),) = parts.items()


def _from_graph(path: Path) -> Checkpoint | None:
    """What a file of another runtime holds; None where it is none."""
    if is_pair(path):
        found = read_ncnn(path)
    elif path.suffix == ONNX:
        found = read_onnx(path)
    else:
        return None
    if found.reduced != 1:
        log.warning(
            "%s: its network's output is then resized by %g; that step is left out, "
            "and upscale.py outscale=… does the same",
            *(path, found.reduced),
        )
    return found.checkpoint(path)


def _recognises(architecture: Any, state: NamedState, path: Path) -> bool:
    try:
        return architecture.recognises(state.tensors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _build(
    architecture: Architecture,
    state: NamedState,
    checkpoint: Checkpoint,
    options: Mapping[str, Any],
) -> nn.Module:
    for name in options.keys() - architecture.OPTIONS.keys():
        known = ", ".join(architecture.OPTIONS) or "none"
        raise InputError(f"{name}: not an option of {architecture.__name__}; it has: {known}")
    try:
        _refuse_integers(state)
        said = {
            name: convert(checkpoint.metadata[name])
            for name, convert in architecture.OPTIONS.items()
            if name in checkpoint.metadata
        }
        settings = {**said, **options}
        with torch.device("meta"):  # sizes alone: keys and shapes must fit before memory is taken
            architecture.from_state(
                {key: tensor.to("meta") for key, tensor in state.tensors.items()}, **settings
            )
        network = architecture.from_state(state.tensors, **settings)
    except InputError as error:
        raise InputError(f"{checkpoint.path}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # of whatever kind keys and shapes that do not fit lead to
        reason = " ".join(str(error).split())
        raise InputError(
            f"{checkpoint.path}: an incomplete or altered {architecture.__name__} ({reason[:200]})"
        ) from error
    container = state.container if state.alone else architecture.CONTAINER
    network.source_layout = SourceLayout(  # type: ignore[assignment]
        checkpoint.path.name, container, key_style(state.tensors)
    )
    return network.eval()


def _refuse_integers(state: NamedState) -> None:
    """Raise InputError for quantized weights: their numbers are no weights without their scales."""
    for key, tensor in state.tensors.items():
        if key.endswith(("weight", "bias")) and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(f"{key} is of type {kind}; give weights in floating point")


def sample_of_keys(states: list[NamedState], count: int = 4) -> str:
    """A few keys of the largest state, for messages."""
    keys = list(max(states, key=lambda state: len(state.tensors)).tensors)
    more = f" and {len(keys) - count} more" if len(keys) > count else ""
    return ", ".join(keys[:count]) + more


def built(generator: nn.Module | Callable[[str], nn.Module], weights: str | None) -> nn.Module:
    """A generator as it is, or made of weights by what was given in its place.

    Raises:
        InputError: weights are needed, and none were given.
    """
    if isinstance(generator, nn.Module):
        return generator
    if weights is None:
        raise InputError("generator_weights: none given; add generator_weights=NAME_OR_FILE")
    return generator(weights)


def write_generator(
    path: str | Path,
    generator: nn.Module,
    *,
    ema: nn.Module | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a generator as the release of its architecture does.

    ``.pth`` files keep the layout of the file that the generator came from: its container and, for
    an RRDBNet, its release's names; BasicSR's layout where the generator came from no file. With
    ``ema`` there are both ``params`` and ``params_ema``, as BasicSR writes in training (or the
    EMA weights alone where the source had its keys at the top). ``.safetensors`` files hold
    the EMA weights if given, with the keys at the top.

    Args:
        path: ``.pth`` or ``.safetensors``; written whole or not at all.
        generator: the network; wrappers (DDP, ``torch.compile``, ``AveragedModel``) are taken off.
        ema: its EMA weights.
        metadata: how it was made: iterations, configuration, …; what is no text is written as JSON.
            Architecture, scale, source, program version and what no key tells are added.

    Raises:
        InputError: a suffix that is not known, or a place that cannot be written.

    Example:
        >>> from models.generators.srvgg import SRVGGNetCompact
        >>> write_generator("tiny.safetensors", SRVGGNetCompact(features=8, depth=2))
        >>> load_generator("tiny.safetensors").scale
        4
    """
    network = unwrap(generator)
    averaged = unwrap(ema) if ema is not None else None
    layout = getattr(network, "source_layout", None)
    style: KeyStyle = layout.key_style if layout else "basicsr"

    def state_of(module: nn.Module) -> dict[str, Tensor]:
        for part in module.modules():  # SPAN's folded convolutions, stale after training
            if callable(fold := getattr(part, "update_params", None)):
                fold()
        state = module.state_dict()
        return from_basicsr(state, style) if isinstance(module, RRDBNet) else state

    default = getattr(network, "CONTAINER", "params")
    container = layout.container if layout else default
    if container not in ("", "params", "params_ema"):
        container = default
    if averaged is not None and container and Path(path).suffix != SAFETENSORS:
        states = {"params": state_of(network), "params_ema": state_of(averaged)}
    else:
        states = {container: state_of(averaged or network)}
    write_state(path, states, {**_description(generator), **_as_text(metadata or {})})


def unwrap(module: nn.Module) -> nn.Module:
    """The network inside DDP, ``torch.compile``, ``AveragedModel`` and the spandrel adapter."""
    for name in _INSIDE:
        inner = getattr(module, name, None)
        if isinstance(inner, nn.Module):
            return unwrap(inner)
    return module


def _description(generator: nn.Module) -> dict[str, str]:
    network = unwrap(generator)
    said = {"architecture": type(network).__name__, "desra_version": program_version()}
    if (scale := _scale(generator)) is not None:
        said["scale"] = str(scale)
    if layout := getattr(network, "source_layout", None):
        said["source"] = layout.source
    options = getattr(network, "OPTIONS", {})
    return {**said, **{name: str(getattr(network, name)) for name in options}}


def _scale(module: nn.Module) -> int | None:
    """That of the outermost module which has one: spandrel's networks call other things scale."""
    while True:
        if isinstance(scale := getattr(module, "scale", None), int):
            return scale
        inner = [getattr(module, name, None) for name in _INSIDE]
        found = next((part for part in inner if isinstance(part, nn.Module)), None)
        if found is None:
            return None
        module = found


def _as_text(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in metadata.items()
    }


def program_version() -> str:
    """Version of the installed package, ``"0+source"`` where it runs from a checkout."""
    try:
        return version("desra")
    except PackageNotFoundError:
        return "0+source"
