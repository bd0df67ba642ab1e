"""The figures of validation against NumPy and the metrics on masks, and over two ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.functional.image.dists import DISTSNetwork
from torchvision.models import alexnet, vgg

from desra.errors import InputError
from desra.images import read_rgb, to_tensor
from desra.masks import read_mask_image
from desra.metrics import AdditionRate, ArtifactMetrics, RemovalRate, detail
from desra.metrics.detail import HIGHEST_PSNR, RegionDISTS, RegionLPIPS, region_psnr
from desra.metrics.finetuning import Comparison, FinetuningScores, compare, score_finetuning
from tests.callbacks.artifacts import (
    make_data,
    make_detector,
    make_module,
    make_trainer,
    run,
    validation,
    write_set,
)

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"))


def random_comparison(seed: int, labelled: bool = True) -> Comparison:
    """Three images; in one of them nothing is found before, in one nothing after."""
    generator = torch.Generator().manual_seed(seed)
    images = [
        torch.randint(0, 256, (3, 3, 40, 50), dtype=torch.uint8, generator=generator)
        for _ in range(3)
    ]
    coarse = torch.rand(3, 3, 1, 8, 10, generator=generator) < 0.2
    before, after, gt_mask = coarse.repeat_interleave(5, -1).repeat_interleave(5, -2)
    before[0], after[1] = False, False
    return Comparison(*images, before, after, gt_mask if labelled else None, rim=5)


@pytest.mark.parametrize("labelled", [True, False])
def test_figures_equal_those_of_the_metrics_on_masks(labelled: bool) -> None:
    scores, removal, addition = FinetuningScores(), RemovalRate(), AdditionRate()
    detected, residual = ArtifactMetrics(), ArtifactMetrics()
    rows = []
    for seed in range(3):
        images = random_comparison(seed, labelled)
        rows += compare(images, with_mse_sr=True)
        inner = [
            None if mask is None else mask[..., 5:-5, 5:-5]
            for mask in (images.before, images.after, images.gt_mask)
        ]
        removal.update(*inner)
        addition.update(*inner)
        if labelled:
            detected.update(inner[0], inner[2])
            residual.update(inner[1], inner[2])
    for row in rows:
        scores.update(row)
    figures = scores.compute()
    assert figures["removal_rate"] == removal.compute()
    assert figures["addition_rate"] == addition.compute()
    assert ("detection/iou" in figures) == labelled
    for name, metrics in {"detection": detected, "residual": residual}.items():
        for score in ("iou", "precision", "recall", "f1") if labelled else ():
            torch.testing.assert_close(
                figures[f"{name}/{score}"], metrics.compute()[score], rtol=0, atol=1e-12
            )
    assert json.loads(json.dumps(rows)) == rows
    assert score_finetuning(rows)["removal_rate"] == removal.compute()


def test_psnr_is_that_of_numpy_over_the_region() -> None:
    images = random_comparison(0)
    rows = compare(images, with_mse_sr=True)
    mse_sr, gan_sr, finetuned = (
        image.numpy().transpose(0, 2, 3, 1).astype(float) for image in images[:3]
    )
    known = (images.before | images.gt_mask).numpy()[:, 0]
    for index, row in enumerate(rows):
        compared = {
            "inside": (finetuned, mse_sr, known),
            "outside": (finetuned, gan_sr, ~known),
            "mse_sr_outside": (mse_sr, gan_sr, ~known),
        }
        for name, (one, other, region) in compared.items():
            error = np.mean((one[index][region[index]] - other[index][region[index]]) ** 2)
            assert row[f"psnr_{name}"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-9)


def test_psnr_of_equal_images_is_finite_and_of_no_pixels_undefined() -> None:
    image = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    region = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    region[1] = False
    psnr = region_psnr(image, image, region)
    assert psnr[0].item() == pytest.approx(HIGHEST_PSNR, abs=0.01)
    assert psnr[1].isnan()


# LPIPS


@pytest.fixture
def random_alexnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backbone without its trained weights: what is tested is how it is used."""
    torch.manual_seed(0)
    network = alexnet()
    monkeypatch.setattr(detail, "fetch_backbone", lambda *_: Path())
    monkeypatch.setattr("torchvision.models.alexnet", lambda **_: network)


def test_lpips_of_the_whole_image_and_of_a_part(random_alexnet: None) -> None:
    lpips, torch_lpips = RegionLPIPS(), RegionLPIPS().metric
    generator = torch.Generator().manual_seed(0)
    images, reference = (
        torch.randint(0, 256, (2, 3, 96, 80), dtype=torch.uint8, generator=generator)
        for _ in range(2)
    )
    whole = torch.ones(2, 1, 96, 80, dtype=torch.bool)
    found = lpips(images, reference, whole)
    for index in range(2):
        one = slice(index, index + 1)
        expected = torch_lpips(images[one] / 255, reference[one] / 255)
        assert found[index].item() == pytest.approx(expected.item(), rel=1e-5)

    part = whole.clone()
    part[..., 40:] = False
    part[1] = False
    changed = torch.where(part, images, 255 - images)  # different where it does not count
    found = lpips(images, reference, part)
    torch.testing.assert_close(found, lpips(changed, reference, part), equal_nan=True)
    assert found[0] > 0
    assert found[1].isnan()
    assert lpips(images[..., :40], reference[..., :40], whole[..., :40]).isnan().all()


