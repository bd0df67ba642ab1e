"""Writers of a generator in the formats that other programs read."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from desra.errors import InputError
from models.exporting.traceable import make_traceable
from models.generators import write_generator
from models.generators.loading import unwrap
from models.generators.ncnn import parse_param
from models.generators.rrdbnet import RRDBNet
from models.generators.swinir import SwinIR

Format = Literal["onnx", "ncnn", "torchscript", "safetensors", "pth"]
Precision = Literal["fp32", "fp16"]

FORMATS: dict[str, tuple[str, ...]] = {
    "onnx": (".onnx",),
    "ncnn": (".param", ".bin"),
    "torchscript": (".pt",),
    "safetensors": (".safetensors",),
    "pth": (".pth",),
}
"""Format to the suffixes of its files."""

INPUT, OUTPUT = "data", "output"
"""Blobs of an ncnn model, by the names that upscayl and Real-ESRGAN-ncnn-vulkan ask for."""

OPSET = 17
"""Of ONNX; the first with layer normalisation, and old enough for chaiNNer's ONNX Runtime."""

_SIZES = (33, 45), (65, 53)
"""Of the images that networks are traced with: 1 more than multiples of 4, so that no padding and
no cropping is left out, and not square."""


def export_name(stem: str, scale: int, form: Format) -> str:
    """The name of an exported model.

    upscayl reads an ncnn model's scale from its name: 2 where there is a ``x2`` or ``2x``, 3
    likewise, otherwise 4.

    >>> export_name("RealESRGAN_x4plus-tuned", 4, "ncnn")
    'RealESRGAN_x4plus-tuned'
    >>> export_name("realesr-animevideov3-x2", 4, "ncnn")
    '4x_realesr-animevideov3'
    >>> export_name("tuned", 2, "ncnn")
    '2x_tuned'
    """
    if form != "ncnn":
        return stem
    said = {int(a or b) for a, b in re.findall(r"(?i)x([1-9])|([1-9])x", stem)}
    if said == {scale}:
        return stem
    rest = re.sub(r"(?i)[-_]?(x[1-9]|[1-9]x)[-_]?", "", stem)
    return f"{scale}x_{rest}" if rest else f"{scale}x"


def write(network: nn.Module, path: Path, form: Format, precision: Precision = "fp32") -> None:
    """Write a generator; not yet proven to be the same.

    Args:
        network: as `models.generators.load_generator` gives it; it stays as it is.
        path: without suffix; `FORMATS` says which files there will be.
        form: the format.
        precision: of the weights. Files take float32 images and give float32 images in either.

    Raises:
        InputError: a network that the format cannot hold, with the layer; or a package is missing.
    """
    network = copy.deepcopy(network).float().eval().requires_grad_(False)
    with torch.no_grad():
        network(torch.zeros(1, 3, 64, 64))  # SPAN folds its convolutions when it first infers
    if isinstance(network, SwinIR):
        network._mask = None  # of the last size: it must be computed in the graph
    if form in ("onnx", "ncnn", "torchscript"):
        make_traceable(network)
    if form == "onnx":
        _write_onnx(network, path.with_name(f"{path.name}.onnx"), precision)
    elif form == "ncnn":
        _write_ncnn(network, path, precision)
    elif form == "torchscript":
        _write_torchscript(_in_precision(network, precision), path.with_name(f"{path.name}.pt"))
    else:
        state = network.half() if precision == "fp16" else network
        write_generator(path.with_name(f"{path.name}.{form}"), unwrap(state))


def _write_torchscript(network: nn.Module, path: Path) -> None:
    try:
        with _quietly():
            sample = torch.rand(1, 3, *_SIZES[0])
            program = torch.jit.trace(network, sample, check_trace=False)
            # By its own writer a full disk would end the process.
            path.write_bytes(program.save_to_buffer())
    except RuntimeError as error:
        raise InputError(f"TorchScript cannot hold this network: {_first_line(error)}") from error


class _HalfInside(nn.Module):
    """A network in half precision between images in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, lr: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, 3, H·scale, W·scale)``, float32 both."""
        return self.network(lr.half()).float()


def _in_precision(network: nn.Module, precision: Precision) -> nn.Module:
    return _HalfInside(network) if precision == "fp16" else network


def _write_onnx(network: nn.Module, path: Path, precision: Precision) -> None:
    try:
        import onnx  # noqa: F401  the exporter's own message does not say what to install
    except ImportError as error:
        raise _missing("onnx", "onnx") from error
    free = {0: "batch", 2: "height", 3: "width"}
    enlarged = {0: "batch", 2: "height_out", 3: "width_out"}
    try:
        with _quietly(), torch.inference_mode():
            # By tracing. torch.export refuses what depends on whether a side fits a window.
            torch.onnx.export(
                _in_precision(network, precision),
                (torch.rand(2, 3, *_SIZES[0]),),
                str(path),
                dynamo=False,
                input_names=["input"],
                output_names=["output"],
                dynamic_axes={"input": free, "output": enlarged},
                opset_version=OPSET,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise InputError(f"ONNX cannot hold this network: {_first_line(error)}") from error


class _PaddedByAConstant(nn.Module):
    """An RRDBNet on unshuffled pixels, for a runtime whose padding cannot depend on the size.

    Always one pixel less than a multiple is added. Unshuffling leaves out what does not fill a
    multiple, so that the output is never smaller than ``H·scale``, and up to one multiple larger.
    """

    def __init__(self, network: RRDBNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, lr: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, 3, H·scale and up, W·scale and up)``."""
        more = self.network.unshuffle - 1
        return self.network(F.pad(lr, (0, more, 0, more), mode="reflect"))


def _write_ncnn(network: nn.Module, path: Path, precision: Precision) -> None:
    try:
        import ncnn
        import pnnx
    except ImportError as error:
        raise _missing("ncnn", "ncnn and pnnx") from error
    if isinstance(network, RRDBNet) and network.unshuffle > 1:
        network = _PaddedByAConstant(network)
    converter = Path(pnnx.__file__).with_name("pnnx.exe" if os.name == "nt" else "pnnx")
    shapes = [f"[1,3,{height},{width}]" for height, width in _SIZES]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "model.pt")
        _write_torchscript(network, program)
        done = subprocess.run(
            [
                *(str(converter), str(program), f"inputshape={shapes[0]}"),
                *(f"inputshape2={shapes[1]}", f"fp16={int(precision == 'fp16')}"),
            ],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        text, weights = (Path(folder, f"model.ncnn{suffix}") for suffix in FORMATS["ncnn"])
        if done.returncode or not text.is_file() or not weights.is_file():
            last = " ".join((done.stderr or done.stdout).split())[-200:]
            raise InputError(f"pnnx could not convert this network: {last}")
        lines = text.read_text()
        for layer in parse_param(lines):
            if ncnn.layer_to_index(layer.kind) < 0:
                raise InputError(f"ncnn has no layer {layer.kind} (here {layer.name})")
        for given, wanted in (("in0", INPUT), ("out0", OUTPUT)):
            lines = re.sub(rf"(?m)(?<=[ ]){given}(?=[ ]|$)", wanted, lines)
        path.with_name(f"{path.name}.param").write_text(lines)
        shutil.copyfile(weights, path.with_name(f"{path.name}.bin"))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the warnings of tracing: what they fear is what the proof looks for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _missing(form: str, packages: str) -> InputError:
    return InputError(f"format={form} needs {packages}: pip install 'desra[export]'")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
