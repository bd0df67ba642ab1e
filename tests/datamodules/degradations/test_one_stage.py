"""HGGT's one-stage degradation and its stand-in for JPEG, against plain computations."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hydra import compose, initialize
from hydra.utils import instantiate
from scipy.fft import dctn, idctn
from torch.nn import functional as F

from datamodules.degradations import (
    BlurKernels,
    Degradation,
    OneStageDegradation,
    Resize,
    Round,
    compress_diffjpeg,
)
from datamodules.degradations.draws import Draws
from datamodules.degradations.one_stage import HGGT_ROUND
from datamodules.randomness import Purpose
from desra.errors import InputError

PULSE = BlurKernels(
    sigma=(0.01, 0.01), probabilities=(1, 0, 0, 0, 0, 0), sinc_probability=0.0, sizes=(3,)
)
NOTHING = Round(
    blur=PULSE,
    resize=Resize(probabilities=(0, 0, 1), limits=(1.0, 1.0)),
    gaussian_probability=1.0,
    gaussian=(0.0, 0.0),
    jpeg=None,
)


def smooth(height, width, batch=2):
    noise = torch.rand(batch, 3, height + 8, width + 8, generator=torch.Generator().manual_seed(0))
    return F.avg_pool2d(noise, 9, 1)


# --- the stand-in for JPEG ------------------------------------------------------------------------

LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
CHROMA = np.full((8, 8), 99)
CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def blockwise(image, quality):
    """DiffJPEG of one ``(3, H, W)`` image, block by block, by SciPy's transform."""
    factor = (50 / quality) if quality < 50 else 2 - quality / 50
    height, width = image.shape[1:]
    full = np.zeros((3, -(-height // 16) * 16, -(-width // 16) * 16))
    full[:, :height, :width] = 255 * image
    red, green, blue = full
    luma = 0.299 * red + 0.587 * green + 0.114 * blue - 128
    planes = [
        luma,
        -0.168736 * red - 0.331264 * green + 0.5 * blue,
        0.5 * red - 0.418688 * green - 0.081312 * blue,
    ]
    results = []
    for number, plane in enumerate(planes):
        if number:
            plane = plane.reshape(plane.shape[0] // 2, 2, -1, 2).mean((1, 3))
        table = factor * (CHROMA if number else LUMA).T
        result = np.empty_like(plane)
        for top in range(0, plane.shape[0], 8):
            for left in range(0, plane.shape[1], 8):
                part = np.s_[top : top + 8, left : left + 8]
                coefficients = dctn(plane[part], norm="ortho")
                result[part] = idctn(np.round(coefficients / table) * table, norm="ortho")
        results.append(result.repeat(2, 0).repeat(2, 1) if number else result + 128)
    y, cb, cr = results
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb])
    return rgb.clip(0, 255)[:, :height, :width] / 255


@pytest.mark.parametrize("size", [(32, 48), (37, 21)])
def test_diffjpeg_is_its_blocks(size):
    images = smooth(*size, batch=3)
    quality = np.array([30.4, 75.5, 93.1])
    found = compress_diffjpeg(images, quality)
    for image, level, result in zip(images, quality, found, strict=True):
        expected = torch.from_numpy(blockwise(image.double().numpy(), level)).float()
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-4)


def test_diffjpeg_leaves_dark_edges_where_sides_are_no_multiples_of_16():
    grey = torch.full((1, 3, 18, 16), 0.6)
    error = (compress_diffjpeg(grey, np.array([50.0])) - grey).abs()
    assert error[..., :16, :].max() < 0.01 < 0.02 < error[..., 16:, :].max()


# --- the whole ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 4])
def test_without_noise_and_jpeg_it_is_one_of_three_ways_of_resizing(scale):
    images = smooth(40, 48)
    degrade = OneStageDegradation(scale, NOTHING)
    modes = ("area", "bilinear", "bicubic")
    ways = {
        mode: (F.interpolate(images, (40 // scale, 48 // scale), mode=mode) * 255)
        .round()
        .clamp(0, 255)
        / 255
        for mode in modes
    }
    found = dict.fromkeys(modes, 0)
    for number in range(60):
        lr = degrade(images, 0, number, [2 * number, 2 * number + 1])
        # the blur's sum of nine weights leaves a rounding error, which a tie of levels can show
        matches = [mode for mode in modes if (lr - ways[mode]).abs().max() < 1.01 / 255]
        exact = [mode for mode in matches if (lr != ways[mode]).float().mean() < 1e-3]
        assert exact
        found[exact[0]] += 1
    if scale > 1:
        assert min(found.values()) > 8


def test_the_second_resizing_uses_the_first_ones_method_and_its_exact_factor():
    """A factor of 0.9 of 40 pixels: 36, sampled at 1 / 0.9 pixels, not at 40 / 36."""
    settings = replace(NOTHING, resize=Resize(probabilities=(0, 1, 0), limits=(0.83, 1.0)))
    images = smooth(41, 41)
    lr = OneStageDegradation(1, settings)(images, 0, 5, [0, 1])

    shared = Draws(0, Purpose.SHARED_DEGRADATION, [5], Round.SHARED_DRAWS)
    factor, method = settings.resize.draw(shared)
    assert 0.83 <= factor < 1
    first = F.interpolate(images, scale_factor=factor, mode=method)
    expected = F.interpolate(first.clamp(0, 1), (41, 41), mode=method)
    assert (lr - expected).abs().max() < 1.01 / 255


def test_a_sample_is_the_same_in_whatever_part_of_its_batch():
    images = smooth(64, 48, batch=4)
    degrade = OneStageDegradation()
    whole = degrade(images, 3, 7, [28, 29, 30, 31])
    parts = torch.cat([degrade(images[:1], 3, 7, [28]), degrade(images[1:], 3, 7, [29, 30, 31])])
    torch.testing.assert_close(parts, whole, rtol=0, atol=1.01 / 255)
    assert (parts != whole).float().mean() < 1e-3
    assert not torch.equal(degrade(images, 4, 7, [28, 29, 30, 31]), whole)


def test_output_is_of_eight_bits():
    lr = OneStageDegradation()(smooth(64, 64), 0, 0, [0, 1])
    assert lr.shape == (2, 3, 16, 16)
    torch.testing.assert_close(lr * 255, (lr * 255).round(), atol=1e-4, rtol=0)
    assert lr.min() >= 0
    assert lr.max() <= 1


def test_kernel_sizes_are_those_of_the_release():

    draws = Draws(0, Purpose.DEGRADATION, range(400), BlurKernels.DRAWS)
    kernels = replace(HGGT_ROUND.blur, sigma=(8.0, 8.0)).draw(draws)
    sides = (kernels.amax(1) > 0).sum(1)
    assert set(sides.tolist()) == {3, 5, 7, 9}
    assert torch.bincount(sides)[3::2].min() > 70


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 0}, "scale=0"),
        ({"codec": "png"}, "codec=png"),
    ],
)
def test_settings_that_cannot_be_meant(settings, message):
    with pytest.raises(InputError, match=message):
        OneStageDegradation(**settings)
    with pytest.raises(InputError, match="sizes"):
        BlurKernels(sizes=(4,))


def test_the_configurations_say_what_the_code_does():
    with initialize("../../../conf/degradation", version_base=None):
        one = instantiate(compose("hggt"))
        assert json.dumps(asdict(one)) == json.dumps(asdict(OneStageDegradation()))
        enhance = instantiate(compose("hggt_enhance"))
        assert (enhance.scale, list(enhance.round.blur.sizes)) == (1, [3, 5, 7])
        two = instantiate(compose("hggt_two_stage"))
    assert isinstance(two, Degradation)
    assert (list(two.second.jpeg), list(two.final_sinc_sizes)) == ([87.0, 95.0], [3, 5])
