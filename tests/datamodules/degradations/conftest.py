"""Pictures with edges, gradients and texture."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def photo() -> Callable[[int, int, int], np.ndarray]:
    """Paints one from seed, height and width, uint8 RGB."""

    def paint(seed: int, height: int, width: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        coarse = rng.uniform(0, 255, (5, 6, 3))
        picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        for _ in range(12):
            corner, size = rng.integers(0, (width, height)), rng.integers(4, 40, 2)
            colour = tuple(int(value) for value in rng.integers(0, 255, 3))
            cv2.rectangle(picture, corner, corner + size, colour, -1)
        return (picture + rng.normal(0, 4, picture.shape)).clip(0, 255).astype(np.uint8)

    return paint
