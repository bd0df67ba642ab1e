"""Random changes of size, one factor and one method a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from datamodules.degradations.draws import Draws

METHODS = ("area", "bilinear", "bicubic")


@dataclass(frozen=True)
class Resize:
    """A distribution of factors.

    Attributes:
        probabilities: of enlarging, of shrinking, and of keeping the size.
        limits: the smallest factor of shrinking and the largest of enlarging; both begin at 1.
    """

    probabilities: tuple[float, float, float] = (0.2, 0.7, 0.1)
    limits: tuple[float, float] = (0.15, 1.5)

    DRAWS = 3

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
