"""The page's files of one image, written where the image is worked on.

Under ``output_dir/page/``, by key: ``images/<layer>/``, ``thumbnails/`` and ``views/`` (what there
is to look at), ``regions/`` and ``outlines/`` (what was found). Scripts instead of JSON, because a
page opened from a disk may load scripts and pictures and nothing else. The bytes depend on the
arguments alone. Every file is written beside its place and renamed into it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from desra.files import atomic_path, write_text
from desra.report.outlines import Region, find_regions, path_data, simple_path
from desra.report.style import colourise, outline_style

FOLDER = "page"
THUMBNAIL_SIDE = 384
LABEL_CELLS, VALUE_CELLS = 256, 96
# Lossless, to be looked at pixel by pixel, where that costs little: layers up to this many pixels,
# and those up to this share of the largest, as the low-resolution input is.
LOSSLESS_PIXELS, LOSSLESS_SHARE = 2**18, 0.26


def write_entry(
    output_dir: str | Path,
    key: str,
    *,
    images: Mapping[str, NDArray[np.uint8]],
    heatmaps: Mapping[str, NDArray] | None = None,
    outlines: Mapping[str, NDArray] | None = None,
    labels: NDArray[np.uint8] | None = None,
    facts: Mapping[str, Mapping[int, Mapping[str, Any]]] | None = None,
) -> list[Path]:
    """All files of one image: `write_views` and `write_regions`, which say what the arguments are.

    Raises:
        ValueError: a mask or label map of another size than the largest image.
    """
    _check_sizes(key, _largest(images), outlines or {}, labels)
    return [
        *write_views(output_dir, key, images=images, heatmaps=heatmaps, labels=labels),
        *write_regions(output_dir, key, outlines=outlines or {}, labels=labels, facts=facts),
    ]


def write_views(
    output_dir: str | Path,
    key: str,
    *,
    images: Mapping[str, NDArray[np.uint8]],
    heatmaps: Mapping[str, NDArray] | None = None,
    labels: NDArray[np.uint8] | None = None,
    thumbnail: str | None = None,
    max_side: int = 4096,
    quality: int = 97,
) -> list[Path]:
    """Write the pictures of one image: what depends on images, distances and labels alone.

    Args:
        output_dir: the folder that `desra.report.write_page` writes ``index.html`` to.
        key: the image's relative path without suffix.
        images: name of a layer (``"LR"``, ``"MSE-SR"``, …) to ``(h, w, 3)`` uint8 RGB, in the order
            of the keys 1 to 9. Layers may differ in size: all are shown at the size of the largest.
        heatmaps: name of a layer to ``(h, w)`` float in [0, 1], drawn in the colours of inferno, 1
            the brightest; so for a texture distance give ``1 - distance``, see
            `desra.report.Scale`.
        labels: ``(H, W)`` uint8 semantic classes, 255 = none.
        thumbnail: the layer that the overview shows; by default the last of ``images``.
        max_side: larger layers are reduced to this many pixels a side. Browsers hold a layer
            decoded, 64 MB at 4096 × 4096.
        quality: of JPEG, for layers that are large. Chroma is never subsampled, as texture is what
            there is to see.

    Returns:
        the files written.
    """
    page, name = Path(output_dir) / FOLDER, file_name(key)
    height, width = _largest(images)
    layers: list[dict[str, Any]] = []
    paths = []
    for title, pixels in images.items():
        most = max(LOSSLESS_PIXELS, LOSSLESS_SHARE * height * width)
        lossless = pixels.shape[0] * pixels.shape[1] <= most
        shown = _reduce(pixels, max_side)
        layers.append(_layer(title, shown, lossless))
        paths.append(_write_layer(page, name, layers[-1], shown, quality))
    for title, values in (heatmaps or {}).items():
        grey = np.asarray(cv2.convertScaleAbs(_reduce(values, max_side), alpha=255), np.uint8)
        shown = colourise(grey)
        layers.append(_layer(title, shown, lossless=False) | {"values": _value_grid(grey)})
        paths.append(_write_layer(page, name, layers[-1], shown, quality))
    paths.append(page / "thumbnails" / f"{name}.jpg")
    shown = _reduce(images[thumbnail or list(images)[-1]], THUMBNAIL_SIDE)
    _write_jpeg(paths[-1], shown, 85)
    views = {
        "width": width,
        "height": height,
        "layers": layers,
        "labels": None if labels is None else _label_grid(labels),
    }
    paths.append(page / "views" / f"{name}.js")
    _write_script(paths[-1], "views", key, views)
    return paths


def write_regions(
    output_dir: str | Path,
    key: str,
    *,
    outlines: Mapping[str, NDArray],
    labels: NDArray[np.uint8] | None = None,
    facts: Mapping[str, Mapping[int, Mapping[str, Any]]] | None = None,
) -> list[Path]:
    """Write the regions of one image: what depends on thresholds.

    Args:
        output_dir: as for `write_views`.
        key: as for `write_views`.
        outlines: name (``"Detected"``, ``"Hit"``, …) to an ``(H, W)`` mask of the largest layer's
            size, or to an integer map of numbered regions, whose numbers are kept. Colours follow
            from the names, see `desra.report.style`.
        labels: ``(H, W)`` uint8 semantic classes, 255 = none.
        facts: for an outline's name and a region's number, what else is known of the region, as
            ``{"Detected": {1: {"score": 0.8}}}``; shown as given, in the list and the tooltip.

    Returns:
        the files written.

    Raises:
        ValueError: masks and label map differ in size.
    """
    page, name = Path(output_dir) / FOLDER, file_name(key)
    size = next((mask.shape for mask in outlines.values()), (1, 1))
    if outlines:
        _check_sizes(key, size, outlines, labels)
    tolerance = 0.7 * max(*size, THUMBNAIL_SIDE) / THUMBNAIL_SIDE
    groups, drawing = [], list[str]()
    for index, (title, mask) in enumerate(outlines.items()):
        style, regions = outline_style(title, index), find_regions(mask, labels)
        known = (facts or {}).get(title, {})
        entries = [_region_entry(region, known.get(region.number, {})) for region in regions]
        groups.append({"name": title, **style._asdict(), "regions": entries})
        if regions:
            path = "".join(simple_path(region.polygons, tolerance) for region in regions)
            drawing += style.svg(path, f"o{index}")
    paths = [page / "regions" / f"{name}.js", page / "outlines" / f"{name}.svg"]
    _write_script(paths[0], "regions", key, {"outlines": groups})
    write_text(paths[1], _svg(drawing, *size))
    return paths


def link_views(source: str | Path, output_dir: str | Path, key: str) -> list[Path]:
    """Take over what `write_views` wrote elsewhere: by hard links, or copies where these cannot be.

    Raises:
        FileNotFoundError: ``source`` does not have the views of ``key``.
    """
    name = file_name(key)
    script = Path("views", f"{name}.js")
    call = (Path(source) / FOLDER / script).read_text(encoding="utf-8")
    layers = json.loads(call[call.index("{") : call.rindex("}") + 1])["layers"]
    parts = [Path("images", layer["folder"], f"{name}.{layer['type']}") for layer in layers]
    paths = []
    for part in [*parts, Path("thumbnails", f"{name}.jpg"), script]:
        old, new = Path(source) / FOLDER / part, Path(output_dir) / FOLDER / part
        with atomic_path(new) as temporary:
            try:
                os.link(old, temporary)
            except OSError:
                shutil.copyfile(old, temporary)
        paths.append(new)
    return paths


def file_name(key: str) -> str:
    """The key in the names of the page's files: what a URL cannot hold is escaped by ``%``."""
    return re.sub(r"[%\\\x00-\x1f\x7f\ud800-\udfff]", lambda found: f"%{ord(found[0]):02X}", key)


