"""Detectors whose measure grows with the artifact and has no upper end."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from desra.detectors.base import Detector
from desra.errors import InputError


class ScoreDetector(Detector):
    """A detector whose artifacts score higher than a threshold.

    The distance is ``middle / (middle + score)``: 1 where the score is 0, one half at ``middle``,
    towards 0 as the score grows. It orders pixels as the score does.

    Args:
        threshold: in the units of the score; a pixel of a higher score is a candidate.
        min_area: see `Detector`.

    Attributes:
        middle: the score whose distance is one half; a usual threshold.

    Raises:
        InputError: a setting that cannot be used.
    """

    middle: float

    def __init__(self, threshold: float, min_area: float) -> None:
        super().__init__(threshold, min_area)
        if threshold < 0:
            raise InputError(f"threshold={threshold}; a score is never below 0, give a higher one")

    @property
    def cutoff(self) -> float:
        """Distance of a score equal to the threshold."""
        return self.middle / (self.middle + self.threshold)

    def threshold_at(self, cutoff: float) -> float:
        """The score whose distance is ``cutoff``, infinite at 0."""
        return self.middle * (1 / cutoff - 1) if cutoff > 0 else float("inf")

    @abstractmethod
    def score(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """Map ``(B, 1, H, W)``, float, not negative, high where an artifact is likely.

        Raises:
            InputError: the pair cannot be compared.
        """

    def distance(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """``middle / (middle + score)`` in float64."""
        return self.middle / (self.middle + self.score(mse_sr, gan_sr).double())
