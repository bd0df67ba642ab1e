"""Cost of mask updates of an artifact set, as a share of an epoch of training on it.

    python benchmarks/mask_update.py [--device cuda] [--precision 16-mixed]

The real loop: `ArtifactDetectionCallback` upscales all training images with the EMA generator,
detects against MSE-SR and updates the data's masks, between steps with LDL's losses. Images are
noise and VGG19 has random weights, which change no time. Of an epoch that shows every image once,
the steps are timed and the rest is reckoned.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from torchvision.models.vgg import cfgs, make_layers

sys.path.insert(0, str(Path(__file__).parents[1]))

from callbacks.artifact_detection import ArtifactDetectionCallback
from datamodules.desra_artifacts import DeSRAArtifacts
from desra.detectors import ArtifactDetector
from desra.images import write_png
from desra.segmenters import NoSegmenter
from models.discriminators import UNetDiscriminator
from models.finetuner import GANFinetuner
from models.generators import RRDBNet
from models.losses import AdversarialLoss, ArtifactLoss, PerceptualLoss, PixelLoss

SCALE = 4


class Figures(DummyLogger):
    """Keeps what a mask update logs."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: list[dict[str, float]] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Keep the metrics of a mask update."""
        if "masks/seconds" in metrics:
            self.updates.append(dict(metrics))


def main() -> None:
    """Train until the masks have been updated, and print what it took."""
    arguments = _arguments()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        _write_set(Path(folder), arguments.images, arguments.side)
        module = _finetuner(arguments, Path(folder))
        data = DeSRAArtifacts(
            folder, gt_crop=arguments.crop, batch_size=arguments.batch, val_share=0, num_workers=0
        )
        callback = ArtifactDetectionCallback(
            ArtifactDetector(), NoSegmenter(), every_n_steps=arguments.steps
        )
        _trainer(arguments, callback, figures).fit(module, data)
    # The first update also compiles kernels and measures the memory at hand.
    found = figures.updates[-1]
    print(
        f"RRDBNet of {arguments.blocks} blocks; {arguments.images} images of {arguments.side} LR "
        f"pixels a side, crop {arguments.crop}, batch {arguments.batch}; {arguments.device}, "
        f"{arguments.precision}"
    )
    seconds, share = found["masks/seconds"], found["masks/share_of_epoch"]
    print(
        f"a mask update {seconds:.2f} s, {seconds / arguments.images:.3f} s an image; "
        f"{100 * share:.1f} % of an epoch"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--side", type=int, default=96, help="of an image, in LR pixels")
    parser.add_argument("--blocks", type=int, default=23)
    parser.add_argument("--crop", type=int, default=256, help="side of the ground truth")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2, help="from one update to the next")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--threads", type=int, help="of the processor")
    return parser.parse_args()


def _write_set(folder: Path, images: int, side: int) -> None:
    random = np.random.default_rng(0)
    for index in range(images):
        sizes = {"LR": side, "MSE-SR": SCALE * side, "GAN-SR": SCALE * side}
        for role, length in sizes.items():
            pixels = random.integers(0, 256, (length, length, 3), dtype=np.uint8)
            write_png(folder / role / f"{index}.png", pixels)
        mask = np.zeros((SCALE * side, SCALE * side), bool)
        mask[: 2 * side] = True
        write_png(folder / "DeSRA-Mask" / f"{index}.png", mask)


def _finetuner(arguments: argparse.Namespace, folder: Path) -> GANFinetuner:
    torch.manual_seed(0)
    weights = make_layers(cfgs["E"]).state_dict()
    torch.save({f"features.{name}": tensor for name, tensor in weights.items()}, folder / "vgg.pth")
    return GANFinetuner(
        RRDBNet(SCALE, blocks=arguments.blocks),
        UNetDiscriminator(),
        pixel=PixelLoss(0.01),
        perceptual=PerceptualLoss(1.0, weights=folder / "vgg.pth"),
        adversarial=AdversarialLoss(0.1),
        artifact=ArtifactLoss(1.0),
    )


def _trainer(
    arguments: argparse.Namespace, callback: ArtifactDetectionCallback, figures: Figures
) -> Trainer:
    return Trainer(
        accelerator="gpu" if arguments.device == "cuda" else "cpu",
        devices=1,
        precision=arguments.precision,
        max_steps=2 * arguments.steps + 1,
        logger=figures,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
    )


if __name__ == "__main__":
    main()
