"""The shipped sample is whole and what its recipe says, and the recipe runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import pad

from desra.detectors import ArtifactDetector
from desra.files import find_images
from desra.images import read_rgb
from desra.masks import read_mask_image
from models.generators import SRVGGNetCompact, load_generator
from samples.artifact_set import MIN_AREA, label_of
from samples.make import GAN
from samples.photos import PHOTOS

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
SETS = {side: SAMPLES / folder for side, folder in {"": "artifacts", "test": "test"}.items()}
KEYS = [(root, key) for root in SETS.values() for key in sorted(find_images(root / "LR"))]
MSE = GAN.with_name(f"{GAN.stem}_mse.pth")


def planes(path: Path) -> torch.Tensor:
    """An image as ``(1, 3, H, W)`` uint8."""
    return torch.tensor(read_rgb(path)).permute(2, 0, 1)[None].contiguous()


def side_of(key: str) -> str:
    return {photo.name: photo.side for photo in PHOTOS}[key.rpartition("_")[0]]


def test_it_is_small() -> None:
    written = {".py", ".pyc", ".md"}  # the recipe and what is said of it
    files = [path for path in SAMPLES.rglob("*") if path.is_file() and path.suffix not in written]
    assert sum(path.stat().st_size for path in files) < 6_000_000


def test_the_licence_of_the_fetched_weights_is_beside_them() -> None:
    text = (SAMPLES / "weights/LICENSE.Real-ESRGAN").read_text()
    assert "BSD 3-Clause License" in text
    assert "Copyright (c) 2021, Xintao Wang" in text
    assert all(path.name in text for path in (SAMPLES / "weights").glob("realesr*.pth"))


@pytest.mark.parametrize("root", SETS.values(), ids=lambda root: root.name)
def test_every_image_has_its_partners_in_four_times_its_size(root: Path) -> None:
    keys = sorted(find_images(root / "LR"))
    for folder in ("MSE-SR", "GAN-SR", "DeSRA-Mask", "GT-Mask"):
        found = find_images(root / folder)
        assert sorted(found) == keys
        for key, (path,) in found.items():
            height, width, _ = read_rgb(root / "LR" / f"{key}.webp").shape
            assert read_rgb(path).shape[:2] == (4 * height, 4 * width)


def test_photos_are_on_one_side_and_the_truth_is_there_where_nothing_trains() -> None:
    listed = (SAMPLES / "val.txt").read_text().split()
    for root, key in KEYS:
        side = side_of(key)
        assert (side == "test") == (root.name == "test")
        assert (side == "val") == (key in listed)
        assert (root / "HR" / f"{key}.webp").is_file() == (side != "train")
    assert len(listed) >= 4


def test_enough_images_are_labelled() -> None:
    labelled = [key for root, key in KEYS if read_mask_image(root / f"GT-Mask/{key}.png").any()]
    assert sum(side_of(key) == "test" for key in labelled) >= 6
    assert sum(side_of(key) == "val" for key in labelled) >= 3


@pytest.mark.parametrize(("root", "key"), KEYS[::3])
def test_masks_are_the_detectors_and_labels_the_measures(root: Path, key: str) -> None:
    mse_sr, gan_sr = (planes(root / name / f"{key}.webp") for name in ("MSE-SR", "GAN-SR"))
    mask = ArtifactDetector(min_area=MIN_AREA)(mse_sr, gan_sr).mask[0, 0].numpy()
    assert (mask == read_mask_image(root / "DeSRA-Mask" / f"{key}.png")).all()
    if (root / f"HR/{key}.webp").exists():
        images = (read_rgb(root / name / f"{key}.webp") for name in ("HR", "MSE-SR", "GAN-SR"))
        assert (label_of(*images) == read_mask_image(root / "GT-Mask" / f"{key}.png")).all()


@pytest.mark.parametrize(("role", "weights"), [("MSE-SR", MSE), ("GAN-SR", GAN)])
def test_upscalings_are_the_networks(role: str, weights: Path) -> None:
    network = load_generator(weights)
    assert isinstance(network, SRVGGNetCompact)
    around, cut = (16,) * 4, (..., slice(64, -64), slice(64, -64))  # the upscaler's border
    for root, key in KEYS[:3]:
        lr = planes(root / "LR" / f"{key}.webp").float() / 255
        with torch.no_grad():
            output = network(pad(lr, around, mode="reflect"))[cut].clamp(0, 1) * 255
        difference = (output - planes(root / role / f"{key}.webp")).abs()
        assert difference.max() <= 0.75  # half a level is the rounding


def make(work: Path, sample: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "samples.make", str(work), *more]
    return subprocess.run(
        [*command, "--output-dir", str(sample), "--candidates", "3", "--effort", "0"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_recipe_runs(tmp_path: Path) -> None:
    """A partner of two iterations is the GAN generator still, which finds no artifact in itself."""
    tiny = ("iterations=2", "data.batch_size=2", "data.pool_size=2", "data.group_size=2")
    partner = make(tmp_path / "work", tmp_path / "first", *tiny)
    assert partner.returncode == 2
    assert "no crop of a photo to validate on has artifacts" in partner.stderr
    assert [path.name for path in (tmp_path / "first" / "weights").iterdir()] == [MSE.name]
    made = tmp_path / "sample"
    run = make(tmp_path / "work", made, "--set-only")
    assert run.returncode == 0, run.stderr
    assert sorted(find_images(made / "artifacts/GT-Mask")) == sorted(
        find_images(made / "artifacts/LR")
    )
    assert (made / "val.txt").read_text()
