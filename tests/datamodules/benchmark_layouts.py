"""Miniatures of benchmark sets, each in its published layout."""

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from desra.images import write_png
from tests.conftest import add_texture, smooth_photo

HEIGHT, WIDTH = 96, 112
BOXES = [[(8, 10, 40, 34, 0.9), (60, 50, 36, 36, 0.3)], [(30, 20, 50, 44, 0.6)], []]
"""Of each image: left, top, width, height of its artifacts, and the share who notice them."""


def pictures(index: int) -> dict[str, np.ndarray]:
    """Everything there is of an image; a part of what is wrong is labelled, and more is."""
    hr = smooth_photo(index, HEIGHT, WIDTH)
    smooth = np.asarray(Image.fromarray(hr).resize((WIDTH // 4, HEIGHT // 4), Image.Resampling.BOX))
    mse_sr = np.asarray(Image.fromarray(smooth).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    wrong = np.zeros((HEIGHT, WIDTH), bool)
    for left, top, width, height, score in BOXES[index]:
        wrong[top + 4 : top + height, left : left + int(width * (0.4 + 0.6 * score))] = True
    wrong[70:90, 8:30] = True  # nobody labelled it
    gan_sr = add_texture(mse_sr, wrong, index)
    after = add_texture(mse_sr, wrong & (np.arange(WIDTH) < 40), index)
    classic = add_texture(hr, np.zeros_like(wrong), index)
    return {
        "hr": hr, "lr": smooth, "mse_sr": mse_sr, "gan_sr": gan_sr, "after": after,
        "classic": classic, "span": mse_sr // 2 + hr // 2,
    }  # fmt: skip


def box_mask(box: Sequence[float]) -> np.ndarray:
    left, top, width, height = map(int, box[:4])
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def whole_mask(index: int) -> np.ndarray:
    masks = [box_mask(box) for box in BOXES[index]]
    return np.any(masks, 0) if masks else np.zeros((HEIGHT, WIDTH), bool)


def heat_map(index: int) -> np.ndarray:
    heat = np.full((HEIGHT, WIDTH, 1), 0.2, np.float32)
    for box in BOXES[index]:
        heat[box_mask(box)] = 0.7
    return heat


def write_heat_map(path: Path, heat: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb") as file:
        np.save(file, heat)


def write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_release(root: Path) -> None:
    """Three methods, GT-Mask and scores of regions."""
    for method in ("LDL", "RealESRGAN", "SwinIR"):
        rows = []
        for index in range(3):
            there = pictures(index)
            names = {"LR": "lr", "MSE-SR": "mse_sr", "GAN-SR": "gan_sr"}
            for folder, role in names.items():
                write_png(root / method / folder / f"{index}.png", there[role])
            write_png(root / method / "GT-Mask" / f"{index}.png", whole_mask(index))
            rows += [
                {"image": index, "x": box[0] + 1, "y": box[1] + 1, "score": box[4]}
                for box in BOXES[index]
            ]
        write_rows(root / method / "regions.csv", rows)


def write_sr_prominence(root: Path) -> None:
    """A table with a row a mask, images and votes; an image without artifacts has no mask."""
    rows = []
    for index in range(3):
        there = pictures(index)
        for role in ("gan_sr", "hr", "lr", "mse_sr", "span"):
            write_png(root / "images" / role / f"{index}.png", there[role])
        image = {
            "subset": "open_images",
            "sr_image": f"images/gan_sr/{index}.png",
            "hr_image": f"images/hr/{index}.png",
            "lr_image": f"images/lr/{index}.png",
            "rlfn_image": f"images/mse_sr/{index}.png",
            "span_image": f"images/span/{index}.png",
        }
        for number, box in enumerate(BOXES[index]):
            write_png(root / "masks" / f"{index}_{number}.png", box_mask(box))
            votes = {"mask": f"masks/{index}_{number}.png", "votes": round(20 * box[4])}
            rows.append({**image, **votes, "viewers": 20, "prominence": round(20 * box[4]) / 20})
        if not BOXES[index]:
            rows.append({**image, "mask": "", "votes": "", "viewers": "", "prominence": ""})
    rows.append({**rows[0], "subset": "desra"})
    write_rows(root / "metadata.csv", rows)


def write_sr_ground(root: Path) -> None:
    """X, X@LR@, X@RF@, X@SR@, and heat maps."""
    for index in range(3):
        there, folder = pictures(index), root / "datasets" / "hat_real"
        tags = {"": "hr", "@LR@": "lr", "@RF@": "mse_sr", "@SR@": "gan_sr"}
        for tag, role in tags.items():
            write_png(folder / f"{index:04d}{tag}.png", there[role])
        heat = root / "outputs" / "hat_real" / "sr_artifacts" / f"{index:04d}.npy.gz"
        write_heat_map(heat, heat_map(index))


def write_jpeg_ai(root: Path) -> None:
    """orig, ai, classic, and a table of boxes of 40 pixels."""
    rows = []
    for index in range(3):
        there = pictures(index)
        for folder, role in {"orig": "hr", "ai": "gan_sr", "classic": "classic"}.items():
            write_png(root / folder / f"{index}.png", there[role])
        rows += [
            {
                "image": f"{index}.png",
                "x": box[0],
                "y": box[1],
                "score": 1.0 if box[4] > 0.8 else box[4],
            }
            for box in BOXES[index]
        ]
    write_rows(root / "boxes.csv", rows)


def write_qualisr(root: Path) -> None:
    """hr, lr, sr/<method>, ref/<reference>, heatmaps/<method>."""
    for index in range(3):
        there = pictures(index)
        for role in ("hr", "lr"):
            write_png(root / role / f"{index}.png", there[role])
        for reference, role in {"RLFN": "mse_sr", "SPAN": "span"}.items():
            write_png(root / "ref" / reference / f"{index}.png", there[role])
        for method in ("bsrgan", "swinir"):
            write_png(root / "sr" / method / f"{index}.png", there["gan_sr"])
            write_heat_map(root / "heatmaps" / method / f"{index}.npy.gz", heat_map(index))


def write_folder(root: Path) -> None:
    """Any folder: one subfolder a role."""
    for index in range(3):
        there = pictures(index)
        for name, role in {"sr": "gan_sr", "lr": "lr", "hr": "hr", "after": "after"}.items():
            write_png(root / name / f"a/{index}.png", there[role])
        write_png(root / "masks" / f"a/{index}.png", whole_mask(index))


def write_all(root: Path) -> None:
    """Every layout, in a folder of the name that ``roots`` of ``task=benchmark`` has for it."""
    write_release(root / "desra")
    write_sr_prominence(root / "sr_prominence")
    write_sr_ground(root / "sr_ground")
    write_jpeg_ai(root / "jpeg_ai")
    write_qualisr(root / "qualisr")
    write_folder(root / "folder")
