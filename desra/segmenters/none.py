"""Segmenter that labels nothing, for one threshold everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from desra.segmenters.base import Segmenter


class NoSegmenter(Segmenter):
    """Labels nothing, so that every class is held to the same threshold.

    Example:
        >>> import torch
        >>> NoSegmenter()(torch.zeros(1, 3, 4, 6), ["sky/1"]) is None
        True
    """

    def forward(self, gan_sr: Tensor, keys: Sequence[str]) -> None:
        """Returns None."""
        return

    @property
    def settings(self) -> dict[str, Any]:
        """The name alone."""
        return {"segmenter": "none"}
