import pytest
import torch

from desra.errors import InputError
from models.generators import SwinIR
from models.generators.swinir_blocks import (
    SwinLayer,
    join_windows,
    partition_windows,
    shifted_window_mask,
    sizes_of_mask,
)
from tests.models.networks import noise, peer, ramp, randomise, wave

SMALL = {"embed_dim": 24, "depths": (2, 3), "num_heads": (2, 3)}
VARIANTS = {
    "real-world": SwinIR(4, **SMALL),
    "real-world, large": SwinIR(4, **SMALL, resi_connection="3conv"),
    "real-world x2": SwinIR(2, **SMALL),
    "classical x2": SwinIR(2, **SMALL, upsampler="pixelshuffle", img_size=48),
    "classical x3": SwinIR(3, **SMALL, upsampler="pixelshuffle", img_size=48),
    "classical x4": SwinIR(4, **SMALL, upsampler="pixelshuffle"),
    "classical x8": SwinIR(8, **SMALL, upsampler="pixelshuffle"),
    "lightweight x2": SwinIR(2, **SMALL, upsampler="pixelshuffledirect"),
    "lightweight x3": SwinIR(3, **SMALL, upsampler="pixelshuffledirect"),
    "denoising": SwinIR(1, **SMALL, upsampler="", img_size=128),
    "denoising, grey": SwinIR(1, **SMALL, upsampler="", channels=1, img_size=128),
    "JPEG": SwinIR(
        1, **SMALL, upsampler="", channels=1, img_size=126, window_size=7, img_range=255.0
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_output_as_an_independent_implementation(variant):
    network = randomise(VARIANTS[variant])
    state = network.state_dict()
    assert SwinIR.recognises(state)
    again = SwinIR.from_state(state).eval()
    lr = noise(network.conv_first.in_channels, 13, 26)
    with torch.inference_mode():
        output, expected = network(lr), peer(state)(lr)
        assert torch.equal(again(lr), output)
    assert output.shape[-2:] == (13 * network.scale, 26 * network.scale)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
    assert again.state_dict().keys() == state.keys()
    assert (again.scale, again.multiple) == (network.scale, network.window_size)


def test_a_batch_is_its_images():
    network = randomise(SwinIR(2, **SMALL))
    lr = noise(3, 16, 24, batch=3)
    with torch.inference_mode():
        alone = torch.cat([network(image[None]) for image in lr])
        torch.testing.assert_close(network(lr), alone, atol=1e-5, rtol=0)


def test_half_precision_is_as_close_as_the_independent_implementation():
    # Spandrel's masks are not of half precision unless they are those of the training size.
    network = randomise(SwinIR(2, **SMALL, img_size=16))
    lr = noise(3, 16, 16)
    with torch.inference_mode():
        exact = network(lr)
        theirs = peer(network.state_dict()).bfloat16()(lr.bfloat16()).float()
        ours = network.bfloat16()(lr.bfloat16()).float()
    assert (ours - exact).abs().max() <= 2 * (theirs - exact).abs().max()


@pytest.mark.parametrize("size", [(1, 1), (2, 30), (5, 3)])
def test_images_smaller_than_a_window(size):
    network = randomise(SwinIR(2, **SMALL))
    with torch.inference_mode():
        assert network(noise(3, *size)).shape == (1, 3, 2 * size[0], 2 * size[1])


def test_the_training_size_does_not_change_the_output():
    network = randomise(SwinIR(2, **SMALL, img_size=64))
    other = SwinIR(2, **SMALL, img_size=48).eval()
    masks = [key for key in network.state_dict() if key.endswith("attn_mask")]
    assert len(masks) == 2
    missing = other.load_state_dict(
        {key: value for key, value in network.state_dict().items() if key not in masks},
        strict=False,
    )
    assert missing.missing_keys == masks
    lr = noise(3, 24, 40)
    with torch.inference_mode():
        assert torch.equal(network(lr), other(lr))


def test_windows_that_cover_the_training_image_are_not_shifted():
    network = randomise(SwinIR(2, **SMALL, img_size=8))
    state = network.state_dict()
    assert not any("attn_mask" in key for key in state)
    again = SwinIR.from_state(state, shift=0).eval()
    assert again.shift == 0
    with torch.inference_mode():
        assert torch.equal(again(noise(3, 24, 16)), network(noise(3, 24, 16)))


def test_options_that_no_release_uses():
    network = randomise(
        SwinIR(2, **SMALL, qkv_bias=False, patch_norm=False, mlp_ratio=1.5, features=32)
    )
    again = SwinIR.from_state(network.state_dict()).eval()
    assert repr(again) == repr(network)
    with torch.inference_mode():
        assert torch.equal(again(noise(3, 9, 8)), network(noise(3, 9, 8)))


def test_training_images_that_are_no_square():
    network = SwinIR(2, **SMALL, img_size=(24, 40))
    assert (
        SwinIR.from_state(network.state_dict()).state_dict().keys() == network.state_dict().keys()
    )
    assert sizes_of_mask(15, 8) == (24, 40)
    assert sizes_of_mask(64, 8) == (64, 64)


def test_range_of_pixel_values():
    state = SwinIR(1, **SMALL, upsampler="", window_size=7, img_size=14).state_dict()
    assert SwinIR.from_state(state).img_range == 255
    assert SwinIR.from_state(state, img_range=1.0).img_range == 1
    assert SwinIR.from_state(SwinIR(1, **SMALL, upsampler="").state_dict()).img_range == 1


def test_windows_and_back():
    x = torch.arange(2 * 8 * 12 * 3).view(2, 8, 12, 3)
    windows = partition_windows(x, 4)
    assert windows.shape == (12, 16, 3)
    assert torch.equal(windows[4, 5], x[0, 5, 5])
    assert torch.equal(join_windows(windows, 4, 8, 12), x)


def test_mask_parts_what_only_the_shift_made_neighbours():
    height, width, window, shift = 12, 8, 4, 2
    mask = shifted_window_mask(height, width, window, shift)
    rows = torch.arange(height).roll(-shift)[:, None].expand(height, width)
    columns = torch.arange(width).roll(-shift)[None, :].expand(height, width)
    apart = torch.zeros(6, 16, 16, dtype=torch.bool)
    for places in (rows, columns):
        places = partition_windows(places[None, :, :, None], window)[..., 0]
        apart |= (places[:, :, None] - places[:, None, :]).abs() >= window
    assert torch.equal(mask, -100.0 * apart)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)  # stochastic depth
    network = randomise(SwinIR(2, **SMALL, drop_path=0.0)).train()
    network(noise(3, 16, 16)).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


def test_training_after_inference():
    network = randomise(SwinIR(2, **SMALL))
    with torch.inference_mode():
        network(noise(3, 16, 16))
    network.train()(noise(3, 16, 16)).mean().backward()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 3}, "no power of 2"),
        ({"scale": 6, "upsampler": "pixelshuffle"}, "3 or a power of 2"),
        ({"scale": 2, "upsampler": ""}, "needs an upsampler"),
        ({"scale": 2, "upsampler": "bicubic"}, "unknown upsampler"),
    ],
)
def test_scales_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        SwinIR(**SMALL, **options)


