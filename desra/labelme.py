"""Labelled artifacts: mask images, and the JSON files of LabelMe (https://labelme.io)."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw

from desra.errors import InputError
from desra.files import IMAGE_SUFFIXES, find_images, is_regular, read_json
from desra.images import FORMATS, LONGEST_SIDE, MAX_PIXELS, image_size, orientation
from desra.masks import read_mask_image

LABEL_SUFFIXES = IMAGE_SUFFIXES | {".json"}
SCORES = "regions.json"

_NO_ARTIFACT = ("ignore", "background")  # LabelMe: __ignore__, _background_
_MOST_WORK = 5e7  # pixels; a second or less

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


def read_gt_mask(
    path: str | Path, max_pixels: int = MAX_PIXELS, drawn_on: str | Path | None = None
) -> NDArray[np.bool_]:
    """Read a label, ``(H, W)`` bool, from a LabelMe JSON file or a mask image.

    Args:
        path: the label.
        max_pixels: more than this are refused.
        drawn_on: the picture that a LabelMe file was drawn on, where it does not lie beside the
            file; see `read_labelme`.

    Raises:
        InputError: as `read_labelme` and `read_mask_image`.

    Example:
        >>> from desra.labelme_writing import write_labelme
        >>> mask = np.zeros((8, 8), bool)
        >>> mask[2:5, 3:7] = True
        >>> write_labelme("label.json", mask, "photo.png")
        >>> np.array_equal(read_gt_mask("label.json"), mask)
        True
    """
    if _is_json(Path(path)):
        return read_labelme(path, max_pixels, drawn_on)
    return read_mask_image(path, max_pixels)


DRAWN_ON = ("gan_sr", "mse_sr", "lr")
"""Roles of the pictures of one image, in the order in which people label them."""


def read_label(paths: Mapping[str, Path], max_pixels: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """`read_gt_mask` of the file ``gt_mask`` among the files of one image, by their roles."""
    picture = next((paths[role] for role in DRAWN_ON if role in paths), None)
    return read_gt_mask(paths["gt_mask"], max_pixels, picture)


def read_labelme(
    path: str | Path, max_pixels: int = MAX_PIXELS, drawn_on: str | Path | None = None
) -> NDArray[np.bool_]:
    """Draw the shapes of a LabelMe JSON file as one mask ``(H, W)`` bool.

    Pixel for pixel the mask that LabelMe's own export makes of polygon, rectangle, oriented
    rectangle, circle, line, linestrip, point and mask shapes of whatever label. Shapes called
    ``__ignore__`` or ``_background_`` are no artifacts, and take away what they cover of earlier
    ones, as in that export.

    LabelMe turns a picture upright, as its EXIF block says, before it is drawn on; the mask is
    turned back onto the pixels as the file has them.

    Args:
        path: the JSON file.
        max_pixels: more than this are refused.
        drawn_on: the picture, where ``imagePath`` names none beside the JSON file.

    Raises:
        InputError: unreadable, not LabelMe's JSON, no size in it, more than ``max_pixels``, or a
            shape that LabelMe would not draw, or that lies far outside of the picture.
    """
    path = Path(path)
    record = _load(path)
    try:
        width, height = _size(record)
        if width * height > max_pixels or max(width, height) > LONGEST_SIDE:
            raise ValueError(f"{width}x{height} is more than max_pixels={max_pixels}")
        shapes = _parsed(record["shapes"], width, height)
        canvas = PILImage.new("L", (width, height))
        for index, shape in enumerate(shapes):
            try:
                _draw(canvas, shape)
            except ValueError as error:
                raise ValueError(f"shape {index + 1}: {error}") from error
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: {error}; open and save it again with LabelMe") from error
    mask = np.asarray(canvas).view(bool)
    return turned_back(mask, _picture(path, record, drawn_on))


def _picture(
    path: Path, record: Mapping[str, Any], drawn_on: str | Path | None
) -> str | Path | None:
    """The picture that was drawn on, as far as it is there."""
    name = record.get("imagePath")
    if isinstance(name, str) and name and "\0" not in name:
        beside = path.parent / name.replace("\\", "/")
        if is_regular(beside):
            return beside
    return drawn_on


def turned_back(mask: NDArray[np.bool_], picture: str | Path | None) -> NDArray[np.bool_]:
    """A mask of the upright picture as one of its pixels as they lie in the file.

    Args:
        mask: ``(H, W)``.
        picture: the file, whose EXIF orientation counts; None for none. A mask of the file's own
            size, and not of the upright picture's, was not turned.
    """
    if picture is None:
        return mask
    turn = orientation(picture)
    if turn in (5, 6, 7, 8) and mask.shape == image_size(picture):
        height, width = mask.shape
        if height != width:
            return mask
    turns: dict[int, Callable[[NDArray], NDArray]] = {
        2: lambda m: m[:, ::-1],
        3: lambda m: m[::-1, ::-1],
        4: lambda m: m[::-1],
        5: lambda m: m.T,
        6: np.rot90,  # upright is turned clockwise
        7: lambda m: m[::-1, ::-1].T,
        8: lambda m: np.rot90(m, -1),
    }
    return np.ascontiguousarray(turns[turn](mask)) if turn in turns else mask


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _is_of_scores(path: Path) -> bool:
    try:
        record = read_json(path)
    except InputError:
        return False
    return isinstance(record, list) or (isinstance(record, dict) and "regions" in record)


def _load(path: Path) -> Mapping[str, Any]:
    record = read_json(path, "save it again with LabelMe")
    if not isinstance(record, dict) or not isinstance(record.get("shapes"), list):
        raise InputError(f"{path}: not a LabelMe file, it has no list of shapes; give LabelMe's")
    return record


def _size(record: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height: as noted or, in files of old versions, of the picture in the file."""
    noted = record.get("imageWidth"), record.get("imageHeight")
    if noted == (None, None) and record.get("imageData"):
        return _decode(record["imageData"], "imageData").size
    whole = [int(side) if isinstance(side, float) and side.is_integer() else side for side in noted]
    if not all(isinstance(side, int) and 0 < side < 2**31 for side in whole):
        shown = " and ".join(str(side)[:20] for side in noted)
        raise ValueError(f"imageWidth and imageHeight are {shown}")
    return whole[0], whole[1]  # type: ignore[return-value]


