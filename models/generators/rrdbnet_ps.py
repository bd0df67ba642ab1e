"""RRDBNet with pixel-shuffle upsampling: the RRDB generator of human-guided ground truth.

Chen et al., CVPR 2023 (their ``RRDBPSNet``): the trunk of ESRGAN, and SRResNet's upsampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from torch import Tensor, nn
from torch.nn import functional as F

from desra.errors import InputError
from models.generators.rrdbnet import NEGATIVE_SLOPE, RRDB
from models.generators.shapes import highest_number


class RRDBPSNet(nn.Module):
    """Residual-in-residual dense network that enlarges by shuffling channels into pixels.

    Args:
        scale: output pixels per input pixel, a power of two.
        in_channels: of the image.
        out_channels: of the image.
        features: channels of the trunk.
        blocks: number of RRDBs.
        growth: channels that a dense convolution adds.

    Attributes:
        scale: as given.
        multiple: 1; any sides will do.

    Example:
        >>> import torch
        >>> generator = RRDBPSNet(features=8, blocks=1, growth=4)
        >>> generator(torch.rand(1, 3, 8, 12)).shape
        torch.Size([1, 3, 32, 48])
    """

    CONTAINER: ClassVar[str] = "params_ema"
    """The key under which the release keeps a state."""
    OPTIONS: ClassVar[dict[str, Callable[[str], Any]]] = {}
    """Settings that no key or shape tells, and how to read them from a file's metadata."""

    multiple = 1

    def __init__(
        self,
        scale: int = 4,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        features: int = 64,
        blocks: int = 23,
        growth: int = 32,
    ) -> None:
        super().__init__()
        doublings = scale.bit_length() - 1
        if scale < 2 or 1 << doublings != scale:
            raise ValueError(f"scale must be a power of two from 2 on, got {scale}")
        self.scale = scale
        self.conv_first = nn.Conv2d(in_channels, features, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(features, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(features, features, 3, padding=1)
        steps = (
            (nn.Conv2d(features, 4 * features, 3, padding=1), nn.PixelShuffle(2))
            for _ in range(doublings)
        )
        self.upsample = nn.Sequential(*(part for step in steps for part in step))
        self.conv_hr = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, out_channels, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` in [0, 1] to ``(B, out_channels, H·scale, W·scale)``.

        One activation follows all doublings, as in the release: none is between them.
        """
        x = self.conv_first(lr)
        x = x + self.conv_body(self.body(x))
        x = F.leaky_relu(self.upsample(x), NEGATIVE_SLOPE, inplace=True)
        return self.conv_last(F.leaky_relu(self.conv_hr(x), NEGATIVE_SLOPE, inplace=True))

    # --- checkpoints ------------------------------------------------------------------------------

    @classmethod
    def recognises(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether ``state`` is of this architecture."""
        wanted = {"conv_first.weight", "body.0.rdb1.conv5.weight", "upsample.0.weight"}
        return state.keys() >= wanted

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """The network with the sizes and weights of ``state``.

        Raises:
            InputError: it enlarges by something else than doublings.
        """
        features, channels_in = state["conv_first.weight"].shape[:2]
        steps = [key for key in state if key.startswith("upsample.") and key.endswith("weight")]
        factors = [math.isqrt(state[key].shape[0] // features) for key in steps]
        if set(factors) != {2}:
            raise InputError(f"an RRDBPSNet that enlarges by {factors}; only doublings are known")
        network = cls(
            math.prod(factors),
            in_channels=channels_in,
            out_channels=state["conv_last.weight"].shape[0],
            features=features,
            blocks=highest_number(state, r"body\.(\d+)\.") + 1,
            growth=state["body.0.rdb1.conv1.weight"].shape[0],
        )
        network.load_state_dict(state, strict=True)
        return network
