"""Whether pictures of different sizes lie on each other: LR, MSE-SR and GAN-SR of one image.

Upscalings that were turned (by a program that heeds EXIF where another does not), mirrored or
shuffled are of the right size where photos are square, and everything that follows computes on
them without complaint. Small copies of the pictures tell at next to no cost.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""Longest side of the copies that are compared, in pixels: noise and texture are averaged away."""

FLAT = 4.0
"""Standard deviation, of 255, below which a copy has nothing to be told by."""

LEAST_CORRELATION = 0.5
"""Of two copies that show the same; aligned upscalings of noisy photos have more than 0.95."""

_TURNS = {
    "turned by 90 degrees": lambda p: np.rot90(p, 1),
    "turned by 180 degrees": lambda p: np.rot90(p, 2),
    "turned by 270 degrees": lambda p: np.rot90(p, 3),
    "mirrored": lambda p: p[:, ::-1],
    "upside down": lambda p: p[::-1],
    "mirrored and turned": lambda p: np.rot90(p[:, ::-1], 1),
    "mirrored and turned the other way": lambda p: np.rot90(p[:, ::-1], 3),
}


def misalignment(pictures: Mapping[str, NDArray[np.uint8]]) -> str | None:
    """What is wrong with how pictures lie on the first of them; None where nothing is.

    Args:
        pictures: name to ``(H, W, 3)`` uint8, of any sizes; the first is what the others must show.

    Example:
        >>> random = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
        >>> scene = cv2.resize(random, (96, 96))
        >>> misalignment({"LR": scene[::4, ::4], "MSE-SR": scene})
        >>> misalignment({"LR": scene[::4, ::4], "MSE-SR": scene[::-1]})
        'MSE-SR is upside down against LR'
    """
    if len(pictures) < 2:
        return None
    (first, whole), *others = pictures.items()
    reference = _small(whole)
    for name, picture in others:
        if problem := _against(reference, picture):
            return f"{name} {problem} {first}"
    return None


def _against(reference: NDArray[np.float32], picture: NDArray[np.uint8]) -> str | None:
    copy = _small(picture, reference.shape)
    if min(reference.std(), copy.std()) < FLAT:
        return None
    error = _error(reference, copy)
    turned = {
        name: _error(reference, _small(turn(picture), reference.shape))
        for name, turn in _TURNS.items()
        if reference.shape[0] == reference.shape[1] or turn(copy).shape == copy.shape
    }
    best = min(turned, key=lambda name: turned[name])
    if turned[best] < error / 4 and error > FLAT:
        return f"is {best} against"
    centred = reference - reference.mean(), copy - copy.mean()
    correlation = float((centred[0] * centred[1]).mean() / (reference.std() * copy.std()))
    return "shows something else than" if correlation < LEAST_CORRELATION else None


def _error(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.square(one - other).mean())


def _small(picture: NDArray, shape: tuple[int, ...] | None = None) -> NDArray[np.float32]:
    """Brightness of a reduced copy, ``shape`` or at most `SIDE` a side."""
    height, width = picture.shape[:2]
    if shape is None:
        share = min(1.0, SIDE / max(height, width))
        shape = max(round(height * share), 1), max(round(width * share), 1)
    reduced = cv2.resize(
        np.ascontiguousarray(picture), (shape[1], shape[0]), interpolation=cv2.INTER_AREA
    )
    return reduced.reshape(*shape, -1).mean(-1, dtype=np.float32)
