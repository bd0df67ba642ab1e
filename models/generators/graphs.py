"""Networks recognised in the graphs of other runtimes.

A file of ncnn or ONNX names layers as its converter liked, and has no keys. But every convolution
of an RRDBNet or an SRVGGNetCompact depends on all before it, so their order in the graph is the
network's own. What remains is to be sure that the graph *is* that network: the graph is written as
an expression, the network that its layers suggest is written as one too, and both must be equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from desra.checkpoints import Checkpoint
from desra.errors import InputError
from models.generators.rrdbnet import NEGATIVE_SLOPE, RESIDUAL_SCALE, RRDBNet
from models.generators.srvgg import SRVGGNetCompact

Value = int
"""The number of an expression: equal expressions of one `Graph` have equal numbers."""


@dataclass
class Graph:
    """Expressions over an image, and the weights of their layers in order.

    Attributes:
        weights: parameters of each layer that has some, by PyTorch's names (``weight``, ``bias``).
    """

    weights: list[dict[str, Tensor]] = field(default_factory=list)
    _values: dict[tuple[Any, ...], Value] = field(default_factory=dict)
    _definitions: list[tuple[Any, ...]] = field(default_factory=list)

    def value(self, operation: str, *arguments: Any) -> Value:
        """The number of an expression."""
        definition = (operation, *arguments)
        if definition not in self._values:
            self._values[definition] = len(self._definitions)
            self._definitions.append(definition)
        return self._values[definition]

    def image(self) -> Value:
        """What the network is given."""
        return self.value("image")

    def convolution(self, x: Value, layer: int) -> Value:
        """3×3, stride 1, one pixel of zeros around it; ``layer`` counts in `weights`."""
        return self.value("convolution", x, layer)

    def prelu(self, x: Value, layer: int) -> Value:
        """With slopes of its own for each channel."""
        return self.value("prelu", x, layer)

    def leaky_relu(self, x: Value, slope: float) -> Value:
        """A slope of 0 is the plain ReLU."""
        return self.value("leaky_relu", x, round(float(slope), 6))

    def concatenation(self, parts: Sequence[Value]) -> Value:
        """Along the channels; one of one is one."""
        flat: list[Value] = []
        for part in parts:
            operation, *arguments = self.definition(part)
            flat += arguments if operation == "concatenation" else [part]
        return self.value("concatenation", *flat)

    def scaled(self, x: Value, factor: float) -> Value:
        """Times a number."""
        factor = round(float(factor), 6)
        return x if factor == 1 else self.value("scaled", x, factor)

    def total(self, a: Value, b: Value) -> Value:
        """The sum of two, in either order."""
        return self.value("total", *sorted((a, b)))

    def nearest(self, x: Value, factor: float) -> Value:
        """Enlarged, each pixel repeated."""
        return x if factor == 1 else self.value("nearest", x, float(factor))

    def resized(self, x: Value, kind: str, factor: float) -> Value:
        """Enlarged or reduced by interpolation."""
        return self.value("resized", x, kind, float(factor))

    def shuffled(self, x: Value, factor: int) -> Value:
        """`torch.nn.functional.pixel_shuffle`."""
        return x if factor == 1 else self.value("shuffled", x, int(factor))

    def unshuffled(self, x: Value, factor: int) -> Value:
        """`torch.nn.functional.pixel_unshuffle`."""
        return self.value("unshuffled", x, int(factor))

    def definition(self, value: Value) -> tuple[Any, ...]:
        """What an expression was made of: its operation, then what it was applied to."""
        return self._definitions[value]

    def uses(self, operation: str) -> list[tuple[Any, ...]]:
        """What an operation was applied to, once for each different expression."""
        return [definition[1:] for definition in self._definitions if definition[0] == operation]


@dataclass(frozen=True)
class Recognised:
    """A network in a graph.

    Attributes:
        state: parameters by BasicSR's keys.
        activation: of an SRVGGNetCompact without slopes of its own; None elsewhere.
        reduced: the factor by which the graph then resizes the network's output, 1 for none;
            Real-ESRGAN's ×2 and ×3 models for video are a ×4 network and such a step.
    """

    state: dict[str, Tensor]
    activation: str | None = None
    reduced: float = 1.0

    def checkpoint(self, path: Path) -> Checkpoint:
        """As if a release had written it."""
        known = RRDBNet if "conv_first.weight" in self.state else SRVGGNetCompact
        said = {"activation": self.activation} if self.activation else {}
        return Checkpoint(path, {known.CONTAINER: self.state}, said)


def one_line(error: Exception) -> str:
    """A message that may repeat what is in a damaged file, cut short."""
    return " ".join(str(error).split())[:300]


def recognise(graph: Graph, output: Value) -> Recognised:
    """The network whose output is ``output``.

    Raises:
        InputError: the graph is of no network that is known here.
    """
    reduced = 1.0
    operation, *arguments = graph.definition(output)
    if operation == "resized":
        output, _, reduced = arguments
    for suspect in (_rrdbnet, _compact):
        found = suspect(graph, output)
        if found is not None:
            names, activation = found
            state = {
                f"{name}.{kind}": tensor
                for name, layer in zip(names, graph.weights, strict=True)
                for kind, tensor in layer.items()
            }
            return Recognised(state, activation, reduced)
    raise InputError(
        f"a graph of {len(graph.uses('convolution'))} convolutions that are joined neither as in "
        "an RRDBNet nor as in an SRVGGNetCompact; take the .pth or .safetensors it was made from"
    )


def _rrdbnet(graph: Graph, output: Value) -> tuple[list[str], None] | None:
    layers, doublings = len(graph.weights), len(graph.uses("nearest"))
    blocks, rest = divmod(layers - 4 - doublings, 15)
    if blocks < 1 or rest:
        return None
    names: list[str] = []

    def convolution(x: Value, name: str) -> Value:
        names.append(name)
        return graph.convolution(x, len(names) - 1)

    def activated(x: Value, name: str) -> Value:
        return graph.leaky_relu(convolution(x, name), NEGATIVE_SLOPE)

    def dense(x: Value, name: str) -> Value:
        seen = [x]
        for step in range(1, 5):
            seen.append(activated(joined(seen), f"{name}.conv{step}"))
        last = convolution(joined(seen), f"{name}.conv5")
        return graph.total(x, graph.scaled(last, RESIDUAL_SCALE))

    def joined(parts: Sequence[Value]) -> Value:
        return parts[0] if len(parts) == 1 else graph.concatenation(parts)

    x = graph.image()
    for _, factor in graph.uses("unshuffled"):
        x = graph.unshuffled(x, factor)
    first = x = convolution(x, "conv_first")
    for block in range(blocks):
        start = x
        for step in (1, 2, 3):
            x = dense(x, f"body.{block}.rdb{step}")
        x = graph.total(start, graph.scaled(x, RESIDUAL_SCALE))
    x = graph.total(first, convolution(x, "conv_body"))
    for step in range(1, doublings + 1):
        x = activated(graph.nearest(x, 2), f"conv_up{step}")
    x = convolution(activated(x, "conv_hr"), "conv_last")
    return (names, None) if x == output else None


def _compact(graph: Graph, output: Value) -> tuple[list[str], str | None] | None:
    slopes = len(graph.uses("prelu"))
    depth = len(graph.weights) - slopes
    scales = {factor for _, factor in graph.uses("shuffled")}
    if depth < 2 or slopes not in (0, depth - 1) or len(scales) > 1:
        return None
    scale = scales.pop() if scales else 1
    activations: dict[str | None, Callable[[Value, int], Value]] = {
        None: graph.prelu,
        "leakyrelu": lambda x, _: graph.leaky_relu(x, 0.1),
        "relu": lambda x, _: graph.leaky_relu(x, 0),
    }
    for activation, activate in activations.items():
        if (activation is None) != bool(slopes):
            continue
        names: list[str] = []
        x = graph.image()
        for step in range(depth):
            names.append(f"body.{2 * step}")
            x = graph.convolution(x, len(names) - 1)
            if step < depth - 1:
                x = activate(x, len(names))
                names += [f"body.{2 * step + 1}"] * bool(slopes)
        if graph.total(graph.shuffled(x, scale), graph.nearest(graph.image(), scale)) == output:
            return names, activation
    return None
