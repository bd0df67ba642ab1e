"""Generators out of ONNX files (https://onnx.ai/onnx/operators/): RRDBNet and SRVGGNetCompact.

The file is data, and nothing in it is run. Float16 fits into float32, so weights are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desra.errors import InputError
from models.generators.graphs import Graph, Recognised, Value, one_line, recognise

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

SUFFIX = ".onnx"

_GEOMETRY = {"strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1], "group": 1}


def read_onnx(path: str | Path) -> Recognised:
    """The network of an ONNX file: an RRDBNet or an SRVGGNetCompact.

    Raises:
        InputError: the package onnx is not installed, the file is missing or damaged, or its
            network is another.
    """
    try:
        import onnx
    except ImportError as error:
        raise InputError(
            f"{path}: reading it needs the package onnx: pip install 'desra[export]'"
        ) from error
    try:
        return _recognised(onnx.load(str(path)))
    except InputError as error:
        raise InputError(f"{path}: {one_line(error)}") from error
    except MemoryError:
        raise
    except Exception as error:  # of whatever kind fields of other types and lengths lead to
        raise InputError(
            f"{path}: damaged, or not an ONNX file ({type(error).__name__}: {one_line(error)})"
        ) from error


def _recognised(model: ModelProto) -> Recognised:
    from onnx.numpy_helper import to_array

    reader = _Nodes(Graph(), {item.name: to_array(item) for item in model.graph.initializer})
    inputs = [item.name for item in model.graph.input if item.name not in reader.tensors]
    reader.values = dict.fromkeys(inputs[:1], reader.graph.image())
    for node in model.graph.node:
        reader.express(node)
    if not model.graph.output or model.graph.output[0].name not in reader.values:
        raise InputError("its output does not depend on its input")
    return recognise(reader.graph, reader.values[model.graph.output[0].name])


@dataclass
class _Nodes:
    """The nodes of a file as expressions.

    Attributes:
        tensors: constants by name; ``values`` what depends on the image.
    """

    graph: Graph
    tensors: dict[str, NDArray]
    values: dict[str, Value] = field(default_factory=dict)

    def express(self, node: NodeProto) -> None:
        """Add what a node computes."""
        from onnx.helper import get_attribute_value

        said = {item.name: get_attribute_value(item) for item in node.attribute}
        name = node.name or node.output[0]
        if node.op_type == "Constant":
            self.tensors[node.output[0]] = _constant(said)
        elif node.op_type in ("Identity", "Cast"):  # a cast to half precision and back
            known: dict[str, Any] = self.values if node.input[0] in self.values else self.tensors
            if node.input[0] not in known:
                raise InputError(f"{name} reads {node.input[0]}, which nothing writes")
            known[node.output[0]] = known[node.input[0]]
        elif node.op_type in _OPERATIONS:
            self.values[node.output[0]] = _OPERATIONS[node.op_type](self, node, said)
        else:
            raise InputError(
                f"{name} is a {node.op_type}, which neither RRDBNet nor SRVGGNetCompact has as "
                "converters write them; of ONNX files those two are read"
            )

    def value(self, node: NodeProto, place: int = 0) -> Value:
        """An input that depends on the image."""
        try:
            return self.values[node.input[place]]
        except (KeyError, IndexError) as error:
            raise _unknown(node) from error

    def tensor(self, node: NodeProto, place: int) -> Tensor:
        """An input that does not."""
        try:
            return torch.from_numpy(self.tensors[node.input[place]].astype(np.float32))
        except (KeyError, IndexError) as error:
            raise _unknown(node) from error

    def convolution(self, node: NodeProto, said: Mapping[str, Any]) -> Value:
        weight = self.tensor(node, 1)
        geometry = {name: said.get(name, value) for name, value in _GEOMETRY.items()}
        if geometry != _GEOMETRY or "pads" not in said or tuple(weight.shape[2:]) != (3, 3):
            raise InputError(f"{node.name or node.output[0]} is no 3×3 convolution with padding 1")
        # Converters drop a bias of zeros.
        bias = self.tensor(node, 2) if len(node.input) > 2 else torch.zeros(len(weight))
        x = self.value(node)
        self.graph.weights.append({"weight": weight, "bias": bias})
        return self.graph.convolution(x, len(self.graph.weights) - 1)

    def prelu(self, node: NodeProto, _: Mapping[str, Any]) -> Value:
        x = self.value(node)
        self.graph.weights.append({"weight": self.tensor(node, 1).flatten()})
        return self.graph.prelu(x, len(self.graph.weights) - 1)

    def product(self, node: NodeProto, _: Mapping[str, Any]) -> Value:
        place = 0 if node.input[0] in self.values else 1
        factor = self.tensor(node, 1 - place)
        if factor.numel() != 1:
            raise _unknown(node)
        return self.graph.scaled(self.value(node, place), float(factor))

    def resize(self, node: NodeProto, said: Mapping[str, Any]) -> Value:
        scales = self.tensor(node, 1 if node.op_type == "Upsample" else 2).tolist()
        if len(scales) != 4 or scales[:2] != [1, 1] or scales[2] != scales[3]:
            raise _unknown(node)
        mode = said.get("mode", b"nearest").decode()  # a number has no decode
        if mode == "nearest":
            return self.graph.nearest(self.value(node), scales[2])
        return self.graph.resized(self.value(node), mode, scales[2])

    def shuffle(self, node: NodeProto, said: Mapping[str, Any]) -> Value:
        if said.get("mode") != b"CRD":
            raise InputError(
                f"{node.name or node.output[0]} shuffles in another order than PyTorch"
            )
        return self.graph.shuffled(self.value(node), said["blocksize"])


def _constant(said: Mapping[str, Any]) -> NDArray:
    from onnx import numpy_helper

    if "value" in said:
        return numpy_helper.to_array(said["value"])
    return np.asarray(next(iter(said.values())))


def _unknown(node: NodeProto) -> InputError:
    return InputError(
        f"{node.name or node.output[0]} is a {node.op_type} of a kind that neither RRDBNet nor "
        "SRVGGNetCompact has"
    )


_OPERATIONS: dict[str, Callable[[_Nodes, NodeProto, Mapping[str, Any]], Value]] = {
    "Conv": _Nodes.convolution,
    "PRelu": _Nodes.prelu,
    "LeakyRelu": lambda nodes, node, said: nodes.graph.leaky_relu(
        nodes.value(node), said.get("alpha", 0.01)
    ),
    "Relu": lambda nodes, node, said: nodes.graph.leaky_relu(nodes.value(node), 0),
    "Concat": lambda nodes, node, said: nodes.graph.concatenation(
        [nodes.value(node, place) for place in range(len(node.input))]
    ),
    "Add": lambda nodes, node, said: nodes.graph.total(nodes.value(node), nodes.value(node, 1)),
    "Mul": _Nodes.product,
    "Resize": _Nodes.resize,
    "Upsample": _Nodes.resize,
    "DepthToSpace": _Nodes.shuffle,
}
