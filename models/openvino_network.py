"""OpenVINO in the place of a generator: the same outputs, computed by its kernels."""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from torch import Tensor, nn

from desra.errors import InputError
from desra.memory import is_out_of_memory
from models.exporting.writers import trace

TOLERANCE = 1e-4
"""Largest difference from PyTorch, of pixels in [0, 1], at which the two are the same."""

_PROBE = (19, 27)
"""Height and width of the image that they are compared on, which are not those of tracing."""


class OpenVINONetwork(nn.Module):
    """A generator that OpenVINO runs on the processor, in float32 and on images of any size.

    It is compiled once, for all sizes: with one thread a size of its own was 2 % faster for the
    compact network and no faster for RRDBNet, and takes as long to compile as one to three tiles
    of 64 to 128 pixels take to upscale.

    Args:
        generator: the network, which stays as it is; later changes of it are not seen.

    Raises:
        InputError: OpenVINO is not installed, cannot convert the network, or makes something else
            of it than PyTorch does.

    Example:
        >>> from models.generators import SRVGGNetCompact
        >>> network = OpenVINONetwork(SRVGGNetCompact(features=8, depth=2))
        >>> network(torch.rand(1, 3, 8, 12)).shape
        torch.Size([1, 3, 32, 48])
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.scale = int(generator.scale)  # type: ignore[arg-type]
        threads = torch.get_num_threads()
        # PyTorch sees small images only, for which its threads would wait for each other longer
        # than they work.
        torch.set_num_threads(1)
        try:
            self._request = _compile(generator, threads).create_infer_request()
            self._check(copy.deepcopy(generator).cpu().float().eval())
        finally:
            torch.set_num_threads(threads)

    def forward(self, lr: Tensor) -> Tensor:
        """``(B, C, H, W)`` float32 in [0, 1] to ``(B, C, H·scale, W·scale)``.

        Raises:
            InputError: OpenVINO cannot run the network on it.
        """
        import openvino

        lr = lr.contiguous()
        height, width = (side * self.scale for side in lr.shape[2:])
        output = lr.new_empty(*lr.shape[:2], height, width)
        self._request.set_input_tensor(openvino.Tensor(lr.numpy(), shared_memory=True))
        self._request.set_output_tensor(openvino.Tensor(output.numpy(), shared_memory=True))
        try:
            self._request.infer()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise InputError(f"OpenVINO cannot run this network: {_last_line(error)}") from error
        return output

    @torch.inference_mode()
    def _check(self, generator: nn.Module) -> None:
        lr = torch.rand(1, 3, *_PROBE, generator=torch.Generator().manual_seed(0))
        difference = (self(lr) - generator(lr)).abs().max().item()
        if not difference <= TOLERANCE:  # NaN is neither
            raise InputError(
                f"OpenVINO differs from PyTorch by {difference:.2g}, and {TOLERANCE:g} is allowed"
            )


def _compile(generator: nn.Module, threads: int) -> Any:
    openvino = _import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch import ConversionExtension
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    traced = trace(generator)
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16, where a processor has it
        "PERFORMANCE_HINT": "LATENCY",
        # No faster, and processes that share a machine would be tied to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        # What openvino.convert_model does, without a second or more of looking around before.
        frontend = FrontEndManager().load_by_framework("pytorch")
        frontend.add_extension(ConversionExtension("aten::pixel_shuffle", _shuffle_pixels))
        decoder = TorchScriptPythonDecoder(traced)  # has to live until it is converted
        model = frontend.convert(frontend.load(decoder))
        return openvino.Core().compile_model(model, "CPU", settings)
    except Exception as error:  # of several kinds, which have nothing in common
        raise InputError(f"OpenVINO cannot convert this network: {_last_line(error)}") from error


def _import_openvino() -> Any:
    """The package, without its telemetry, which reports each import and conversion to its maker."""
    reporter = "openvino_telemetry"
    silenced = reporter not in sys.modules
    if silenced:
        sys.modules[reporter] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import openvino
    except ImportError as error:
        raise InputError(
            "acceleration=openvino needs the package openvino: pip install 'desra[openvino]'"
        ) from error
    finally:
        if silenced:
            del sys.modules[reporter]
    return openvino


def _shuffle_pixels(node: Any) -> Any:
    """OpenVINO's own conversion moves pixels in three steps while the size is open: 10 % slower."""
    from openvino import opset8

    factor = node.get_values_from_const_input(1)
    return opset8.depth_to_space(node.get_input(0), "depth_first", factor).outputs()


def _last_line(error: Exception) -> str:
    """What went wrong; OpenVINO puts the places in its own source before that."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
