"""Base of the detectors: two upscalings of an image in, a mask of the artifacts of one out."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from desra.errors import InputError
from desra.morphology import dilate, erode
from desra.one_image import Image, as_batch
from desra.regions import fill_holes, remove_small_regions
from desra.rim import inside

log = logging.getLogger(__name__)

LARGE_SHARE = 0.05
"""Of an image: a region that must be larger than that is hardly ever found."""


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

    A pixel below the cutoff is a candidate; candidates are eroded 5×5 once and dilated 5×5 three
    times, holes are filled, and 8-connected regions of more than ``min_area`` pixels are kept (the
    procedure of the DeSRA release). All of it within the rim, where there are distances.

    Distances lie in [0, 1] and are low where an artifact is likely, whatever the detector; the
    threshold is in the units of the detector's publication, which `cutoff` turns into a distance.

    A subclass gives `distance`, and may set ``rim`` and override `adjust`, `cutoff`,
    `threshold_at`, `prepare` and `settings`.

    Args:
        threshold: where candidates begin; unless the subclass says otherwise, a pixel with a lower
            adjusted distance is one.
        min_area: a region needs more pixels than this; below 1, more than this share of the image.

    Attributes:
        rim: pixels at each side of the image that have no distance; the mask is false there.
        uses_reference: whether MSE-SR plays a part.

    Raises:
        InputError: a setting that cannot be used.
    """

    rim: int = 0
    uses_reference: bool = True

    def __init__(self, threshold: float, min_area: float) -> None:
        super().__init__()
        if not math.isfinite(threshold):
            raise InputError(f"threshold={threshold}; give a number, usually between 0 and 1")
        if not 0 <= min_area < math.inf:
            raise InputError(
                f"min_area={min_area}; give a number of pixels, a share of the image below 1, or 0 "
                "for all regions"
            )
        self.threshold = float(threshold)
        self.min_area = int(min_area) if min_area >= 1 or min_area == 0 else float(min_area)
        self._warned = False

    def least_area(self, height: int, width: int) -> int:
        """Pixels that a region of an image of this size needs more than.

        Where that is a large share of the image, the log says once that little can be found.
        """
        area = self.min_area
        pixels = int(area) if area >= 1 else int(area * height * width)
        if pixels > LARGE_SHARE * height * width and not self._warned:
            self._warned = True
            log.warning(
                "detector.min_area=%g is %.0f %% of an image of %dx%d, so hardly anything can be "
                "found; give fewer pixels, or a share of the image (detector.min_area=0.002)",
                area,
                100 * pixels / (height * width),
                width,
                height,
            )
        return pixels

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the mask besides the images; JSON-able."""
        return {
            "detector": type(self).__name__,
            "threshold": self.threshold,
            "min_area": self.min_area,
        }

    @property
    def shown_settings(self) -> dict[str, Any]:
        """`settings` for people: files by their names in the place of digests."""
        return self.settings

    @property
    def distance_settings(self) -> dict[str, Any]:
        """Those of `settings` that decide `distance`; JSON-able."""
        of_mask_alone = ("threshold", "min_area")
        return {name: value for name, value in self.settings.items() if name not in of_mask_alone}

    @property
    def cutoff(self) -> float:
        """Pixels of a lower adjusted distance are candidates; here, the threshold itself."""
        return self.threshold

    def threshold_at(self, cutoff: float) -> float:
        """The threshold that has this `cutoff`, in [0, 1]."""
        return cutoff

    def prepare(self) -> None:
        """Fetch and load what is needed, so that what is missing is said before the first image.

        Raises:
            InputError: a file of the detector cannot be had or used.
        """

    @abstractmethod
    def distance(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """Map ``(B, 1, H, W)``, float64 in [0, 1], low where an artifact is likely.

        An ensemble has one channel a member, which become one when labels are known: see
        `combined`.

        Args:
            mse_sr: ``(B, 3, H, W)``, uint8 or float in [0, 1].
            gan_sr: likewise.

        Raises:
            InputError: the pair cannot be compared.
        """

    def adjust(self, distance: Tensor, labels: Tensor | None) -> Tensor:
        """The distance as it is held against the threshold; here, the distance itself."""
        return distance

    def combined(self, distance: Tensor) -> Tensor:
        """One map ``(B, 1, H, W)`` of what `distance` gave, as it is shown where labels are not."""
        return distance

    def select(self, adjusted: Tensor) -> Tensor:
        """Candidates for artifacts: strictly below the cutoff."""
        return adjusted < self.cutoff

    @torch.no_grad()
    def forward(self, mse_sr: Image, gan_sr: Image, labels: Tensor | None = None) -> Detection:
        """Detect the artifacts of ``gan_sr``.

        Args:
            mse_sr: ``(B, 3, H, W)``, uint8, or float in [0, 1], which is rounded to 8 bits first;
                or one image, or NumPy arrays with the channels last, see `desra.one_image`.
            gan_sr: likewise, of the same shape and device.
            labels: semantic classes of ``gan_sr``, uint8 ``(B, 1, H, W)``, or None.

        Raises:
            InputError: the pair cannot be compared, or the labels are of another size.
        """
        distance = self.distance(as_batch(mse_sr), as_batch(gan_sr))
        return self.from_distance(distance, labels)

    @torch.no_grad()
    def from_distance(self, distance: Tensor, labels: Tensor | None = None) -> Detection:
        """Detect from what `distance` gave."""
        adjusted = self.adjust(distance, labels)
        return Detection(self.combined(distance), adjusted, self.mask_at(adjusted, self.cutoff))

    @torch.no_grad()
    def mask_at(self, adjusted: Tensor, cutoff: float) -> Tensor:
        """The mask that another cutoff makes of adjusted distances, bool ``(B, 1, H, W)``."""
        thresholded = inside(adjusted, self.rim) < cutoff
        least = self.least_area(*adjusted.shape[-2:])
        mask = remove_small_regions(fill_holes(self._open(thresholded)), least)
        return self._full_size(mask)

    @torch.no_grad()
    def stages(self, distance: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """The steps from distance to mask, bool ``(B, 1, H, W)``, in order.

        ``thresholded``; ``dilated``, eroded and dilated; ``filled``, without holes; ``mask``.
        """
        thresholded = self.select(inside(self.adjust(distance, labels), self.rim))
        dilated = self._open(thresholded)
        filled = fill_holes(dilated)
        steps = {
            "thresholded": thresholded,
            "dilated": dilated,
            "filled": filled,
            "mask": remove_small_regions(filled, self.least_area(*distance.shape[-2:])),
        }
        return {name: self._full_size(step) for name, step in steps.items()}

    @staticmethod
    def _open(mask: Tensor) -> Tensor:
        return dilate(erode(mask, 5), 5, iterations=3)

    def _full_size(self, mask: Tensor) -> Tensor:
        return pad(mask, (self.rim, self.rim, self.rim, self.rim))