def test_dists_of_the_whole_image_and_of_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    network, asked = nn.Module(), list[Any]()
    torch.manual_seed(0)
    network.features = vgg.make_layers(vgg.cfgs["D"])
    monkeypatch.setattr("torchmetrics.functional.image.dists.vgg16", lambda **_: network)
    monkeypatch.setattr(detail, "fetch_backbone", lambda *given: asked.append(given))
    dists = RegionDISTS("vgg16.pth")
    assert asked == [("vgg", "vgg16.pth")]
    images, reference = torch.randint(0, 256, (2, 2, 3, 72, 64), dtype=torch.uint8)
    whole = torch.ones(2, 1, 72, 64, dtype=torch.bool)
    expected = DISTSNetwork()(images / 255, reference / 255).double()
    torch.testing.assert_close(dists(images, reference, whole), expected, atol=1e-6, rtol=0)
    part = whole.clone()
    part[..., 40:] = False
    part[1] = False
    changed = torch.where(part, images, 255 - images)  # different where it does not count
    found = dists(images, reference, part)
    torch.testing.assert_close(found, dists(changed, reference, part), equal_nan=True)
    assert 0 < found[0] < expected[0]
    assert found[1].isnan()


def test_what_was_asked_for_and_is_not_there_stops_the_run(root: Path, tmp_path: Path) -> None:
    for given in ({"lpips": "alex", "lpips_weights": "no.pth"}, {"dists": "no.pth"}):
        with pytest.raises(InputError, match=r"no\.pth: No such file"):
            make_trainer(1, [validation(**given)]).validate(make_module(), make_data(root))


@pytest.fixture
def no_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the backbone's weights and without a network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)


def test_missing_backbone_is_said_once_and_noted(
    root: Path, no_backbone: None, caplog: pytest.LogCaptureFixture
) -> None:
    module, data = make_module(), make_data(root)
    trainer = make_trainer(1, [validation(lpips="alex")])
    trainer.validate(module, data, verbose=False)
    trainer.validate(module, data, verbose=False)
    assert caplog.text.count("validating without LPIPS") == 1
    assert module.hparams_initial["lpips"].startswith("left out: ")
    assert not any(name.startswith("lpips") for name in trainer.callback_metrics)
    assert "psnr/outside" in trainer.callback_metrics


def test_unknown_backbone_is_one_line() -> None:
    with pytest.raises(InputError, match=r"lpips=resnet: give alex"):
        validation(lpips="resnet")


# In a run


def test_before_the_first_step_everything_is_there_and_nothing_is_lost(root: Path) -> None:
    data = make_data(root)
    trainer = make_trainer(1, [validation()])
    trainer.validate(make_module(), data, verbose=False)
    figures = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert figures["removal_rate"] == figures["addition_rate"] == 0
    assert figures["psnr/outside"] == pytest.approx(HIGHEST_PSNR, abs=0.01)
    shares = []
    for item in data.val.tuples:
        pair = [to_tensor(read_rgb(item.paths[role])) for role in ("mse_sr", "gan_sr")]
        shares.append(make_detector()(*pair).mask.float().mean().item())
    assert figures["artifact_share/before"] == pytest.approx(np.mean(shares), rel=1e-6)
    assert figures["artifact_share/after"] == figures["artifact_share/before"] > 0
    labelled = [item for item in data.val.tuples if "gt_mask" in item.paths]
    assert all(read_mask_image(item.paths["gt_mask"]).any() for item in labelled)
    assert figures["residual/iou"] == figures["detection/iou"] > 0.5


def test_unlearnt_artifacts_are_removed(root: Path) -> None:
    module = make_module(ema_decay=1.0)
    module.ema.module.amount.fill_(0.0)
    trainer = make_trainer(1, [validation()])
    trainer.validate(module, make_data(root), verbose=False)
    figures = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert figures["removal_rate"] == 1
    assert figures["artifact_share/after"] == figures["residual/recall"] == 0
    assert figures["psnr/inside"] == pytest.approx(HIGHEST_PSNR, abs=0.01)


def test_two_ranks_have_the_figures_and_masks_of_one(root: Path, tmp_path: Path) -> None:
    expected = run(root)
    script = Path(__file__).with_name("artifacts.py")
    process = subprocess.run(
        [sys.executable, str(script), str(root), str(tmp_path / "result")],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert process.returncode == 0, process.stderr
    assert any(expected["masks"].values())
    assert expected["stopped_at"] < 12  # by patience, on both ranks
    assert {0.0, 1.0} <= {removal for _, _, removal, *_ in expected["choice"]}
    for rank in range(2):
        found = json.loads((tmp_path / f"result.{rank}").read_text())
        assert found["masks"] == expected["masks"]
        assert found["stopped_at"] == expected["stopped_at"]
        assert found["result"] == pytest.approx(expected["result"], rel=1e-6)
        for tried, once in zip(found["choice"], expected["choice"], strict=True):
            assert tried == pytest.approx(once, rel=1e-6)
        assert found["figures"].keys() == expected["figures"].keys()
        for name, value in expected["figures"].items():
            assert found["figures"][name] == pytest.approx(value, rel=1e-6), name
