"""The detector of DeSRA: artifacts are where local textures are far apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from desra.detectors.base import Detector
from desra.semantics import adjust_distance, adjustment_weights, weights_digest
from desra.texture import Direction, check_direction, gaussian_window, texture_distance


class ArtifactDetector(Detector):
    """The detector of DeSRA (Xie et al., "DeSRA: Detect and Delete the Artifacts of GAN-based
    Real-World Super-Resolution Models", ICML 2023): artifacts are where the local texture of GAN-SR
    is far from that of MSE-SR, by a measure of what is usual for the semantic class.

    Batched, on the device of its input, with the same mask from each device: distances are float64
    everywhere. Masks are those of the published algorithm in every pixel; its images of
    ``(H − 10) × (W − 10)`` lie inside a rim of half a window, 5 pixels for the window of 11.

    Args:
        threshold: a pixel with a lower adjusted distance is a candidate; distances are in [0, 1].
        min_area: see `Detector`.
        window_size: side in pixels of the window in which textures are compared, odd, at least 3.
        intervals: table of texture intervals of the semantic classes, see
            `desra.semantics.texture_intervals`; None for the released table of ADE20K.
        direction: ``"both"``, as published: any difference of texture counts. ``"rougher"``: only
            where GAN-SR has the more texture, so that noise that only the GAN removed is no
            artifact; see `desra.texture.texture_distance`.

    Raises:
        InputError: a setting or a table that cannot be used.

    Example:
        >>> import torch
        >>> smooth = torch.full((1, 3, 96, 96), 0.5)
        >>> textured = smooth.clone()
        >>> textured[..., 32:64, 32:64] += torch.rand(32, 32).sub(0.5)
        >>> mask = ArtifactDetector(min_area=500)(smooth, textured).mask
        >>> mask.shape, mask[..., 48, 48].item(), mask[..., 10, 10].item()
        (torch.Size([1, 1, 96, 96]), True, False)
    """

    def __init__(
        self,
        threshold: float = 0.7,
        min_area: float = 4000,
        window_size: int = 11,
        intervals: str | Path | None = None,
        direction: Direction = "both",
    ) -> None:
        super().__init__(threshold, min_area)
        gaussian_window(window_size)  # complains about a size that cannot be used
        self.direction = check_direction(direction)
        self.window_size, self.rim = window_size, window_size // 2
        # No buffer: casting the module to half precision must not touch the constants.
        self._weights = adjustment_weights(intervals)
        self._table = "released" if intervals is None else Path(intervals).name

    @property
    def settings(self) -> dict[str, Any]:
        """Settings and a digest of the table of intervals; JSON-able."""
        return {
            **super().settings,
            "window_size": self.window_size,
            "intervals": weights_digest(self._weights),
            "direction": self.direction,
        }

    @property
    def shown_settings(self) -> dict[str, Any]:
        """`settings` with the name of the table of intervals."""
        return {**self.settings, "intervals": self._table}

    def distance(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """Texture distance D in [0, 1], 1 in the rim; see `desra.texture.texture_distance`."""
        return texture_distance(mse_sr, gan_sr, self.window_size, self.direction)

    def adjust(self, distance: Tensor, labels: Tensor | None) -> Tensor:
        """D' = clip(A_k · D, 0, 1) for a pixel of class k; D where there are no labels."""
        if labels is None:
            return distance
        return adjust_distance(distance, labels, self._weights)
