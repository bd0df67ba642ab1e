"""Places of training crops, a pure function of the seed and the sample's number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.cache import Size
from datamodules.mask_store import Mask, Origin
from datamodules.randomness import Purpose, generator_of
from desra.errors import InputError


@dataclass(frozen=True)
class Window:
    """A square window of an image and what is done with it, in pixels of the low resolution.

    Attributes:
        top, left: first row and column.
        size: rows and columns. Where the image is smaller, it is mirrored beyond its far edges.
        flip: mirrored left to right before it is turned.
        turns: counter-clockwise quarter turns.
    """

    top: int
    left: int
    size: int
    flip: bool = False
    turns: int = 0

    def cut(self, image: NDArray[np.uint8], scale: int = 1) -> NDArray[np.uint8]:
        """This window of an (H, W) or (H, W, 3) image ``scale`` times as large; may be a view."""
        size = self.size * scale
        top, left = self.top * scale, self.left * scale
        part: NDArray = image[top : top + size, left : left + size]
        below, beside = (size - length for length in part.shape[:2])
        if below or beside:
            # BORDER_REFLECT repeats the edge's own pixels, so that what is mirrored in LR and what
            # is mirrored in HR still show the same.
            part = cv2.copyMakeBorder(part, 0, below, 0, beside, cv2.BORDER_REFLECT)
        return _TURNS[self.flip, self.turns](part)

    def cut_mask(self, mask: Mask, scale: int) -> NDArray[np.bool_]:
        """This window of a mask that is ``scale`` times as large."""
        size = self.size * scale
        top, left = self.top * scale, self.left * scale
        height, width = mask.shape
        part = mask.cut(top, min(top + size, height), left, min(left + size, width))
        return Window(0, 0, size, self.flip, self.turns).cut(part.view(np.uint8)).view(bool)


# (flip, turns) to few passes over the pixels: NumPy's views of reversed and swapped axes are ten
# times slower to copy. A mirror image turned by 90 degrees is the transpose.
_TURNS: dict[tuple[bool, int], Callable[[NDArray], NDArray]] = {
    (False, 0): lambda part: part,
    (False, 1): lambda part: cv2.rotate(part, cv2.ROTATE_90_COUNTERCLOCKWISE),
    (False, 2): lambda part: cv2.rotate(part, cv2.ROTATE_180),
    (False, 3): lambda part: cv2.rotate(part, cv2.ROTATE_90_CLOCKWISE),
    (True, 0): lambda part: cv2.flip(part, 1),
    (True, 1): cv2.transpose,
    (True, 2): lambda part: cv2.flip(part, 0),
    (True, 3): lambda part: cv2.flip(cv2.transpose(part), -1),
}


@dataclass(frozen=True)
class Draws:
    """The uniform numbers in [0, 1) behind one sample, drawn all at once and always the same many.

    That a number is not needed for one sample, or that a mask changes, moves no other number.
    """

    top: float
    left: float
    bias: float
    pixel: float
    region_pixel: float
    flip: float
    turns: float


def draws_of(seed: int, index: int) -> Draws:
    """The draws of sample ``index``."""
    numbers = generator_of(seed, Purpose.CROP, index).random(len(Draws.__dataclass_fields__))
    return Draws(*numbers.tolist())


def shuffled(count: int, seed: int, round_number: int) -> NDArray[np.int64]:
    """The order in which ``count`` images are visited in one round over all of them."""
    return generator_of(seed, Purpose.IMAGE_ORDER, round_number).permutation(count)


@dataclass
class Rounds:
    """Endless visits to ``count`` images: each once a round, each round in another order."""

    count: int
    seed: int
    _order: tuple[int, NDArray[np.int64]] = field(default=(-1, np.zeros(0, np.int64)), repr=False)

    def __getitem__(self, visit: int) -> int:
        round_number, place = divmod(visit, self.count)
        if self._order[0] != round_number:
            self._order = (round_number, shuffled(self.count, self.seed, round_number))
        return int(self._order[1][place])


@dataclass(frozen=True)
class CropRule:
    """How windows are chosen.

    Attributes:
        gt_crop: side of a crop in pixels of the upscaled image.
        artifact_bias: probability that a window is made to contain a drawn artifact pixel.
        artifact_origin: ``"pixel"``: every artifact pixel is as likely to be drawn as any other, so
            that large regions are seen most; ``"region"``: every region is as likely as any other.
        flip: mirror half of the samples.
        rotate: turn the samples by 0, 90, 180 or 270 degrees.

    Raises:
        InputError: a setting out of its range.
    """

    gt_crop: int
    artifact_bias: float = 0.0
    artifact_origin: Origin = "pixel"
    flip: bool = True
    rotate: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.artifact_bias <= 1:
            raise InputError(
                f"data.artifact_bias={self.artifact_bias}: give a probability from 0 to 1"
            )
        if self.artifact_origin not in ("pixel", "region"):
            raise InputError(f"data.artifact_origin={self.artifact_origin}: give pixel or region")

    def size(self, scale: int) -> int:
        """Side of a crop in pixels of the low resolution.

        Raises:
            InputError: ``gt_crop`` is no multiple of the scale.
        """
        if self.gt_crop % scale or self.gt_crop < scale:
            raise InputError(f"data.gt_crop={self.gt_crop}: give a multiple of the scale, {scale}")
        return self.gt_crop // scale

    def window(self, draws: Draws, image: Size, scale: int, mask: Mask | None = None) -> Window:
        """Choose the window of one sample.

        Args:
            draws: the sample's random numbers.
            image: height and width of the low-resolution image.
            scale: the upscaling factor.
            mask: of ``scale`` times that size; without one, or where it is empty, every position
                is as likely as any other.
        """
        size = self.size(scale)
        ranges = [(0, max(length - size, 0)) for length in image]
        if mask is not None and mask.area and draws.bias < self.artifact_bias:
            pixel = mask.pick(draws.pixel, self.artifact_origin, draws.region_pixel)
            ranges = [
                (max(place // scale - size + 1, 0), min(place // scale, last))
                for place, (_, last) in zip(pixel, ranges, strict=True)
            ]
        top, left = (
            first + int(draw * (last - first + 1))
            for draw, (first, last) in zip((draws.top, draws.left), ranges, strict=True)
        )
        flip = self.flip and draws.flip < 0.5
        return Window(top, left, size, flip, int(draws.turns * 4) if self.rotate else 0)
