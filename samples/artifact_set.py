"""The artifact set of the sample: crops of photos, degraded so that the generator fails on them."""

from __future__ import annotations

import csv
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from datamodules.degradations import BlurKernels, Degradation, Resize, Round
from desra.errors import InputError
from desra.files import atomic_path, find_images, write_text
from desra.images import read_rgb, to_tensor, to_uint8, write_png
from desra.masks import read_mask_image
from desra.metrics.truth import structural_artifacts
from samples.photos import PHOTOS, Photo

SCALE = 4
CROP = 192
"""Side of a crop of a photo, in pixels; LR has a quarter of it."""
CANDIDATES = 18
"""Crops of a photo that are upscaled; those with the most artifacts become part of the set ..."""
LARGEST_SHARE = 0.4
"""... unless artifacts are more than this part of them: then there is little image left ..."""
SMALLEST_SHARE = 0.03
"""... or less than this."""
MIN_AREA = 600
"""Pixels that a region must exceed; the release's 4000 are a ninth of such a crop."""

_AS_IT_IS = Resize(probabilities=(0, 0, 1))

# The generator was made for drawings: of noise in photos it makes worms, of JPEG's blocks smears.
NOISE = Degradation(
    scale=SCALE,
    first=Round(
        blur=BlurKernels(sigma=(0.2, 1.0)),
        resize=_AS_IT_IS,
        gaussian_probability=1.0,
        gaussian=(0.0, 0.0),
        jpeg=(100.0, 100.0),
    ),
    second=Round(
        blur_probability=0.0,
        resize=_AS_IT_IS,
        gaussian_probability=1.0,
        gaussian=(10.0, 25.0),
        jpeg=(80.0, 95.0),
    ),
    final_sinc_probability=0.0,
)
DEGRADATIONS = (NOISE, NOISE, Degradation(scale=SCALE))
"""Noise (σ 10 to 25 levels) for two crops of three, Real-ESRGAN's degradations for the third."""


def write_candidates(
    photos: Path, output_dir: Path, seed: int, candidates: int = CANDIDATES
) -> None:
    """Write ``HR`` and ``LR`` of seeded crops, ``candidates`` of every photo below ``photos``.

    Keys are the photo's name, an underscore and a number, so that ``^(.*)_\\d+$`` groups them.

    Raises:
        InputError: an image cannot be read or written.
    """
    for number, (key, paths) in enumerate(find_images(photos).items()):
        photo = read_rgb(paths[0])
        places = np.random.default_rng([seed, number])
        for index in range(candidates):
            top, left = (int(places.integers(side - CROP + 1)) for side in photo.shape[:2])
            hr = photo[top : top + CROP, left : left + CROP]
            batch_number = number * candidates + index
            degrade = DEGRADATIONS[index % len(DEGRADATIONS)]
            lr = degrade(to_tensor(hr), seed, batch_number, [batch_number])
            name = f"{Path(key).name}_{index}.png"
            write_png(output_dir / "HR" / name, hr)
            write_png(output_dir / "LR" / name, to_uint8(lr))


def chosen_keys(table: Path, more: int = 0) -> dict[Photo, list[str]]:
    """The keys of each photo with the most artifacts in ``artifacts.csv``, but not too many.

    Args:
        table: what ``detect.py`` left.
        more: crops of each training photo beyond `Photo.crops`.
    """
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not row["error"]]
    shares = {row["image"]: float(row["artifact_share"]) for row in rows}
    usable = [key for key, share in shares.items() if SMALLEST_SHARE <= share <= LARGEST_SHARE]
    chosen: dict[Photo, list[str]] = {}
    for photo in PHOTOS:
        of_photo = [key for key in usable if key.rsplit("_", 1)[0] == photo.name]
        of_photo.sort(key=lambda key: (-shares[key], key))
        chosen[photo] = of_photo[: photo.crops + more * (photo.side == "train")]
    return chosen


def write_set(
    candidates: Path, detected: Path, output_dir: Path, more: int = 0, effort: int = 6
) -> None:
    """Copy the chosen crops in the release's layout, label them, and list those to validate on.

    Images are lossless WebP, a quarter smaller than PNG.

    Args:
        candidates: what `write_candidates` left.
        detected: what ``detect.py`` made of its LR, with the inputs in it.
        output_dir: gets ``artifacts/`` to train and validate on, ``test/`` to judge on, each with
            ``LR MSE-SR GAN-SR DeSRA-Mask GT-Mask`` and ``HR`` of crops that do not train, and
            ``val.txt``.
        more: see `chosen_keys`.
        effort: see `write_webp`.

    Raises:
        InputError: an image cannot be read or written, or no crop to validate on has artifacts.
    """
    chosen = chosen_keys(detected / "artifacts.csv", more)
    validated = sorted(chain(*(keys for photo, keys in chosen.items() if photo.side == "val")))
    if not validated:
        raise InputError(
            "no crop of a photo to validate on has artifacts; give more --candidates, or train the "
            "MSE partner for longer"
        )
    for photo, keys in chosen.items():
        root = output_dir / ("test" if photo.side == "test" else "artifacts")
        for key in keys:
            images = {"HR": read_rgb(candidates / "HR" / f"{key}.png")}
            for folder in ("LR", "MSE-SR", "GAN-SR"):
                images[folder] = read_rgb(detected / folder / f"{key}.png")
            label = label_of(images["HR"], images["MSE-SR"], images["GAN-SR"])
            if photo.side == "train":
                del images["HR"]
            for folder, pixels in images.items():
                write_webp(root / folder / f"{key}.webp", pixels, effort=effort)
            mask = read_mask_image(detected / "DeSRA-Mask" / f"{key}.png")
            write_png(root / "DeSRA-Mask" / f"{key}.png", mask, compression=9)
            write_png(root / "GT-Mask" / f"{key}.png", label, compression=9)
    write_text(output_dir / "val.txt", "".join(f"{key}\n" for key in validated))


def label_of(
    hr: NDArray[np.uint8], mse_sr: NDArray[np.uint8], gan_sr: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """GT-Mask ``(H, W)``: where GAN-SR lacks structure of the truth that MSE-SR has."""
    images = (_batch(hr), _batch(mse_sr), _batch(gan_sr))
    return structural_artifacts(*images, min_area=MIN_AREA)[0, 0].numpy()


def write_webp(path: Path, pixels: NDArray[np.uint8], quality: int = 101, effort: int = 6) -> None:
    """Write ``(H, W, 3)`` uint8 RGB.

    Args:
        path: the file.
        pixels: the image.
        quality: 0 to 100; above: without loss.
        effort: 0 to 6. Without loss, 6 takes seconds for a crop and saves three per cent beside 4.

    Raises:
        OSError: it cannot be written.
    """
    lossless = quality > 100
    with atomic_path(path) as temporary:
        # OpenCV's lossless WebP is a tenth larger, since it has no setting for the effort.
        Image.fromarray(pixels).save(
            temporary, "WEBP", lossless=lossless, quality=min(quality, 100), method=effort
        )


def _batch(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
