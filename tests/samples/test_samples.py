"""The shipped sample is whole and what its recipe says, and the recipe runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import entry  # noqa: F401  # registers the resolvers of the configs
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch.nn.functional import pad

from desra.detectors import ArtifactDetector
from desra.files import find_images
from desra.images import read_rgb
from desra.masks import read_mask_image
from models.discriminators import load_discriminator
from models.generators import RRDBNet, SwinIR, load_generator
from samples.artifact_set import KEPT, KEPT_HELD_OUT, MIN_AREA, derived_label
from samples.photos import PHOTOS

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
ARTIFACTS = SAMPLES / "artifacts"
KEYS = sorted(find_images(ARTIFACTS / "LR"))


def held_out() -> list[str]:
    return (SAMPLES / "val.txt").read_text().split()


def planes(path: Path) -> torch.Tensor:
    """An image as ``(1, 3, H, W)`` uint8."""
    return torch.from_numpy(read_rgb(path)).permute(2, 0, 1)[None].contiguous()


@pytest.fixture
def config_dir() -> object:
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        yield


def test_it_is_small() -> None:
    files = [path for path in SAMPLES.rglob("*") if "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files if path.is_file()) < 5_000_000


@pytest.mark.parametrize("folder", ["MSE-SR", "GAN-SR", "DeSRA-Mask", "GT-Mask"])
def test_every_image_has_its_partners_in_four_times_its_size(folder: str) -> None:
    assert sorted(find_images(ARTIFACTS / folder)) == KEYS
    for key in KEYS:
        height, width, _ = read_rgb(ARTIFACTS / "LR" / f"{key}.png").shape
        pixels = read_rgb(ARTIFACTS / folder / f"{key}.png")
        assert pixels.shape[:2] == (4 * height, 4 * width)


def test_crops_of_one_photo_are_on_one_side() -> None:
    photos = {photo.name: photo.held_out for photo in PHOTOS}
    listed = held_out()
    assert len(listed) >= 4
    assert set(listed) < set(KEYS)
    for key in KEYS:
        name, _, number = key.rpartition("_")
        assert number.isdigit()
        assert photos[name] == (key in listed)
    assert len(KEYS) == sum(KEPT_HELD_OUT if side else KEPT for side in photos.values())


def test_enough_images_are_labelled_on_both_sides() -> None:
    labelled = [key for key in KEYS if read_mask_image(ARTIFACTS / "GT-Mask" / f"{key}.png").any()]
    assert len(labelled) >= 8
    assert len(set(labelled) & set(held_out())) >= 4


@pytest.mark.parametrize("key", KEYS)
def test_masks_are_the_detectors(key: str) -> None:
    mse_sr, gan_sr = (planes(ARTIFACTS / name / f"{key}.png") for name in ("MSE-SR", "GAN-SR"))
    mask = ArtifactDetector(min_area=MIN_AREA)(mse_sr, gan_sr).mask[0, 0].numpy()
    assert (mask == read_mask_image(ARTIFACTS / "DeSRA-Mask" / f"{key}.png")).all()


@pytest.mark.parametrize("role", ["MSE-SR", "GAN-SR"])
def test_upscalings_are_the_networks(role: str) -> None:
    weights = {"MSE-SR": "mse.pth", "GAN-SR": "ldl-gan.pth"}[role]
    network = load_generator(SAMPLES / "weights" / weights)
    around, cut = (16,) * 4, (..., slice(64, -64), slice(64, -64))  # the upscaler's border
    for key in KEYS[:3]:
        lr = planes(ARTIFACTS / "LR" / f"{key}.png").float() / 255
        with torch.no_grad():
            output = network(pad(lr, around, mode="reflect"))[cut].clamp(0, 1) * 255
        difference = (output - planes(ARTIFACTS / role / f"{key}.png")).abs()
        assert difference.max() <= 0.75  # half a level is the rounding


def test_weights_load() -> None:
    for path in (SAMPLES / "weights").glob("*.pth"):
        if path.stem == "discriminator":
            load_discriminator(path)
        else:
            network = load_generator(path)
            assert isinstance(network, SwinIR if path.stem.startswith("swinir") else RRDBNet)
            assert next(network.parameters()).dtype == torch.float32


def test_a_label_is_where_gan_sr_alone_departs_from_the_truth() -> None:
    noise = torch.randint(0, 256, (1, 3, 120, 240), generator=torch.Generator().manual_seed(0))
    flat = torch.full((1, 3, 120, 240), 128, dtype=torch.uint8)
    left = torch.zeros(1, 1, 120, 240, dtype=torch.bool)
    left[..., :120] = True
    textured = torch.where(left, noise.to(torch.uint8), flat)
    invented = derived_label(flat, flat, textured)
    assert invented[..., 20:100, 20:100].all()
    assert not invented[..., 140:].any()
    assert not derived_label(textured, flat, flat).any()  # both lack the photo's texture
    assert derived_label(textured, textured, flat)[..., 20:100, 20:100].all()


def test_the_sample_is_what_train_uses_where_nothing_is_given(config_dir: object) -> None:
    config = compose("train")
    assert Path(config.data.root).resolve() == ARTIFACTS.resolve() or config.data.root == (
        "samples/artifacts"
    )
    assert config.detector.min_area == MIN_AREA
    data = instantiate(config.data)
    assert data.batch_size == 4
    elsewhere = compose("train", ["data.root=elsewhere"])
    assert elsewhere.detector.min_area == 4000
    assert elsewhere.data.val_list is None
    assert elsewhere.iterations == 1000


@pytest.mark.timeout(240)
def test_the_recipe_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "samples.make", str(tmp_path / "work")]
    options = ["--output-dir", str(tmp_path / "sample"), "--methods", "ldl"]
    options += ["--candidates", str(KEPT_HELD_OUT)]
    overrides = ["iterations=2", "data.batch_size=2", "data.pool_size=2", "data.group_size=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [*command, *overrides, *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    made = tmp_path / "sample"
    names = {path.name for path in (made / "weights").iterdir()}
    assert names == {"mse.pth", "ldl-gan.pth", "discriminator.pth"}
    assert sorted(find_images(made / "artifacts" / "GT-Mask")) == sorted(
        find_images(made / "artifacts" / "LR")
    )
    listed = (made / "val.txt").read_text().split()
    assert len(listed) == KEPT_HELD_OUT * sum(photo.held_out for photo in PHOTOS)
