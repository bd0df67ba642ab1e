"""Labelled artifacts: mask images, and the JSON files of LabelMe (https://labelme.io)."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw

from desra.errors import InputError
from desra.files import IMAGE_SUFFIXES, find_images
from desra.images import MAX_PIXELS, read_image

LABEL_SUFFIXES = IMAGE_SUFFIXES | {".json"}
SCORES = "regions.json"

# LabelMe draws lines 10 pixels wide and points with a radius of 5 pixels when it exports masks.
_LINE_WIDTH = 10
_POINT_RADIUS = 5

_POINT_COUNTS = {
    "point": 1,
    "line": 2,
    "circle": 2,
    "rectangle": 2,
    "mask": 2,
    "oriented_rectangle": 4,
}
_LEAST_POINT_COUNTS = {"polygon": 3, "linestrip": 2}


def find_gt_masks(root: str | Path) -> dict[str, list[Path]]:
    """All labels under ``root``, mask images and LabelMe JSON files, by key and sorted by it.

    LabelMe writes its JSON beside the picture it was drawn on, so where both have one name the JSON
    is the label and the image is not taken for a mask. A key has more than one file where images
    of different suffix and no JSON claim it. A file of scores (`desra.region_scores`) lying there
    is no label.

    Raises:
        InputError: ``root`` does not exist, or holds neither.
    """
    found = find_images(root, LABEL_SUFFIXES)
    scores = Path(root, SCORES)
    if scores in found.get(scores.stem, []) and _is_of_scores(scores):
        found[scores.stem].remove(scores)
    return {
        key: [path for path in paths if _is_json(path)] or paths
        for key, paths in found.items()
        if paths
    }


def read_gt_mask(path: str | Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """Read a label, ``(H, W)`` bool, from a LabelMe JSON file or a mask image.

    Raises:
        InputError: as `read_labelme` and `read_mask_image`.
    """
    if _is_json(Path(path)):
        return read_labelme(path, max_pixels)
    return read_mask_image(path, max_pixels)


def read_mask_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """Read a mask that some other program may have written, ``(H, W)`` bool.

    Of an image in black and one other colour (0/255, 0/1, LabelMe's exported ``label.png``), all
    that is not black is an artifact. A grey image of more levels (JPEG, smoothed outlines) is cut
    at half of its range.

    Raises:
        InputError: unreadable as an image, or a picture rather than a mask.
    """
    pixels = read_image(path, max_pixels).pixels
    if pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]  # alpha
    marked: NDArray[np.bool_] = np.any(pixels, axis=-1)
    if not marked.any() or _is_flat(pixels[marked]):
        return marked
    if (pixels != pixels[..., :1]).any():
        raise InputError(
            f"{path}: a picture in colour, not a mask; "
            "give a mask in black and white, or LabelMe's JSON beside it (saved with no shape "
            "where nothing is wrong)"
        )
    return pixels[..., 0] > np.iinfo(pixels.dtype).max // 2


def read_labelme(path: str | Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """Draw the shapes of a LabelMe JSON file, of whatever label, as one mask ``(H, W)`` bool.

    Pixel for pixel the mask that LabelMe's own export makes of polygon, rectangle, oriented
    rectangle, circle, line, linestrip, point and mask shapes.

    Raises:
        InputError: unreadable, not LabelMe's JSON, no size in it, more than ``max_pixels``, or a
            shape that LabelMe would not draw.
    """
    path = Path(path)
    record = _load(path)
    try:
        width, height = _size(record)
        if width * height > max_pixels:
            raise ValueError(f"{width}x{height} is more than max_pixels={max_pixels}")
        canvas = PILImage.new("L", (width, height))
        for index, shape in enumerate(record["shapes"]):
            try:
                _draw(canvas, shape)
            except ValueError as error:
                raise ValueError(f"shape {index + 1}: {error}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}; open and save it again with LabelMe") from error
    return np.asarray(canvas).astype(bool)


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _is_of_scores(path: Path) -> bool:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(record, list) or (isinstance(record, dict) and "regions" in record)


def _is_flat(colours: NDArray) -> bool:
    return bool((colours == colours[:1]).all())


def _load(path: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: damaged JSON ({error}); save it again with LabelMe") from error
    if not isinstance(record, dict) or not isinstance(record.get("shapes"), list):
        raise InputError(f"{path}: not a LabelMe file, it has no list of shapes; give LabelMe's")
    return record


def _size(record: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height: as noted or, in files of old versions, of the picture in the file."""
    noted = record.get("imageWidth"), record.get("imageHeight")
    if noted == (None, None) and record.get("imageData"):
        return _decode(record["imageData"], "imageData").size
    if not all(isinstance(side, int) and side > 0 for side in noted):
        raise ValueError(f"imageWidth and imageHeight are {noted[0]} and {noted[1]}")
    return noted  # type: ignore[return-value]


def _decode(data: Any, what: str) -> PILImage.Image:
    try:
        image = PILImage.open(BytesIO(base64.b64decode(data)))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}x{image.height} is too large")
        image.load()
    except (OSError, SyntaxError, TypeError, ValueError, EOFError) as error:
        raise ValueError(f"{what} is not an image in base64") from error
    return image