def _check_sizes(
    key: str,
    size: tuple[int, ...],
    outlines: Mapping[str, NDArray],
    labels: NDArray[np.uint8] | None,
) -> None:
    planes = dict(outlines) if labels is None else {**outlines, "labels": labels}
    for title, plane in planes.items():
        if plane.shape != size:
            raise ValueError(f"{key}: {title} has shape {plane.shape}, expected {size}")


def _region_entry(region: Region, facts: Mapping[str, Any]) -> list[Any]:
    """A region as the page's script reads it."""
    return [*region[:4], path_data(region.polygons), dict(facts)]


def _largest(images: Mapping[str, NDArray]) -> tuple[int, int]:
    height, width = max((pixels.shape[:2] for pixels in images.values()), key=np.prod)
    return int(height), int(width)


def _layer(title: str, pixels: NDArray, lossless: bool) -> dict[str, Any]:
    return {
        "name": title,
        "folder": re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-"),
        "type": "webp" if lossless else "jpg",
        "width": pixels.shape[1],
        "height": pixels.shape[0],
    }


def _write_layer(
    page: Path, name: str, layer: Mapping[str, Any], pixels: NDArray[np.uint8], quality: int
) -> Path:
    path = page / "images" / layer["folder"] / f"{name}.{layer['type']}"
    if layer["type"] == "jpg":
        _write_jpeg(path, pixels, quality)
    else:
        # Lossless WebP at its fastest: a third of PNG's time, and smaller.
        with atomic_path(path) as temporary:
            Image.fromarray(pixels).save(temporary, lossless=True, quality=0, method=0)
    return path


def _write_jpeg(path: Path, pixels: NDArray[np.uint8], quality: int) -> None:
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    whole, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])
    if not whole:
        raise OSError(f"{path}: OpenCV could not encode the image")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _reduce(pixels: NDArray, side: int) -> NDArray:
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA)


def _label_grid(labels: NDArray[np.uint8]) -> dict[str, Any]:
    """Classes at the centres of cells, as runs: what the tooltip shows under the pointer."""
    step = max(1, -(-max(labels.shape) // LABEL_CELLS))
    height, width = (-(-side // step) for side in labels.shape)
    rows, columns = (
        np.minimum(np.arange(count) * step + step // 2, side - 1)
        for count, side in zip((height, width), labels.shape, strict=True)
    )
    cells = labels[np.ix_(rows, columns)].ravel()
    starts = np.flatnonzero(np.diff(cells, prepend=~cells[:1]))
    runs = np.stack([cells[starts], np.diff(starts, append=cells.size)], axis=1)
    return {"step": step, "width": width, "runs": runs.ravel().tolist()}


def _value_grid(grey: NDArray[np.uint8]) -> dict[str, Any]:
    cells = _reduce(grey, VALUE_CELLS)
    return {"width": cells.shape[1], "cells": base64.b64encode(cells.tobytes()).decode()}


def _svg(drawing: list[str], height: int, width: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" fill-rule="evenodd" stroke-linejoin="round">\n'
        + "".join(f"{element}\n" for element in drawing)
        + "</svg>\n"
    )


def _write_script(path: Path, kind: str, key: str, data: Mapping[str, Any]) -> None:
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    write_text(path, f"desraPage({json.dumps(kind)}, {json.dumps(key)}, {text});\n")
