"""Random numbers that are a function of seed, purpose and number, on any number of processes."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What random numbers are for; other purposes have other numbers."""

    IMAGE_ORDER = 0
    CROP = 1
    POOL_ORDER = 2
    SHARED_DEGRADATION = 3
    DEGRADATION = 4
    FIRST_NOISE = 5
    SECOND_NOISE = 6
    SECOND_CROP = 7
    TARGET = 8


def generator_of(seed: int, purpose: Purpose, number: int) -> np.random.Generator:
    """Philox, keyed by the seed, with purpose and number in the high words of its counter.

    The low words are for the draws themselves, so that no two sequences overlap.
    """
    counter = np.array([0, 0, number, purpose], np.uint64)
    return np.random.Generator(np.random.Philox(key=seed % 2**64, counter=counter))
