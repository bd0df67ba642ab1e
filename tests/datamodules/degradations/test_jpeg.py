import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datamodules.degradations.jpeg import compress_jpeg, jpeg_on_device


def by_pillow(pixels, quality):
    """The real encoder, at its defaults."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def as_batch(pixels):
    return torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32)) / 255


def as_pixels(batch):
    return (batch[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("quality", [5, 30, 49, 50, 75, 95, 100])
@pytest.mark.parametrize("shape", [(96, 128), (101, 83)])
def test_both_ways_equal_the_real_encoder(quality, shape, photo):
    pixels = photo(quality, *shape)
    expected = by_pillow(pixels, quality)
    level = np.array([quality])
    assert np.array_equal(as_pixels(compress_jpeg(as_batch(pixels), level)), expected)
    difference = np.abs(as_pixels(jpeg_on_device(as_batch(pixels), level)) - expected.astype(int))
    assert difference.mean() < 0.1
    assert (difference > 1).mean() < 0.02
    changed = np.abs(pixels - expected.astype(int)).mean()
    assert difference.mean() < 0.1 * changed


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 100), st.integers(0, 99))
def test_on_the_cpu_any_size_and_quality_is_the_real_encoders(height, width, quality, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    compressed = compress_jpeg(as_batch(pixels), np.array([quality]))
    assert np.array_equal(as_pixels(compressed), by_pillow(pixels, quality))


def test_on_a_device_noise_of_any_size_is_the_real_encoders_but_for_single_coefficients():
    """In noise few coefficients are zero, and now and then one lies on the edge of two levels."""
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(80):
        height, width = rng.integers(1, 41), rng.integers(5, 41)
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        quality = int(rng.integers(5, 101))
        compressed = as_pixels(jpeg_on_device(as_batch(pixels), np.array([quality])))
        differences.append(np.abs(compressed - by_pillow(pixels, quality).astype(int)))
    assert np.mean([difference.mean() for difference in differences]) < 0.2
    assert np.mean([difference.max() <= 2 for difference in differences]) > 0.5
    assert max(difference.mean() for difference in differences) < 6


@pytest.mark.parametrize("compress", [compress_jpeg, jpeg_on_device])
def test_each_sample_has_its_quality_and_whole_levels(compress, photo):
    images = torch.cat([as_batch(photo(3, 64, 64))] * 3)
    quality = np.array([95.4, 30.2, 60.0])
    compressed = compress(images, quality)
    error = (compressed - images).abs().mean((1, 2, 3))
    assert error[0] < error[2] < error[1]
    for place in range(3):
        alone = compress(images[place : place + 1], quality[place : place + 1])
        assert torch.equal(alone, compressed[place : place + 1])
    torch.testing.assert_close(compressed * 255, (compressed * 255).round(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("compress", [compress_jpeg, jpeg_on_device])
def test_what_lies_outside_the_range_is_clamped(compress):
    images = torch.linspace(-0.5, 1.5, 32 * 32).view(1, 1, 32, 32).repeat(1, 3, 1, 1)
    assert torch.equal(
        compress(images, np.array([80])), compress(images.clamp(0, 1), np.array([80]))
    )
