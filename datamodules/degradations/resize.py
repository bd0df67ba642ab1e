"""Random changes of size, one factor and one method a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from datamodules.degradations.checks import Range, check_range, check_weights
from datamodules.degradations.draws import Draws
from desra.errors import InputError

METHODS = ("area", "bilinear", "bicubic")


@dataclass(frozen=True)
class Resize:
    """A distribution of factors.

    Attributes:
        probabilities: of enlarging, of shrinking, and of keeping the size.
        limits: the smallest factor of shrinking and the largest of enlarging; both begin at 1.

    Raises:
        InputError: a setting out of its range.
    """

    probabilities: tuple[float, float, float] = (0.2, 0.7, 0.1)
    limits: Range = (0.15, 1.5)

    DRAWS = 3

    def __post_init__(self) -> None:
        check_weights("resize.probabilities", self.probabilities, 3)
        check_range("resize.limits", self.limits, least=1e-3)
        if not self.limits[0] <= 1 <= self.limits[1]:
            raise InputError(f"degradation: resize.limits={list(self.limits)}: 1 is not within")

    def draw(self, draws: Draws) -> tuple[float, str]:
        """Factor and method of one batch; takes `DRAWS` columns."""
        way, position = int(draws.place(self.probabilities)[0]), float(draws.uniform()[0])
        method = draws.one_of(METHODS)[0]
        low, high = self.limits
        factors = (1 + (high - 1) * position, low + (1 - low) * position, 1.0)
        return factors[way], method


def resize(images: torch.Tensor, size: tuple[int, int], method: str) -> torch.Tensor:
    """Resize ``(B, C, H, W)`` images without a low-pass filter, as Real-ESRGAN's training does."""
    if images.shape[-2:] == size:
        return images
    return F.interpolate(images, size=size, mode=method)
