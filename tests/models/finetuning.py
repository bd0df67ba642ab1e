"""A tiny finetuning for the tests; as a program, one of two ranks that goes on until stopped.

python finetuning.py ARTIFACT_SET FOLDER_FOR_CHECKPOINTS
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from callbacks.checkpoints import LastCheckpoint, WholeCheckpoints
from datamodules.desra_artifacts import DeSRAArtifacts
from desra.images import write_png
from models.finetuner import GANFinetuner
from models.generators.rrdbnet import RRDBNet
from models.losses import AdversarialLoss, ArtifactLoss, PixelLoss

SCALE = 4


class Discriminator(nn.Sequential):
    """Small, with a spectral norm of the kind that the released one has."""

    def __init__(self, normed: bool = True) -> None:
        norm = nn.utils.spectral_norm if normed else lambda layer: layer
        super().__init__(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            norm(nn.Conv2d(8, 8, 4, 2, 1, bias=False)),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(8, 1, 3, padding=1),
        )


def make_batches(count: int, size: int = 2, seed: int = 0) -> list[dict[str, Tensor]]:
    """Tuples of noise, with masks of a square each."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(count):
        mask = torch.zeros(size, 1, 32, 32, dtype=torch.bool)
        mask[..., 8:24, 8:24] = True
        images = {
            name: torch.rand(size, 3, 32, 32, generator=generator) for name in ("mse_sr", "gan_sr")
        }
        batches.append(
            {"lr": torch.rand(size, 3, 8, 8, generator=generator), "mask": mask, **images}
        )
    return batches


def make_finetuner(normed: bool = True, **settings: Any) -> GANFinetuner:
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "pixel": PixelLoss(1.0),
        "adversarial": AdversarialLoss(0.1),
        "artifact": ArtifactLoss(1.0),
        "learning_rate": 1e-3,
        "ema_decay": 0.9,
    }
    generator = RRDBNet(SCALE, features=8, blocks=1, growth=8)
    return GANFinetuner(generator, Discriminator(normed), **{**options, **settings})


def fit(
    module: GANFinetuner, data: Any, steps: int, callbacks: Sequence[Callback] = (), **options: Any
) -> Trainer:
    checkpoint = options.pop("ckpt_path", None)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **{"plugins": [WholeCheckpoints()], **options},
    )
    trainer.fit(module, data, ckpt_path=checkpoint)
    return trainer


def loader(batches: list[Any]) -> DataLoader:
    return DataLoader(batches, batch_size=None)


def weights_of(module: nn.Module) -> Tensor:
    return torch.cat([value.detach().double().flatten() for value in module.state_dict().values()])


def assert_same_weights(found: nn.Module, expected: nn.Module) -> None:
    for key, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key


def write_artifact_set(root: Path) -> Path:
    """Six images in the release's layout."""
    random = np.random.default_rng(0)
    for name in "abcdef":
        lr = random.integers(0, 255, (24, 20, 3), dtype=np.uint8)
        smooth = lr.repeat(SCALE, 0).repeat(SCALE, 1)
        noise = random.integers(-20, 20, smooth.shape)
        mask = np.zeros(smooth.shape[:2], bool)
        mask[20:60, 30:70] = True
        write_png(root / "LR" / f"{name}.png", lr)
        write_png(root / "MSE-SR" / f"{name}.png", smooth)
        write_png(root / "GAN-SR" / f"{name}.png", (smooth + noise).clip(0, 255).astype(np.uint8))
        write_png(root / "DeSRA-Mask" / f"{name}.png", mask)
    return root


def make_data(root: Path, batch_size: int = 2, **settings: Any) -> DeSRAArtifacts:
    options = {"gt_crop": 32, "batch_size": batch_size, "epoch_steps": 4, "val_share": 0.3}
    return DeSRAArtifacts(str(root), **{**options, **settings})


class SaveAt(Callback):
    def __init__(self, batch: int, path: Path) -> None:
        self.batch, self.path, self.seen = batch, path, 0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.seen += 1
        if self.seen == self.batch:
            trainer.save_checkpoint(self.path)


class Noisy(nn.Module):
    """A generator that draws random numbers, as SwinIR's stochastic depth does."""

    scale = SCALE

    def __init__(self) -> None:
        super().__init__()
        self.network = RRDBNet(SCALE, features=8, blocks=1, growth=8)
        self.drop = nn.Dropout(0.2)

    def forward(self, lr: Tensor) -> Tensor:
        return self.network(self.drop(lr))


def make_noisy(**settings: Any) -> GANFinetuner:
    torch.manual_seed(0)
    terms = {"pixel": PixelLoss(), "adversarial": AdversarialLoss(), "artifact": ArtifactLoss()}
    return GANFinetuner(Noisy(), Discriminator(), **terms, **{"learning_rate": 1e-3, **settings})


if __name__ == "__main__":
    artifact_set, folder = map(Path, sys.argv[1:])
    fit(
        make_finetuner(discriminator_warmup=1),
        make_data(artifact_set, batch_size=2, val_share=0.0),
        10**6,
        [SaveAt(3, folder / "third.ckpt"), LastCheckpoint(folder / "stopped.ckpt")],
        strategy="ddp",
        devices=2,
    )
