import numpy as np
import pytest
import torch

from desra.detectors import LDLDetector
from desra.errors import InputError

from .pairs import pair, planes


def plain_weight(mse_sr: np.ndarray, gan_sr: np.ndarray) -> np.ndarray:
    """LDL's weight of each pixel, window by window."""
    residual = np.abs(mse_sr / 255.0 - gan_sr / 255.0).sum(2)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(residual, 3, "reflect"), (7, 7))
    return residual.var(ddof=1) ** 0.2 * windows.var(axis=(2, 3), ddof=1)


@pytest.mark.parametrize("threshold", [0.01, 0.005, 0.001])
def test_candidates_are_the_pixels_whose_weight_exceeds_the_published_threshold(threshold):
    mse_sr, gan_sr, marked = pair(90, 110)
    detector = LDLDetector(threshold, min_area=100)
    found = detector(planes(mse_sr), planes(gan_sr))
    weight = plain_weight(mse_sr, gan_sr)
    clear = np.abs(weight - threshold) > 1e-6
    candidates = detector.select(found.adjusted)[0, 0].numpy()
    np.testing.assert_array_equal(candidates[clear], (weight > threshold)[clear])
    assert 0 < candidates.mean() < 1
    assert found.mask[0, 0].numpy()[marked].mean() > 0.5
    assert 0 <= found.distance.min() <= found.distance.max() <= 1
    assert detector.threshold_at(detector.cutoff) == pytest.approx(threshold)


def test_threshold_below_zero_and_tiny_images_are_refused():
    with pytest.raises(InputError, match="never below 0"):
        LDLDetector(-0.1)
    tiny = torch.zeros(1, 3, 6, 20, dtype=torch.uint8)
    with pytest.raises(InputError, match="20x6, smaller than the window of 7x7"):
        LDLDetector()(tiny, tiny)
