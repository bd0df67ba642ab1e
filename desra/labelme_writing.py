"""Masks as LabelMe's JSON files: opened in LabelMe, they look the same."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from desra.files import write_text

Shapes = Literal["polygon", "mask"]

_VERSION = "5.5.0"  # of LabelMe, the first with mask shapes in its stable format


def write_labelme(
    path: str | Path,
    mask: NDArray[np.bool_],
    picture: str | Path,
    shapes: Shapes = "polygon",
    label: str = "artifact",
    kinds: Sequence[tuple[int, int, str]] = (),
) -> None:
    """Write a mask as one shape for each of its 8-connected regions, whole or not at all.

    `desra.labelme.read_labelme` reads the same pixels again. A region that no polygon of LabelMe's
    can be, as one with a hole, becomes a ``mask`` shape.

    Args:
        path: the JSON file.
        mask: ``(H, W)`` bool.
        picture: what it was drawn on; its path from the folder of ``path`` is noted.
        shapes: polygons where they can be, or all as masks.
        label: of every shape that has no kind.
        kinds: x, y and name of regions' kinds; the shape with the pixel takes it as its label.

    Example:
        >>> mask = np.zeros((8, 8), bool)
        >>> mask[2:5, 3:7] = True
        >>> write_labelme("label.json", mask, "photo.png")
        >>> json.loads(Path("label.json").read_text())["shapes"][0]["shape_type"]
        'polygon'
    """
    path = Path(path)
    height, width = mask.shape
    record: dict[str, Any] = {
        "version": _VERSION,
        "flags": {},
        "shapes": list(_shapes(mask, shapes, label, kinds)),
        "imagePath": Path(
            os.path.relpath(Path(picture).resolve(), path.parent.resolve())
        ).as_posix(),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    write_text(path, json.dumps(record, indent=2) + "\n")


def _shapes(
    mask: NDArray[np.bool_], shapes: Shapes, label: str, kinds: Sequence[tuple[int, int, str]]
) -> Iterator[Mapping[str, Any]]:
    count, regions, boxes, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    names = {int(regions[y, x]): kind for x, y, kind in kinds if mask[y, x]}
    for number in range(1, count):
        left, top, width, height = (int(side) for side in boxes[number, :4])
        part = regions[top : top + height, left : left + width] == number
        common: dict[str, Any] = {
            "label": names.get(number, label),
            "group_id": None,
            "description": "",
            "flags": {},
        }
        corners = _polygon(part) if shapes == "polygon" else None
        if corners is not None:
            points = (corners + np.array([left, top])).astype(float).tolist()
            yield {**common, "points": points, "shape_type": "polygon", "mask": None}
        else:
            points = [[float(left), float(top)], [left + width - 1.0, top + height - 1.0]]
            yield {**common, "points": points, "shape_type": "mask", "mask": _png(part)}


def _polygon(part: NDArray[np.bool_]) -> NDArray[np.integer] | None:
    """Corners ``(N, 2)`` from which LabelMe draws exactly this region; None: there are none."""
    contours, _ = cv2.findContours(part.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    corners = np.asarray(contours[0], np.int32).reshape(-1, 2)
    if len(corners) < 3:
        return None
    canvas = Image.new("L", (part.shape[1], part.shape[0]))
    points = [(float(x), float(y)) for x, y in corners.tolist()]
    ImageDraw.Draw(canvas).polygon(points, outline=1, fill=1)
    return corners if np.array_equal(np.asarray(canvas).astype(bool), part) else None


def _png(part: NDArray[np.bool_]) -> str:
    done, data = cv2.imencode(".png", part.view(np.uint8))
    if not done:
        raise OSError("OpenCV could not write a PNG image")
    return base64.b64encode(data.tobytes()).decode()
