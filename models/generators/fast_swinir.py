"""SwinIR on compiled Swin layers and Winograd convolutions."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from desra.kernels.swin_layer import SwinWeights, apply_swin_layer
from desra.kernels.vectors import PANEL, round_up
from models.generators.fast_convolution import (
    Addend,
    Array,
    FeatureMap,
    NearestUpsampling,
    PerImage,
    WinogradConvolution,
)
from models.generators.shapes import crop, pad_to_multiple
from models.generators.swinir import SwinIR
from models.generators.swinir_blocks import MASKED, SwinLayer


class FastSwinLayer:
    """A `SwinLayer` for inference.

    What can be is put into the weights: the normalisations' own weights, the attention's scale, and
    biases as one more row, which meets a one in the input. Heads are filled up with zeros to a
    multiple of `PANEL` channels.
    """

    def __init__(self, layer: SwinLayer) -> None:
        attention = layer.attn
        self.window = layer.window
        self.shift = layer.shift
        self.heads = attention.heads
        dim = attention.proj.out_features
        size = dim // self.heads
        self.size = round_up(size, PANEL)
        weight, bias = _normalised(attention.qkv, layer.norm1)
        qkv = torch.zeros(3, self.heads, self.size, dim + 1, dtype=torch.float64)
        qkv[:, :, :size, :-1] = weight.view(3, self.heads, size, dim)
        qkv[:, :, :size, -1] = bias.view(3, self.heads, size)
        qkv[0] *= attention.scale
        proj = torch.zeros(dim, self.heads, self.size, dtype=torch.float64)
        proj[:, :, :size] = attention.proj.weight.detach().view(dim, self.heads, size)
        weight, bias = _normalised(layer.mlp.fc1, layer.norm2)
        self.weights = SwinWeights(
            qkv=_panels(qkv.flatten(0, 2)),
            proj=_panels(proj.flatten(1)),
            proj_bias=attention.proj.bias.detach().float().numpy().copy(),
            fc1=_panels(torch.cat([weight, bias[:, None]], dim=1)),
            fc2=_panels(layer.mlp.fc2.weight.detach().double()),
            fc2_bias=layer.mlp.fc2.bias.detach().float().numpy().copy(),
            epsilons=np.array([layer.norm1.eps, layer.norm2.eps], np.float32),
            biases=self._biases(attention.bias()[0].detach().float()),
        )

    def _biases(self, bias: Tensor) -> Array:
        """What is added to the attention, ``(cases, heads, positions, columns)``.

        The case says whether a window is the last of its column (2) and of its row (1), where the
        cyclic shift has brought opposite edges together. Columns beyond the positions are −∞.
        """
        positions = self.window**2
        cases = 4 if self.shift else 1
        table = torch.full((cases, self.heads, positions, round_up(positions, PANEL)), -math.inf)
        wrapped = torch.arange(self.window) >= self.window - self.shift
        for case in range(cases):
            below, right = wrapped & bool(case & 2), wrapped & bool(case & 1)
            side = (2 * below.int()[:, None] + right.int()[None, :]).flatten()
            mask = torch.where(side[:, None] == side[None, :], 0.0, MASKED)
            table[case, :, :, :positions] = bias + mask
        return table.numpy()

    def __call__(self, features: FeatureMap) -> None:
        """Apply the layer to the first channels of a map, in place."""
        size = features.height, features.width
        apply_swin_layer(features.pixels, size, self.window, self.shift, self.size, self.weights)


def _normalised(linear: nn.Linear, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias in float64 of a linear layer with the affine part of a norm before it."""
    weight = linear.weight.detach().double()
    bias = weight @ norm.bias.detach().double()
    if linear.bias is not None:
        bias += linear.bias.detach().double()
    return weight * norm.weight.detach().double(), bias


def _panels(weight: Tensor) -> Array:
    """``(out, in)`` weights as ``(panels, in, PANEL)`` float32, filled up with zeros."""
    out, inputs = weight.shape
    filled = weight.new_zeros(round_up(out, PANEL), inputs)
    filled[:out] = weight
    return filled.float().view(-1, PANEL, inputs).transpose(1, 2).contiguous().numpy()


class _Convolutions:
    """A convolution, or several in a row, with the LeakyReLUs that follow them.

    Args:
        module: a convolution, or a sequence: SwinIR's ``3conv``, or what is before its upsampling.
    """

    def __init__(self, module: nn.Module) -> None:
        layers = list(module) if isinstance(module, nn.Sequential) else [module]
        self.steps = []
        for layer, after in zip(layers, [*layers[1:], None], strict=True):
            if isinstance(layer, nn.Conv2d):
                slope = after.negative_slope if isinstance(after, nn.LeakyReLU) else 1.0
                self.steps.append(WinogradConvolution(layer, slope=slope))

    def __call__(self, source: FeatureMap, target: FeatureMap, *addends: Addend) -> None:
        *before, last = self.steps
        for step in before:
            between = FeatureMap.empty(source.height, source.width, step.outputs)
            step(source, between)
            source = between
        last(source, target, addends=addends)