def _decode(data: Any, what: str) -> PILImage.Image:
    try:
        content = base64.b64decode(data)
        image = PILImage.open(BytesIO(content), formats=FORMATS)
        if image.width * image.height > min(MAX_PIXELS, max(2**20, 4096 * len(content))):
            raise ValueError(f"{image.width}x{image.height} is too large")
        image.load()
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise ValueError(f"{what} is not an image in base64") from error
    return image


class _Shape(NamedTuple):
    """A shape whose points are known to be numbers."""

    kind: str
    points: list[tuple[float, float]]
    mark: int  # 1 for an artifact, 0 for what is none
    mask: Any


def _parsed(shapes: Sequence[Any], width: int, height: int) -> list[_Shape]:
    """The shapes, if they can be drawn in a time that the picture's size allows.

    Raises:
        ValueError: a shape that is none, or is far too large; or far too many.
    """
    found, work = [], 0.0
    for index, shape in enumerate(shapes):
        try:
            found.append(_parse(shape, width, height))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"shape {index + 1}: {error}") from error
        work += _work(found[-1], width, height)
        if work > _MOST_WORK + 200 * width * height:
            raise ValueError(f"{len(shapes)} shapes are more than a person draws")
    return found


def _parse(shape: Any, width: int, height: int) -> _Shape:
    if not isinstance(shape, dict):
        raise ValueError("not an object with points")
    kind = shape.get("shape_type") or "polygon"  # files of old versions name none
    if not isinstance(kind, str):
        raise ValueError("its type is no text")
    points = _points(shape.get("points"), kind)
    reach = 2 * math.hypot(width, height)
    sides = [side for pair in points for side in pair]
    if max(map(abs, sides)) > 2 * reach or (kind == "circle" and math.dist(*points) > reach):
        raise ValueError(f"it reaches far outside of the picture of {width}x{height}")
    label = str(shape.get("label")).strip("_ ").lower()
    return _Shape(kind, points, int(label not in _NO_ARTIFACT), shape.get("mask"))


def _work(shape: _Shape, width: int, height: int) -> float:
    """About how many pixels and edges drawing it visits."""
    columns, rows = ([pair[axis] for pair in shape.points] for axis in (0, 1))
    if shape.kind == "circle":
        return 8 * math.dist(*shape.points) ** 2
    across = min(max(columns) - min(columns), width) + _LINE_WIDTH
    down = min(max(rows) - min(rows), height) + _LINE_WIDTH
    return across * down + len(shape.points) * down


def _draw(canvas: PILImage.Image, shape: _Shape) -> None:
    kind, points, mark, mask = shape
    draw = ImageDraw.Draw(canvas)
    match kind:
        case "polygon" | "oriented_rectangle":
            draw.polygon(points, outline=mark, fill=mark)
        case "rectangle":
            (x0, y0), (x1, y1) = points
            corners = (min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1))
            draw.rectangle(corners, outline=mark, fill=mark)
        case "circle":  # centre, and a point on it
            _ellipse(draw, points[0], math.dist(*points), mark)
        case "point":
            _ellipse(draw, points[0], _POINT_RADIUS, mark)
        case "line" | "linestrip":
            draw.line(points, fill=mark, width=_LINE_WIDTH)
        case "mask":
            _paste(canvas, points, _decode(mask, "its mask"), mark)


def _points(points: Any, kind: str) -> list[tuple[float, float]]:
    if kind not in _POINT_COUNTS and kind not in _LEAST_POINT_COUNTS:
        raise ValueError(f"of unknown type {kind[:40]!r}")
    try:
        pairs = [(float(x), float(y)) for x, y in points]
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("its points are not pairs of numbers") from error
    if not pairs:
        raise ValueError(f"a {kind} of 0 points")
    if not all(math.isfinite(side) for pair in pairs for side in pair):
        raise ValueError("its points are not finite")
    exact, least = _POINT_COUNTS.get(kind), _LEAST_POINT_COUNTS.get(kind, 0)
    if len(pairs) != exact if exact else len(pairs) < least:
        raise ValueError(f"a {kind} of {len(pairs)} points")
    return pairs


def _ellipse(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, mark: int
) -> None:
    (x, y) = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=mark, fill=mark)


def _paste(
    canvas: PILImage.Image,
    box: Sequence[tuple[float, float]],
    patch: PILImage.Image,
    mark: int,
) -> None:
    """Add a patch at the box's rounded corner, cut at the canvas and at a box of whole numbers."""
    corners = np.asarray(box)
    (x0, y0), (x1, y1) = corners.round().astype(int)
    pixels = np.asarray(patch).astype(bool)
    if pixels.ndim != 2:
        raise ValueError("its mask is not grey")
    if (corners == np.trunc(corners)).all():
        pixels = pixels[: max(y1 - y0 + 1, 0), : max(x1 - x0 + 1, 0)]
    canvas.paste(mark, (int(x0), int(y0)), PILImage.fromarray(pixels.astype(np.uint8) * 255))