def test_absolute_positions_are_refused():
    state = {**SwinIR(2, **SMALL).state_dict(), "absolute_pos_embed": torch.zeros(1, 64, 24)}
    with pytest.raises(InputError, match="one size only"):
        SwinIR.from_state(state)


def test_output_on_a_fixed_input():
    network = wave(SwinIR(2, embed_dim=12, depths=(2,), num_heads=(2,), features=8))
    with torch.inference_mode():
        output = network(ramp(3, 9, 10))
    torch.testing.assert_close(output[0, :, 3, ::6], torch.tensor(SNAPSHOT), atol=1e-5, rtol=0)


SNAPSHOT = [
    [0.441216, 11.883003, -14.239334, 8.986750],
    [0.381235, 11.441601, -13.492330, 8.746192],
    [0.326990, 10.806100, -12.488927, 8.360235],
]


def test_stochastic_depth_leaves_out_whole_samples_in_training_and_keeps_the_mean():
    layer = SwinLayer(8, 2, 4, 0, 16, (8, 8), drop_path=0.25)
    x = torch.ones(4000, 2, 3)
    assert torch.equal(layer.eval()._dropped(x), x)
    torch.manual_seed(0)
    y = layer.train()._dropped(x)
    assert torch.equal(y, y[:, :1, :1].expand_as(y))
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(y.mean()) == pytest.approx(1, abs=0.04)  # 4.4 standard deviations
