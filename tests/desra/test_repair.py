"""Repaired images: outside the feather GAN-SR's own, inside the mask MSE-SR's, no seam."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from desra.errors import InputError
from desra.pseudo_gt import blend_weights, compose
from desra.repair import STRIP, repair


def images(seed: int, height: int, width: int, depth: type) -> tuple[NDArray, NDArray, NDArray]:
    random = np.random.default_rng(seed)
    most = np.iinfo(depth).max
    pair = [random.integers(0, most + 1, (height, width, 3)).astype(depth) for _ in range(2)]
    mask = np.kron(random.random((height // 8 + 1, width // 8 + 1)) < 0.1, np.ones((8, 8), bool))
    return pair[0], pair[1], mask[:height, :width].astype(bool)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(1, 60), st.integers(1, 60), st.sampled_from([0, 1, 5]))
def test_it_is_the_pseudo_ground_truth(seed: int, height: int, width: int, feather: int) -> None:
    mse_sr, gan_sr, mask = images(seed, height, width, np.uint8)
    repaired = repair(mse_sr, gan_sr, mask, feather)
    pair = [
        torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float()
        for image in (mse_sr, gan_sr)
    ]
    expected = compose(*pair, torch.from_numpy(mask)[None, None], feather)
    difference = np.abs(repaired.astype(float) - expected[0].permute(1, 2, 0).numpy())
    assert difference.max(initial=0) <= 0.501
    np.testing.assert_array_equal(repaired[mask], mse_sr[mask])
    far = blend_weights(torch.from_numpy(mask)[None, None], feather)[0, 0].numpy() == 0
    np.testing.assert_array_equal(repaired[far], gan_sr[far])


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_strips_do_not_show(depth: type) -> None:
    mse_sr, gan_sr, mask = images(0, 2 * STRIP + 40, 24, depth)
    mask[STRIP - 3 : STRIP + 3] = True
    whole = repair(mse_sr, gan_sr, mask, 8)
    shifted = repair(mse_sr[100:], gan_sr[100:], mask[100:], 8)
    np.testing.assert_array_equal(whole[120:], shifted[20:])


def test_images_that_do_not_fit_are_refused() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(InputError, match="two upscalings of one image"):
        repair(image, image[:4], np.zeros((8, 8), bool))
    with pytest.raises(InputError, match="a mask of"):
        repair(image, image, np.zeros((4, 8), bool))
