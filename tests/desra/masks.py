"""Masks that are hard to get right, for the tests of morphology and regions."""

import numpy as np
import torch
from hypothesis import strategies as st


def spiral(height: int, width: int) -> np.ndarray:
    """One region, one pixel wide, that winds from the corner to the centre."""
    mask = np.zeros((height, width), bool)
    y, x, dy, dx = 0, 0, 0, 1
    mask[0, 0] = True
    turns = 0
    while turns < 2:
        ahead = (y + dy, x + dx)
        beyond = (y + 2 * dy, x + 2 * dx)
        inside = 0 <= ahead[0] < height and 0 <= ahead[1] < width
        blocked = 0 <= beyond[0] < height and 0 <= beyond[1] < width and mask[beyond]
        if inside and not blocked and not mask[ahead]:
            y, x = ahead
            mask[y, x] = True
            turns = 0
        else:
            dy, dx = dx, -dy
            turns += 1
    return mask


def checkerboard(height: int, width: int) -> np.ndarray:
    """One 8-connected region in which every other pixel is background."""
    return (np.indices((height, width)).sum(0) % 2).astype(bool)


def comb(height: int, width: int) -> np.ndarray:
    """Teeth that only the last row joins."""
    mask = np.zeros((height, width), bool)
    mask[:, ::2] = True
    mask[-1] = True
    return mask


def rings(height: int, width: int) -> np.ndarray:
    """Frames within frames: holes that have regions in them."""
    y, x = np.indices((height, width))
    edge = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x))
    return edge % 2 == 1


def one_pixel(height: int, width: int) -> np.ndarray:
    """A single pixel in the last corner."""
    mask = np.zeros((height, width), bool)
    mask[-1, -1] = True
    return mask


PATTERNS = {
    "spiral": spiral,
    "spiral_background": lambda h, w: ~spiral(h, w),
    "checkerboard": checkerboard,
    "comb": comb,
    "rings": rings,
    "one_pixel": one_pixel,
    "all_true": lambda h, w: np.ones((h, w), bool),
    "all_false": lambda h, w: np.zeros((h, w), bool),
}


@st.composite
def mask_batches(draw: st.DrawFn) -> torch.Tensor:
    """``(B, 1, H, W)`` masks: noise of any density, with borders set or not; any memory layout."""
    batch, height, width = (draw(st.integers(1, most)) for most in (3, 21, 21))
    seed, density = draw(st.integers(0, 2**32 - 1)), draw(st.floats(0, 1))
    rng = np.random.default_rng(seed)
    masks = torch.from_numpy(rng.random((batch, 1, height, width)) < density)
    border = draw(st.sampled_from([None, True, False]))
    if border is not None:
        masks[..., [0, -1], :] = border
        masks[..., [0, -1]] = border
    layout = draw(st.sampled_from(["contiguous", "transposed", "strided"]))
    if layout == "transposed":
        return masks.transpose(-1, -2)
    if layout == "strided":
        return masks.repeat_interleave(2, -1)[..., ::2]
    return masks
