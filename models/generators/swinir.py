"""SwinIR: Liang et al., "SwinIR: Image Restoration Using Swin Transformer", ICCVW 2021."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from desra.errors import InputError
from models.generators.shapes import crop, highest_number, pad_to_multiple
from models.generators.swinir_blocks import (
    ResidualConnection,
    ResidualGroup,
    SwinLayer,
    residual_convolution,
    shifted_window_mask,
    sizes_of_mask,
)

Upsampler = Literal["nearest+conv", "pixelshuffle", "pixelshuffledirect", ""]

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean colour of DIV2K, subtracted from the input."""

COMPUTED = ("relative_position_index", "attn_mask")
"""Buffers of the release that the sizes tell."""

LARGEST_WINDOW = 32
"""Side of a window; the largest released is 16."""


class SwinIR(nn.Module):
    """Swin Transformer for image restoration.

    Args:
        scale: output pixels per input pixel; 1 with no upsampler, for denoising.
        channels: of the image, in and out.
        embed_dim: channels of the features.
        depths: layers in each residual group.
        num_heads: attention heads in each residual group.
        window_size: side of an attention window.
        mlp_ratio: channels inside the MLPs, over ``embed_dim``.
        upsampler: ``"nearest+conv"`` (real-world), ``"pixelshuffle"`` (classical),
            ``"pixelshuffledirect"`` (lightweight) or ``""`` (none).
        resi_connection: ``"1conv"``, or ``"3conv"`` as in the large model.
        features: channels of the upsampling convolutions.
        img_range: the network's own range of pixel values; 255 in the JPEG models.
        img_size: training size, of which the release keeps masks. Any size can be upscaled.
        qkv_bias: whether queries, keys and values have a bias.
        patch_norm: whether features are normalised after the first convolution.
        drop_path: stochastic depth of the last layer in training, less for those before it.

    Attributes:
        scale: as given.
        multiple: ``window_size``; sides that are multiples of this need no padding.

    Example:
        >>> generator = SwinIR(4, embed_dim=12, depths=(1,), num_heads=(2,))
        >>> generator(torch.rand(1, 3, 8, 12)).shape
        torch.Size([1, 3, 32, 48])
    """

    CONTAINER: ClassVar[str] = "params_ema"
    """The key under which the release keeps a state."""
    OPTIONS: ClassVar[dict[str, Callable[[str], Any]]] = {"img_range": float, "shift": int}
    """Settings that no key or shape tells, and how to read them from a file's metadata."""

    def __init__(
        self,
        scale: int = 4,
        *,
        channels: int = 3,
        embed_dim: int = 180,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6, 6, 6),
        window_size: int = 8,
        mlp_ratio: float = 2.0,
        upsampler: Upsampler = "nearest+conv",
        resi_connection: ResidualConnection = "1conv",
        features: int = 64,
        img_range: float = 1.0,
        img_size: int | tuple[int, int] = 64,
        qkv_bias: bool = True,
        patch_norm: bool = True,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        size = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.scale = scale
        self.window_size = window_size
        # The release doesn't shift windows if one covers the training image.
        self.shift = window_size // 2 if min(size) > window_size else 0
        self.upsampler = upsampler
        self.img_range = img_range
        self._mask: tuple[tuple[int, int], Tensor] | None = None
        mean = torch.tensor(RGB_MEAN if channels == 3 else (0.0,)).view(1, -1, 1, 1)
        self.mean: Tensor
        self.register_buffer("mean", mean, persistent=False)
        self.conv_first = nn.Conv2d(channels, embed_dim, 3, padding=1)
        self.patch_embed = nn.Module()
        if patch_norm:
            self.patch_embed.norm = nn.LayerNorm(embed_dim)
        drops = torch.linspace(0, drop_path, sum(depths), device="cpu").tolist()
        self.layers = nn.ModuleList()
        for depth, heads in zip(depths, num_heads, strict=True):
            layers = [
                SwinLayer(
                    embed_dim,
                    heads,
                    window_size,
                    self.shift if step % 2 else 0,
                    round(embed_dim * mlp_ratio),
                    size,
                    qkv_bias,
                    drops.pop(0),
                )
                for step in range(depth)
            ]
            self.layers.append(ResidualGroup(layers, embed_dim, resi_connection))
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = residual_convolution(embed_dim, resi_connection)
        self._add_reconstruction(embed_dim, features, channels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def _add_reconstruction(self, dim: int, features: int, channels: int) -> None:
        if self.upsampler == "pixelshuffledirect":
            shuffled = nn.Conv2d(dim, channels * self.scale**2, 3, padding=1)
            self.upsample = nn.Sequential(shuffled, nn.PixelShuffle(self.scale))
            return
        if self.upsampler == "":
            if self.scale != 1:
                raise ValueError(f"scale {self.scale} needs an upsampler")
            self.conv_last = nn.Conv2d(dim, channels, 3, padding=1)
            return
        self.conv_before_upsample = nn.Sequential(
            nn.Conv2d(dim, features, 3, padding=1), nn.LeakyReLU(0.01, inplace=True)
        )
        if self.upsampler == "pixelshuffle":
            steps: list[nn.Module] = []
            for factor in _factors(self.scale):
                steps.append(nn.Conv2d(features, features * factor**2, 3, padding=1))
                steps.append(nn.PixelShuffle(factor))
            self.upsample = nn.Sequential(*steps)
        elif self.upsampler == "nearest+conv":
            if set(_factors(self.scale)) - {2}:
                raise ValueError(f"nearest+conv doubles; scale {self.scale} is no power of 2")
            for step in range(1, len(_factors(self.scale)) + 1):
                self.add_module(f"conv_up{step}", nn.Conv2d(features, features, 3, padding=1))
            self.conv_hr = nn.Conv2d(features, features, 3, padding=1)
        else:
            raise ValueError(f"unknown upsampler {self.upsampler!r}")
        self.conv_last = nn.Conv2d(features, channels, 3, padding=1)

    @property
    def multiple(self) -> int:
        return self.window_size

    @property
    def groups(self) -> list[ResidualGroup]:
        """The residual groups, in order."""
        return cast(list[ResidualGroup], list(self.layers))

    @property
    def upsampling(self) -> list[nn.Conv2d]:
        """The convolutions after each doubling, with ``nearest+conv``."""
        names = (f"conv_up{step}" for step in range(1, len(_factors(self.scale)) + 1))
        return [cast(nn.Conv2d, self.get_submodule(name)) for name in names]

    def forward(self, lr: Tensor) -> Tensor:
        """``(B, channels, H, W)`` in [0, 1] to ``(B, channels, H·scale, W·scale)``.

        The right and lower edge are reflected until windows fit, and the result cut.
        """
        x = pad_to_multiple(lr, self.window_size)
        x = (x - self.mean) * self.img_range
        shallow = self.conv_first(x)
        deep = self.deep_features(shallow.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        deep = self.conv_after_body(deep) + shallow
        y = self.conv_last(deep) + x if self.upsampler == "" else self.reconstruct(deep)
        return crop(y / self.img_range + self.mean, lr, self.scale)

    def deep_features(self, x: Tensor) -> Tensor:
        """Shallow to deep features, ``(B, H, W, embed_dim)`` both."""
        mask = self.mask(x)
        if (norm := getattr(self.patch_embed, "norm", None)) is not None:
            x = norm(x)
        for group in self.groups:
            x = group(x, mask)
        return self.norm(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Deep features ``(B, embed_dim, H, W)`` to the image, before its mean is added."""
        if self.upsampler == "pixelshuffledirect":
            return self.upsample(x)
        x = self.conv_before_upsample(x)
        if self.upsampler == "pixelshuffle":
            return self.conv_last(self.upsample(x))
        for conv in self.upsampling:
            x = F.leaky_relu(conv(F.interpolate(x, scale_factor=2.0)), 0.2, inplace=True)
        return self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2, inplace=True))

    def mask(self, features: Tensor) -> Tensor:
        """`shifted_window_mask` for ``(B, H, W, C)`` features; the last size's is kept."""
        size = (features.shape[1], features.shape[2])
        if self._mask is None or self._mask[0] != size or self._mask[1].device != features.device:
            with torch.inference_mode(mode=False):  # training may use it later
                mask = shifted_window_mask(*size, self.window_size, self.window_size // 2)
                self._mask = size, mask.to(features.device)
        return self._mask[1]

    # --- checkpoints ------------------------------------------------------------------------------

    @classmethod
    def recognises(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether ``state`` is of this architecture."""
        block = "layers.0.residual_group.blocks.0"
        return state.keys() >= {
            "conv_first.weight",
            f"{block}.norm1.weight",
            f"{block}.attn.relative_position_bias_table",
            f"{block}.attn.qkv.weight",
            f"{block}.mlp.fc1.weight",
        }

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        *,
        img_range: float | None = None,
        shift: int | None = None,
    ) -> Self:
        """The network with the sizes and weights of ``state``.

        Buffers that follow from the sizes (``relative_position_index``, ``attn_mask``) are computed
        where they are missing, as people are told to delete them.

        Args:
            state: parameters and buffers by key.
            img_range: the network's range of pixel values, which no key tells. None takes 255 for
                windows of 7 (the released JPEG models) and 1 for others.
            shift: of every second layer's windows. A state without ``attn_mask`` does not tell
                whether they were deleted, or never there because one window covered the training
                image (0). None takes half a window, as every released network has.

        Raises:
            InputError: keys or shapes that do not fit together.
        """
        if "absolute_pos_embed" in state:
            raise InputError("a SwinIR with absolute position embedding, which fits one size only")
        first = "layers.0.residual_group.blocks.0"
        table = f"{first}.attn.relative_position_bias_table"
        embed_dim, channels = state["conv_first.weight"].shape[:2]
        window = (math.isqrt(state[table].shape[0]) + 1) // 2
        if window > LARGEST_WINDOW:
            raise InputError(f"a SwinIR with windows of {window}; at most {LARGEST_WINDOW}")
        groups = range(highest_number(state, r"layers\.(\d+)\.") + 1)
        blocks = [rf"layers\.{group}\.residual_group\.blocks\.(\d+)\." for group in groups]
        mask = state.get("layers.0.residual_group.blocks.1.attn_mask")
        size = (window if shift == 0 else 8 * window,) * 2
        if mask is not None:
            size = sizes_of_mask(mask.shape[0], window)
        upsampler, scale, features = _reconstruction(state, channels)
        network = cls(
            scale,
            channels=channels,
            embed_dim=embed_dim,
            depths=[highest_number(state, pattern) + 1 for pattern in blocks],
            num_heads=[state[table.replace(".0.", f".{i}.", 1)].shape[1] for i in groups],
            window_size=window,
            mlp_ratio=state[f"{first}.mlp.fc1.weight"].shape[0] / embed_dim,
            upsampler=upsampler,
            resi_connection="1conv" if "conv_after_body.weight" in state else "3conv",
            features=features,
            img_range=img_range or (255.0 if window == 7 else 1.0),
            img_size=size,
            qkv_bias=f"{first}.attn.qkv.bias" in state,
            patch_norm="patch_embed.norm.weight" in state,
        )
        own = network.state_dict()
        computed = {key: own[key] for key in own if key.endswith(COMPUTED) and key not in state}
        _check_computed(state, own)
        network.load_state_dict({**state, **computed}, strict=True)
        return network


def _check_computed(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raise InputError where a state's windows are numbered in another way than SwinIR's."""
    for key, index in own.items():
        if not key.endswith("relative_position_index") or key not in state or index.is_meta:
            continue
        if state[key].shape != index.shape or not torch.equal(state[key].long(), index):
            raise InputError(f"a SwinIR with another {key}; its positions are not those of SwinIR")


def _factors(scale: int) -> list[int]:
    """The steps in which a pixel-shuffle upsampler reaches a scale: doublings, or one of 3."""
    if scale == 3:
        return [3]
    doublings = scale.bit_length() - 1
    if 1 << doublings != scale:
        raise ValueError(f"scale must be 3 or a power of 2, got {scale}")
    return [2] * doublings


def _reconstruction(state: Mapping[str, Tensor], channels: int) -> tuple[Upsampler, int, int]:
    """Upsampler, scale and channels of the upsampling convolutions."""
    if "conv_before_upsample.0.weight" in state:
        features = state["conv_before_upsample.0.weight"].shape[0]
        if "conv_hr.weight" in state:
            doublings = highest_number(state, r"conv_up(\d+)\.", default=0)
            return "nearest+conv", 2**doublings, features
        steps = [key for key in state if key.startswith("upsample.") and key.endswith("weight")]
        factors = [math.isqrt(state[key].shape[0] // features) for key in steps]
        return "pixelshuffle", math.prod(factors), features
    if "upsample.0.weight" in state:
        return "pixelshuffledirect", math.isqrt(state["upsample.0.weight"].shape[0] // channels), 64
    return "", 1, 64
