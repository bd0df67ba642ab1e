"""The programs that run exported models, each through its own package."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from desra.errors import InputError
from models.exporting.writers import INPUT, OUTPUT, Format
from models.generators import load_generator
from models.generators.ncnn import parse_param

Array = NDArray[np.float32]
Layers = list[tuple[str, Array, float | None]]
"""Layers with weights in order: name, output, and the slope that was already applied to it."""


class Runtime:
    """A model as its own program runs it.

    Args:
        path: without suffix, as `models.exporting.write` was given it.
        scale: output pixels per input pixel.

    Attributes:
        program: its name and version.
    """

    program: str

    def __init__(self, path: Path, scale: int) -> None:
        self.path, self.scale = path, scale

    def __call__(self, lr: Array) -> Array:
        """``(3, H, W)`` in [0, 1] to ``(3, H·scale, W·scale)``.

        Raises:
            InputError: the program cannot run the model on it.
        """
        output = self.run(np.ascontiguousarray(lr, dtype=np.float32))
        height, width = (side * self.scale for side in lr.shape[1:])
        return output[:, :height, :width]

    def run(self, lr: Array) -> Array:
        """The model's output as it comes."""
        raise NotImplementedError

    def layers(self, lr: Array) -> Layers:
        """What its convolutions and linear layers give."""
        return []


class OnnxRuntime(Runtime):
    """ONNX Runtime, on the processor."""

    def __init__(self, path: Path, scale: int) -> None:
        super().__init__(path, scale)
        import onnxruntime

        self.program = f"ONNX Runtime {onnxruntime.__version__}"
        self._file = path.with_name(f"{path.name}.onnx")
        self._session = self._open(str(self._file))

    def _open(self, model: str | bytes):  # type: ignore[no-untyped-def]
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what fails comes as an exception
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise InputError(f"ONNX Runtime cannot load it: {_short(error)}") from error

    def run(self, lr: Array) -> Array:
        try:
            return self._session.run(None, {"input": lr[None]})[0][0]
        except Exception as error:
            raise InputError(f"ONNX Runtime cannot run it: {_short(error)}") from error

    def layers(self, lr: Array) -> Layers:
        import onnx

        model = onnx.load(str(self._file))
        names = [
            node.output[0]
            for node in model.graph.node
            if node.op_type in ("Conv", "MatMul", "Gemm") and set(node.input) & _weights(model)
        ]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        session = self._open(model.SerializeToString())
        try:
            outputs = session.run(names, {"input": lr[None]})
        except Exception as error:
            raise InputError(f"ONNX Runtime cannot run it: {_short(error)}") from error
        return [
            (name, np.asarray(output[0], np.float32), None)
            for name, output in zip(names, outputs, strict=True)
        ]


def _weights(model) -> set[str]:  # type: ignore[no-untyped-def]
    return {item.name for item in model.graph.initializer}


class Ncnn(Runtime):
    """ncnn, on the processor."""

    def __init__(self, path: Path, scale: int) -> None:
        super().__init__(path, scale)
        import ncnn

        self.program = f"ncnn {version('ncnn')}"
        self._net = ncnn.Net()
        self._net.opt.num_threads = torch.get_num_threads()
        files = [str(path.with_name(f"{path.name}{suffix}")) for suffix in (".param", ".bin")]
        if self._net.load_param(files[0]) or self._net.load_model(files[1]):
            raise InputError("ncnn cannot load it")

    def run(self, lr: Array) -> Array:
        return self._extract(lr, [OUTPUT])[0]

    def _extract(self, lr: Array, blobs: list[str]) -> list[Array]:
        import ncnn

        extractor = self._net.create_extractor()
        extractor.set_light_mode(len(blobs) == 1)  # else it would forget what is asked for later
        extractor.input(INPUT, ncnn.Mat(lr))
        outputs = []
        for blob in blobs:
            failed, output = extractor.extract(blob)
            if failed:
                raise InputError(f"ncnn cannot run it (no value of {blob})")
            outputs.append(np.array(output, np.float32))
        return outputs

    def layers(self, lr: Array) -> Layers:
        parsed = [
            layer
            for layer in parse_param(self.path.with_name(f"{self.path.name}.param").read_text())
            if layer.kind in ("Convolution", "InnerProduct", "Gemm")
        ]
        slopes = [
            {1: 0.0, 2: (layer.numbers(10) or [0.0])[0]}.get(int(layer.number(9)))
            for layer in parsed
        ]
        outputs = self._extract(lr, [layer.outputs[0] for layer in parsed])
        names = [layer.name for layer in parsed]
        return list(zip(names, outputs, slopes, strict=True))


class TorchNetwork(Runtime):
    """PyTorch: TorchScript, or weights in a network that is built anew."""

    def __init__(self, path: Path, scale: int) -> None:
        super().__init__(path, scale)
        self.network = self.load()

    def load(self) -> nn.Module:
        self.program = f"PyTorch {torch.__version__}"
        return torch.jit.load(str(self.path.with_name(f"{self.path.name}.pt")))  # our own file

    @torch.inference_mode()
    def run(self, lr: Array) -> Array:
        try:
            return self.network(torch.from_numpy(lr)[None])[0].float().numpy()
        except RuntimeError as error:
            raise InputError(f"PyTorch cannot run it: {_short(error)}") from error


class Weights(TorchNetwork):
    """Weights in the network that another implementation builds: spandrel's, as in chaiNNer and
    ComfyUI; or ours, for a network that spandrel does not know."""

    suffix = ".pth"

    def load(self) -> nn.Module:
        file = self.path.with_name(f"{self.path.name}{self.suffix}")
        try:
            from models.generators.spandrel_adapter import load_spandrel

            network = load_spandrel(file)
            self.program = f"spandrel {version('spandrel')}"
        except InputError:
            network = load_generator(file)
            self.program = f"PyTorch {torch.__version__}"
        return network.float()


class Safetensors(Weights):
    """As `Weights`, of the other format."""

    suffix = ".safetensors"


RUNTIMES: Mapping[Format, Callable[[Path, int], Runtime]] = {
    "onnx": OnnxRuntime,
    "ncnn": Ncnn,
    "torchscript": TorchNetwork,
    "safetensors": Safetensors,
    "pth": Weights,
}


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()).replace(os.sep, "/")
    return text[:300]
