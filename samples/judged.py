"""Two sets to judge detectors on, with labels that owe nothing to DeSRA's distance.

python -m samples.judged OUTPUT_DIR GAN_WEIGHTS MSE_WEIGHTS [--photos DIR --longest 768]
    [--crops 40] [--noise 0 10]

`injected/`: what is pasted into GAN-SR, and where, is known (`datamodules.injection`). `truth/`:
GAN-SR as it is, labelled by the photo it was made from (`desra.metrics.truth`). Both in the
release's layout.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from datamodules.degradations import BlurKernels, Degradation, Resize, Round
from datamodules.injected_artifacts import inject
from desra.errors import InputError
from desra.files import find_images
from desra.images import read_rgb, write_png
from desra.metrics.truth import structural_artifacts
from models.generators import load_generator
from models.upscaler import Upscaler
from samples.photos import collect_photos

CROP = 192
SCALE = 4
MIN_AREA = 200

_SAME = Resize(probabilities=(0, 0, 1))


def _degradation(
    blur: tuple[float, float], noise: tuple[float, float], jpeg: tuple[float, float]
) -> Degradation:
    first = Round(
        blur=BlurKernels(sigma=blur),
        resize=_SAME,
        gaussian_probability=1.0,
        gaussian=(0, 0),
        jpeg=None,
    )
    second = Round(
        blur_probability=0, resize=_SAME, gaussian_probability=1.0, gaussian=noise, jpeg=jpeg
    )
    return Degradation(SCALE, first, second, final_sinc_probability=0)


ODD = (
    _degradation((0.2, 1.0), (25, 60), (60, 95)),
    _degradation((0.2, 1.0), (0, 10), (8, 25)),
    _degradation((0.05, 0.3), (0, 1), (95, 100)),
)


def make(
    output_dir: Path,
    photos: Path,
    gan_weights: str,
    mse_weights: str,
    crops: int = 40,
    noise: tuple[float, float] = (0, 10),
    longest: int | None = None,
    seed: int = 0,
) -> None:
    """Write both sets.

    Args:
        output_dir: gets them.
        photos: clean, at any depth; those with a side below `CROP` are left out.
        gan_weights: of the generator, file or name.
        mse_weights: of what makes MSE-SR.
        crops: how many, of one photo after the other.
        noise: least and greatest standard deviation, in levels, of what LR has.
        longest: larger photos are averaged to this many pixels a side first.
        seed: of all draws.

    Raises:
        InputError: photos or weights that cannot be used.
    """
    of_gan, of_mse = (Upscaler(load_generator(name)).eval() for name in (gan_weights, mse_weights))
    usual = _degradation((0.2, 2.0), noise, (60, 95))
    paths = [paths[0] for paths in find_images(photos).values()]
    random, draws = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    for number in range(crops):
        path = paths[number % len(paths)]
        photo = _averaged(read_rgb(path), longest)
        if min(photo.shape[:2]) < CROP:
            continue
        top, left = (int(random.integers(side - CROP + 1)) for side in photo.shape[:2])
        hr = photo[top : top + CROP, left : left + CROP]
        clean = _tensor(hr).float() / 255
        lr, odd_lr = (
            _pixels(degrade(clean.clone(), seed + more, number, [number]))
            for more, degrade in ((0, usual), (1, ODD[number % len(ODD)]))
        )
        mse_sr, gan_sr = of_mse.upscale_image(lr), of_gan.upscale_image(lr)
        key = f"{path.stem}_{number}"
        truth, mse, gan = (_tensor(image) for image in (hr, mse_sr, gan_sr))
        label = structural_artifacts(truth, mse, gan, min_area=MIN_AREA)
        _write(output_dir / "truth", key, lr, mse_sr, gan_sr, label[0, 0].numpy())
        images = {
            "hr": clean,
            "mse_sr": _tensor(mse_sr) / 255,
            "gan_sr": _tensor(gan_sr) / 255,
            "odd": _tensor(of_gan.upscale_image(odd_lr)) / 255,
            "wrong": torch.zeros(1, 1, CROP, CROP, dtype=torch.bool),
        }
        made = inject(images, draws)
        mse_sr, gan_sr = (_pixels(made[role].float() / 255) for role in ("mse_sr", "gan_sr"))
        _write(output_dir / "injected", key, lr, mse_sr, gan_sr, made["mask"][0, 0].numpy())
        print(f"{number + 1}/{crops} {key}", flush=True)


def _averaged(photo: np.ndarray, longest: int | None) -> np.ndarray:
    height, width = photo.shape[:2]
    if longest is None or max(height, width) <= longest:
        return photo
    scale = longest / max(height, width)
    size = round(width * scale), round(height * scale)
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]


def _pixels(images: Tensor) -> np.ndarray:
    return images[0].permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy()


def _write(
    folder: Path, key: str, lr: np.ndarray, mse_sr: np.ndarray, gan_sr: np.ndarray, mask: np.ndarray
) -> None:
    for name, pixels in (("LR", lr), ("MSE-SR", mse_sr), ("GAN-SR", gan_sr), ("GT-Mask", mask)):
        write_png(folder / name / f"{key}.png", pixels)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m samples.judged", description=__doc__)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("gan_weights", help="of a generator that the detector was not trained on")
    parser.add_argument("mse_weights")
    parser.add_argument("--photos", type=Path, help="clean; default: those of samples.photos")
    parser.add_argument("--longest", type=int, help="side to which larger photos are averaged")
    parser.add_argument("--crops", type=int, default=40)
    parser.add_argument("--noise", type=float, nargs=2, default=(0, 10), help="levels, of LR")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    photos = arguments.photos
    try:
        if photos is None:
            photos = arguments.output_dir / "photos"
            collect_photos(photos)
        make(
            arguments.output_dir,
            photos,
            arguments.gan_weights,
            arguments.mse_weights,
            arguments.crops,
            tuple(arguments.noise),
            arguments.longest,
            arguments.seed,
        )
    except InputError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
