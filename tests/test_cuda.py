"""What must be the same on a GPU as on the processor; run by ``python -m benchmarks.gpu``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from callbacks.result_choice import ResultChoice
from desra.detectors import ArtifactDetector, SSIMDetector
from desra.images import read_rgb
from desra.judge import Judge
from desra.metrics.truth import structural_artifacts
from desra.segmenters import NoSegmenter
from models.generators import RRDBNet, SRVGGNetCompact, SwinIR, load_generator
from models.upscaler import Upscaler
from tests.callbacks.artifacts import (
    detection,
    make_data,
    make_module,
    make_trainer,
    validation,
    write_set,
)

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def sample(*roles: str) -> list[torch.Tensor]:
    """All test images of these roles, uint8 ``(B, 3, H, W)``."""
    folders = [sorted((SAMPLES / "test" / role).iterdir()) for role in roles]
    return [
        torch.stack([torch.tensor(read_rgb(path)).permute(2, 0, 1) for path in paths])
        for paths in folders
    ]


@pytest.mark.parametrize("detector", [ArtifactDetector(min_area=600), SSIMDetector(min_area=600)])
def test_masks_are_the_processors(detector: torch.nn.Module) -> None:
    pair = sample("MSE-SR", "GAN-SR")
    expected = detector(*pair).mask
    found = detector.cuda()(*(images.cuda() for images in pair)).mask.cpu()
    assert expected.any()
    assert torch.equal(found, expected)


def test_structure_is_the_processors() -> None:
    images = sample("HR", "MSE-SR", "GAN-SR")
    found = structural_artifacts(*(image.cuda() for image in images)).cpu()
    expected = structural_artifacts(*images)
    assert (found != expected).float().mean() < 1e-3  # sums in another order, at a threshold


def test_the_judge_says_the_same() -> None:
    lr, mse_sr, gan_sr, truth = sample("LR", "MSE-SR", "GAN-SR", "HR")
    keys = [str(place) for place in range(len(lr))]
    judge = Judge(ArtifactDetector(min_area=600), NoSegmenter(), lpips=None)
    expected = judge(keys, lr, mse_sr, gan_sr, mse_sr, truth=truth).rows
    batch = [images.cuda() for images in (lr, mse_sr, gan_sr, mse_sr)]
    found = judge.cuda()(keys, *batch, truth=truth.cuda()).rows
    for one, other in zip(found, expected, strict=True):
        assert one["removed"] == other["removed"]
        for name in ("psnr_outside", "truth_psnr_inside_gan_sr", "truth_ssim_outside_mse_sr"):
            assert one[name] == pytest.approx(other[name], abs=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize(
    "network",
    [
        RRDBNet(blocks=2),
        SRVGGNetCompact(),
        SwinIR(embed_dim=60, depths=[2, 2], num_heads=[6, 6]),
    ],
    ids=lambda network: type(network).__name__,
)
def test_upscalings_are_the_processors(network: torch.nn.Module, precision: str) -> None:
    (lr,) = sample("LR")
    lr = lr[:2].float() / 255
    expected = Upscaler(network.cpu(), precision="fp32")(lr)
    found = Upscaler(network.cuda(), precision=precision, tile=32)(lr.cuda()).cpu()
    tolerance = {"fp32": 2e-3, "fp16": 2e-2, "bf16": 1e-1}[precision]  # fp32: TF32 convolutions
    assert (found - expected).abs().max() < tolerance


def test_the_released_generator_makes_the_shipped_images() -> None:
    lr, gan_sr = sample("LR", "GAN-SR")
    weights = SAMPLES / "weights/realesr-animevideov3-x4.pth"
    upscaler = Upscaler(load_generator(weights).cuda(), precision="fp16")
    found = upscaler(lr.cuda().float() / 255).clamp(0, 1).mul(255).cpu()
    assert (found - gan_sr).abs().mean() < 0.5


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_run_updates_masks_chooses_and_repeats(tmp_path: Path, precision: str) -> None:
    """Data loading with pinned memory, mask updates, validation, the choice: all on the device."""
    root = write_set(tmp_path)

    def once() -> tuple[float, dict[str, np.ndarray]]:
        choice = ResultChoice(probes=1)
        module, data = make_module(learning_rate=0.05), make_data(root, epoch_steps=2)
        callbacks = [detection(every_n_steps=2), validation(choice=choice)]
        trainer = make_trainer(
            4, callbacks, val_check_interval=2, accelerator="gpu", devices=1, precision=precision
        )
        trainer.fit(module, data)
        assert choice.best is not None
        masks = {item.key: data.masks[item.key].full() for item in data.train.tuples}
        return float(module.result.amount), masks

    (first, masks), (second, again) = once(), once()
    assert first == second != 0.25
    assert any(mask.any() for mask in masks.values())
    for key, mask in masks.items():
        np.testing.assert_array_equal(again[key], mask)
