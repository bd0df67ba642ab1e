"""A tiny artifact set whose pixels say where they come from."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from desra.images import write_png

SCALE = 4


def coordinates(image: int, height: int, width: int, scale: int, role: int) -> np.ndarray:
    """Pixels (row, column, image and role) in units of LR pixels, ``(H, W, 3)`` uint8."""
    rows, columns = np.mgrid[: height * scale, : width * scale] // scale
    third = np.full_like(rows, 10 * image + role)
    return np.stack([rows, columns, third], axis=-1).astype(np.uint8)


@pytest.fixture
def make_artifact_set(tmp_path: Path) -> Callable[..., Path]:
    """Writes LR, MSE-SR, GAN-SR, DeSRA-Mask and GT-Mask, with a mask on every image but the last.

    Sizes are (height, width) of LR, by key. The artifacts of image n are two rectangles, one of
    16 × 24 pixels and a tiny one of 2 × 2.
    """

    def make(sizes: Mapping[str, tuple[int, int]], name: str = "set") -> Path:
        root = tmp_path / name
        for number, (key, (height, width)) in enumerate(sizes.items()):
            for role, folder in enumerate(("LR", "MSE-SR", "GAN-SR")):
                scale = SCALE if role else 1
                image = coordinates(number, height, width, scale, role)
                write_png(root / folder / f"{key}.png", image)
            mask = np.zeros((height * SCALE, width * SCALE), bool)
            if number < len(sizes) - 1 or len(sizes) == 1:
                mask[20:36, 40:64] = True
                mask[60:62, 12:14] = True
            write_png(root / "DeSRA-Mask" / f"{key}.png", mask)
            write_png(root / "GT-Mask" / f"{key}.png", mask)
        return root

    return make
