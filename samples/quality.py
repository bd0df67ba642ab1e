"""PSNR and SSIM of the sample's networks on held-out photos, beside bicubic interpolation.

python -m samples.quality [WEIGHTS ...]

The held-out photos of `samples.photos` are degraded within the range of training, from one seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import fmean

import entry  # noqa: F401  # registers the resolvers of the configs
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import interpolate
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from desra.errors import InputError
from desra.files import find_images
from desra.images import read_rgb, to_tensor
from models.generators import load_generator
from models.upscaler import Upscaler
from samples.photos import collect_photos

ROOT = Path(__file__).resolve().parents[1]
SIDE = 256
"""Of the middle of each photo, which is what is degraded and upscaled."""
CROPS = 4
"""Degradations of each photo."""


def held_out_pairs(folder: Path) -> list[tuple[Tensor, Tensor]]:
    """LR and HR of the held-out photos, ``(1, 3, h, w)`` in [0, 1]."""
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        data = compose("train", ["experiment=pretrain_mse_sample", f"data.root={folder}"]).data
    degrade = instantiate(data.degradation)
    collect_photos(folder)
    pairs = []
    for number, paths in enumerate(find_images(folder / "held_out").values()):
        photo = to_tensor(read_rgb(paths[0]))
        top, left = ((side - SIDE) // 2 for side in photo.shape[-2:])
        hr = photo[..., top : top + SIDE, left : left + SIDE]
        for crop in range(CROPS):
            seed = number * CROPS + crop
            pairs.append((degrade(hr, 0, seed, [seed]), hr))
    return pairs


def score(outputs: list[Tensor], truths: list[Tensor]) -> tuple[float, float]:
    """Mean PSNR in dB and mean SSIM over images, on RGB in [0, 1]."""
    pairs = [(output.clamp(0, 1), truth) for output, truth in zip(outputs, truths, strict=True)]
    psnr = fmean(float(peak_signal_noise_ratio(*pair, data_range=1.0)) for pair in pairs)
    ssim = fmean(
        float(structural_similarity_index_measure(*pair, data_range=1.0))  # type: ignore[arg-type]
        for pair in pairs
    )
    return psnr, ssim


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(prog="python -m samples.quality", description=__doc__)
    known = sorted((ROOT / "samples/weights").glob("*.pth"))
    generators = [path for path in known if path.stem != "discriminator"]
    parser.add_argument("weights", type=Path, nargs="*", default=generators)
    arguments = parser.parse_args()
    table = Table("network", "PSNR, dB", "SSIM", title="Held-out photos, degraded as in training")
    try:
        with tempfile.TemporaryDirectory() as folder:
            pairs = held_out_pairs(Path(folder))
        truths = [hr for _, hr in pairs]
        bicubic = [
            interpolate(lr, scale_factor=4, mode="bicubic", antialias=False) for lr, _ in pairs
        ]
        rows = {"bicubic": score(bicubic, truths)}
        for path in arguments.weights:
            upscaler = Upscaler(load_generator(path), tile=None, precision="fp32")
            with torch.no_grad():
                rows[path.stem] = score([upscaler(lr) for lr, _ in pairs], truths)
    except InputError as error:
        sys.exit(f"error: {error}")
    for name, (psnr, ssim) in rows.items():
        table.add_row(name, f"{psnr:.2f}", f"{ssim:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
