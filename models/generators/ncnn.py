"""Generators out of ncnn's pairs of files, as upscayl and Real-ESRGAN-ncnn-vulkan have them.

``.param`` is text: a line a layer, with the blobs it reads and writes and its settings by number.
``.bin`` holds the weights of the layers in their order, in half or full precision. Both formats are
described in ncnn's wiki ("param and model file structure"). Nothing is lost: half precision fits
into float32.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from desra.errors import InputError
from models.generators.graphs import Graph, Recognised, Value, one_line, recognise

SUFFIXES = (".param", ".bin")

_MAGIC = "7767517"
_FLOAT32, _FLOAT16 = (0, 0x0002C056), 0x01306B47  # tags before a weight
_MOST_LAYERS = 100_000
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True)
class Layer:
    """A line of a ``.param`` file.

    Attributes:
        kind: ncnn's type of layer.
        name: its name.
        inputs: blobs it reads; ``outputs`` those it writes.
        settings: by number; an array has the number that it is known by in ncnn's documents.
    """

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    settings: dict[int, str | list[str]]

    def number(self, setting: int, default: float = 0) -> float:
        """A setting's value.

        Raises:
            InputError: it is no number.
        """
        return (self.numbers(setting) or [default])[0]

    def numbers(self, setting: int) -> list[float]:
        """An array's values; empty if it is not set.

        Raises:
            InputError: they are no numbers.
        """
        value = self.settings.get(setting, [])
        try:
            numbers = [float(item) for item in (value if isinstance(value, list) else [value])]
        except ValueError as error:
            raise InputError(f"layer {self.name}: {error}") from error
        if not all(map(math.isfinite, numbers)):
            raise InputError(f"layer {self.name}: setting {setting} is no finite number")
        return numbers


def is_pair(path: Path) -> bool:
    """Whether a file is one of an ncnn pair; other programs write ``.bin`` files too."""
    return path.suffix in SUFFIXES and path.with_suffix(".param").is_file()


def read_ncnn(path: str | Path) -> Recognised:
    """The network of an ncnn pair: an RRDBNet or an SRVGGNetCompact.

    Args:
        path: the ``.param`` or the ``.bin`` file; the other lies beside it, with the same stem.

    Raises:
        InputError: one of the two is missing or damaged, or the network is another.
    """
    path = Path(path)
    text, weights = (path.with_suffix(suffix) for suffix in SUFFIXES)
    for file in (text, weights):
        if not file.is_file():
            raise InputError(f"{file}: missing; a model of ncnn is {text.name} and {weights.name}")
    try:
        layers = parse_param(text.read_bytes().decode())
    except (UnicodeDecodeError, ValueError, IndexError) as error:
        raise InputError(
            f"{text}: damaged, or not a text file of ncnn ({one_line(error)})"
        ) from error
    reader = _Reader(weights)
    graph = Graph()
    try:
        output = _express(graph, layers, reader)
    except InputError as error:
        raise InputError(f"{text}: {one_line(error)}") from error
    reader.finish()
    try:
        return recognise(graph, output)
    except InputError as error:
        raise InputError(f"{text}: {one_line(error)}") from error


def parse_param(text: str) -> list[Layer]:
    """The layers of a ``.param`` file, in order.

    Raises:
        ValueError: not such a file.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or lines[0].strip() != _MAGIC:
        raise ValueError(f"it does not begin with {_MAGIC}")
    count = int(lines[1].split()[0])
    if count != len(lines) - 2 or count > _MOST_LAYERS:
        raise ValueError(f"{len(lines) - 2} layers where {count} are announced")
    return [_parse_layer(line) for line in lines[2:]]


def _parse_layer(line: str) -> Layer:
    kind, name, ins, outs, *rest = line.split()
    read, written = int(ins), int(outs)
    settings: dict[int, str | list[str]] = {}
    for word in rest[read + written :]:
        number, _, value = word.partition("=")
        if int(number) <= -23300:  # an array: its length comes first
            settings[-23300 - int(number)] = value.split(",")[1:]
        else:
            settings[int(number)] = value
    return Layer(kind, name, rest[:read], rest[read : read + written], settings)


