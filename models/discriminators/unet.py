"""The U-Net discriminator of Real-ESRGAN, which LDL and SwinIR's finetuning use too.

Wang et al., "Real-ESRGAN", ICCVW 2021, section 3.4: a score per pixel, spectrally normalised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.generators.shapes import crop, pad_to_multiple


class SpectralConv2d(nn.Module):
    """A convolution without bias whose weight is divided by its largest singular value.

    Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018: one
    power iteration (algorithm 1) for each forward pass in training, on the weight as a matrix of
    ``out_channels`` rows. Parameters and buffers have the names that
    ``torch.nn.utils.spectral_norm`` gives them, which the releases use: ``weight_orig``,
    ``weight_u``, ``weight_v``. Unlike there, the module can be copied at any time.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: side of the kernel.
        stride: of the convolution; the padding is 1.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
    ) -> None:
        super().__init__()
        self.stride = stride
        plain = nn.Conv2d(in_channels, out_channels, kernel_size, bias=False)
        self.weight_orig = nn.Parameter(plain.weight.detach())
        rows = self.weight_orig.flatten(1)
        self.register_buffer("weight_u", F.normalize(torch.randn(rows.shape[0]), dim=0))
        self.register_buffer("weight_v", F.normalize(torch.randn(rows.shape[1]), dim=0))

    def weight(self) -> Tensor:
        """The normalised weight; in training, after one more power iteration."""
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            return self._weight()

    def _weight(self) -> Tensor:
        rows = self.weight_orig.flatten(1)
        u: Tensor = self.weight_u  # type: ignore[assignment]
        v: Tensor = self.weight_v  # type: ignore[assignment]
        if self.training:
            with torch.no_grad():
                v.copy_(F.normalize(rows.t() @ u, dim=0, eps=1e-12))
                u.copy_(F.normalize(rows @ v, dim=0, eps=1e-12))
        # Copies: a later pass changes the buffers while this pass's graph may still need them.
        return self.weight_orig / (u.clone() @ (rows @ v.clone()))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H/stride, W/stride)``."""
        return F.conv2d(x, self.weight(), stride=self.stride, padding=1)


class UNetDiscriminator(nn.Module):
    """U-Net with skips from which every pixel gets a score.

    Args:
        in_channels: of the image.
        features: channels at full resolution; doubled at each of three steps down.
        skip_connection: whether features of the way down are added on the way up.

    Example:
        >>> UNetDiscriminator(features=8)(torch.rand(1, 3, 32, 32)).shape
        torch.Size([1, 1, 32, 32])
    """

    def __init__(
        self, in_channels: int = 3, features: int = 64, skip_connection: bool = True
    ) -> None:
        super().__init__()
        self.skip_connection = skip_connection
        self.conv0 = nn.Conv2d(in_channels, features, 3, padding=1)
        self.conv1 = SpectralConv2d(features, features * 2, 4, stride=2)
        self.conv2 = SpectralConv2d(features * 2, features * 4, 4, stride=2)
        self.conv3 = SpectralConv2d(features * 4, features * 8, 4, stride=2)
        self.conv4 = SpectralConv2d(features * 8, features * 4, 3)
        self.conv5 = SpectralConv2d(features * 4, features * 2, 3)
        self.conv6 = SpectralConv2d(features * 2, features, 3)
        self.conv7 = SpectralConv2d(features, features, 3)
        self.conv8 = SpectralConv2d(features, features, 3)
        self.conv9 = nn.Conv2d(features, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Score an image.

        Args:
            image: ``(B, in_channels, H, W)`` in [0, 1]. Sides that 8 does not divide are
                reflected on the right and below.

        Returns:
            ``(B, 1, H, W)`` logits, high where the image looks real.
        """
        x = pad_to_multiple(image, 8)
        skips = [_activate(self.conv0(x))]
        for down in (self.conv1, self.conv2):
            skips.append(_activate(down(skips[-1])))
        x = _activate(self.conv3(skips[-1]))
        for up in (self.conv4, self.conv5, self.conv6):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear")
            x = _activate(up(x))
            skip = skips.pop()
            if self.skip_connection:
                x = x + skip
        x = _activate(self.conv8(_activate(self.conv7(x))))
        return crop(self.conv9(x), image, 1)

    @classmethod
    def recognises(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether ``state`` is of this architecture."""
        return state.keys() >= {"conv0.weight", "conv1.weight_orig", "conv8.weight_u"} and (
            "conv9.weight" in state
        )

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """The network with the sizes and weights of ``state``, with skip connections.

        Raises:
            RuntimeError: keys or shapes that do not fit together.
        """
        features, channels = state["conv0.weight"].shape[:2]
        network = cls(channels, features)
        network.load_state_dict(state, strict=True)
        return network


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2, inplace=True)
