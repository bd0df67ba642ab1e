"""RLFN: a small MSE network, the reference of benchmarks of artifact detectors.

Kong et al., "Residual Local Feature Network for Efficient Super-Resolution", CVPR workshops 2022
(first in runtime at NTIRE 2022); keys and shapes of its release.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from torch import Tensor, nn
from torch.nn import functional as F

from desra.errors import InputError
from models.generators.shapes import crop, highest_number

_LEAST = 15  # pixels a side, below which nothing is left to pool
_SLOPE = 0.05


class SpatialAttention(nn.Module):
    """Enhanced spatial attention (Liu et al., RFANet, CVPR 2020): a gate from a coarse view."""

    def __init__(self, features: int, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, inner, 1)
        self.conv_f = nn.Conv2d(inner, inner, 1)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=2)
        self.conv3 = nn.Conv2d(inner, inner, 3, padding=1)
        self.conv4 = nn.Conv2d(inner, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, features, H, W)`` to the same shape."""
        fine = self.conv1(x)
        coarse = self.conv3(F.max_pool2d(self.conv2(fine), 7, stride=3))
        wide = F.interpolate(coarse, x.shape[-2:], mode="bilinear", align_corners=False)
        return x * self.conv4(wide + self.conv_f(fine)).sigmoid()


class ResidualBlock(nn.Module):
    """Three convolutions with a skip around them, and the attention."""

    def __init__(self, features: int, middle: int, inner: int) -> None:
        super().__init__()
        self.c1_r = nn.Conv2d(features, middle, 3, padding=1)
        self.c2_r = nn.Conv2d(middle, middle, 3, padding=1)
        self.c3_r = nn.Conv2d(middle, features, 3, padding=1)
        self.c5 = nn.Conv2d(features, features, 1)
        self.esa = SpatialAttention(features, inner)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, features, H, W)`` to the same shape."""
        y = x
        for convolution in (self.c1_r, self.c2_r, self.c3_r):
            y = F.leaky_relu(convolution(y), _SLOPE, inplace=True)
        return self.esa(self.c5(y + x))


class RLFN(nn.Module):
    """Residual local feature network.

    Args:
        scale: output pixels per input pixel.
        channels: of the image, in and out.
        features: channels of the trunk; 52 in the paper, 48 in RLFN-S.
        blocks: residual blocks.
        middle: channels within a block; None: ``features``.
        attention: channels of the attention.

    Attributes:
        scale: as given.
        multiple: 1; any size will do.

    Example:
        >>> import torch
        >>> RLFN(features=8, blocks=1)(torch.rand(1, 3, 8, 20)).shape
        torch.Size([1, 3, 32, 80])
    """

    CONTAINER: ClassVar[str] = ""
    """The key under which the release keeps a state: none."""
    OPTIONS: ClassVar[dict[str, Callable[[str], Any]]] = {}
    """Settings that no key or shape tells."""

    multiple = 1

    def __init__(
        self,
        scale: int = 4,
        *,
        channels: int = 3,
        features: int = 52,
        blocks: int = 6,
        middle: int | None = None,
        attention: int = 16,
    ) -> None:
        super().__init__()
        self.scale, self.blocks = scale, blocks
        self.conv_1 = nn.Conv2d(channels, features, 3, padding=1)
        for number in range(1, blocks + 1):
            block = ResidualBlock(features, middle or features, attention)
            self.add_module(f"block_{number}", block)
        self.conv_2 = nn.Conv2d(features, features, 3, padding=1)
        last = nn.Conv2d(features, channels * scale**2, 3, padding=1)
        self.upsampler = nn.Sequential(last, nn.PixelShuffle(scale))

    def forward(self, lr: Tensor) -> Tensor:
        """``(B, channels, H, W)`` in [0, 1] to ``(B, channels, H·scale, W·scale)``."""
        height, width = lr.shape[-2:]
        more = max(_LEAST - width, 0), max(_LEAST - height, 0)
        x = first = self.conv_1(F.pad(lr, (0, more[0], 0, more[1]), mode="replicate"))
        for number in range(1, self.blocks + 1):
            x = self.get_submodule(f"block_{number}")(x)
        return crop(self.upsampler(self.conv_2(x) + first), lr, self.scale)

    @classmethod
    def recognises(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether ``state`` is of this architecture."""
        needed = ("conv_1.weight", "block_1.c1_r.weight", "block_1.esa.conv_f.weight")
        return all(name in state for name in (*needed, "upsampler.0.weight"))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """The network with the sizes and weights of ``state``.

        Raises:
            InputError: keys or shapes that do not fit together.
        """
        features, channels = state["conv_1.weight"].shape[:2]
        outputs = len(state["upsampler.0.weight"])
        scale = math.isqrt(outputs // channels)
        if channels * scale**2 != outputs:
            raise InputError(f"an RLFN from {channels} to {outputs} channels; no scale")
        network = cls(
            scale,
            channels=channels,
            features=features,
            blocks=highest_number(state, r"block_(\d+)\."),
            middle=len(state["block_1.c1_r.weight"]),
            attention=len(state["block_1.esa.conv1.weight"]),
        )
        network.load_state_dict(dict(state))
        return network
