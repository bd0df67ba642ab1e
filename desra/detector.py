"""Detectors: two upscalings of one image in, a mask of the artifacts of the second one out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from desra.errors import InputError
from desra.morphology import dilate, erode
from desra.regions import fill_holes, remove_small_regions
from desra.semantics import adjust_distance, adjustment_weights, weights_digest
from desra.texture import gaussian_window, texture_distance


class Detection(NamedTuple):
    """What a detector found; ``(B, 1, H, W)`` on the device of the input.

    Attributes:
        distance: float64, what the detector compares, low where an artifact is likely.
        adjusted: float64, the distance as it is held against the threshold. Without labels this is
            the same tensor as ``distance``.
        mask: bool, true at artifacts; false in the detector's rim.
    """

    distance: Tensor
    adjusted: Tensor
    mask: Tensor


class Detector(nn.Module, ABC):
    """What turns a map of distances into a mask, whatever the distance.

    A pixel below the threshold is a candidate; candidates are eroded 5×5 once and dilated 5×5 three
    times, holes are filled, and 8-connected regions of more than ``min_area`` pixels are kept (the
    procedure of the DeSRA release). All of it within the rim, where there are distances.

    A subclass gives `distance`, and may set ``rim`` and override `adjust`, `select` and `settings`.

    Args:
        threshold: a pixel with a lower adjusted distance is a candidate.
        min_area: a region needs more pixels than this.

    Attributes:
        rim: pixels at each side of the image that have no distance; the mask is false there.

    Raises:
        InputError: a setting that cannot be used.
    """

    rim: int = 0

    def __init__(self, threshold: float, min_area: int) -> None:
        super().__init__()
        if not math.isfinite(threshold):
            raise InputError(f"threshold={threshold}; give a number, usually between 0 and 1")
        if min_area < 0:
            raise InputError(f"min_area={min_area}; give a number of pixels, 0 for all regions")
        self.threshold, self.min_area = float(threshold), int(min_area)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the mask besides the images; JSON-able."""
        return {
            "detector": type(self).__name__,
            "threshold": self.threshold,
            "min_area": self.min_area,
        }

    @abstractmethod
    def distance(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """Map ``(B, 1, H, W)``, float64, low where an artifact is likely.

        Args:
            mse_sr: ``(B, 3, H, W)``, uint8 or float in [0, 1].
            gan_sr: likewise.

        Raises:
            InputError: the pair cannot be compared.
        """

    def adjust(self, distance: Tensor, labels: Tensor | None) -> Tensor:
        """The distance as it is held against the threshold; here, the distance itself."""
        return distance

    def select(self, adjusted: Tensor) -> Tensor:
        """Candidates for artifacts: strictly below the threshold."""
        return adjusted < self.threshold

    @torch.no_grad()
    def forward(self, mse_sr: Tensor, gan_sr: Tensor, labels: Tensor | None = None) -> Detection:
        """Detect the artifacts of ``gan_sr``.

        Args:
            mse_sr: ``(B, 3, H, W)``, uint8, or float in [0, 1], which is rounded to 8 bits first.
            gan_sr: likewise, of the same shape and device.
            labels: semantic classes of ``gan_sr``, uint8 ``(B, 1, H, W)``, or None.

        Raises:
            InputError: the pair cannot be compared, or the labels are of another size.
        """
        return self.from_distance(self.distance(mse_sr, gan_sr), labels)

    @torch.no_grad()
    def from_distance(self, distance: Tensor, labels: Tensor | None = None) -> Detection:
        """Detect from what `distance` gave, ``(B, 1, H, W)`` float64."""
        adjusted = self.adjust(distance, labels)
        thresholded = self.select(self._inside(adjusted))
        mask = remove_small_regions(fill_holes(self._open(thresholded)), self.min_area)
        return Detection(distance, adjusted, self._full_size(mask))

    @torch.no_grad()
    def stages(self, distance: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """The steps from distance to mask, bool ``(B, 1, H, W)``, in order.

        ``thresholded``; ``dilated``, eroded and dilated; ``filled``, without holes; ``mask``.
        """
        thresholded = self.select(self._inside(self.adjust(distance, labels)))
        dilated = self._open(thresholded)
        filled = fill_holes(dilated)
        steps = {
            "thresholded": thresholded,
            "dilated": dilated,
            "filled": filled,
            "mask": remove_small_regions(filled, self.min_area),
        }
        return {name: self._full_size(step) for name, step in steps.items()}

    @staticmethod
    def _open(mask: Tensor) -> Tensor:
        return dilate(erode(mask, 5), 5, iterations=3)

    def _inside(self, values: Tensor) -> Tensor:
        height, width = values.shape[-2:]
        return values[..., self.rim : height - self.rim, self.rim : width - self.rim]

    def _full_size(self, mask: Tensor) -> Tensor:
        return pad(mask, (self.rim, self.rim, self.rim, self.rim))


class ArtifactDetector(Detector):
    """The detector of DeSRA (Xie et al., "DeSRA: Detect and Delete the Artifacts of GAN-based
    Real-World Super-Resolution Models", ICML 2023): artifacts are where the local texture of GAN-SR
    is far from that of MSE-SR, by a measure of what is usual for the semantic class.

    Batched, on the device of its input, with the same mask from each device: distances are float64
    everywhere. Masks are those of the published algorithm in every pixel; its images of
    ``(H − 10) × (W − 10)`` lie inside a rim of half a window, 5 pixels for the window of 11.

    Args:
        threshold: a pixel with a lower adjusted distance is a candidate; distances are in [0, 1].
        min_area: a region needs more pixels than this.
        window_size: side in pixels of the window in which textures are compared, odd, at least 3.
        intervals: table of texture intervals of the semantic classes, see
            `desra.semantics.texture_intervals`; None for the released table of ADE20K.

    Raises:
        InputError: a setting or a table that cannot be used.

    Example:
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
        min_area: int = 4000,
        window_size: int = 11,
        intervals: str | Path | None = None,
    ) -> None:
        super().__init__(threshold, min_area)
        gaussian_window(window_size)  # complains about a size that cannot be used
        self.window_size, self.rim = window_size, window_size // 2
        # No buffer: casting the module to half precision must not touch the constants.
        self._weights = adjustment_weights(intervals)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings and a digest of the table of intervals; JSON-able."""
        return {
            **super().settings,
            "window_size": self.window_size,
            "intervals": weights_digest(self._weights),
        }

    def distance(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """Texture distance D in [0, 1], 1 in the rim; see `desra.texture.texture_distance`."""
        return texture_distance(mse_sr, gan_sr, self.window_size)

    def adjust(self, distance: Tensor, labels: Tensor | None) -> Tensor:
        """D' = clip(A_k · D, 0, 1) for a pixel of class k; D where there are no labels."""
        if labels is None:
            return distance
        return adjust_distance(distance, labels, self._weights)
