"""SRVGGNetCompact on Winograd convolutions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from models.generators.fast_convolution import FeatureMap, PerImage, WinogradConvolution
from models.generators.srvgg import SRVGGNetCompact


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
