"""Every command of docs/benchmark.md runs, on miniatures of what it names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from desra.images import write_png
from models.generators import SRVGGNetCompact, write_generator
from tests.conftest import add_texture, place_artifact, smooth_photo
from tests.datamodules import benchmark_layouts as layouts
from tests.docs.commands import ROOT, commands, run_command
from tests.tasks.test_fit_prominence import write_crowd

FINETUNING = (
    *("iterations=1", "validate_every=1", "trainer=cpu", "data.batch_size=2", "data.gt_crop=32"),
    *("model.discriminator_warmup=0", "model.discriminator.features=4", "logger=csv"),
    # GAN-SR of the desk is not what its networks of no training make.
    *("callbacks.artifact_validation.lpips=null", "callbacks.alignment_check.least_psnr=null"),
)
LEARNING = (
    *("iterations=2", "validate_every=2", "trainer=cpu", "data.crop=64", "data.pool_size=8"),
    *("data.batch_size=4", "data.val_batches=1", "trainer.log_every_n_steps=1"),
)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the page's reader."""
    for index in range(4):
        photo = smooth_photo(index, 96, 96)
        mask = place_artifact((96, 96), index)
        roles = {"LR": photo[::4, ::4], "MSE-SR": photo, "GAN-SR": add_texture(photo, mask, index)}
        for folder, pixels in (roles | {"DeSRA-Mask": mask, "GT-Mask": mask}).items():
            write_png(tmp_path / "out" / folder / f"{index}.png", pixels)
        for folder in ("MSE-SR", "GAN-SR"):
            write_png(tmp_path / folder / f"{index}.png", roles[folder])
        write_png(tmp_path / "clean_photos" / f"{index}.png", photo)
    write_png(tmp_path / "held_out" / "0.png", smooth_photo(0, 200, 210))
    layouts.write_folder(tmp_path / "my_set")
    write_crowd(tmp_path / "voted", 20)
    for name in ("GAN", "MSE"):
        torch.manual_seed(len(name))
        write_generator(tmp_path / f"{name}.pth", SRVGGNetCompact(features=8, depth=1))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_of_the_page_runs(desk: Path, monkeypatch: pytest.MonkeyPatch):
    lines = commands("docs/benchmark.md")
    assert len(lines) == 27
    for line in lines:
        more = ()
        if "train.py" in line:
            more = LEARNING if "learn_detector" in line else FINETUNING
        elif "samples.judged" in line:
            more = ("--crops", "2")
        elif "mini/" in line or "judged/" in line:
            more = ("task.replicates=20",)
        assert run_command(line, list(more), monkeypatch) == 0, line
    assert (desk / "weighted" / "Pseudo-GT" / "00.png").is_file()
    summary = json.loads((desk / "mini_removal_ldl" / "metrics.json").read_text())
    iou = summary["desra/mse_sr/desra/iou"]
    assert summary["desra/mse_sr/desra/delta_iou"] == iou > 0.2  # nothing is left in MSE-SR
    shutil.rmtree(desk)


def test_every_row_of_the_literature_has_a_benchmark():
    page = (ROOT / "docs/benchmark.md").read_text()
    for path in sorted((ROOT / "conf/benchmark").glob("*.yaml")):
        assert f"`{path.stem}`" in page or path.stem in ("base", "sample"), path.stem