def _draw(canvas: PILImage.Image, shape: Any) -> None:
    if not isinstance(shape, dict):
        raise ValueError("not an object with points")
    kind = shape.get("shape_type") or "polygon"  # files of old versions name none
    points = _points(shape.get("points"), kind)
    draw = ImageDraw.Draw(canvas)
    match kind:
        case "polygon" | "oriented_rectangle":
            draw.polygon(points, outline=1, fill=1)
        case "rectangle":
            (x0, y0), (x1, y1) = points
            corners = (min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1))
            draw.rectangle(corners, outline=1, fill=1)
        case "circle":  # centre, and a point on it
            _ellipse(draw, points[0], math.dist(*points))
        case "point":
            _ellipse(draw, points[0], _POINT_RADIUS)
        case "line":
            draw.line(points, fill=1, width=_LINE_WIDTH)
        case "linestrip":
            draw.line(points, fill=1, width=_LINE_WIDTH, joint="curve")
        case "mask":
            _paste(canvas, points, _decode(shape.get("mask"), "its mask"))


def _points(points: Any, kind: str) -> list[tuple[float, float]]:
    if kind not in _POINT_COUNTS and kind not in _LEAST_POINT_COUNTS:
        raise ValueError(f"of unknown type {kind!r}")
    try:
        pairs = [(float(x), float(y)) for x, y in points]
    except (TypeError, ValueError) as error:
        raise ValueError("its points are not pairs of numbers") from error
    if not all(math.isfinite(side) for pair in pairs for side in pair):
        raise ValueError("its points are not finite")
    exact, least = _POINT_COUNTS.get(kind), _LEAST_POINT_COUNTS.get(kind, 0)
    if len(pairs) != exact if exact else len(pairs) < least:
        raise ValueError(f"a {kind} of {len(pairs)} points")
    return pairs


def _ellipse(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float) -> None:
    (x, y) = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)


def _paste(
    canvas: PILImage.Image, box: Sequence[tuple[float, float]], patch: PILImage.Image
) -> None:
    """Add a patch at the box's rounded corner, cut at the canvas and at a box of whole numbers."""
    corners = np.asarray(box)
    (x0, y0), (x1, y1) = corners.round().astype(int)
    pixels = np.asarray(patch).astype(bool)
    if pixels.ndim != 2:
        raise ValueError("its mask is not grey")
    if (corners == np.trunc(corners)).all():
        pixels = pixels[: max(y1 - y0 + 1, 0), : max(x1 - x0 + 1, 0)]
    canvas.paste(1, (int(x0), int(y0)), PILImage.fromarray(pixels.astype(np.uint8) * 255))
