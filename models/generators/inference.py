"""Generators made ready for inference: the same outputs, sooner."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.generators.rrdbnet import RRDBNet
from models.generators.srvgg import SRVGGNetCompact
from models.generators.swinir import SwinIR
from models.generators.swinir_blocks import WindowAttention

Acceleration = Literal["none", "compile"]


class PreparedGenerator(nn.Module):
    """A generator that can only infer.

    Args:
        network: what computes.
        scale: output pixels per input pixel.
        multiple: sides that are multiples of this need no padding.
        device: where it computes.
        dtype: in what it computes.

    Attributes:
        scale: as given; so are ``multiple``, ``device`` and ``dtype``.
    """

    def __init__(
        self,
        network: nn.Module,
        scale: int,
        multiple: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.network = network
        self.scale = scale
        self.multiple = multiple
        self.device = device
        self.dtype = dtype

    @torch.inference_mode()
    def forward(self, lr: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1] of any type, to ``(B, 3, H·scale, W·scale)`` of `dtype`."""
        lr = lr.to(self.device, self.dtype, memory_format=torch.channels_last)
        with _fastest_convolutions(self.device):
            return self.network(lr)


def prepare_for_inference(
    generator: nn.Module,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    acceleration: Acceleration = "none",
) -> PreparedGenerator:
    """A copy of a generator that infers fast, on one device and in one precision.

    On the processor in float32, RRDBNet, SRVGGNetCompact and SwinIR run on kernels of their own
    (`kernels`). Anything else runs on PyTorch's, channels-last; on a GPU, the
    attention's heads are filled up to a size that fused kernels take.

    Args:
        generator: the network, which stays as it is; later changes of it are not seen.
        device: where to compute.
        dtype: in what to compute.
        acceleration: on a GPU, ``"compile"`` is `torch.compile`, which takes minutes for each new
            size. No difference on the processor.

    Raises:
        ValueError: unknown acceleration.

    Example:
        >>> fast = prepare_for_inference(SRVGGNetCompact(features=8, depth=2))
        >>> fast(torch.rand(1, 3, 8, 12)).shape
        torch.Size([1, 3, 32, 48])
    """
    if acceleration not in ("none", "compile"):
        raise ValueError(f"acceleration must be none or compile, got {acceleration!r}")
    device = torch.device(device)
    scale, multiple = int(generator.scale), int(getattr(generator, "multiple", 1))  # type: ignore[arg-type]
    network = None
    if device.type == "cpu" and dtype == torch.float32:
        network = _on_own_kernels(generator)
    if network is None:
        network = copy.deepcopy(generator).eval().requires_grad_(False)
        network = network.to(device, dtype).to(memory_format=torch.channels_last)
        if device.type == "cuda":
            fill_up_heads(network)
            if acceleration == "compile":
                network = torch.compile(  # type: ignore[assignment]
                    network, mode="max-autotune-no-cudagraphs", dynamic=False
                )
    return PreparedGenerator(network, scale, multiple, device, dtype)


def _on_own_kernels(generator: nn.Module) -> nn.Module | None:
    if not isinstance(generator, RRDBNet | SRVGGNetCompact | SwinIR):
        return None
    # Here, since Numba takes long to import.
    from models.generators.fast_rrdbnet import FastRRDBNet
    from models.generators.fast_srvgg import FastSRVGGNet
    from models.generators.fast_swinir import FastSwinIR

    if any(parameter.device.type != "cpu" for parameter in generator.parameters()):
        generator = copy.deepcopy(generator).cpu()
    if isinstance(generator, RRDBNet):
        return FastRRDBNet(generator)
    return FastSwinIR(generator) if isinstance(generator, SwinIR) else FastSRVGGNet(generator)


def fill_up_heads(network: nn.Module, multiple: int = 8) -> None:
    """Fill the heads of all window attention in a network up with zeros, in place.

    CUDA's fused attention wants heads of a multiple of 8 channels in half precision, and SwinIR's
    have 30. Zeros in queries and keys change no product, and those in values are multiplied by
    zeros in the projection.
    """
    for attention in network.modules():
        if not isinstance(attention, WindowAttention):
            continue
        dim, heads = attention.proj.out_features, attention.heads
        size = attention.proj.in_features // heads
        more = -size % multiple
        weight = F.pad(attention.qkv.weight.view(3, heads, size, dim), (0, 0, 0, more))
        attention.qkv.weight = nn.Parameter(weight.flatten(0, 2), requires_grad=False)
        if attention.qkv.bias is not None:
            bias = F.pad(attention.qkv.bias.view(3, heads, size), (0, more))
            attention.qkv.bias = nn.Parameter(bias.flatten(), requires_grad=False)
        proj = F.pad(attention.proj.weight.view(dim, heads, size), (0, more))
        attention.proj.weight = nn.Parameter(proj.flatten(1), requires_grad=False)
        attention.qkv.out_features += 3 * heads * more
        attention.proj.in_features += heads * more


def _fastest_convolutions(device: torch.device) -> AbstractContextManager[Any]:
    """Let cuDNN try its algorithms once for each size, and keep the fastest."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=True)
