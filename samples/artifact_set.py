"""The artifact set of the sample: crops of photos, degraded beyond what training has seen."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.degradations import BlurKernels, Degradation, Resize, Round
from desra.detectors import ArtifactDetector
from desra.files import find_images, write_text
from desra.images import read_rgb, to_tensor, to_uint8, write_png
from desra.masks import read_mask_image
from desra.texture import texture_distance
from samples.photos import PHOTOS

SCALE = 4
CROP = 128
"""Side of a crop of a photo, in pixels; LR has a quarter of it."""
CANDIDATES = 12
"""Crops of a photo that are upscaled; those with the most artifacts become part of the set ..."""
LARGEST_SHARE = 0.35
"""... unless artifacts are more than this part of them: then there is little image left."""
KEPT, KEPT_HELD_OUT = 2, 4
"""Crops of a photo in the set, by whether it trains or validates."""
MIN_AREA = 200
"""Pixels that a region must exceed; the release's 4000 are a quarter of such a crop."""
FOLDERS = ("LR", "MSE-SR", "GAN-SR", "DeSRA-Mask")

_AS_IT_IS = Resize(probabilities=(0, 0, 1))


def _out_of_range(blur: tuple[float, float], noise: tuple[float, float]) -> Degradation:
    """Blur (σ in pixels of HR), averaging to a quarter, noise (σ in levels) and good JPEG."""
    return Degradation(
        scale=SCALE,
        first=Round(
            blur=BlurKernels(sigma=blur),
            resize=_AS_IT_IS,
            gaussian_probability=1.0,
            gaussian=(0.0, 0.0),
            jpeg=(100.0, 100.0),
        ),
        second=Round(
            blur_probability=0.0,
            resize=_AS_IT_IS,
            gaussian_probability=1.0,
            gaussian=noise,
            jpeg=(85.0, 98.0),
        ),
        final_sinc_probability=0.0,
    )


# Training has blur of σ 0.2 to 3, noise of σ 1 to 20 and JPEG of quality 35 to 95
# (conf/data/hr_images_sample.yaml): these have more noise, or next to no blur and noise.
OUT_OF_RANGE = (_out_of_range((0.1, 0.6), (22.0, 34.0)), _out_of_range((0.1, 0.2), (0.0, 1.0)))


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
            degrade = OUT_OF_RANGE[index % len(OUT_OF_RANGE)]
            lr = degrade(to_tensor(hr), seed, batch_number, [batch_number])
            name = f"{Path(key).name}_{index}.png"
            write_png(output_dir / "HR" / name, hr)
            write_png(output_dir / "LR" / name, to_uint8(lr))


def chosen_keys(table: Path, kept: int = KEPT) -> dict[str, list[str]]:
    """The keys of each photo with the most artifacts in ``artifacts.csv``, but not too many.

    Args:
        table: what ``detect.py`` left.
        kept: crops of each training photo.
    """
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not row["error"]]
    shares = {row["image"]: float(row["artifact_share"]) for row in rows}
    ranked = sorted(shares, key=lambda key: (shares[key] > LARGEST_SHARE, -shares[key], key))
    chosen: dict[str, list[str]] = {}
    for photo in PHOTOS:
        of_photo = [key for key in ranked if key.rsplit("_", 1)[0] == photo.name]
        chosen[photo.name] = of_photo[: KEPT_HELD_OUT if photo.held_out else kept]
    return chosen


def derived_label(
    hr: Tensor, mse_sr: Tensor, gan_sr: Tensor, threshold: float = 0.7, min_area: int = MIN_AREA
) -> Tensor:
    """Where GAN-SR's texture departs from the truth's while MSE-SR's does not.

    D(HR, GAN-SR) counts only where D(HR, MSE-SR) reaches the threshold: where both outputs lack the
    photo's texture, neither is at fault. What is left becomes regions as in the detector.

    Args:
        hr: the true image, ``(1, 3, H, W)`` uint8.
        mse_sr: likewise.
        gan_sr: likewise.
        threshold: a distance below it is a departure.
        min_area: a region needs more pixels than this.

    Returns:
        ``(1, 1, H, W)`` bool.
    """
    gan_distance = texture_distance(hr, gan_sr)
    mse_departs = texture_distance(hr, mse_sr) < threshold
    detector = ArtifactDetector(threshold, min_area)
    return detector.from_distance(gan_distance.masked_fill(mse_departs, 1.0)).mask


def write_set(candidates: Path, detected: Path, output_dir: Path, kept: int = KEPT) -> None:
    """Copy the chosen crops in the release's layout, label them, and list those held out.

    Args:
        candidates: what `write_candidates` left.
        detected: what ``detect.py`` made of its LR, with the inputs in it.
        output_dir: gets ``LR MSE-SR GAN-SR DeSRA-Mask GT-Mask`` and, beside it, ``val.txt``.
        kept: crops of each training photo.

    Raises:
        InputError: an image cannot be read or written.
    """
    chosen = chosen_keys(detected / "artifacts.csv", kept)
    for key in sorted(key for keys in chosen.values() for key in keys):
        for folder in FOLDERS[:-1]:
            pixels = read_rgb(detected / folder / f"{key}.png")
            write_png(output_dir / folder / f"{key}.png", pixels, compression=9)
        mask = read_mask_image(detected / FOLDERS[-1] / f"{key}.png")
        write_png(output_dir / FOLDERS[-1] / f"{key}.png", mask, compression=9)
        hr, mse_sr, gan_sr = (
            torch.from_numpy(np.stack([read_rgb(root / f"{key}.png").transpose(2, 0, 1)]))
            for root in (candidates / "HR", detected / "MSE-SR", detected / "GAN-SR")
        )
        label = derived_label(hr, mse_sr, gan_sr)[0, 0].numpy()
        write_png(output_dir / "GT-Mask" / f"{key}.png", label, compression=9)
    held_out = sorted(key for photo in PHOTOS if photo.held_out for key in chosen[photo.name])
    write_text(output_dir.parent / "val.txt", "".join(f"{key}\n" for key in held_out))
