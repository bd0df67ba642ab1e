"""Every command of docs/hggt.md runs, one after another, on photos of 96 pixels and the sample."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from desra.files import find_images
from desra.hggt_labels import Label, Tagging, write_tagging
from desra.images import write_png
from tests.conftest import smooth_photo
from tests.docs.commands import ROOT, commands, run_command

TRAINING = (
    *("iterations=1", "validate_every=1", "trainer=cpu", "logger=none", "model.perceptual=null"),
    *("data.hr_crop=48", "data.gt_crop=32", "data.batch_size=2", "data.pool_size=4"),
    *("data.group_size=2", "data.epoch_steps=1"),
)
TINY = {
    "rcan": ("model.generator.features=8", "model.generator.groups=1", "model.generator.blocks=1",
             "model.generator.squeeze=4"),
    "elan": ("model.generator.features=6", "model.generator.blocks=1"),
    "hggt_psnr ": ("model.generator.features=8", "model.generator.blocks=1",
                   "model.generator.growth=4"),
}  # fmt: skip
OTHERS = {
    "task=select": ("crop=48", "step=40", "jitter=2", "least_deviation=0", "least_laplacian=0"),
    "upscale.py": ("tile=0",),
    "task=multi_gt": ("metrics=[psnr,ssim]", "page=false"),
    "task=quality": ("metrics=[psnr,ssim]", "page=false"),
}
PHOTOS = 3


def shrunk(line: str) -> list[str]:
    """Further overrides that make a command small, and nothing else of it different."""
    if "train.py" not in line:
        return [more for part, given in OTHERS.items() if part in line for more in given]
    own = [more for part, given in TINY.items() if part in line for more in given]
    discriminator = [] if "hggt_psnr " in line else ["model.discriminator.features=4"]
    return [*TRAINING, *own, *discriminator]


def label(patches: Path, labels: Path) -> None:
    """What three people would leave: 01 is better, 02 is worse or hard to tell."""
    for number, key in enumerate(find_images(patches / "original")):
        second: Label = "Negative" if number % 2 else "Similar"
        for annotator in "ABC":
            said = Tagging({"01": "Positive", "02": second})
            write_tagging(labels / annotator / f"{key}.json", said)


def test_the_six_steps_run_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for index in range(PHOTOS):
        write_png(tmp_path / "clean_photos" / f"{index}.png", smooth_photo(index, 96, 96))
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)
    lines = commands("docs/hggt.md")
    assert len(lines) == 17
    for line in lines:
        assert run_command(line, shrunk(line), monkeypatch) == 0, line
        if "task=select" in line:
            label(tmp_path / "patches", tmp_path / "labels")
    assert len(find_images("restored")) >= PHOTOS
    assert Path("scores/metrics.json").is_file()
    assert json.loads(Path("sample_scores/metrics.json").read_text())["images"] == 6
