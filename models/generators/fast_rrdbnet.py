"""RRDBNet on Winograd convolutions, without intermediate copies."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from desra.kernels.vectors import round_up
from desra.kernels.winograd_tiles import LANES
from models.generators.fast_convolution import (
    Addend,
    FeatureMap,
    NearestUpsampling,
    PerImage,
    WinogradConvolution,
)
from models.generators.rrdbnet import NEGATIVE_SLOPE, RESIDUAL_SCALE, DenseBlock, RRDBNet
from models.generators.shapes import crop, pad_to_multiple


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
