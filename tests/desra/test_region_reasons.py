"""Reasons of regions against a loop over their pixels."""

import numpy as np
import pytest

from desra.region_reasons import region_reasons, rougher_pixels
from desra.report import number_regions


def test_means_shares_and_settings_of_each_region():
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 60), bool)
    mask[2:9, 3:20] = mask[20:38, 30:55] = True
    distance, weight = rng.random(mask.shape), rng.uniform(1, 2, mask.shape)
    adjusted = np.clip(distance * weight, 0, 1)
    rougher = rng.random(mask.shape) < 0.3
    numbers = number_regions(mask)
    reasons = region_reasons(numbers, distance, adjusted, 0.7, 0.7, rougher, "rougher")
    assert list(reasons) == [1, 2]
    for number, place in ((1, np.s_[20:38, 30:55]), (2, np.s_[2:9, 3:20])):
        facts = reasons[number]
        assert facts["distance"] == pytest.approx(distance[place].mean(), abs=1e-4)
        assert facts["adjusted"] == pytest.approx(adjusted[place].mean(), abs=1e-4)
        assert facts["why"] == (
            f"below the threshold 0.7 in {100 * (adjusted[place] < 0.7).mean():.0f} %, "
            f"GAN-SR the rougher in {100 * rougher[place].mean():.0f} % of it (direction: rougher)"
        )


def test_a_score_is_above_its_threshold_and_has_no_direction():
    numbers = np.ones((2, 2), np.int32)
    distance = np.full((2, 2), 0.25)
    (facts,) = region_reasons(numbers, distance, distance, 0.5, 0.005).values()
    why = "above the threshold 0.005 (a distance below 0.5) in 100 % of it"
    assert facts == {"distance": 0.25, "why": why}


def test_the_rougher_image_has_the_larger_variance_around_a_pixel():
    rng = np.random.default_rng(1)
    mse_sr, gan_sr = rng.integers(0, 256, (2, 30, 40, 1), dtype=np.uint8).repeat(3, axis=-1)
    found = rougher_pixels(mse_sr, gan_sr)
    windows = [
        np.lib.stride_tricks.sliding_window_view(image[..., 0].astype(float), (11, 11))
        for image in (mse_sr, gan_sr)
    ]
    mse_variance, gan_variance = (window.var(axis=(2, 3)) for window in windows)
    np.testing.assert_array_equal(found[5:-5, 5:-5], gan_variance > mse_variance)
