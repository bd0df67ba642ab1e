"""RRDBNet: the generator of ESRGAN, BSRGAN, Real-ESRGAN and LDL.

Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCVW 2018
(residual-in-residual dense blocks, residuals scaled by 0.2), and Wang et al., "Real-ESRGAN",
ICCVW 2021 (lower scales by pixel-unshuffling the input).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from desra.errors import InputError
from models.generators.rrdbnet_keys import to_basicsr
from models.generators.shapes import crop, highest_number, pad_to_multiple
from models.generators.shared_features import SharedFeatures

RESIDUAL_SCALE = 0.2
NEGATIVE_SLOPE = 0.2


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees the block's input and all outputs before it.

    Args:
        features: channels in and out.
        growth: channels that each of the first four convolutions adds.
    """

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(features + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(features + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(features + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(features + 4 * growth, features, 3, padding=1)
        for conv in self.convolutions:
            if conv.weight.is_meta:  # drawing nothing, PyTorch would still import its compiler
                continue
            # ESRGAN, section 3.1: smaller initial weights let a deep network without batch
            # normalisation train.
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data.mul_(0.1)
            nn.init.zeros_(cast(Tensor, conv.bias))

    @property
    def convolutions(self) -> tuple[nn.Conv2d, ...]:
        return self.conv1, self.conv2, self.conv3, self.conv4, self.conv5

    def forward(self, x: Tensor) -> Tensor:
        """``(B, features, H, W)`` to the same shape."""
        if self.training and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return torch.add(x, self._convolved(x), alpha=RESIDUAL_SCALE)
        seen = x
        for conv in self.convolutions[:-1]:
            grown = F.leaky_relu(conv(seen), NEGATIVE_SLOPE, inplace=True)
            seen = torch.cat((seen, grown), dim=1)
        return torch.add(x, self.conv5(seen), alpha=RESIDUAL_SCALE)

    def _convolved(self, x: Tensor) -> Tensor:
        """The last convolution's output, by a way that keeps less for the gradients."""
        tensors = [x]
        for conv in self.convolutions:
            tensors += [conv.weight, cast(Tensor, conv.bias)]
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            tensors = [tensor.to(torch.get_autocast_dtype(kind)) for tensor in tensors]
        with torch.autocast(kind, enabled=False):
            return SharedFeatures.apply(tensors[0], NEGATIVE_SLOPE, *tensors[1:])


class RRDB(nn.Module):
    """Residual in residual dense block: three dense blocks, and a skip around them."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(features, growth)
        self.rdb2 = DenseBlock(features, growth)
        self.rdb3 = DenseBlock(features, growth)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, features, H, W)`` to the same shape."""
        return torch.add(x, self.rdb3(self.rdb2(self.rdb1(x))), alpha=RESIDUAL_SCALE)


class RRDBNet(nn.Module):
    """Residual-in-residual dense network.

    Args:
        scale: output pixels per input pixel.
        in_channels: of the image.
        out_channels: of the image.
        features: channels of the trunk.
        blocks: number of RRDBs: 23 in the released ×4 models, 6 in the anime one.
        growth: channels that a dense convolution adds.
        unshuffle: the input is pixel-unshuffled by this factor first. None: as Real-ESRGAN does, by
            ``4 / scale`` for the scales 1 and 2, and not at all for others.

    Attributes:
        scale: as given.
        multiple: sides that are multiples of this need no padding.

    Example:
        >>> generator = RRDBNet(scale=4, features=8, blocks=1, growth=4)
        >>> generator(torch.rand(1, 3, 8, 12)).shape
        torch.Size([1, 3, 32, 48])
    """

    CONTAINER: ClassVar[str] = "params_ema"
    """The key under which the release keeps a state."""
    OPTIONS: ClassVar[dict[str, Callable[[str], Any]]] = {}
    """Settings that no key or shape tells, and how to read them from a file's metadata."""

    def __init__(
        self,
        scale: int = 4,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        features: int = 64,
        blocks: int = 23,
        growth: int = 32,
        unshuffle: int | None = None,
    ) -> None:
        super().__init__()
        if unshuffle is None:
            unshuffle = 4 // scale if scale in (1, 2) else 1
        doublings = (scale * unshuffle).bit_length() - 1
        if scale < 1 or 1 << doublings != scale * unshuffle:
            raise ValueError(f"scale × unshuffle must be a power of two, got {scale} × {unshuffle}")
        self.scale = scale
        self.unshuffle = unshuffle
        self.doublings = doublings
        self.conv_first = nn.Conv2d(in_channels * unshuffle**2, features, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(features, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(features, features, 3, padding=1)
        for step in range(1, doublings + 1):
            self.add_module(f"conv_up{step}", nn.Conv2d(features, features, 3, padding=1))
        self.conv_hr = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, out_channels, 3, padding=1)

    @property
    def multiple(self) -> int:
        return self.unshuffle

    @property
    def trunk(self) -> list[RRDB]:
        """The residual blocks, in order."""
        return cast(list[RRDB], list(self.body))

    @property
    def upsampling(self) -> list[nn.Conv2d]:
        """The convolutions after each doubling."""
        names = (f"conv_up{step}" for step in range(1, self.doublings + 1))
        return [cast(nn.Conv2d, self.get_submodule(name)) for name in names]

    def forward(self, lr: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` in [0, 1] to ``(B, out_channels, H·scale, W·scale)``.

        Sides that `unshuffle` does not divide are reflected, and the result cut.
        """
        x = pad_to_multiple(lr, self.unshuffle)
        if self.unshuffle > 1:
            x = F.pixel_unshuffle(x, self.unshuffle)
        x = self.conv_first(x)
        x = x + self.conv_body(self.body(x))
        for conv in self.upsampling:
            x = F.leaky_relu(conv(F.interpolate(x, scale_factor=2.0)), NEGATIVE_SLOPE, inplace=True)
        x = self.conv_last(F.leaky_relu(self.conv_hr(x), NEGATIVE_SLOPE, inplace=True))
        return crop(x, lr, self.scale)

    # --- checkpoints ------------------------------------------------------------------------------

    @classmethod
    def recognises(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether ``state`` is of this architecture, with the names of any release."""
        wanted = {"conv_first.weight", "body.0.rdb1.conv5.weight", "conv_last.weight"}
        # ESRGAN+ adds 1×1 convolutions, RRDBPSNet enlarges by pixel shuffling.
        others = any("conv1x1" in key or key.startswith("upsample.") for key in state)
        return to_basicsr(state).keys() >= wanted and not others

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """The network with the sizes and weights of ``state``.

        Raises:
            InputError: keys or shapes that do not fit together.
        """
        state = to_basicsr(state)
        features, channels_in = state["conv_first.weight"].shape[:2]
        channels_out = state["conv_last.weight"].shape[0]
        # The scale of an unshuffled model is told by the channels of its first convolution.
        unshuffle = {4 * channels_out: 2, 16 * channels_out: 4}.get(channels_in, 1)
        doublings = highest_number(state, r"conv_up(\d+)\.", default=0)
        if 2**doublings < unshuffle:
            raise InputError(f"an RRDBNet of scale {2**doublings}/{unshuffle}; only ×1 and up work")
        network = cls(
            2**doublings // unshuffle,
            in_channels=channels_in // unshuffle**2,
            out_channels=channels_out,
            features=features,
            blocks=highest_number(state, r"body\.(\d+)\.") + 1,
            growth=state["body.0.rdb1.conv1.weight"].shape[0],
            unshuffle=unshuffle,
        )
        network.load_state_dict(state, strict=True)
        return network
