"""NIQE, patch by patch, as a detector."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from desra.detectors.scores import ScoreDetector
from desra.errors import InputError
from desra.files import file_digest
from desra.images import quantize
from desra.niqe import (
    PATCH_SIZE,
    PUBLISHED_MODEL,
    PristineModel,
    check_size,
    luma,
    patch_features,
    patch_starts,
    read_model,
)
from desra.texture import check_pair


class NIQEDetector(ScoreDetector):
    """How far the statistics of each patch of GAN-SR are from those of clean images (NIQE, Mittal
    et al., IEEE SPL 2013). MSE-SR plays no part.

    The score of a patch is the Mahalanobis distance of its 36 features from the Gaussian of clean
    patches, by the clean patches' covariance; a patch without structure (a flat sky) scores 0.
    Between the centres of patches scores are interpolated, outside of them they are the nearest
    one's.

    Args:
        model: file of the clean patches' Gaussian, see `desra.niqe.read_model`; None for the
            published one.
        threshold: a pixel of a higher score is a candidate. Clean patches score near 6, the root of
            the number of features.
        min_area: see `Detector`.
        patch_size: pixels a side, even; that of the images the model was fitted to.
        stride: pixels from one patch to the next, even.

    Raises:
        InputError: a setting cannot be used.

    Example:
        >>> gan_sr = torch.randint(0, 256, (1, 3, 144, 144), dtype=torch.uint8)
        >>> scores = NIQEDetector().score(gan_sr, gan_sr)
        >>> scores.shape, scores.min().item() > 10  # noise is unlike clean images
        (torch.Size([1, 1, 144, 144]), True)
    """

    middle = 10.0
    uses_reference = False

    def __init__(
        self,
        model: str | Path | None = None,
        threshold: float = 10.0,
        min_area: float = 4000,
        patch_size: int = PATCH_SIZE,
        stride: int = PATCH_SIZE // 2,
    ) -> None:
        super().__init__(threshold, min_area)
        check_size(patch_size, patch_size, patch_size)
        if stride < 2 or stride % 2:
            raise InputError(f"stride={stride}; give an even number of at least 2")
        self.model, self.patch_size, self.stride = (
            Path(model or PUBLISHED_MODEL),
            patch_size,
            stride,
        )

    @cached_property
    def pristine(self) -> PristineModel:
        """The Gaussian of clean patches."""
        return read_model(self.model)

    def prepare(self) -> None:
        """Read the model; see `desra.niqe.read_model`."""
        _ = self.pristine

    @property
    def settings(self) -> dict[str, Any]:
        """Settings, and a digest of the model; JSON-able.

        Raises:
            InputError: no such file, or no model.
        """
        self.prepare()
        return {
            **super().settings,
            "model": file_digest(self.model),
            "patch_size": self.patch_size,
            "stride": self.stride,
        }

    @property
    def shown_settings(self) -> dict[str, Any]:
        """`settings` with the name of the model."""
        return {**self.settings, "model": self.model.name}

    def score(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """Interpolated scores of the patches of GAN-SR."""
        check_pair(mse_sr, gan_sr)
        height, width = gan_sr.shape[-2:]
        check_size(height, width, self.patch_size)
        rows, columns = (
            patch_starts(length, self.patch_size, self.stride) for length in (height, width)
        )
        across = self._interpolation(rows, height).to(gan_sr.device)
        along = self._interpolation(columns, width).to(gan_sr.device)
        scores = []
        for plane in luma(quantize(gan_sr)):
            features = patch_features(plane, rows, columns, self.patch_size)
            scores.append(across @ self.pristine.distances(features) @ along.T)
        return torch.stack(scores)[:, None]

    def _interpolation(self, starts: list[int], length: int) -> Tensor:
        """``(length, len(starts))``: what each patch counts at each pixel of a side."""
        centres = np.array(starts) + (self.patch_size - 1) / 2
        pixels = np.arange(length)
        each = [np.interp(pixels, centres, unit) for unit in np.eye(len(starts))]
        return torch.from_numpy(np.stack(each, 1))
