"""Lanczos: its definition, no aliasing, no bleeding between channels."""

import cv2
import numpy as np
import pytest

from desra.resampling import resize_lanczos


def lanczos_matrix(size: int, new_size: int) -> np.ndarray:
    """Row i holds the weights of output pixel i: sinc(x) · sinc(x / 3), widened to shrink."""
    widening = max(size / new_size, 1)
    centres = (np.arange(new_size) + 0.5) * size / new_size - 0.5
    x = (np.arange(size) - centres[:, None]) / widening
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("height", "width"), [(60, 88), (13, 17), (30, 44), (1, 1), (45, 20)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_equals_the_definition(dtype, height, width, channels):
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, top, (30, 44, channels), dtype, endpoint=True)
    rows, columns = lanczos_matrix(30, height), lanczos_matrix(44, width)
    expected = np.einsum("ih,hwc,jw->ijc", rows, pixels.astype(float), columns).clip(0, top)
    result = resize_lanczos(pixels, height, width)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, atol=0.51, rtol=0)


def test_the_same_size_is_the_same_image():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert resize_lanczos(pixels, 2, 4) is pixels


def test_shrinking_does_not_alias():
    """Stripes finer than the new pixels become grey; four taps (cv2.INTER_LANCZOS4) do not."""
    stripes = np.tile(np.array([0, 255], np.uint8), (100, 50))[..., None]
    stripes = np.repeat(stripes, 3, axis=2)
    shrunk = resize_lanczos(stripes, 29, 29)[4:-4, 4:-4]
    aliased = cv2.resize(stripes, (29, 29), interpolation=cv2.INTER_LANCZOS4)[4:-4, 4:-4]
    assert shrunk.std() < 4
    assert aliased.std() > 20


def test_colour_under_transparent_alpha_is_kept():
    pixels = np.full((8, 8, 4), 200, np.uint8)
    pixels[..., 3] = 0
    np.testing.assert_array_equal(resize_lanczos(pixels, 16, 20)[..., :3], 200)
