"""Pictures that lie on each other, and those that are turned, mirrored or shuffled."""

import cv2
import numpy as np
import pytest

from desra.same_scene import misalignment
from tests.conftest import smooth_photo

TURNS = {
    "turned by 90": lambda p: np.rot90(p, -1),
    "turned by 180": lambda p: np.rot90(p, 2),
    "turned by 270": lambda p: np.rot90(p, 1),
    "mirrored": lambda p: p[:, ::-1],
    "upside down": lambda p: p[::-1],
    "mirrored and turned": lambda p: p.transpose(1, 0, 2),
}


def upscaled(lr, scale=4):
    return cv2.resize(lr, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [0, 25])
def test_aligned_pictures_pass_however_noisy(seed, noise):
    sr = smooth_photo(seed, 192, 192)
    lr = cv2.resize(sr, (48, 48), interpolation=cv2.INTER_AREA).astype(float)
    lr += np.random.default_rng(seed).normal(0, noise, lr.shape)
    lr = lr.clip(0, 255).astype(np.uint8)
    shifted = np.roll(sr, 2, 0)
    assert misalignment({"LR": lr, "MSE-SR": sr, "GAN-SR": shifted}) is None
    assert misalignment({"MSE-SR": sr, "GAN-SR": shifted}) is None


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("seed", range(3))
def test_turned_pictures_are_named(turn, seed):
    lr = smooth_photo(seed, 60, 60)
    sr = upscaled(lr)
    turned = TURNS[turn](sr)
    problem = misalignment({"LR": lr, "MSE-SR": sr, "GAN-SR": turned})
    assert problem.startswith(f"GAN-SR is {turn}")
    assert problem.endswith("against LR")


@pytest.mark.parametrize("turn", ["turned by 180", "mirrored", "upside down"])
def test_turned_pictures_that_are_not_square(turn):
    lr = smooth_photo(1, 40, 60)
    assert turn in misalignment({"LR": lr, "MSE-SR": TURNS[turn](upscaled(lr))})


def test_another_picture():
    lr = smooth_photo(0, 60, 60)
    other = upscaled(smooth_photo(5, 60, 60))
    assert misalignment({"LR": lr, "MSE-SR": other}) == "MSE-SR shows something else than LR"


def test_flat_and_tiny_pictures_tell_nothing():
    flat = np.full((20, 20, 3), 200, np.uint8)
    assert misalignment({"LR": flat, "MSE-SR": upscaled(flat) - np.uint8(3)}) is None
    one = np.full((1, 1, 3), 9, np.uint8)
    assert misalignment({"LR": one, "MSE-SR": upscaled(one)}) is None
    assert misalignment({"LR": one}) is None