class _Reader:
    """The weights of a ``.bin`` file, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = path.read_bytes()
        self._place = 0

    def tagged(self, count: int, layer: Layer) -> Tensor:
        """Weights in the precision that a tag before them tells."""
        (tag,) = struct.unpack("<I", self._take(4, layer))
        if tag in _FLOAT32:
            return self.plain(count, layer)
        if tag == _FLOAT16:
            raw = self._take(-(-2 * count // 4) * 4, layer)  # padded to whole words
            return torch.from_numpy(np.frombuffer(raw, "<f2", count).astype(np.float32))
        raise InputError(
            f"{layer.name}: weights of 8 bits or fewer, which are no longer those that were "
            "trained; take the pair in half or full precision"
        )

    def plain(self, count: int, layer: Layer) -> Tensor:
        """float32 without a tag: biases and slopes."""
        raw = self._take(4 * count, layer)
        return torch.from_numpy(np.frombuffer(raw, "<f4", count).astype(np.float32))

    def finish(self) -> None:
        """All must have been read, or the two files are not of one model."""
        if self._place != len(self._data):
            left = len(self._data) - self._place
            raise InputError(
                f"{self.path}: {left} bytes more than its .param file asks for; not a pair"
            )

    def _take(self, count: int, layer: Layer) -> bytes:
        taken = self._data[self._place : self._place + count]
        if len(taken) != count:
            raise InputError(
                f"{self.path.name} ends in the weights of {layer.name}: cut off, or not a pair"
            )
        self._place += count
        return taken


def _express(graph: Graph, layers: list[Layer], reader: _Reader) -> Value:
    """Write the layers as expressions; returns that of the last one's output."""
    blobs: dict[str, Value] = {}
    value = graph.image()
    for layer in layers:
        express = _LAYERS.get(layer.kind)
        if express is None:
            raise InputError(
                f"layer {layer.name} is a {layer.kind}, which neither RRDBNet nor SRVGGNetCompact "
                "has; of ncnn's models those two are read"
            )
        if not layer.inputs and layer.kind != "Input":
            raise InputError(f"layer {layer.name} reads nothing")
        try:
            inputs = [blobs[name] for name in layer.inputs]
        except KeyError as error:
            raise InputError(f"layer {layer.name} reads {error}, which nothing writes") from error
        value = express(graph, layer, inputs, reader)
        blobs.update(dict.fromkeys(layer.outputs, value))
    return value


def _convolution(graph: Graph, layer: Layer, inputs: list[Value], reader: _Reader) -> Value:
    outputs, size = int(layer.number(0)), int(layer.number(6))
    geometry = [layer.number(1), layer.number(11, layer.number(1))]
    geometry += [layer.number(2, 1), layer.number(3, 1), layer.number(4)]
    plain = geometry == [3, 3, 1, 1, 1] and layer.number(5)
    if not plain or min(outputs, size) < 1 or size % (9 * outputs):
        raise InputError(f"layer {layer.name} is no 3×3 convolution with padding 1 and a bias")
    weight = reader.tagged(size, layer).reshape(outputs, -1, 3, 3)
    graph.weights.append({"weight": weight, "bias": reader.plain(outputs, layer)})
    x = graph.convolution(inputs[0], len(graph.weights) - 1)
    activation = int(layer.number(9))
    if activation not in (0, 1, 2):
        raise InputError(f"layer {layer.name} has activation {activation} of ncnn's; not known")
    if not activation:
        return x
    return graph.leaky_relu(x, layer.number(10) if activation == 2 else 0)


def _prelu(graph: Graph, layer: Layer, inputs: list[Value], reader: _Reader) -> Value:
    graph.weights.append({"weight": reader.plain(int(layer.number(0)), layer)})
    return graph.prelu(inputs[0], len(graph.weights) - 1)


def _sum_of_scaled(graph: Graph, layer: Layer, inputs: list[Value], reader: _Reader) -> Value:
    factors = layer.numbers(1) or [1.0] * len(inputs)
    if layer.number(0) != 1 or len(inputs) != 2 or len(factors) != 2:
        raise InputError(f"layer {layer.name} is no sum of two")
    a, b = (graph.scaled(x, factor) for x, factor in zip(inputs, factors, strict=True))
    return graph.total(a, b)


def _binary(graph: Graph, layer: Layer, inputs: list[Value], reader: _Reader) -> Value:
    operation, scalar = int(layer.number(0)), bool(layer.number(1))
    if operation == 0 and not scalar and len(inputs) == 2:
        return graph.total(*inputs)
    if operation == 2 and scalar:
        return graph.scaled(inputs[0], layer.number(2))
    raise InputError(f"layer {layer.name} is neither a sum of two nor a product with a number")


def _interpolation(graph: Graph, layer: Layer, inputs: list[Value], reader: _Reader) -> Value:
    kind, vertical, horizontal = (layer.number(setting, 1) for setting in (0, 1, 2))
    if vertical != horizontal:
        raise InputError(f"layer {layer.name} scales by {vertical} down and {horizontal} across")
    if kind == 1:
        return graph.nearest(inputs[0], vertical)
    return graph.resized(inputs[0], _INTERPOLATIONS.get(int(kind), "unknown"), vertical)


def _shuffle(graph: Graph, layer: Layer, inputs: list[Value], reader: _Reader) -> Value:
    if layer.number(1):
        raise InputError(f"layer {layer.name} shuffles in another order than PyTorch")
    shuffle = graph.shuffled if layer.kind == "PixelShuffle" else graph.unshuffled
    return shuffle(inputs[0], int(layer.number(0, 1)))


_LAYERS: dict[str, Callable[[Graph, Layer, list[Value], _Reader], Value]] = {
    "Input": lambda graph, layer, inputs, reader: graph.image(),
    "Split": lambda graph, layer, inputs, reader: inputs[0],
    "Noop": lambda graph, layer, inputs, reader: inputs[0],
    "Convolution": _convolution,
    "PReLU": _prelu,
    "ReLU": lambda graph, layer, inputs, reader: graph.leaky_relu(inputs[0], layer.number(0)),
    "Concat": lambda graph, layer, inputs, reader: graph.concatenation(inputs),
    "Eltwise": _sum_of_scaled,
    "BinaryOp": _binary,
    "Interp": _interpolation,
    "PixelShuffle": _shuffle,
    "Reorg": _shuffle,
}
