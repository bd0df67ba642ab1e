"""Two upscalings of one picture, for tests of detectors."""

import cv2
import numpy as np
import torch


def pair(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture with fine grain, the same with texture invented in a rectangle, and the rectangle;
    uint8 RGB twice and bool ``(H, W)``."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 215, (height // 16 + 2, width // 16 + 2, 3))
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    picture += cv2.GaussianBlur(rng.normal(0, 12, (height, width, 3)), (0, 0), 1)
    marked = np.zeros((height, width), bool)
    marked[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = True
    changed = picture + (rng.normal(0, 45, (height, width)) * marked)[..., None]
    images = (np.rint(x).clip(0, 255).astype(np.uint8) for x in (picture, changed))
    return *images, marked


def planes(image: np.ndarray) -> torch.Tensor:
    """``(H, W, 3)`` to ``(1, 3, H, W)``."""
    return torch.from_numpy(image).permute(2, 0, 1)[None]
