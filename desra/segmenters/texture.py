"""Classes of texture, for images that nothing has labelled: how rough the picture is, not what."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from desra.errors import InputError
from desra.segmenters.base import Segmenter
from desra.semantics import ADE20K_CLASSES, NO_CLASS

LEVELS = (1.5, 3.0, 6.0, 12.0, 24.0)
FIRST = len(ADE20K_CLASSES)
"""Label of the smoothest class. Labels follow those of ADE20K, so that its table of intervals, made
for what things are, changes nothing here."""


class TextureSegmenter(Segmenter):
    """Labels pixels by the strength of the texture around them, in place of semantic classes.

    Fur, brick and foliage are far apart in GAN-SR and in MSE-SR without being artifacts. What tells
    them from artifacts without a network is that their texture is in LR already: it outlives an
    averaging of 4×4 pixels, and most of what a generator has invented does not. So the standard
    deviation of the averaged luma is taken in windows of 11×11, and pixels are sorted by it.

    The classes do nothing until a table of intervals is calibrated for them (`desra.calibration`),
    on photos like those to be searched; then every class is held to what is usual for its kind of
    texture.

    Args:
        levels: between the classes, rising, in levels of 255.

    Raises:
        InputError: levels that do not rise from above 0, or too many.

    Example:
        >>> smooth = torch.full((1, 3, 64, 64), 128, dtype=torch.uint8)
        >>> TextureSegmenter()(smooth, ["a"]).unique()
        tensor([150], dtype=torch.uint8)
    """

    def __init__(self, levels: Sequence[float] = LEVELS) -> None:
        super().__init__()
        self.levels = [float(level) for level in levels]
        edges = [0.0, *self.levels]
        if any(low >= high for low, high in pairwise(edges)) or FIRST + len(edges) > NO_CLASS:
            raise InputError(
                f"segmenter.levels={self.levels}: give up to {NO_CLASS - FIRST - 1} rising numbers "
                "above 0"
            )
        names = [f"texture above {edge:g}" for edge in edges]
        self.classes = (*ADE20K_CLASSES, *names)

    @property
    def settings(self) -> dict[str, Any]:
        """The levels; JSON-able."""
        return {"segmenter": "texture", "levels": self.levels}

    def forward(self, gan_sr: Tensor, keys: Sequence[str]) -> Tensor:
        """Label a batch."""
        scale = 1.0 if gan_sr.dtype == torch.uint8 else 255.0
        luma = gan_sr.double().mean(1, keepdim=True) * scale
        small = F.avg_pool2d(luma, 4, ceil_mode=True)
        mean, square = (
            F.avg_pool2d(plane, 11, 1, 5, count_include_pad=False)
            for plane in (small, small.square())
        )
        deviation = (square - mean.square()).clamp(min=0).sqrt()
        wide = F.interpolate(deviation, gan_sr.shape[-2:], mode="bilinear")
        edges = torch.tensor(self.levels, dtype=torch.float64, device=wide.device)
        return torch.bucketize(wide, edges, right=True).add(FIRST).to(torch.uint8)
