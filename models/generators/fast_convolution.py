"""Building blocks of generators on compiled Winograd convolutions, in float32 on the processor.

Real-ESRGAN's network spends nine tenths of its time in 3×3 convolutions that oneDNN already runs at
the processor's full speed. The same sums with fewer products (`desra.kernels.winograd`) go further.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from desra.kernels.vectors import PANEL, round_up
from desra.kernels.winograd import convolve, weight_panels
from desra.kernels.winograd_tiles import LANES, OUTPUTS

Array = NDArray[np.float32]

_STRIP = 64
"""Rows of the output made together: the rows that strips share cost less than memory would."""


class PerImage(nn.Module):
    """A network that takes one image at a time, as ``(channels, H, W)``."""

    def forward(self, lr: Tensor) -> Tensor:
        """``(B, channels, H, W)`` float32 to ``(B, channels, H·scale, W·scale)``."""
        if len(lr) == 1:  # a copy less, of the largest tensor there is
            return self.upscale(lr[0])[None]
        return torch.stack([self.upscale(image) for image in lr])

    def upscale(self, image: Tensor) -> Tensor:
        raise NotImplementedError


class FeatureMap:
    """A channels-last image with room around it, for `WinogradConvolution`.

    There is a pixel of zeros on each side, as a convolution pads, and more to the right and below
    until tiles of 4×4 fit. The zeros stay; only the image is written.

    Args:
        tensor: ``(rows, columns, channels)`` float32, contiguous, with the room.
        height: of the image.
        width: of the image.

    Attributes:
        pixels: the same memory for kernels.
    """

    def __init__(self, tensor: Tensor, height: int, width: int) -> None:
        self.tensor = tensor
        self.height = height
        self.width = width
        self.pixels: Array = tensor.numpy()

    @classmethod
    def empty(cls, height: int, width: int, channels: int) -> FeatureMap:
        """A map whose image is uninitialised; channels are filled up to a multiple of `LANES`."""
        columns = round_up(width, OUTPUTS) + 2
        # Below, for parts of the image (`rows`), which may end anywhere within their last tile.
        tensor = torch.empty(height + OUTPUTS + 1, columns, round_up(channels, LANES))
        tensor[0] = tensor[height + 1 :] = 0
        tensor[:, 0] = tensor[:, width + 1 :] = 0
        return cls(tensor, height, width)

    @classmethod
    def of(cls, image: Tensor) -> FeatureMap:
        """A copy of ``(channels, height, width)``, with zeros in the channels filled up."""
        channels, height, width = image.shape
        copied = cls.empty(height, width, channels)
        copied.image[:channels] = image
        copied.image[channels:] = 0
        return copied

    def rows(self, top: int, bottom: int) -> FeatureMap:
        """Rows of the image, to be read only; what is around them is the image's own."""
        return FeatureMap(self.tensor[top:], bottom - top, self.width)

    @property
    def image(self) -> Tensor:
        """The image alone, a view ``(channels, height, width)``."""
        return self.tensor[1 : self.height + 1, 1 : self.width + 1].permute(2, 0, 1)


class Addend(NamedTuple):
    """An image that is added to a convolution's output: its first channels, times a factor."""

    image: FeatureMap
    factor: float


class WinogradConvolution:
    """A 3×3 (or 1×1) convolution that keeps the size, with bias and activation.

    Args:
        conv: the convolution.
        slope: the activation, as the factor of what is not positive, for all channels or for each:
            1 for none, 0 for ReLU.
        scale: factor of the convolution's result, before the activation.
        parts: channels of the images that were put side by side to make the input; each begins at
            the next multiple of `LANES`. None for one image.
        doubled: the input is doubled by nearest neighbours first.

    Attributes:
        outputs: channels that are written: ``conv.out_channels``, and zeros up to a multiple of
            `LANES`.
    """

    def __init__(
        self,
        conv: nn.Conv2d,
        *,
        slope: float | Tensor = 1.0,
        scale: float = 1.0,
        parts: Sequence[int] | None = None,
        doubled: bool = False,
    ) -> None:
        taps = _taps(conv)
        self.doubled = doubled
        self.outputs = round_up(conv.out_channels, LANES)
        places = _places(parts or (conv.in_channels,))
        self.inputs = round_up(int(places[-1]) + 1, LANES)
        columns = round_up(conv.out_channels, PANEL)
        weight = np.zeros((columns, self.inputs, 3, 3), np.float32)
        weight[: conv.out_channels, places] = taps * scale
        self.panels = weight_panels(weight)
        self.bias = np.zeros(columns, np.float32)
        if conv.bias is not None:
            self.bias[: conv.out_channels] = _array(conv.bias) * scale
        self.slope = np.ones(columns, np.float32)
        self.slope[: conv.out_channels] = torch.as_tensor(slope).detach().float().numpy()

    def __call__(
        self,
        source: FeatureMap,
        target: FeatureMap,
        at: int = 0,
        addends: tuple[Addend, ...] = (),
    ) -> None:
        """Convolve the first channels of ``source`` into those of ``target`` from ``at`` on.

        Both may be one map, if ``at`` is behind what is read. Addends may be the target itself.
        """
        convolve(
            source.pixels,
            self.panels,
            self.bias,
            self.slope,
            target.pixels,
            at,
            [(addend.image.pixels, addend.factor) for addend in addends],
            (target.height, target.width),
            self.outputs,
            self.doubled,
        )


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


def _taps(conv: nn.Conv2d) -> Array:
    """The weights as ``(out, in, 3, 3)``; those of a 1×1 convolution are the middle."""
    shape = (conv.kernel_size, conv.padding, conv.stride, conv.dilation, conv.groups)
    if conv.padding_mode == "zeros" and shape[2:] == ((1, 1), (1, 1), 1):
        if shape[:2] == ((3, 3), (1, 1)):
            return _array(conv.weight)
        if shape[:2] == ((1, 1), (0, 0)):
            return np.pad(_array(conv.weight), ((0, 0), (0, 0), (1, 1), (1, 1)))
    raise ValueError(f"only plain 3×3 or 1×1 convolutions that keep the size, got {conv}")


def _places(parts: Sequence[int]) -> NDArray[np.int64]:
    """Where channels of images lie that were put side by side."""
    starts = np.cumsum([0, *(round_up(part, LANES) for part in parts[:-1])])
    return np.concatenate(
        [start + np.arange(part) for start, part in zip(starts, parts, strict=True)]
    )


def _array(tensor: Tensor) -> Array:
    return tensor.detach().float().cpu().numpy()
