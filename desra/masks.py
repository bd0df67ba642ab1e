"""Reader of masks: every kind of image file that holds one.

A mask is black where nothing is wrong. These are read:

- **two levels**, black and one other, whatever that is: 0/255, 0/1, 0/128, black and red;
- **classes by index**: 0, then small numbers (1, 2, … 31), each an artifact of some kind; the
  highest level of the format (255) stands for pixels to ignore, as in ADE20K, Cityscapes and
  Pascal VOC, and is no artifact. Likewise in the colours of Pascal VOC's palette, as LabelMe
  exports them;
- **paint on a transparent layer**: one colour, of which the alpha channel tells where it is;
- **grey levels around two**, as JPEG and smoothed outlines leave them, bright or dim: cut at half
  of the brightest level; and likewise **one colour on black**, red paint for example;
- **probabilities**, that reach above half of the range: cut at half of the range.

Anything else is refused with the levels that it has: pictures, several classes in grey levels that
are no numbers, several colours, and index maps whose palette shows nothing of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from desra.errors import InputError
from desra.images import FORMATS, MAX_PIXELS, Picture, read_image

LARGEST_INDEX = 31
"""Of a class in an index map; grey levels above it are no index."""

_DIM = 0.9  # of the range: a brightest level below it is a dim mask, or a low probability
_MIDDLE = 0.4  # of the pixels may lie between the two levels; of a picture more do
_MOST_MARKED = 0.5  # of all pixels of a set; artifacts are a few percent
_FEW_LEVELS = 8  # as classes have; JPEG and smoothing make more
_JPEG = b"\xff\xd8"  # what one begins with, whatever it is called
_TINT = 48  # of 255: by so much a pixel may miss the line from black to the colour of the paint
_BLEEDING = 0.02  # of the pixels may do so: JPEG stores colours at half of the size
_FIX = (
    "give a mask in black (0) and white (255), or LabelMe's JSON beside it (saved with no shape "
    "where nothing is wrong)"
)


def read_mask_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """Read a mask that any program may have written, ``(H, W)`` bool.

    The module says what is read and how.

    Raises:
        InputError: unreadable as an image, or no mask; then with a histogram of its levels.

    Example:
        >>> from desra.images import write_png
        >>> write_png("mask.png", np.array([[0, 255]], np.uint8))
        >>> read_mask_image("mask.png")
        array([[False,  True]])
    """
    path = Path(path)
    picture = read_image(path, max_pixels)
    with open(path, "rb") as file:
        lossless = file.read(2) != _JPEG
    try:
        mask = mask_of(picture, lossless)
        if not mask.any():
            _refuse_unseen_indices(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return mask


def _refuse_unseen_indices(path: Path) -> None:
    """Raise InputError where all is black because the palette gives every class that colour."""
    with PILImage.open(path, formats=FORMATS) as image:
        if image.mode != "P":
            return
        levels, counts = np.unique(np.asarray(image), return_counts=True)
    if len(levels) > 1:
        raise _refusal("an index map whose palette has one colour for all", levels, counts)


def doubt(share: float) -> str | None:
    """What to say of masks that mark this share of all pixels; None where it is plausible.

    >>> doubt(0.2)
    >>> doubt(0.95)
    'masks mark 95.0% of all pixels; artifacts are white in a mask: are these inverted?'
    """
    if share <= _MOST_MARKED:
        return None
    return (
        f"masks mark {share:.1%} of all pixels; artifacts are white in a mask: are these inverted?"
    )


def mask_of(picture: Picture, lossless: bool = True) -> NDArray[np.bool_]:
    """The mask that a decoded image is, ``(H, W)`` bool.

    Args:
        picture: as read.
        lossless: whether each pixel has the very level that it was given.

    Raises:
        InputError: no mask; the text has no file name.
    """
    pixels = picture.pixels
    top = int(np.iinfo(pixels.dtype).max)
    if pixels.shape[2] in (2, 4):
        alpha, pixels = pixels[..., -1], pixels[..., :-1]
        if (alpha < top).any():
            return _painted(pixels, alpha, top, lossless)
    return _opaque(pixels, top, lossless)


def _painted(pixels: NDArray, alpha: NDArray, top: int, lossless: bool) -> NDArray[np.bool_]:
    strongest = int(alpha.max())  # a half transparent brush paints a mask, too
    if strongest == 0:
        return alpha > 0
    seen = alpha > strongest // 2
    if _is_flat(pixels[seen]):
        return seen
    over_black = pixels * (alpha[..., None] / top)
    return _opaque(over_black.round().astype(pixels.dtype), top, lossless)


def _opaque(pixels: NDArray, top: int, lossless: bool) -> NDArray[np.bool_]:
    if pixels.shape[2] == 1 or not (pixels != pixels[..., :1]).any():
        return _grey(np.ascontiguousarray(pixels[..., 0]), top, lossless)
    marked: NDArray[np.bool_] = np.any(pixels, axis=-1)
    if _is_flat(pixels[marked]):
        return marked
    indices = _voc_indices(pixels) if pixels.dtype == np.uint8 else None
    if indices is None and (paint := _strength_of_one_colour(pixels, top)) is not None:
        return _grey(paint, top, lossless)
    if indices is None:
        colours = np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)
        raise InputError(f"a picture in colour, not a mask ({len(colours)} colours); {_FIX}")
    return _grey(indices, 255, lossless=True)


def _grey(plane: NDArray, top: int, lossless: bool) -> NDArray[np.bool_]:
    levels, counts = np.unique(plane, return_counts=True)
    marks = levels[levels > 0]
    if len(marks) <= 1:
        return plane > 0
    classes = marks[marks < top]
    if classes[-1] <= LARGEST_INDEX:
        if not lossless:
            raise _refusal("a mask of small numbers, of which JPEG changes each", levels, counts)
        return (plane > 0) & (plane < top)
    highest = int(levels[-1])
    if counts[levels <= 0.25 * highest].sum() == 0:
        raise _refusal("no black, where nothing would be wrong", levels, counts)
    middle = int(counts[(levels > 0.25 * highest) & (levels < 0.75 * highest)].sum())
    if middle > _MIDDLE * plane.size:
        raise _refusal("grey levels like those of a picture", levels, counts)
    darkest = 0 if lossless and len(levels) <= _FEW_LEVELS else 0.25 * highest
    if _has_flat_middle(plane, darkest, highest):
        raise _refusal("more than two levels, and which are artifacts is not told", levels, counts)
    if highest >= _DIM * top:
        return plane > top // 2
    # Dim: two levels, if most of what is not black is near to the brightest.
    if counts[levels >= 0.75 * highest].sum() >= middle:
        return plane > highest // 2
    if highest > top // 2:  # a probability
        return plane > top // 2
    raise _refusal("dim grey levels without two that stand out", levels, counts)


def _has_flat_middle(plane: NDArray, darkest: float, highest: int) -> bool:
    """Whether a level between the two fills areas, as a class does and an outline does not."""
    flat = np.zeros(plane.shape, bool)
    inner = plane[1:-1, 1:-1]
    flat[1:-1, 1:-1] = (
        (inner > darkest)
        & (inner < 0.75 * highest)
        & (inner == plane[:-2, 1:-1])
        & (inner == plane[2:, 1:-1])
        & (inner == plane[1:-1, :-2])
        & (inner == plane[1:-1, 2:])
    )
    return int(flat.sum()) > max(16, 0.02 * int((plane > darkest).sum()))


def _strength_of_one_colour(pixels: NDArray, top: int) -> NDArray | None:
    """How strong the one colour is that is painted on black; None where there are several."""
    strength = pixels.max(axis=-1)
    colour = pixels[np.unravel_index(strength.argmax(), strength.shape)].astype(np.float32)
    line = strength[..., None] * (colour / colour.max())
    beside = np.abs(pixels - line).max(axis=-1) > _TINT * (top / 255)
    return None if beside.mean() > _BLEEDING else np.ascontiguousarray(strength)


def _voc_indices(pixels: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Indices of the colours of Pascal VOC's palette; None where a pixel has another colour."""
    indices = np.zeros(pixels.shape[:2], np.uint8)
    for bit in range(8):  # bit 3n+c of the index is bit 7-n of channel c
        plane, channel = divmod(bit, 3)
        indices |= ((pixels[..., channel] >> (7 - plane)) & 1) << bit
    return indices if np.array_equal(_voc_palette()[indices], pixels) else None


def _voc_palette() -> NDArray[np.uint8]:
    numbers = np.arange(256, dtype=np.uint8)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        plane, channel = divmod(bit, 3)
        colours[:, channel] |= ((numbers >> bit) & 1) << (7 - plane)
    return colours


def _is_flat(colours: NDArray) -> bool:
    return bool((colours == colours[:1]).all())


def _refusal(why: str, levels: NDArray, counts: NDArray) -> InputError:
    order = np.argsort(-counts, kind="stable")[:8]
    shares = counts / counts.sum()
    shown = ", ".join(f"{levels[place]}: {shares[place]:.1%}" for place in sorted(order))
    more = f" and {len(levels) - 8} levels more" if len(levels) > 8 else ""
    return InputError(f"not a mask: {why} ({shown}{more}); {_FIX}")
