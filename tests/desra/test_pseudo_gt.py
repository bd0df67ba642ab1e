import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from desra.errors import InputError
from desra.pseudo_gt import blend_weights, compose


def random_batch(seed: int, height: int, width: int, share: float = 0.1):
    generator = torch.Generator().manual_seed(seed)
    mse_sr, gan_sr = torch.rand(2, 3, 3, height, width, generator=generator).unbind()
    return mse_sr, gan_sr, torch.rand(3, 1, height, width, generator=generator) < share


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 99), st.integers(1, 19), st.integers(1, 19), st.sampled_from([0.0, 0.3, 1.0]))
def test_hard_composition_takes_every_pixel_from_exactly_one_image(seed, height, width, share):
    mse_sr, gan_sr, mask = random_batch(seed, height, width, share)
    expected = gan_sr.numpy().copy()
    inside = np.broadcast_to(mask.numpy(), expected.shape)
    expected[inside] = mse_sr.numpy()[inside]
    assert np.array_equal(compose(mse_sr, gan_sr, mask).numpy(), expected)


def test_hard_composition_of_8_bit_and_of_non_contiguous_images():
    mse_sr, gan_sr, mask = random_batch(0, 17, 13)
    to_8_bit = [(image * 255).to(torch.uint8) for image in (mse_sr, gan_sr)]
    composed = compose(*to_8_bit, mask)
    assert composed.dtype == torch.uint8
    assert torch.equal(composed, torch.where(mask, *to_8_bit))
    turned = [image.transpose(2, 3) for image in (mse_sr, gan_sr, mask)]
    assert torch.equal(compose(*turned), compose(mse_sr, gan_sr, mask).transpose(2, 3))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 99), st.integers(1, 31), st.integers(1, 31), st.integers(0, 9))
def test_weights_fall_linearly_with_the_chessboard_distance(seed, height, width, feather):
    _, _, mask = random_batch(seed, height, width, share=0.02)
    for weight, inside in zip(blend_weights(mask, feather)[:, 0], mask[:, 0].numpy(), strict=True):
        if not inside.any():
            assert not weight.any()
            continue
        distance = ndimage.distance_transform_cdt(~inside, metric="chessboard")
        expected = np.clip(1 - distance / (feather + 1), 0, 1)
        np.testing.assert_allclose(weight.numpy(), expected, atol=1e-6)


def test_each_region_counts_as_much_as_its_weight():
    mse_sr, gan_sr, _ = random_batch(2, 32, 32)
    mask, weight = torch.zeros(3, 1, 32, 32, dtype=torch.bool), torch.zeros(3, 1, 32, 32)
    for left, value in ((2, 0.25), (12, 0.75), (22, 0.0)):  # the last has no weight
        mask[..., 8:16, left : left + 8] = True
        weight[..., 8:16, left : left + 8] = value
    weight[..., 20:24, :] = 0.5  # outside of the masks as they are now
    made = compose(mse_sr, gan_sr, mask, weight=weight)
    share = torch.where(mask & (weight == 0), 1.0, weight) * mask
    torch.testing.assert_close(made, share * mse_sr + (1 - share) * gan_sr)
    soft = compose(torch.ones_like(mse_sr), torch.zeros_like(gan_sr), mask, 3, weight)[0, 0]
    torch.testing.assert_close(soft[12, 2:10], torch.full((8,), 0.25))
    torch.testing.assert_close(soft[16:20, 16], 0.75 * torch.tensor([0.75, 0.5, 0.25, 0]))
    with pytest.raises(InputError, match="only float images are mixed"):
        compose(mse_sr.byte(), gan_sr.byte(), mask, weight=weight)


@pytest.mark.parametrize("feather", [1, 4, 16])
def test_feathering_keeps_the_mask_and_the_far_field_exact(feather):
    mse_sr, gan_sr, _ = random_batch(1, 64, 64)
    mask = torch.zeros(3, 1, 64, 64, dtype=torch.bool)
    mask[:, :, 20:24, 30:40] = True
    composed = compose(mse_sr, gan_sr, mask, feather=feather)
    inside = mask.expand_as(composed)
    assert torch.equal(composed[inside], mse_sr[inside])
    far = torch.ones(64, 64, dtype=torch.bool)
    far[20 - feather : 24 + feather, 30 - feather : 40 + feather] = False
    assert torch.equal(composed[..., far], gan_sr[..., far])
    step = (composed - gan_sr)[:, :, 19, 35] / (mse_sr - gan_sr)[:, :, 19, 35]
    torch.testing.assert_close(
        step, torch.full_like(step, feather / (feather + 1)), atol=1e-3, rtol=0
    )


def test_keeps_the_channels_last_layout():
    mse_sr, gan_sr, mask = random_batch(2, 16, 16)
    last = [image.to(memory_format=torch.channels_last) for image in (mse_sr, gan_sr)]
    assert compose(*last, mask).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m, g, k: (m[..., 1:], g, k), "MSE-SR is"),
        (lambda m, g, k: (m.double(), g, k), "MSE-SR is"),
        (lambda m, g, k: (m, g, k.float()), "bool mask"),
        (lambda m, g, k: (m, g, k[:1]), "bool mask"),
        (lambda m, g, k: (m, g, k[..., :-1]), "bool mask"),
    ],
)
def test_says_what_does_not_fit(change, said):
    with pytest.raises(InputError, match=said):
        compose(*change(*random_batch(3, 8, 8)))


def test_refuses_feathered_8_bit_images_and_negative_widths():
    mse_sr, gan_sr, mask = random_batch(4, 8, 8)
    with pytest.raises(InputError, match="convert uint8"):
        compose(mse_sr.to(torch.uint8), gan_sr.to(torch.uint8), mask, feather=2)
    with pytest.raises(InputError, match="feather=-1"):
        compose(mse_sr, gan_sr, mask, feather=-1)
