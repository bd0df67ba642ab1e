"""Masks handed from here to LabelMe and back: the pixels that each reads of the other's files.

    pip install labelme  # 6.3 or newer
    python benchmarks/labelme_files.py [--roots DIR …] [--seeds 200]

Ours are the masks of the given artifact sets (of the shipped sample) and drawn ones with holes,
written as polygons and as masks, and read by LabelMe's `read_label_file` and `shapes_to_label`.
Theirs are two shapes of a type at random places, saved by `write_label_file`, and read by both.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from labelme._label_file import read_label_file, write_label_file
from labelme.utils import img_arr_to_b64, shapes_to_label
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from desra.images import write_png
from desra.labelme import find_gt_masks, read_gt_mask, read_labelme
from desra.labelme_writing import write_labelme

ROOT = Path(__file__).parents[1]
POINTS = {
    "polygon": 6,
    "rectangle": 2,
    "oriented_rectangle": 4,
    "circle": 2,
    "line": 2,
    "linestrip": 4,
    "point": 1,
}


def main() -> None:
    """Compare, and print a line for each direction and format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sample = [ROOT / "samples/artifacts", ROOT / "samples/test"]
    parser.add_argument("--roots", type=Path, nargs="+", default=sample)
    parser.add_argument("--seeds", type=int, default=200)
    options = parser.parse_args()
    masks = [
        read_gt_mask(paths[0])
        for root in options.roots
        for paths in find_gt_masks(root / "GT-Mask").values()
    ]
    masks += [_drawn(seed) for seed in range(options.seeds)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.json")
        for kind in ("polygon", "mask"):
            wrong, types = 0, dict.fromkeys(("polygon", "mask"), 0)
            for mask in masks:
                write_png(path.with_suffix(".png"), mask)
                write_labelme(path, mask, path.with_suffix(".png"), kind)
                read, shapes = _by_labelme(path, mask.shape)
                wrong += int((read != mask).any())
                for shape in shapes:
                    types[shape["shape_type"]] += 1
            print(f"ours as {kind}: {len(masks)} masks, {types} shapes, {wrong} differ in LabelMe")
        for kind in (*POINTS, "mask"):
            wrong, pixels = 0, 0
            for seed in range(options.seeds):
                size = _save(path, kind, seed)
                theirs, ours = _by_labelme(path, size)[0], read_labelme(path)
                pixels += int(theirs.sum())
                wrong += int((ours != theirs).any())
            print(f"theirs, {kind}: {options.seeds} files, {pixels} pixels, {wrong} differ here")


def _by_labelme(
    path: Path, size: tuple[int, ...]
) -> tuple[NDArray[np.bool_], list[dict[str, Any]]]:
    """The mask that LabelMe reads of a file, and its shapes."""
    shapes = read_label_file(str(path)).shapes
    values = {"_background_": 0, **{shape["label"]: 1 for shape in shapes}}
    if not shapes:
        return np.zeros(size, bool), shapes
    return np.asarray(shapes_to_label(size, shapes, values)[0] > 0), shapes


def _drawn(seed: int) -> NDArray[np.bool_]:
    """Blobs, thin lines, single pixels and holes, also at the border."""
    random = np.random.default_rng(seed)
    height, width = (int(side) for side in random.integers(20, 160, 2))
    mask = np.zeros((height, width), np.uint8)
    for _ in range(int(random.integers(1, 6))):
        x, y, radius = (int(random.integers(0, high)) for high in (width, height, 30))
        cv2.circle(mask, (x, y), radius, 1, -1)
        cv2.circle(mask, (x, y), radius // 3, 0, -1)
        ends = [int(random.integers(0, high)) for high in (width, height)]
        cv2.line(mask, (x, y), (ends[0], ends[1]), 1, 1)
    return mask.astype(bool)


def _save(path: Path, kind: str, seed: int) -> tuple[int, int]:
    """A file that LabelMe saves, of two shapes of a type; height and width of its picture."""
    random = np.random.default_rng(seed)
    height, width = (int(side) for side in random.integers(40, 160, 2))
    picture = io.BytesIO()
    Image.new("RGB", (width, height)).save(picture, "PNG")
    path.with_suffix(".png").write_bytes(picture.getvalue())
    shapes: list[dict[str, Any]] = []
    for _ in range(2):
        mask = None
        if kind == "mask":
            left, top = int(random.integers(0, width - 9)), int(random.integers(0, height - 9))
            wide, high = (int(n) for n in random.integers(1, 9, 2))
            mask = random.random((high, wide)) < 0.6
            points = [[float(left), float(top)], [left + wide - 1.0, top + high - 1.0]]
        else:
            low, high_ = (8, 8), (width - 8, height - 8)
            points = random.uniform(low, high_, (POINTS[kind], 2)).tolist()
        shapes.append(
            {
                "label": "artifact",
                "points": points,
                "shape_type": kind,
                "group_id": None,
                "flags": {},
                "description": "",
                "mask": None if mask is None else img_arr_to_b64(mask.astype(np.uint8)),
            }
        )
    write_label_file(
        str(path),
        shapes=shapes,
        image_path=path.with_suffix(".png").name,
        image_height=height,
        image_width=width,
        image_data=picture.getvalue() if seed % 2 else None,
    )
    return height, width


if __name__ == "__main__":
    main()
