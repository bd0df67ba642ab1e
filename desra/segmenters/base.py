"""Base of the segmenters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn


class Segmenter(nn.Module, ABC):
    """Labels the pixels of GAN-SR images with ADE20K classes.

    Attributes:
        classes: names of the classes by label; empty where nothing is labelled.
    """

    classes: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, gan_sr: Tensor, keys: Sequence[str]) -> Tensor | None:
        """Label a batch.

        Args:
            gan_sr: ``(B, 3, H, W)``, float RGB in [0, 1] or uint8.
            keys: relative path without suffix of each image.

        Returns:
            ``(B, 1, H, W)`` uint8 on the device of ``gan_sr``: index of the ADE20K class, 0 to 149,
            or `desra.semantics.NO_CLASS`; None where this segmenter labels nothing.

        Raises:
            InputError: an image that cannot be labelled.
        """

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides the labels besides the image and `inputs`; JSON-able.

        Raises:
            InputError: a file of the segmenter is missing and cannot be had.
        """

    def inputs(self, key: str) -> list[Path]:
        """Files that decide the labels of ``key`` besides the image."""
        return []

    def prepare(self) -> None:
        """Fetch and load what is needed, so that what is missing is said before the first image.

        Raises:
            InputError: a file of the segmenter cannot be had or used.
        """
