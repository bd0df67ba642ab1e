"""SRVGGNetCompact: Real-ESRGAN's small generator.

A plain stack of convolutions at low resolution, one pixel shuffle, and the input added to it
(Real-ESRGAN release v0.2.3: "XS" with 16 and "S" with 32 convolutions in the body).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Self, cast

from torch import Tensor, nn
from torch.nn import functional as F

from desra.errors import InputError
from models.generators.shapes import highest_number

Activation = Literal["prelu", "leakyrelu", "relu"]


class SRVGGNetCompact(nn.Module):
    """Compact VGG-style network.

    Args:
        scale: output pixels per input pixel.
        channels: of the image, in and out.
        features: channels of the body.
        depth: convolutions in the body, the first and the last not counted.
        activation: ``"prelu"`` as in all released models, ``"leakyrelu"`` (slope 0.1) or
            ``"relu"``.

    Attributes:
        scale: as given.
        multiple: 1; any size will do.

    Example:
        >>> import torch
        >>> generator = SRVGGNetCompact(scale=4, features=8, depth=2)
        >>> generator(torch.rand(1, 3, 8, 12)).shape
        torch.Size([1, 3, 32, 48])
    """

    CONTAINER: ClassVar[str] = "params"
    """The key under which the release keeps a state."""
    OPTIONS: ClassVar[dict[str, Callable[[str], Any]]] = {"activation": str}
    """Settings that no key or shape tells, and how to read them from a file's metadata."""

    multiple = 1

    def __init__(
        self,
        scale: int = 4,
        *,
        channels: int = 3,
        features: int = 64,
        depth: int = 16,
        activation: Activation = "prelu",
    ) -> None:
        super().__init__()
        self.scale = scale
        self.activation = activation
        layers: list[nn.Module] = []
        for step in range(depth + 1):
            layers.append(nn.Conv2d(features if step else channels, features, 3, padding=1))
            layers.append(_activation(activation, features))
        layers.append(nn.Conv2d(features, channels * scale**2, 3, padding=1))
        self.body = nn.ModuleList(layers)

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """All convolutions, in order."""
        return cast(list[nn.Conv2d], list(self.body[0::2]))

    @property
    def activations(self) -> list[nn.Module]:
        """What follows each convolution but the last."""
        return list(self.body[1::2])

    def forward(self, lr: Tensor) -> Tensor:
        """``(B, channels, H, W)`` in [0, 1] to ``(B, channels, H·scale, W·scale)``."""
        x = lr
        for layer in self.body:
            x = layer(x)
        # The network learns what to add to the nearest neighbour's pixel.
        return F.pixel_shuffle(x, self.scale) + F.interpolate(lr, scale_factor=float(self.scale))

    @classmethod
    def recognises(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether ``state`` is of this architecture."""
        inside = all(key.startswith("body.") and key.count(".") == 2 for key in state)
        first = state.get("body.0.weight")
        return inside and first is not None and first.ndim == 4 and "body.2.weight" in state

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], *, activation: Activation | None = None
    ) -> Self:
        """The network with the sizes and weights of ``state``.

        Args:
            state: parameters by key.
            activation: where the state has no slopes, it can't tell LeakyReLU from ReLU. None takes
                LeakyReLU then.

        Raises:
            InputError: keys or shapes that do not fit together.
        """
        learned = "body.1.weight" in state
        if learned and activation not in (None, "prelu"):
            raise InputError(f"activation={activation}, but the file has the slopes of PReLU")
        last = highest_number(state, r"body\.(\d+)\.")
        features, channels = state["body.0.weight"].shape[:2]
        outputs = state[f"body.{last}.weight"].shape[0]
        scale = math.isqrt(outputs // channels)
        if channels * scale**2 != outputs:
            raise InputError(f"an SRVGGNetCompact from {channels} to {outputs} channels; no scale")
        network = cls(
            scale,
            channels=channels,
            features=features,
            depth=last // 2 - 1,
            activation="prelu" if learned else activation or "leakyrelu",
        )
        network.load_state_dict(state, strict=True)
        return network


def _activation(kind: Activation, features: int) -> nn.Module:
    if kind == "prelu":
        return nn.PReLU(features)
    if kind == "leakyrelu":
        return nn.LeakyReLU(0.1, inplace=True)
    if kind == "relu":
        return nn.ReLU(inplace=True)
    raise ValueError(f"activation must be prelu, leakyrelu or relu, got {kind!r}")
