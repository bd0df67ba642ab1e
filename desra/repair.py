"""Repair of an upscaling: MSE-SR where an artifact was found, GAN-SR elsewhere, without a seam."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from desra.errors import InputError
from desra.pseudo_gt import blend_weights

STRIP = 512
"""Rows that are blended at once; bounds the memory."""


def repair(mse_sr: NDArray, gan_sr: NDArray, mask: NDArray[np.bool_], feather: int = 8) -> NDArray:
    """The pseudo ground truth (DeSRA, section 3.3) as an image, joined over a feather.

    The feather lies outside the mask, so that nothing of an artifact is left in; pixels beyond it
    are those of ``gan_sr``, bit for bit.

    Args:
        mse_sr: ``(H, W, C)`` uint8 or uint16.
        gan_sr: likewise.
        mask: ``(H, W)``, true on artifacts.
        feather: pixels over which MSE-SR fades into GAN-SR.

    Returns:
        ``(H, W, C)`` of the same type.

    Raises:
        InputError: shapes or types that do not fit together.

    Example:
        >>> black, white = (np.full((1, 4, 1), level, np.uint8) for level in (0, 200))
        >>> repair(white, black, np.array([[True, False, False, False]]), feather=1)[0, :, 0]
        array([200, 100,   0,   0], dtype=uint8)
    """
    if mse_sr.shape != gan_sr.shape or mse_sr.dtype != gan_sr.dtype:
        raise InputError(
            f"repair: MSE-SR is {mse_sr.shape} {mse_sr.dtype}, GAN-SR {gan_sr.shape} "
            f"{gan_sr.dtype}; give two upscalings of one image"
        )
    if mask.shape != gan_sr.shape[:2]:
        raise InputError(f"repair: a mask of {mask.shape} for an image of {gan_sr.shape[:2]}")
    repaired = gan_sr.copy()
    height = len(mask)
    for top in range(0, height, STRIP):
        first, last = max(top - feather, 0), min(top + STRIP + feather, height)
        if not mask[first:last].any():
            continue
        around = torch.from_numpy(np.ascontiguousarray(mask[first:last]))[None, None]
        rows = slice(top, min(top + STRIP, height))
        weights = blend_weights(around, feather)[0, 0].numpy()[rows.start - first :][:STRIP]
        changed = weights[: rows.stop - rows.start] > 0
        share = weights[: rows.stop - rows.start][changed][:, None]
        old, new = (image[rows][changed].astype(np.float32) for image in (gan_sr, mse_sr))
        repaired[rows][changed] = np.rint(old + share * (new - old)).astype(gan_sr.dtype)
    return repaired
