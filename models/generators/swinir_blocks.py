"""The parts of SwinIR: window attention, its transformer layer, and groups of layers.

Features are ``(B, H, W, C)`` throughout, which a convolution reads as a channels-last image without
a copy. Parameters have the release's names.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ResidualConnection = Literal["1conv", "3conv"]

MASKED = -100.0
"""Added to the attention between positions that are neighbours only after the cyclic shift."""


def partition_windows(x: Tensor, window: int) -> Tensor:
    """``(B, H, W, C)`` to ``(B·windows, window², C)``; ``window`` divides H and W."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window, window, width // window, window, channels)
    return x.transpose(2, 3).reshape(-1, window * window, channels)


def join_windows(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """The inverse of `partition_windows`."""
    channels = windows.shape[-1]
    x = windows.view(-1, height // window, width // window, window, window, channels)
    return x.transpose(2, 3).reshape(-1, height, width, channels)


def relative_position_index(window: int) -> Tensor:
    """Row of the bias table for each pair of positions, ``(window², window²)`` int64."""
    if _of_shapes_alone():
        return torch.empty(window**2, window**2, dtype=torch.int64)
    position = torch.arange(window)
    difference = position[:, None] - position[None, :] + window - 1
    rows = difference[:, None, :, None] * (2 * window - 1)
    return (rows + difference[None, :, None, :]).reshape(window**2, window**2)


def _of_shapes_alone() -> bool:
    """Whether this is on "meta", where PyTorch would import its compiler to compute nothing."""
    return torch.get_default_device().type == "meta"


def shifted_window_mask(height: int, width: int, window: int, shift: int) -> Tensor:
    """What to add to the attention of each window after a cyclic shift.

    Swin Transformer (Liu et al., ICCV 2021), figure 4: the shift brings the image's opposite edges
    into the last row and column of windows, where positions may only see their own side.

    Returns:
        ``(windows, window², window²)`` float32 of 0 and `MASKED`.
    """
    if _of_shapes_alone():
        return torch.empty((height // window) * (width // window), window**2, window**2)

    def sides(size: int) -> Tensor:
        position = torch.arange(size)
        return (position >= size - window).int() + (position >= size - shift).int()

    side = sides(height)[:, None] * 3 + sides(width)[None, :]
    side = partition_windows(side[None, :, :, None], window)[..., 0]
    return torch.zeros(1).where(side[:, None, :] == side[:, :, None], torch.tensor(MASKED))


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a learned bias per relative position.

    Args:
        dim: channels.
        window: side of a window.
        heads: attention heads; they divide ``dim``.
        qkv_bias: whether queries, keys and values have a bias.
    """

    def __init__(self, dim: int, window: int, heads: int, qkv_bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_position_index(window))
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def bias(self) -> Tensor:
        """Bias of each pair of positions, ``(1, heads, window², window²)``."""
        index: Tensor = self.relative_position_index  # type: ignore[assignment]
        biases = self.relative_position_bias_table[index.flatten()]
        return biases.view(*index.shape, self.heads).permute(2, 0, 1)[None]

    def forward(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend within windows.

        Args:
            windows: ``(B·windows, window², dim)``.
            mask: ``(windows, window², window²)``, added to the attention.
        """
        count, length, _ = windows.shape
        bias = self.bias()
        if mask is not None:
            bias = (bias + mask[:, None].to(bias.dtype)).repeat(count // mask.shape[0], 1, 1, 1)
        qkv = self.qkv(windows).view(count, length, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias.to(query.dtype), scale=self.scale
        )
        return self.proj(attended.transpose(1, 2).reshape(count, length, -1))


class MLP(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """``(…, dim)`` to the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))


class SwinLayer(nn.Module):
    """Swin Transformer layer: window attention, then an MLP, each normalised before and residual.

    Args:
        dim: channels.
        heads: attention heads.
        window: side of a window.
        shift: how far windows are shifted; 0 for every other layer.
        hidden: channels inside the MLP.
        img_size: the training size that the release keeps a mask for. Nothing here depends on it
            but the buffer ``attn_mask``, which official files hold and official code expects.
        qkv_bias: whether queries, keys and values have a bias.
        drop_path: probability to leave a residual branch out in training.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        window: int,
        shift: int,
        hidden: int,
        img_size: tuple[int, int],
        qkv_bias: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, window, heads, qkv_bias)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, hidden)
        self.drop_path = drop_path
        mask = shifted_window_mask(*img_size, window, shift) if shift else None
        self.register_buffer("attn_mask", mask)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(B, H, W, dim)`` to the same shape; ``mask`` is `shifted_window_mask` of H × W."""
        height, width = x.shape[1:3]
        y = self.norm1(x)
        if self.shift:
            y = y.roll((-self.shift, -self.shift), dims=(1, 2))
        y = self.attn(partition_windows(y, self.window), mask if self.shift else None)
        y = join_windows(y, self.window, height, width)
        if self.shift:
            y = y.roll((self.shift, self.shift), dims=(1, 2))
        x = x + self._dropped(y)
        return x + self._dropped(self.mlp(self.norm2(x)))

    def _dropped(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        # Here: timm brings torchvision and PyTorch's compiler, which upscaling does without.
        from timm.layers import drop_path

        return drop_path(branch, self.drop_path, training=True)


class ResidualGroup(nn.Module):
    """Residual Swin Transformer block (RSTB): layers, a convolution, and a skip around both."""

    def __init__(self, layers: list[SwinLayer], dim: int, connection: ResidualConnection) -> None:
        super().__init__()
        self.residual_group = nn.Module()
        self.residual_group.blocks = nn.ModuleList(layers)
        self.conv = residual_convolution(dim, connection)

    @property
    def blocks(self) -> list[SwinLayer]:
        return list(self.residual_group.blocks)  # type: ignore[arg-type]

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(B, H, W, dim)`` to the same shape."""
        y = x
        for layer in self.blocks:
            y = layer(y, mask)
        return x + convolve(self.conv, y)


def residual_convolution(dim: int, connection: ResidualConnection) -> nn.Module:
    """The convolution at a group's end: one, or three with a quarter of the channels between."""
    if connection == "1conv":
        return nn.Conv2d(dim, dim, 3, padding=1)
    return nn.Sequential(
        nn.Conv2d(dim, dim // 4, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(dim // 4, dim // 4, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(dim // 4, dim, 3, padding=1),
    )


def convolve(module: nn.Module, x: Tensor) -> Tensor:
    """Apply a module for ``(B, C, H, W)`` to ``(B, H, W, C)``."""
    return module(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).contiguous()


def sizes_of_mask(windows: int, window: int) -> tuple[int, int]:
    """A training size that has this many windows; a square where there is one."""
    rows = math.isqrt(windows)
    while windows % rows:
        rows -= 1
    return rows * window, windows // rows * window
