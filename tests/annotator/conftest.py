"""A folder to annotate."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from desra.images import write_png
from tests.conftest import smooth_photo


def make_set(root: Path, keys: list[str], height: int = 96, width: int = 128) -> Path:
    """An artifact set with two detected regions an image, one of them with a hole."""
    for index, key in enumerate(keys):
        mse = smooth_photo(index, height, width)
        gan = mse.copy()
        mask = np.zeros((height, width), bool)
        mask[10:40, 10:50] = True
        mask[20:26, 20:30] = False
        mask[60:90, 80 : 100 + index] = True
        noise = np.random.default_rng(index).integers(-40, 40, (height, width, 1))
        gan = np.where(mask[..., None], np.clip(gan + noise, 0, 255), gan).astype(np.uint8)
        small = cv2.resize(mse, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        parts = {"LR": small, "MSE-SR": mse, "GAN-SR": gan, "DeSRA-Mask": mask}
        for folder, pixels in parts.items():
            write_png(root / folder / f"{key}.png", pixels)
    return root


@pytest.fixture
def artifact_set(tmp_path):
    return make_set(tmp_path / "set", ["one", "sub/two", "three"])
