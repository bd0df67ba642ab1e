"""Small data through the real path: fixtures that several folders of tests share."""

import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import hypothesis
import numpy as np
import pytest
import torch

from desra.images import write_png
from tests.processes import run_forked
from tests.reference import plain_detection

ROOT = Path(__file__).parents[1]

SLOW = ("annotator", "cli", "docs", "samples", "test_conf.py", "test_wheel.py")
"""What starts processes, browsers or whole trainings: left out of ``make test-fast``."""

hypothesis.settings.register_profile("same in every run", derandomize=True)
hypothesis.settings.load_profile("same in every run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of those folders and files."""
    for item in items:
        if item.path.relative_to(ROOT / "tests").parts[0] in SLOW:
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def _same_draws_in_every_run() -> None:
    """A test that draws without a seed of its own fails always or never."""
    torch.manual_seed(0)


def smooth_photo(seed: int, height: int, width: int) -> np.ndarray:
    """A picture with edges, gradients and some texture, uint8 RGB."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (height // 16 + 2, width // 16 + 2, 3)).astype(np.float32)
    picture: np.ndarray = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    picture += rng.normal(0, 3, picture.shape)
    for _ in range(6):
        left, top = rng.integers(0, (width, height)).tolist()
        wide, high = rng.integers(8, 60, 2).tolist()
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        cv2.rectangle(picture, (left, top), (left + wide, top + high), colour, -1)
    return picture.clip(0, 255).astype(np.uint8)


def place_artifact(shape: tuple[int, int], seed: int, share: float = 0.4) -> np.ndarray:
    """A mask with one rectangle, ``share`` of each side."""
    rng = np.random.default_rng(seed)
    (height, width), (h, w) = shape, (int(side * share) for side in shape)
    top, left = rng.integers(0, height - h), rng.integers(0, width - w)
    mask = np.zeros(shape, bool)
    mask[top : top + h, left : left + w] = True
    return mask


def add_texture(picture: np.ndarray, mask: np.ndarray, seed: int) -> np.ndarray:
    """The picture with texture invented on the mask, as a GAN leaves it."""
    texture = np.random.default_rng(seed).normal(0, 40, mask.shape)
    changed = picture.astype(np.float32) + (texture * mask)[..., None]
    return changed.clip(0, 255).astype(np.uint8)


@pytest.fixture
def make_pairs(tmp_path: Path) -> Callable[..., Path]:
    """Writes pairs of upscalings, every third without artifacts, in the release's layout."""

    def make(count: int = 3, height: int = 120, width: int = 160) -> Path:
        root = tmp_path / "pairs"
        for index in range(count):
            mse_sr = smooth_photo(index, height, width)
            mask = place_artifact((height, width), index) & (index % 3 != 2)
            gan_sr = add_texture(mse_sr, mask, index)
            key = f"set{index % 2}/{index:03d}"
            write_png(root / "MSE-SR" / f"{key}.png", mse_sr)
            write_png(root / "GAN-SR" / f"{key}.png", gan_sr)
            write_png(root / "LR" / f"{key}.png", cv2.resize(mse_sr, None, fx=0.25, fy=0.25))
            write_png(root / "GT-Mask" / f"{key}.png", mask)
        return root

    return make


@pytest.fixture
def plain_mask() -> Callable[..., np.ndarray]:
    """The published algorithm in plain NumPy, OpenCV and SciPy, padded to full size."""

    def detect(mse_sr: np.ndarray, gan_sr: np.ndarray, **settings: Any) -> np.ndarray:
        distance = plain_detection.plain_distance(mse_sr, gan_sr)
        mask = plain_detection.plain_mask(distance, **settings)
        return np.pad(mask, (mse_sr.shape[0] - mask.shape[0]) // 2)

    return detect


@pytest.fixture
def run_script(monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs an entry point as a user does, in a process of its own."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("WANDB_MODE", "offline")

    def run(script: str, *overrides: object, **options: Any) -> subprocess.CompletedProcess[str]:
        return run_forked(ROOT / script, [str(override) for override in overrides], **options)

    return run


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that takes no larger files, as a user's limit makes one (``ulimit -f``)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
