"""Forms of other programs' networks that can be traced for images of any size.

Tracing keeps what tensors do and forgets what Python does: sizes that went through ``int`` or a
comparison, loops over them, and functions with gradients of their own. The parts here compute the
same from sizes that stay in the graph. They are recognised by spandrel's names of them.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def make_traceable(network: nn.Module) -> None:
    """Replace in place what tracing would get wrong; the output stays the same."""
    for module in network.modules():
        if type(module).__module__.startswith("spandrel."):
            change = _CHANGES.get(type(module).__name__)
            if change is not None:
                change(module)


def _in_its_place(forward: Callable[..., Any]) -> Callable[[nn.Module], None]:
    def change(module: nn.Module) -> None:
        module.forward = MethodType(forward, module)

    return change


def _realplksr(module: Any) -> None:
    times = module.repeat_op.keywords["repeats"]

    def repeat(image: Tensor) -> Tensor:  # ncnn has no repeat_interleave
        return torch.cat([channel for channel in image.chunk(3, 1) for _ in range(times)], 1)

    module.repeat_op = repeat


def _large_kernel(module: Any) -> None:
    # In training it splits and joins channels; in evaluation it writes into a part of its input,
    # which other runtimes get wrong. The convolution in it is the same in both.
    module.training = True


def _layer_norm_2d(self: Any, x: Tensor) -> Tensor:
    """Of channels; spandrel's has a gradient of its own, which no program can hold."""
    centred = x - x.mean(1, keepdim=True)
    deviation = (centred.square().mean(1, keepdim=True) + self.eps).sqrt()
    return centred / deviation * self.weight[:, None, None] + self.bias[:, None, None]


def _dysample(self: Any, x: Tensor) -> Tensor:
    """Sampling at learnt places ("Learning to Upsample by Learning to Sample", ICCV 2023)."""
    offset = self.offset(x) * self.scope(x).sigmoid() * 0.5 + self.init_pos
    batch, _, height, width = offset.shape
    sides = [F.pixel_shuffle(part, self.scale) for part in offset.chunk(2, 1)]  # across, down
    line = torch.ones_like(x[:1, :1])
    columns, rows = line[..., :1, :].cumsum(-1) - 0.5, line[..., :1].cumsum(-2) - 0.5
    places = []
    for side, centre, length in zip(sides, (columns, rows), (width, height), strict=True):
        there = centre.expand(1, 1, height, width)
        there = F.interpolate(there, scale_factor=self.scale, mode="nearest")
        places.append(2 * (there + side) / length - 1)
    grid = torch.stack(places, -1).flatten(0, 1)
    channels = x.shape[1] // self.groups
    output = F.grid_sample(
        x.reshape(batch * self.groups, channels, height, width),
        grid,
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    output = output.reshape(batch, x.shape[1], height * self.scale, width * self.scale)
    return self.end_conv(output) if self.end_convolution else output


def _window_attention(
    self: Any, qkv: Tensor, height: int, width: int, mask: Tensor | None = None
) -> Tensor:
    """Attention in windows with learnt biases of places (DAT, ICCV 2023)."""
    rows, columns, count = self.H_sp, self.W_sp, self.H_sp * self.W_sp
    channels = qkv.shape[-1]
    q, k, v = (self.im2win(part, height, width) for part in qkv.unbind(0))
    bias = self.pos(self.rpe_biases)[self.relative_position_index.flatten()]
    scores = (q * self.scale) @ k.transpose(-2, -1) + bias.view(count, count, -1).permute(2, 0, 1)
    if mask is not None:
        windows = mask.shape[0]
        scores = scores.view(-1, windows, self.num_heads, count, count) + mask[:, None]
        scores = scores.view(-1, self.num_heads, count, count)
    tokens = (scores.softmax(-1) @ v).transpose(1, 2)
    tokens = tokens.reshape(-1, height // rows, width // columns, rows, columns, channels)
    return tokens.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, channels)


def _shifted_windows(module: Any) -> None:
    module.patches_resolution = -1  # never that of the image: masks are always computed
    module.calculate_mask = MethodType(_masks_of_shifts, module)


def _masks_of_shifts(
    self: Any, height: int, width: int, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Which tokens of a shifted window may see each other, 0 or -100."""
    first, second = self.split_size, self.shift_size
    return (
        _mask_of_shift(height, width, first, second, dtype),
        _mask_of_shift(height, width, first[::-1], second[::-1], dtype),
    )


def _mask_of_shift(
    height: int, width: int, split: Any, shift: Any, dtype: torch.dtype | None
) -> Tensor:
    rows, columns = (
        _part_of_each(length, size, by)
        for length, size, by in zip((height, width), split, shift, strict=True)
    )
    parts = rows[:, None] * 3 + columns
    parts = parts.view(height // split[0], split[0], width // split[1], split[1])
    windows = parts.transpose(1, 2).reshape(-1, split[0] * split[1])
    apart = windows[:, None] != windows[:, :, None]
    return apart.to(dtype or torch.float32) * -100.0


def _part_of_each(length: int, split: int, shift: int) -> Tensor:
    """0 for what was not moved, 1 and 2 for the two parts of the last window."""
    places = torch.arange(length)
    return (places >= length - split).long() + (places >= length - shift).long()


_CHANGES: dict[str, Callable[[nn.Module], None]] = {
    "RealPLKSR": _realplksr,
    "PLKConv2d": _large_kernel,
    "LayerNorm2d": _in_its_place(_layer_norm_2d),
    "DySample": _in_its_place(_dysample),
    "Spatial_Attention": _in_its_place(_window_attention),
    "Adaptive_Spatial_Attention": _shifted_windows,
}