class FastSwinIR(PerImage):
    """A `SwinIR` for inference in float32."""

    def __init__(self, network: SwinIR) -> None:
        super().__init__()
        self.scale = network.scale
        self.multiple = network.multiple
        self.img_range = network.img_range
        self.mean: Tensor
        self.register_buffer("mean", network.mean.clone())
        self.channels = network.conv_first.in_channels
        self.dim = network.conv_first.out_channels
        self.first = WinogradConvolution(network.conv_first)
        self.first_norm: nn.LayerNorm | None = copy.deepcopy(
            getattr(network.patch_embed, "norm", None)
        )
        self.groups = [
            ([FastSwinLayer(layer) for layer in group.blocks], _Convolutions(group.conv))
            for group in network.groups
        ]
        self.norm = copy.deepcopy(network.norm)
        self.after_body = _Convolutions(network.conv_after_body)
        self.reconstruct = _RECONSTRUCTIONS[network.upsampler](network)
        self.residual = network.upsampler == ""

    def upscale(self, image: Tensor) -> Tensor:
        """``(channels, H, W)`` to ``(channels, H·scale, W·scale)``."""
        lr = image[None]
        x = (pad_to_multiple(lr, self.multiple) - self.mean) * self.img_range
        deep = self._deep_features(FeatureMap.of(x[0]))
        y = self.reconstruct(deep)[None]
        if self.residual:
            y = y + x
        return crop(y / self.img_range + self.mean, lr, self.scale)[0]

    def _deep_features(self, x: FeatureMap) -> FeatureMap:
        shallow, features, deep = (FeatureMap.empty(x.height, x.width, self.dim) for _ in range(3))
        self.first(x, shallow)
        features.image[:] = shallow.image
        if self.first_norm is not None:
            _normalise(features, self.first_norm)
        for layers, convolution in self.groups:
            deep.image[:] = features.image
            for layer in layers:
                layer(deep)
            convolution(deep, features, Addend(features, 1.0))
        _normalise(features, self.norm)
        self.after_body(features, deep, Addend(shallow, 1.0))
        return deep


def _normalise(features: FeatureMap, norm: nn.LayerNorm) -> None:
    (dim,) = norm.normalized_shape
    values = features.image[:dim].permute(1, 2, 0)
    values.copy_(F.layer_norm(values, (dim,), norm.weight, norm.bias, norm.eps))


class _Nearest:
    """``nearest+conv``: each doubling by nearest neighbours is followed by a convolution."""

    def __init__(self, network: SwinIR) -> None:
        self.features = network.conv_last.in_channels
        self.before = _Convolutions(network.conv_before_upsample)
        self.upsample = NearestUpsampling(
            network.upsampling, network.conv_hr, network.conv_last, slope=0.2
        )

    def __call__(self, deep: FeatureMap) -> Tensor:
        features = FeatureMap.empty(deep.height, deep.width, self.features)
        self.before(deep, features)
        return self.upsample(features)


class _PixelShuffle:
    """``pixelshuffle``: each step makes channels that become pixels."""

    def __init__(self, network: SwinIR) -> None:
        self.channels = network.conv_last.out_channels
        self.before = _Convolutions(network.conv_before_upsample)
        steps = list(network.upsample)
        self.steps = [
            (WinogradConvolution(cast(nn.Conv2d, conv)), conv.out_channels, shuffle.upscale_factor)
            for conv, shuffle in zip(steps[0::2], steps[1::2], strict=True)
        ]
        self.last = WinogradConvolution(network.conv_last)

    def __call__(self, deep: FeatureMap) -> Tensor:
        features = FeatureMap.empty(deep.height, deep.width, self.last.inputs)
        self.before(deep, features)
        for conv, channels, factor in self.steps:
            image = _output(conv, features, cast(int, channels))
            features = FeatureMap.of(F.pixel_shuffle(image, cast(int, factor)))
        return _output(self.last, features, self.channels)


class _PixelShuffleDirect:
    """``pixelshuffledirect``: one step, straight to the image."""

    def __init__(self, network: SwinIR) -> None:
        conv = cast(nn.Conv2d, network.upsample[0])
        self.scale = network.scale
        self.channels = conv.out_channels
        self.conv = WinogradConvolution(conv)

    def __call__(self, deep: FeatureMap) -> Tensor:
        return F.pixel_shuffle(_output(self.conv, deep, self.channels), self.scale)


class _Residual:
    """No upsampling: the network makes what is added to its input."""

    def __init__(self, network: SwinIR) -> None:
        self.channels = network.conv_last.out_channels
        self.last = WinogradConvolution(network.conv_last)

    def __call__(self, deep: FeatureMap) -> Tensor:
        return _output(self.last, deep, self.channels)


_RECONSTRUCTIONS: dict[str, Callable[[SwinIR], Callable[[FeatureMap], Tensor]]] = {
    "nearest+conv": _Nearest,
    "pixelshuffle": _PixelShuffle,
    "pixelshuffledirect": _PixelShuffleDirect,
    "": _Residual,
}


def _output(conv: WinogradConvolution, features: FeatureMap, channels: int) -> Tensor:
    output = FeatureMap.empty(features.height, features.width, conv.outputs)
    conv(features, output)
    return output.image[:channels]
