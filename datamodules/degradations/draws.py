"""The random numbers of a batch of degradations, a row of them for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.randomness import Purpose, generator_of

T = TypeVar("T")


class Draws:
    """Uniform numbers in [0, 1), one a sample, handed out column after column.

    Args:
        seed: another seed, other numbers.
        purpose: what for.
        numbers: of the samples.
        count: how many columns there are.
    """

    def __init__(self, seed: int, purpose: Purpose, numbers: Sequence[int], count: int) -> None:
        rows = [generator_of(seed, purpose, number).random(count) for number in numbers]
        self._columns = iter(np.stack(rows, axis=1))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
        """A number in [low, high) for each sample, ``(B,)``."""
        return low + (high - low) * next(self._columns)

    def chance(self, probability: float) -> NDArray[np.bool_]:
        """True with a probability, ``(B,)``."""
        return next(self._columns) < probability

    def place(self, weights: Sequence[float]) -> NDArray[np.int64]:
        """A place in a list of weights, as likely as its weight, ``(B,)``."""
        edges = np.cumsum(np.asarray(weights, np.float64))
        places = np.searchsorted(edges / edges[-1], next(self._columns), side="right")
        return np.minimum(places, len(weights) - 1)  # the last edge may round to below 1

    def one_of(self, values: Sequence[T]) -> list[T]:
        """One of equally likely values for each sample."""
        return [values[place] for place in self.place([1.0] * len(values))]


class NoiseSource:
    """A generator for each sample of a batch, on the images' device.

    Args:
        seed: another seed, other noise.
        purpose: what for.
        numbers: of the samples.
        device: where the noise is made. Different kinds of device make different noise.
    """

    def __init__(
        self, seed: int, purpose: Purpose, numbers: Sequence[int], device: torch.device
    ) -> None:
        self._seeds = [
            int(generator_of(seed, purpose, number).integers(2**63)) for number in numbers
        ]
        self._generator = torch.Generator(device)

    def of(self, place: int) -> torch.Generator:
        """The generator of one sample of the batch, at its beginning."""
        return self._generator.manual_seed(self._seeds[place])
