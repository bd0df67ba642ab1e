"""Upsampling by nearest neighbours and convolutions, in strips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.generators.cpu.winograd import FeatureMap, WinogradConvolution

_STRIP = 64
"""Rows of the output made together: the rows that strips share cost less than memory would."""


class NearestUpsampling:
    """The end of RRDBNet and SwinIR: doublings with a convolution each, and two more convolutions.

    Features at full size are most of a network's memory. They are made strip by strip, and only the
    image is kept.

    Args:
        doublings: the convolutions after each doubling.
        high: the convolution at full size.
        last: the one that makes the image.
        slope: of the activation after all but the last.
    """

    def __init__(
        self, doublings: Sequence[nn.Conv2d], high: nn.Conv2d, last: nn.Conv2d, slope: float
    ) -> None:
        self.doublings = [
            WinogradConvolution(conv, slope=slope, doubled=True) for conv in doublings
        ]
        self.high = WinogradConvolution(high, slope=slope)
        self.last = WinogradConvolution(last)
        self.channels = last.out_channels

    def __call__(self, features: FeatureMap) -> Tensor:
        """Features to the image, ``(channels, H·2ⁿ, W·2ⁿ)``."""
        for conv in self.doublings[:-1]:
            doubled = FeatureMap.empty(2 * features.height, 2 * features.width, conv.outputs)
            conv(features, doubled)
            features = doubled
        factor = 2 if self.doublings else 1
        height, width = features.height * factor, features.width * factor
        image = torch.empty(self.channels, height, width)
        for top in range(0, height, _STRIP):
            self._make_rows(features, image, top, min(top + _STRIP, height))
        return image

    def _make_rows(self, features: FeatureMap, image: Tensor, top: int, bottom: int) -> None:
        """Fill rows ``top`` to ``bottom``; each convolution needs a row more on either side."""
        height, width = image.shape[1:]
        outer = max(top - 2, 0), min(bottom + 2, height)
        inner = max(top - 1, 0), min(bottom + 1, height)
        if self.doublings:
            conv = self.doublings[-1]
            doubled = FeatureMap.empty(outer[1] - outer[0], width, conv.outputs)
            conv(features.rows(outer[0] // 2, outer[1] // 2), doubled)
        else:
            doubled = features.rows(*outer)
        high = FeatureMap.empty(inner[1] - inner[0], width, self.high.outputs)
        self.high(doubled.rows(inner[0] - outer[0], inner[1] - outer[0]), high)
        strip = FeatureMap.empty(bottom - top, width, self.last.outputs)
        self.last(high.rows(top - inner[0], bottom - inner[0]), strip)
        image[:, top:bottom] = strip.image[: self.channels]
