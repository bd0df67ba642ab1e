"""Upscaler: any size, any tile, any precision, little memory, and never a crash."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from desra.errors import InputError
from desra.images import to_uint8
from desra.memory import peak_bytes
from desra.resampling import resize_lanczos
from models.generators import SRVGGNetCompact, SwinIR
from models.upscaler import Upscaler


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    network = SRVGGNetCompact(2, features=8, depth=3)
    for parameter in network.parameters():  # large enough that context matters
        nn.init.normal_(parameter, std=0.1)
    return network


class Scripted(nn.Module):
    """×2 nearest neighbour, with something done to each batch of tiles first."""

    def __init__(self, act):
        super().__init__()
        self.scale, self.act = 2, act
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, tiles):
        return F.interpolate(self.act(tiles * self.one), scale_factor=2)


def photo(height, width, channels=3, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // 4 + 2, width // 4 + 2, channels)) * np.iinfo(dtype).max
    return resize_lanczos(coarse.astype(dtype), height, width)


def plain(generator, lr, border=16):
    """The definition: reflect, run, cut."""
    padded = torch.from_numpy(
        np.pad(lr.numpy(), ((0, 0), (0, 0), (border, border), (border, border)), mode="reflect")
    )
    cut = border * generator.scale
    with torch.no_grad():
        return generator.eval()(padded)[..., cut:-cut, cut:-cut]


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["auto", None, 0, 7, 32]))
@settings(deadline=None, max_examples=25)
def test_any_size_and_tile_equal_the_reflected_whole_image(generator, height, width, tile):
    lr = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(width))
    result = Upscaler(generator, tile=tile)(lr)
    assert result.shape == (2, 3, 2 * height, 2 * width)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, plain(generator, lr), atol=1e-4, rtol=0)


def test_tiles_of_attention_in_windows_equal_the_whole_image():
    torch.manual_seed(0)
    network = SwinIR(
        2, embed_dim=8, depths=(2,), num_heads=(2,), window_size=4, features=8, img_size=16
    )
    for parameter in network.parameters():  # large enough that context matters
        nn.init.normal_(parameter, std=0.3)
    lr = torch.rand(1, 3, 61, 75)
    tiled, whole = (Upscaler(network, tile=tile, border=4)(lr) for tile in (12, None))
    torch.testing.assert_close(tiled, whole, atol=1e-4, rtol=0)
    less = Upscaler(network, tile=12, border=4, overlap=4)(lr)
    assert (less - whole).abs().max() > 1e-3, "the test must be able to fail"


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_batches_of_tiles_of_any_size_give_the_same(generator, batch):
    lr = torch.rand(2, 3, 45, 70)
    one = Upscaler(generator, tile=16, overlap=2)(lr)  # less than the network sees: faded
    several = Upscaler(generator, tile=16, overlap=2, batch=batch)(lr)
    torch.testing.assert_close(several, one, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("tile", [None, 20])
def test_images_of_integers_are_what_forward_says(generator, dtype, channels, tile):
    pixels = photo(30, 50, channels, dtype)
    upscaler = Upscaler(generator, tile=tile)
    result = upscaler.upscale_image(pixels)
    assert result.shape == (60, 100, channels)
    assert result.dtype == dtype

    def through_network(planes):
        lr = torch.from_numpy(planes.astype(np.float32) / np.iinfo(dtype).max)
        lr = lr.permute(2, 0, 1)[None].expand(-1, 3, -1, -1)
        rgb = plain(generator, lr)[0].permute(1, 2, 0).numpy()
        if planes.shape[2] == 1:
            rgb = rgb @ np.array([[0.299], [0.587], [0.114]])
        return rgb.clip(0, 1) * np.iinfo(dtype).max

    colours = channels if channels in (1, 3) else channels - 1
    expected = [through_network(pixels[..., :colours])]
    if colours < channels:
        expected.append(through_network(pixels[..., colours:]))
    tolerance = 0.51 if dtype == np.uint8 else 8  # 1e-4 of the range
    np.testing.assert_allclose(result, np.concatenate(expected, axis=2), atol=tolerance, rtol=0)


def test_an_image_of_bytes_equals_the_rounded_batch(generator):
    pixels = photo(33, 21)
    upscaler = Upscaler(generator)
    lr = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    np.testing.assert_array_equal(upscaler.upscale_image(pixels), to_uint8(upscaler(lr)))


def test_opaque_alpha_stays_opaque_and_lanczos_alpha_is_lanczos(generator):
    pixels = photo(20, 24, 4)
    by_lanczos = Upscaler(generator).upscale_image(pixels, alpha="lanczos")
    np.testing.assert_array_equal(by_lanczos[..., 3:], resize_lanczos(pixels[..., 3:], 40, 48))
    pixels[..., 3] = 255
    assert (Upscaler(generator).upscale_image(pixels)[..., 3] == 255).all()


def test_the_float_image_is_never_held_as_a_whole(generator):
    pixels = photo(256, 256)
    float_bytes = pixels.size * generator.scale**2 * 4
    upscaler = Upscaler(generator, tile=32)
    upscaler.upscale_image(pixels[:8, :8])
    assert peak_bytes(lambda: upscaler.upscale_image(pixels)) < 0.7 * float_bytes


def too_large(limit, fail):
    def act(tiles):
        if tiles.numel() // 3 > limit:
            fail()
        return tiles

    return Scripted(act)


def raise_gpu_error():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


@pytest.mark.parametrize("fail", [raise_gpu_error, lambda: torch.empty(10**15)])
def test_out_of_memory_means_smaller_tiles(fail, caplog):
    lr = torch.rand(1, 3, 150, 130)
    upscaler = Upscaler(too_large(100 * 100, fail), tile="auto")
    with caplog.at_level(logging.WARNING):
        result = upscaler(lr)
    torch.testing.assert_close(result, F.interpolate(lr, scale_factor=2))
    assert "out of memory" in caplog.text
    caplog.clear()
    upscaler(lr)
    assert "out of memory" not in caplog.text, "what did not fit must not be tried again"


def test_out_of_memory_with_several_tiles_means_fewer_of_them():
    sizes = []

    def act(tiles):
        sizes.append(len(tiles))
        if len(tiles) > 2:
            raise_gpu_error()
        return tiles

    lr = torch.rand(1, 3, 100, 90)
    result = Upscaler(Scripted(act), tile=32, batch=8)(lr)
    torch.testing.assert_close(result, F.interpolate(lr, scale_factor=2))
    assert sizes[-8:] == [8, 4, *[2] * 6], "what did not fit must not be tried again"


def test_no_memory_at_all_is_one_line():
    def act(tiles):
        if tiles.nansum() > 0:  # not in the measurements of reach and memory
            raise_gpu_error()
        return tiles

    with pytest.raises(InputError, match="out of memory even with tiles of 30 pixels"):
        Upscaler(Scripted(act))(torch.rand(1, 3, 90, 90))


def test_other_errors_are_not_taken_for_memory():
    def act(tiles):
        if tiles.shape[-1] > 100:
            raise RuntimeError("shapes do not match")
        return tiles

    with pytest.raises(RuntimeError, match="shapes do not match"):
        Upscaler(Scripted(act), tile=None)(torch.rand(1, 3, 100, 100))


def test_a_tile_that_overflows_in_half_precision_is_done_again_in_float32():
    upscaler = Upscaler(Scripted(lambda x: x * 9e4 / 9e4), tile=32, precision="fp16")
    lr = torch.full((1, 3, 32 * 4, 32 * 4), 0.25)  # 9e4 × 0.25 fits, 65504 is the largest
    lr[..., :8, :8] = 1
    result = upscaler(lr)
    expected = F.interpolate(lr, scale_factor=2)
    torch.testing.assert_close(result, expected, atol=1e-3, rtol=0)
    assert upscaler.redone_tiles == 1
    torch.testing.assert_close(result[..., :16, :16], expected[..., :16, :16], atol=1e-6, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nan_in_float32_too_is_an_error_of_the_image(precision):
    upscaler = Upscaler(Scripted(lambda x: (x - 1).sqrt()), precision=precision)
    with pytest.raises(InputError, match="NaN"):
        upscaler(torch.rand(1, 3, 20, 20))


def test_what_comes_out_can_be_trained_on(generator):
    result = Upscaler(generator)(torch.rand(1, 3, 8, 8))
    conv = nn.Conv2d(3, 3, 1)
    conv(result).sum().backward()
    assert conv.weight.grad.any()


def test_nan_in_the_input_is_an_error_of_the_image(generator):
    lr = torch.rand(1, 3, 20, 20)
    lr[0, 1, 3, 4] = torch.nan
    with pytest.raises(InputError, match="low-resolution"):
        Upscaler(generator)(lr)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 3e-2), ("fp16", 4e-3)])
def test_half_precision_is_near_float32(generator, precision, tolerance):
    lr = torch.rand(1, 3, 40, 40)
    upscaler = Upscaler(generator, precision=precision)
    torch.testing.assert_close(upscaler(lr), plain(generator, lr), atol=tolerance, rtol=0)
    assert upscaler.redone_tiles == 0


@pytest.mark.parametrize(
    "wrong", [{"tile": -1}, {"tile": "big"}, {"overlap": -1}, {"border": -2}, {"batch": 0}]
)
def test_settings_out_of_range_are_named(generator, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Upscaler(generator, **wrong)


def test_settings_tell_weights_apart(generator):
    other = SRVGGNetCompact(2, features=8, depth=3)
    assert Upscaler(generator).settings == Upscaler(generator).settings
    assert Upscaler(generator).settings != Upscaler(other).settings
    assert Upscaler(generator).settings != Upscaler(generator, border=3).settings
