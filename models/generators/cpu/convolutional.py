"""RRDBNet and SRVGGNetCompact on `WinogradConvolution`, without intermediate copies."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.generators.cpu.upsampling import NearestUpsampling
from models.generators.cpu.winograd import Addend, FeatureMap, WinogradConvolution, round_up
from models.generators.cpu.winograd_tiles import LANES
from models.generators.rrdbnet import NEGATIVE_SLOPE, RESIDUAL_SCALE, DenseBlock, RRDBNet
from models.generators.shapes import crop, pad_to_multiple
from models.generators.srvgg import SRVGGNetCompact


class PerImage(nn.Module):
    """A network that takes one image at a time, as ``(channels, H, W)``."""

    def forward(self, lr: Tensor) -> Tensor:
        """``(B, channels, H, W)`` float32 to ``(B, channels, H·scale, W·scale)``."""
        if len(lr) == 1:  # a copy less, of the largest tensor there is
            return self.upscale(lr[0])[None]
        return torch.stack([self.upscale(image) for image in lr])

    def upscale(self, image: Tensor) -> Tensor:
        raise NotImplementedError


class _DenseBlock:
    """A dense block whose convolutions all read and write one map, where they put their outputs
    behind their inputs; nothing is concatenated."""

    def __init__(self, block: DenseBlock, scale: float) -> None:
        features, growth = block.conv5.out_channels, block.conv1.out_channels
        *growing, last = block.convolutions
        self.growing = [
            WinogradConvolution(conv, slope=NEGATIVE_SLOPE, parts=(features, *[growth] * step))
            for step, conv in enumerate(growing)
        ]
        self.last = WinogradConvolution(last, scale=scale, parts=(features, *[growth] * 4))

    def __call__(self, seen: FeatureMap, target: FeatureMap, *addends: Addend) -> None:
        for conv in self.growing:
            conv(seen, seen, at=conv.inputs)
        self.last(seen, target, addends=addends)


class FastRRDBNet(PerImage):
    """An `RRDBNet` for inference in float32.

    The three dense blocks of an RRDB take turns on three maps. Their residual scales are in the
    weights: ``x + 0.2·(y + 0.2·conv)`` is the last convolution with 0.04, and two addends.
    """

    def __init__(self, network: RRDBNet) -> None:
        super().__init__()
        self.scale = network.scale
        self.unshuffle = network.unshuffle
        self.features = network.conv_first.out_channels
        growth = network.trunk[0].rdb1.conv1.out_channels if network.trunk else 0
        self.width = round_up(self.features, LANES) + 4 * round_up(growth, LANES)
        self.first = WinogradConvolution(network.conv_first)
        self.trunk = [
            (
                _DenseBlock(block.rdb1, RESIDUAL_SCALE),
                _DenseBlock(block.rdb2, RESIDUAL_SCALE),
                _DenseBlock(block.rdb3, RESIDUAL_SCALE**2),
            )
            for block in network.trunk
        ]
        self.after_trunk = WinogradConvolution(network.conv_body)
        self.upsample = NearestUpsampling(
            network.upsampling, network.conv_hr, network.conv_last, NEGATIVE_SLOPE
        )

    def upscale(self, image: Tensor) -> Tensor:
        """``(channels, H, W)`` to ``(channels, H·scale, W·scale)``."""
        lr = image[None]
        x = pad_to_multiple(lr, self.unshuffle)
        if self.unshuffle > 1:
            x = F.pixel_unshuffle(x, self.unshuffle)
        features = self._features(FeatureMap.of(x[0]))
        return crop(self.upsample(features)[None], lr, self.scale)[0]

    def _features(self, x: FeatureMap) -> FeatureMap:
        """The trunk's features, added to the shallow ones."""
        shallow = FeatureMap.empty(x.height, x.width, self.features)
        self.first(x, shallow)
        one, two, three = (FeatureMap.empty(x.height, x.width, self.width) for _ in range(3))
        # The channels filled up too: times weights of zero, what memory held before may be NaN.
        one.image[: shallow.image.shape[0]] = shallow.image
        for first, second, third in self.trunk:
            first(one, two, Addend(one, 1.0))
            second(two, three, Addend(two, 1.0))
            third(three, one, Addend(three, RESIDUAL_SCALE), Addend(one, 1.0))
        self.after_trunk(one, shallow, addends=(Addend(shallow, 1.0),))
        return shallow


class FastSRVGGNet(PerImage):
    """An `SRVGGNetCompact` for inference in float32."""

    def __init__(self, network: SRVGGNetCompact) -> None:
        super().__init__()
        self.scale = network.scale
        *convolutions, last = network.convolutions
        self.body = [
            WinogradConvolution(conv, slope=_slope(activation))
            for conv, activation in zip(convolutions, network.activations, strict=True)
        ]
        self.last = WinogradConvolution(last)
        self.features = last.in_channels
        self.residuals = last.out_channels

    def upscale(self, image: Tensor) -> Tensor:
        """``(channels, H, W)`` to ``(channels, H·scale, W·scale)``."""
        x = FeatureMap.of(image)
        here, there = (FeatureMap.empty(x.height, x.width, self.features) for _ in range(2))
        self.body[0](x, here)
        for conv in self.body[1:]:
            conv(here, there)
            here, there = there, here
        del there
        output = FeatureMap.empty(x.height, x.width, self.residuals)
        self.last(here, output)
        del here
        upscaled = F.pixel_shuffle(output.image[: self.residuals], self.scale)
        del output
        return upscaled.add_(F.interpolate(image[None], scale_factor=float(self.scale))[0])


def _slope(activation: nn.Module) -> float | Tensor:
    if isinstance(activation, nn.PReLU):
        return activation.weight
    return activation.negative_slope if isinstance(activation, nn.LeakyReLU) else 0.0
