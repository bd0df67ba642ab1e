"""RCAN without upsampling: two of the enhancement networks of human-guided ground truth.

Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV
2018; at the scale of its input in Chen et al., CVPR 2023 (their ``RCANNOUP``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from models.generators.shapes import highest_number
from models.generators.swinir import RGB_MEAN


class ChannelAttention(nn.Module):
    """A gate for each channel, from the channels' means over the whole image.

    Args:
        features: channels in and out.
        squeeze: how many times fewer channels there are in between.
    """

    def __init__(self, features: int, squeeze: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(features, features // squeeze, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(features // squeeze, features, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, features, H, W)`` to the same shape."""
        return x * self.attention(x)


class AttentionBlock(nn.Module):
    """Two convolutions, channel attention, and a skip around them."""

    def __init__(self, features: int, squeeze: int) -> None:
        super().__init__()
        self.rcab = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(features, features, 3, padding=1),
            ChannelAttention(features, squeeze),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, features, H, W)`` to the same shape."""
        return self.rcab(x) + x


class AttentionGroup(nn.Module):
    """Blocks in a row, a convolution, and a skip around them."""

    def __init__(self, features: int, blocks: int, squeeze: int) -> None:
        super().__init__()
        self.residual_group = nn.Sequential(
            *(AttentionBlock(features, squeeze) for _ in range(blocks))
        )
        self.conv = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, features, H, W)`` to the same shape."""
        return self.conv(self.residual_group(x)) + x


class RCAN(nn.Module):
    """Residual channel attention network at the scale of its input.

    There is no skip from image to image. Channel attention looks at the whole input, so that an
    image done in tiles is never quite the image done at once, however much the tiles overlap.

    Args:
        channels: of the image, in and out.
        features: channels of the trunk.
        groups: of blocks.
        blocks: in each group; the enhancement models of the release have 20.
        squeeze: how many times fewer channels channel attention has inside.
        img_range: the network's own range of pixel values.

    Attributes:
        scale: 1.
        multiple: 1; any sides will do.

    Example:
        >>> import torch
        >>> RCAN(features=8, groups=1, blocks=1, squeeze=2)(torch.rand(1, 3, 16, 20)).shape
        torch.Size([1, 3, 16, 20])
    """

    CONTAINER: ClassVar[str] = "params"
    """The key under which the release keeps a state."""
    OPTIONS: ClassVar[dict[str, Callable[[str], Any]]] = {"img_range": float}
    """Settings that no key or shape tells, and how to read them from a file's metadata."""

    scale, multiple = 1, 1
    mean: Tensor

    def __init__(
        self,
        *,
        channels: int = 3,
        features: int = 64,
        groups: int = 10,
        blocks: int = 20,
        squeeze: int = 16,
        img_range: float = 255.0,
    ) -> None:
        super().__init__()
        self.img_range = img_range
        mean = torch.tensor(RGB_MEAN if channels == 3 else (0.0,) * channels).view(1, -1, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.conv_first = nn.Conv2d(channels, features, 3, padding=1)
        self.body = nn.Sequential(
            *(AttentionGroup(features, blocks, squeeze) for _ in range(groups))
        )
        self.conv_after_body = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, channels, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, channels, H, W)`` in [0, 1] to the same shape."""
        x = self.conv_first((image - self.mean) * self.img_range)
        x = self.conv_last(self.conv_after_body(self.body(x)) + x)
        return x / self.img_range + self.mean

    # --- checkpoints ------------------------------------------------------------------------------

    @classmethod
    def recognises(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether ``state`` is of this architecture; RCAN's with upsampling are not."""
        wanted = {"conv_first.weight", "body.0.residual_group.0.rcab.0.weight", "conv_last.weight"}
        return state.keys() >= wanted and not any(key.startswith("upsample") for key in state)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], *, img_range: float = 255.0) -> Self:
        """The network with the sizes and weights of ``state``.

        Args:
            state: as the release writes it.
            img_range: 255 in the release; no key tells it.
        """
        features, channels = state["conv_first.weight"].shape[:2]
        first_block = "body.0.residual_group.0.rcab.3.attention.1.weight"
        network = cls(
            channels=channels,
            features=features,
            groups=highest_number(state, r"body\.(\d+)\.") + 1,
            blocks=highest_number(state, r"body\.0\.residual_group\.(\d+)\.") + 1,
            squeeze=features // state[first_block].shape[0],
            img_range=img_range,
        )
        network.load_state_dict(state, strict=True)
        return network
