"""Masks in COCO's JSON format, a compressed run-length encoding (RLE) for each region.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014. An RLE counts pixels down the
columns, of background and region in turn; each count is written as the difference to the one two
before it, in groups of five bits (`pycocotools.mask`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from desra.errors import InputError
from desra.files import write_text
from desra.images import MAX_PIXELS


def encode_rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask ``(H, W)`` bool as ``{"size": [H, W], "counts": "…"}``.

    Example:
        >>> encode_rle(np.array([[False, True], [True, True]]))
        {'size': [2, 2], 'counts': '13'}
    """
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(np.int8)))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    text = bytearray()
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            group = value & 0x1F
            value >>= 5
            more = value != (-1 if group & 0x10 else 0)
            text.append((group | 0x20 if more else group) + 48)
    return {"size": list(mask.shape), "counts": text.decode("ascii")}


def decode_rle(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The mask of an RLE, compressed (text) or not (a list of counts).

    Raises:
        InputError: no RLE, or its counts do not cover its size.

    Example:
        >>> decode_rle({"size": [2, 2], "counts": "13"}).astype(int).tolist()
        [[0, 1], [1, 1]]
    """
    size, counts = rle.get("size"), rle.get("counts")
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(type(side) is int and side > 0 for side in size)
    ):
        raise InputError(f"an RLE of size {size}; give height and width")
    height, width = size
    if height * width > MAX_PIXELS:
        raise InputError(f"an RLE of {width}x{height} pixels is too large")
    if isinstance(counts, str):
        counts = _decompress(counts)
    if (
        not isinstance(counts, list)
        or not all(type(count) is int and count >= 0 for count in counts)
        or sum(counts) != height * width
    ):
        raise InputError(f"the counts of an RLE do not cover its {width}x{height} pixels")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def _decompress(text: str) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for character in text.encode("ascii", "replace"):
        group = character - 48
        if not 0 <= group < 64 or shift > 60:
            raise InputError(f"{text[:20]!r}… is no RLE of COCO's")
        value |= (group & 0x1F) << shift
        shift += 5
        if not group & 0x20:
            if group & 0x10:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    if shift:
        raise InputError(f"{text[:20]!r}… is an RLE that ends too early")
    return counts


def coco_dataset(
    masks: Iterable[tuple[str, NDArray[np.bool_], str]], category: str = "artifact"
) -> dict[str, Any]:
    """A dataset of masks: each image's 8-connected regions are its annotations.

    Args:
        masks: key, mask ``(H, W)`` bool, and file name of the picture, an image each.
        category: the one that all regions are of.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for key, mask, name in masks:
        height, width = mask.shape
        number = len(images) + 1
        images.append(
            {"id": number, "file_name": name, "key": key, "height": height, "width": width}
        )
        count, regions, boxes, _ = cv2.connectedComponentsWithStats(
            np.ascontiguousarray(mask).view(np.uint8), connectivity=8
        )
        for region in range(1, count):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "segmentation": encode_rle(regions == region),
                    "area": int(boxes[region, cv2.CC_STAT_AREA]),
                    "bbox": [int(side) for side in boxes[region, :4]],
                    "iscrowd": 0,
                }
            )
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": category}],
    }


def write_coco(
    path: str | Path,
    masks: Iterable[tuple[str, NDArray[np.bool_], str]],
    category: str = "artifact",
) -> None:
    """Write `coco_dataset` as JSON, whole or not at all."""
    write_text(path, json.dumps(coco_dataset(masks, category)) + "\n")


def read_coco(path: str | Path) -> dict[str, NDArray[np.bool_]]:
    """The masks of a COCO dataset, of all its categories together, by key.

    The key is the ``key`` of an image that `write_coco` wrote; of others the file name without
    suffix. Segmentations are RLE, compressed or not, or polygons.

    Raises:
        InputError: unreadable, not COCO's format, or a segmentation that cannot be drawn.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: damaged JSON ({error}); export it again") from error
    if not is_coco(record):
        raise InputError(f"{path}: not a COCO dataset; it has no lists of images and annotations")
    masks: dict[str, NDArray[np.bool_]] = {}
    keys: dict[Any, str] = {}
    for image in record["images"]:
        try:
            height, width = int(image["height"]), int(image["width"])
            key = str(image.get("key") or Path(image["file_name"]).with_suffix("").as_posix())
            if not 0 < height * width <= MAX_PIXELS:
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: an image without name and size; export it again") from error
        keys[image.get("id")] = key
        masks[key] = np.zeros((height, width), bool)
    for number, annotation in enumerate(record["annotations"], 1):
        try:
            mask = masks[keys[annotation["image_id"]]]
            mask |= _segmentation(annotation["segmentation"], mask.shape)
        except (KeyError, TypeError, ValueError) as error:
            reason = error if isinstance(error, InputError) else "no image or segmentation"
            raise InputError(f"{path}: annotation {number}: {reason}; export it again") from error
    return masks


def is_coco(record: Any) -> bool:
    """Whether a JSON file's content has the form of a COCO dataset."""
    return isinstance(record, dict) and all(
        isinstance(record.get(name), list) for name in ("images", "annotations")
    )


def _segmentation(given: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if isinstance(given, Mapping):
        mask = decode_rle(given)
        if mask.shape != shape:
            raise InputError(f"a mask of {mask.shape} for an image of {shape}")
        return mask
    canvas = np.zeros(shape, np.uint8)
    for polygon in given:
        corners = np.asarray(polygon, float).reshape(-1, 2)
        # COCO's corners lie on the grid between pixels.
        cv2.fillPoly(canvas, [np.floor(corners).astype(np.int32)], [1])
    return canvas.astype(bool)
