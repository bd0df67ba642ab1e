"""ELAN at the scale of its input: two of the enhancement networks of human-guided ground truth.

Zhang et al., "Efficient Long-Range Attention Network for Image Super-resolution", ECCV 2022; with
the sizes of Chen et al., CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.generators.shapes import crop, highest_number, pad_to_multiple
from models.generators.swinir import RGB_MEAN

WINDOWS = (4, 8, 16)
"""Sides of the attention windows of the three thirds of the channels."""


class ShiftConvolution(nn.Module):
    """A fixed shift by one pixel of four fifths of the channels, and a 1×1 convolution.

    Args:
        channels: in.
        channels_out: out.
    """

    weight: Tensor

    def __init__(self, channels: int, channels_out: int) -> None:
        super().__init__()
        weight = torch.zeros(channels, 1, 3, 3)
        # From the right, the left, below, above; the rest, which may be more than a fifth, stays.
        sources = ((1, 2), (1, 0), (2, 1), (0, 1))
        fifth = channels // 5
        for place, (row, column) in enumerate(sources):
            weight[place * fifth : (place + 1) * fifth, 0, row, column] = 1
        weight[len(sources) * fifth :, 0, 1, 1] = 1
        # A frozen parameter in the release. A buffer is in the state under the same key, and no
        # optimiser, average or unfreezing touches it.
        self.register_buffer("weight", weight)
        self.conv1x1 = nn.Conv2d(channels, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to ``(B, channels_out, H, W)``."""
        return self.conv1x1(F.conv2d(x, self.weight, padding=1, groups=len(self.weight)))


class LocalFeatures(nn.Module):
    """Two shift convolutions with a ReLU in between."""

    def __init__(self, channels: int, expand: int) -> None:
        super().__init__()
        inner = channels * expand
        self.conv0 = nn.ModuleDict({"shift_conv": ShiftConvolution(channels, inner)})
        self.conv1 = nn.ModuleDict({"shift_conv": ShiftConvolution(inner, channels)})

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to the same shape."""
        x = F.relu(self.conv0["shift_conv"](x), inplace=True)
        return self.conv1["shift_conv"](x)


class WindowedAttention(nn.Module):
    """Attention of a window's pixels to each other, in three sizes of windows side by side.

    Queries are the keys, too; there is neither a scale nor a bias. Where windows are shifted, they
    wrap around the image's edges without a mask.

    Args:
        channels: in and out; a multiple of 3.
        shift: whether windows are shifted by half of their side.
        windows: sides, one for each third of the channels.
    """

    def __init__(self, channels: int, shift: bool, windows: tuple[int, ...] = WINDOWS) -> None:
        super().__init__()
        self.shift, self.windows = shift, windows
        self.project_inp = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1), nn.BatchNorm2d(2 * channels)
        )
        self.project_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, H, W)``, sides multiples of all windows, to the same shape."""
        parts = self.project_inp(x).chunk(len(self.windows), dim=1)
        attended = [self._attend(*pair) for pair in zip(parts, self.windows, strict=True)]
        return self.project_out(torch.cat(attended, dim=1))

    def _attend(self, x: Tensor, window: int) -> Tensor:
        height, width = x.shape[-2:]
        half = window // 2 if self.shift else 0
        if half:
            x = torch.roll(x, (-half, -half), (2, 3))
        x = x.unflatten(3, (width // window, window)).unflatten(2, (height // window, window))
        # (B, C, rows, window, columns, window) to (B, rows, columns, pixels, C)
        x = x.permute(0, 2, 4, 3, 5, 1).flatten(3, 4)
        queries, values = x.chunk(2, dim=-1)
        y = F.scaled_dot_product_attention(queries, queries, values, scale=1.0)
        y = y.unflatten(3, (window, window)).permute(0, 5, 1, 3, 2, 4)
        y = y.flatten(4, 5).flatten(2, 3)
        return torch.roll(y, (half, half), (2, 3)) if half else y


class AttentionBlock(nn.Module):
    """Local features, then attention, each with a skip around it."""

    def __init__(self, channels: int, expand: int, shift: bool) -> None:
        super().__init__()
        self.modules_lfe = nn.ModuleDict({"lfe_0": LocalFeatures(channels, expand)})
        self.modules_gmsa = nn.ModuleDict({"gmsa_0": WindowedAttention(channels, shift)})

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to the same shape."""
        x = self.modules_lfe["lfe_0"](x) + x
        return self.modules_gmsa["gmsa_0"](x) + x


class ELAN(nn.Module):
    """Efficient long-range attention network at the scale of its input.

    There is no skip from image to image. It has batch normalisation: in training each rank takes
    the statistics of its own batch (``trainer.sync_batchnorm=true`` shares them on GPUs); the
    EMA takes over the running ones as they are.

    Args:
        channels: of the image, in and out.
        features: channels of the trunk; a multiple of 3.
        blocks: of local features and attention; every other one shifts its windows.
        expand: how many times more channels there are between the two shift convolutions.
        img_range: the network's own range of pixel values.

    Attributes:
        scale: 1.
        multiple: 16; sides that are multiples of this need no padding.

    Example:
        >>> ELAN(features=6, blocks=2)(torch.rand(1, 3, 16, 20)).shape
        torch.Size([1, 3, 16, 20])
    """

    CONTAINER: ClassVar[str] = "params"
    """The key under which the release keeps a state."""
    OPTIONS: ClassVar[dict[str, Callable[[str], Any]]] = {"img_range": float}
    """Settings that no key or shape tells, and how to read them from a file's metadata."""

    scale, multiple = 1, max(WINDOWS)
    mean: Tensor

    def __init__(
        self,
        *,
        channels: int = 3,
        features: int = 180,
        blocks: int = 36,
        expand: int = 2,
        img_range: float = 255.0,
    ) -> None:
        super().__init__()
        self.img_range = img_range
        mean = torch.tensor(RGB_MEAN if channels == 3 else (0.0,) * channels).view(1, -1, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.head = nn.Sequential(nn.Conv2d(channels, features, 3, padding=1))
        self.body = nn.Sequential(
            *(AttentionBlock(features, expand, shift=place % 2 == 1) for place in range(blocks))
        )
        self.tail = nn.Sequential(nn.Conv2d(features, channels, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """``(B, channels, H, W)`` in [0, 1] to the same shape; reflected to multiples of 16."""
        x = self.head((pad_to_multiple(image, self.multiple) - self.mean) * self.img_range)
        x = self.tail(self.body(x) + x) / self.img_range + self.mean
        return crop(x, image, 1)

    # --- checkpoints ------------------------------------------------------------------------------

    @classmethod
    def recognises(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether ``state`` is of this architecture, without shared attention or upsampling."""
        first = "body.0.modules_lfe.lfe_0.conv0.shift_conv.conv1x1.weight"
        wanted = {"head.0.weight", first, "tail.0.weight"}
        if not state.keys() >= wanted or any("gmsa_1" in key for key in state):
            return False
        return state["tail.0.weight"].shape[0] == state["head.0.weight"].shape[1]

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], *, img_range: float = 255.0) -> Self:
        """The network with the sizes and weights of ``state``.

        Args:
            state: as the release writes it.
            img_range: 255 in the release; no key tells it.
        """
        features, channels = state["head.0.weight"].shape[:2]
        first = "body.0.modules_lfe.lfe_0.conv0.shift_conv.conv1x1.weight"
        network = cls(
            channels=channels,
            features=features,
            blocks=highest_number(state, r"body\.(\d+)\.") + 1,
            expand=state[first].shape[0] // features,
            img_range=img_range,
        )
        network.load_state_dict(state, strict=True)
        return network
