"""Routing convolutions to the implementation that trains fastest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from models.convolution.plain import PlainConvolution
from models.convolution.winograd import WinogradConvolution, tile_count
from models.generators.cpu.winograd_tiles import LANES

FEWEST_TILES = 64
"""Below this, transforming the weights costs more than it saves."""
FEWEST_CHANNELS = 32
"""Below this, copies for gradients of weights cost more than they save."""

Pair = tuple[int, int]


class FastConvolutions(TorchFunctionMode):
    """Within the block, convolutions of channels-last float32 images on the processor are computed
    as is fastest in training, whatever module or function asks for them.

    Those under autocast, in groups, dilated, and on other devices are left to PyTorch.
    """

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.conv2d:
            return _convolve(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    if groups == 1 and _pair(dilation) == (1, 1) and padding != "same" and _fits(x, weight):
        steps, rim = _pair(stride), (0, 0) if padding == "valid" else _pair(padding)
        if _keeps_size(weight, steps, rim) and tile_count(x) >= FEWEST_TILES:
            return WinogradConvolution.apply(x, weight, bias)
        if weight.requires_grad and min(weight.shape[:2]) >= FEWEST_CHANNELS:
            return PlainConvolution.apply(x, weight, bias, steps, rim)
    return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _fits(x: Tensor, weight: Tensor) -> bool:
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled("cpu")
    )


def _keeps_size(weight: Tensor, stride: Pair, padding: Pair) -> bool:
    outputs, inputs, *kernel = weight.shape
    plain = kernel == [3, 3] and stride == padding == (1, 1)
    return plain and outputs % LANES == inputs % LANES == 0


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else tuple(value)
