"""A generator whose artifacts can be unlearnt, and a set of images made with it.

As a program, two ranks that renew masks and validate: python artifacts.py ARTIFACT_SET RESULT.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, Trainer
from torch import Tensor, nn
from torch.nn import functional as F

from callbacks.artifact_detection import ArtifactDetectionCallback
from callbacks.artifact_validation import ArtifactValidation
from callbacks.checkpoints import WholeCheckpoints
from callbacks.result_choice import ResultChoice
from datamodules.desra_artifacts import DeSRAArtifacts
from desra.detectors import ArtifactDetector
from desra.images import to_uint8, write_png
from desra.segmenters import NoSegmenter
from models.finetuner import GANFinetuner
from models.losses import PixelLoss

SCALE = 4
AMOUNT = 0.25
KEYS = ("a", "b/c", "b/d", "e", "f", "g", "h")


class Textured(nn.Module):
    """Repeats pixels, and puts a checkerboard on bright ones: its only weight says how strong."""

    scale = SCALE

    def __init__(self, amount: float = AMOUNT) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(amount))

    def forward(self, lr: Tensor) -> Tensor:
        smooth = F.interpolate(lr, scale_factor=SCALE, mode="nearest")
        rows, columns = (torch.arange(side) for side in smooth.shape[-2:])
        board = ((rows[:, None] + columns) % 2 * 2 - 1).to(smooth)
        return smooth + self.amount * board * (smooth.mean(1, keepdim=True) > 0.5)


def write_set(root: Path, masks: bool = False) -> Path:
    """Seven images, dark with a bright square, the last one without; labels on the first four."""
    random = np.random.default_rng(0)
    with torch.no_grad():
        for number, key in enumerate(KEYS):
            dark = torch.from_numpy(random.uniform(0.2, 0.4, (1, 3, 24, 20)).astype(np.float32))
            square = torch.zeros(1, 1, 24, 20)
            if key != KEYS[-1]:
                top, left = random.integers(2, 9, 2)
                square[..., top : top + 12, left : left + 9] = 1
            lr = torch.where(square > 0, torch.tensor(0.6), dark).mul(255).round() / 255
            write_png(root / "LR" / f"{key}.png", to_uint8(lr))
            write_png(root / "MSE-SR" / f"{key}.png", to_uint8(Textured(0.0)(lr)))
            write_png(root / "GAN-SR" / f"{key}.png", to_uint8(Textured()(lr).clamp(0, 1)))
            mask = F.interpolate(square, scale_factor=SCALE)[0, 0].numpy() > 0
            if number < 4:
                write_png(root / "GT-Mask" / f"{key}.png", mask)
            if masks:
                write_png(root / "DeSRA-Mask" / f"{key}.png", mask)
    return root


def make_data(root: Path, **settings: Any) -> DeSRAArtifacts:
    options = {"gt_crop": 64, "batch_size": 2, "epoch_steps": 4, "val_share": 0.4}
    return DeSRAArtifacts(str(root), mask_required=False, **{**options, **settings})


def make_module(**settings: Any) -> GANFinetuner:
    options: dict[str, Any] = {"learning_rate": 0.0, "ema_decay": 0.0}
    return GANFinetuner(Textured(), pixel=PixelLoss(1.0), **{**options, **settings})


def make_detector() -> ArtifactDetector:
    return ArtifactDetector(min_area=200)


def detection(**settings: Any) -> ArtifactDetectionCallback:
    return ArtifactDetectionCallback(make_detector(), NoSegmenter(), **settings)


def validation(**settings: Any) -> ArtifactValidation:
    return ArtifactValidation(make_detector(), NoSegmenter(), **{"lpips": None, **settings})


def make_trainer(steps: int, callbacks: Sequence[Callback], **options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        max_steps=steps,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        plugins=[WholeCheckpoints()],
        **{"logger": False, **options},
    )


def run(root: Path, **options: Any) -> dict[str, Any]:
    """Mask updates, and validations until patience ends the run; metrics, the masks' pixels row by
    row, and the result's choice."""
    data = make_data(root, batch_size=2 // options.get("devices", 1))
    choice = ResultChoice(probes=2, patience=2)
    callbacks = [detection(every_n_steps=1), validation(choice=choice)]
    trainer = make_trainer(12, callbacks, val_check_interval=1, **options)
    module = make_module(learning_rate=0.1)
    trainer.fit(module, data)
    figures = {name: value.item() for name, value in trainer.callback_metrics.items()}
    return {
        "rank": trainer.global_rank,
        "figures": {name: value for name, value in figures.items() if "/" in name or "_" in name},
        "masks": {
            item.key: data.masks[item.key].full().nonzero()[0].tolist()
            for item in data.train.tuples
        },
        "choice": [list(asdict(tried).values())[:5] for tried in choice.candidates],
        "stopped_at": trainer.global_step,
        "result": float(module.result.amount),
    }


if __name__ == "__main__":
    result = run(Path(sys.argv[1]), strategy="ddp", devices=2)
    Path(f"{sys.argv[2]}.{result['rank']}").write_text(json.dumps(result))
