"""What a study shows: images of folders, upscalings by weights, and control pairs."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from desra.errors import InputError
from desra.files import find_images, link_or_copy
from desra.images import read_rgb, write_png
from models.upscaler import load_upscaler

log = logging.getLogger(__name__)

Control = Literal["artifacts", "detail"]


def images_of(
    name: str,
    source: str | Path,
    lr: str | Path | None,
    output_dir: Path,
    wanted: Collection[str] | None = None,
) -> dict[str, Path]:
    """What a method shows of each image, by key.

    Args:
        name: of the method.
        source: a folder of images; or weights, a file or name, which upscale ``lr``.
        lr: folder of LR images.
        output_dir: gets what is upscaled; what is there already is not upscaled again.
        wanted: keys that are shown; no others are upscaled. None: all.

    Raises:
        InputError: there is no such folder, or no such weights, or no ``lr`` for them.
    """
    if Path(source).is_dir():
        return {key: paths[0] for key, paths in find_images(source).items()}
    if lr is None:
        raise InputError(
            f"{name}: {source} is no folder; if it is weights, give task.lr=DIR to upscale"
        )
    upscaler = load_upscaler(str(source))
    assert upscaler is not None
    folder = output_dir / "upscaled" / name
    found = {}
    for key, paths in find_images(lr).items():
        if wanted is not None and key not in wanted:
            continue
        found[key] = folder / f"{key}.png"
        if not found[key].is_file():
            log.info("%s: upscaling %s", name, key)
            write_png(found[key], upscaler.upscale_image(read_rgb(paths[0])))
    return found


def control_pair(source: Path, folder: Path, key: str, control: Control) -> tuple[Path, Path]:
    """The better and the worse of a pair whose answer is known.

    Args:
        source: an image; it is the better one as it is.
        folder: gets both.
        key: the image's name there.
        control: ``artifacts``: the worse one has a grid over its middle. ``detail``: it is blurred.
    """
    better = folder / "better" / f"{key}{source.suffix}"
    worse = folder / "worse" / f"{key}.png"
    link_or_copy(source, better)
    if not worse.is_file():
        pixels = read_rgb(source)
        height, width = pixels.shape[:2]
        changed: NDArray[Any]
        if control == "detail":
            changed = cv2.GaussianBlur(pixels, (0, 0), max(2.0, min(height, width) / 80))
        else:
            rows, columns = np.mgrid[:height, :width]
            size = max(2, min(height, width) // 48)
            grid = 70.0 * ((rows // size + columns // size) % 2 * 2 - 1)
            middle = np.zeros((height, width))
            middle[height // 5 : -height // 5, width // 5 : -width // 5] = 1
            faded = cv2.GaussianBlur(middle, (0, 0), min(height, width) / 40)
            changed = np.clip(pixels + (grid * faded)[..., None], 0, 255).astype(np.uint8)
        write_png(worse, changed)
    return better, worse
