"""Exported weights load in this project and in others, and say what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from spandrel import ModelLoader

from callbacks.weight_export import WeightExport
from models.finetuner import GANFinetuner
from models.generators import RRDBNet, load_generator, write_generator
from models.losses import PixelLoss
from tests.callbacks.artifacts import make_data, make_trainer, write_set
from tests.models.finetuning import assert_same_weights, weights_of


def finetune(tmp_path: Path, source: Path, **export: str) -> GANFinetuner:
    module = GANFinetuner(
        generator_weights=str(source), pixel=PixelLoss(0.5), learning_rate=1e-3, ema_decay=0.5
    )
    data = make_data(write_set(tmp_path / "set"), val_share=0.0)
    make_trainer(3, [WeightExport(tmp_path / "weights", **export)]).fit(module, data)
    return module


def test_both_files_hold_the_averaged_weights_in_the_layout_of_the_source(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = tmp_path / "private" / "RealESRGAN_tiny.pth"
    network = RRDBNet(features=8, blocks=1, growth=32)  # spandrel knows no other growth
    write_generator(source, network, ema=network)
    module = finetune(tmp_path, source)
    path = tmp_path / "weights" / "RealESRGAN_tiny_desra.pth"
    state = torch.load(path, weights_only=True)
    assert state.keys() >= {"params", "params_ema"}
    moved = weights_of(module.ema.module) - weights_of(module.generator)
    assert moved.abs().max() > 1e-5
    for file in (path, path.with_suffix(".safetensors")):
        assert_same_weights(load_generator(file), module.ema.module)
        lr = torch.rand(1, 3, 8, 8)
        with torch.no_grad():
            found = ModelLoader().load_from_file(file)(lr)
            expected = module.ema.module(lr).clamp(0, 1)
        torch.testing.assert_close(found.clamp(0, 1), expected, rtol=0, atol=1e-5)
    with safe_open(path.with_suffix(".safetensors"), "pt") as file:
        metadata = file.metadata()
    assert metadata["finetuned_from"] == "RealESRGAN_tiny"
    assert json.loads(metadata["iterations"]) == 3
    assert json.loads(metadata["losses"])["pixel"]["weight"] == 0.5
    assert "private" not in str(metadata)


def test_name_is_a_setting(tmp_path: Path) -> None:
    source = tmp_path / "g.pth"
    write_generator(source, RRDBNet(features=8, blocks=1, growth=4))
    finetune(tmp_path, source, name="mine")
    names = sorted(path.name for path in (tmp_path / "weights").iterdir())
    assert names == ["mine.pth", "mine.safetensors"]


@pytest.mark.parametrize(("decay", "warned"), [(0.999, True), (0.3, False)])
def test_an_average_of_mostly_random_weights_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, decay: float, warned: bool
) -> None:
    network = RRDBNet(features=8, blocks=1, growth=4)
    module = GANFinetuner(network, pixel=PixelLoss(), ema_decay=decay)
    data = make_data(write_set(tmp_path / "set"), val_share=0.0)
    make_trainer(3, [WeightExport(tmp_path / "weights")]).fit(module, data)
    assert ("still has 100 % of the random weights" in caplog.text) == warned


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_exported_weights_are_finetuned_further(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "g.pth"
    write_generator(source, RRDBNet(features=8, blocks=1, growth=4))
    first = finetune(tmp_path, source)
    exported = tmp_path / "weights" / f"g_desra{suffix}"
    again = GANFinetuner(generator_weights=str(exported), pixel=PixelLoss())
    assert_same_weights(again.generator, first.ema.module)
