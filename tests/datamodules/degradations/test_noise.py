import numpy as np
import pytest
import torch
from scipy import stats

from datamodules.degradations.draws import Draws, NoiseSource
from datamodules.degradations.noise import add_gaussian_noise, add_poisson_noise
from datamodules.randomness import Purpose


def source(count, seed=0):
    return NoiseSource(seed, Purpose.FIRST_NOISE, range(count), torch.device("cpu"))


def test_gaussian_noise_has_its_sigma_and_is_grey_where_asked():
    images = torch.full((3, 3, 128, 128), 0.5)
    sigma, grey = np.array([5.0, 20.0, 10.0]), np.array([False, False, True])
    noise = (add_gaussian_noise(images, sigma, grey, source(3)) - images) * 255
    np.testing.assert_allclose(noise.std((1, 2, 3)).numpy(), sigma, rtol=0.03)
    np.testing.assert_allclose(noise.mean((1, 2, 3)).numpy(), 0, atol=0.3)
    correlation = [np.corrcoef(one.flatten(1).numpy())[0, 1] for one in noise]
    np.testing.assert_allclose(correlation, [0, 0, 1], atol=0.03)
    assert not torch.equal(noise[0], noise[1])


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_poisson_noise_has_the_variance_of_counts(scale):
    levels = torch.arange(256).repeat(2, 3, 256, 1) / 255
    noisy = add_poisson_noise(
        levels * 0.5 + 0.25, np.array([scale, scale]), np.zeros(2, bool), source(2)
    )
    middle = levels[0, 0] * 0.5 + 0.25
    noise = noisy[0] - middle
    photons = 128  # the 128 levels that occur
    clear = noisy[0].gt(0).all((0, 1)) & noisy[0].lt(1).all((0, 1))
    variance = noise.var((0, 1))[clear] * photons / scale**2
    np.testing.assert_allclose(variance.mean().item(), middle[0][clear].mean().item(), rtol=0.05)
    assert noise[:, :, clear].mean().abs() < 0.01


def test_photons_follow_the_levels_that_occur():
    """Two levels are counts of two photons: one flickers by halves, black is always black."""
    images = torch.zeros(1, 3, 32, 64)
    images[..., 32:] = 128 / 255
    noisy = add_poisson_noise(images, np.array([1.0]), np.array([False]), source(1))
    assert not noisy[..., :32].any()
    photons = 2 * noisy[..., 32:]
    torch.testing.assert_close(photons, photons.round(), atol=1e-5, rtol=0)
    shares = [(photons.round() == count).float().mean().item() for count in (0, 1, 2)]
    expected = [stats.poisson(256 / 255).pmf(0), stats.poisson(256 / 255).pmf(1)]
    np.testing.assert_allclose(shares, [*expected, 1 - sum(expected)], atol=0.03)


def test_grey_shot_noise_is_that_of_the_luma():
    images = torch.rand(1, 3, 64, 64) * 0.25 + 0.25  # so far from 1 that nothing is clipped
    noisy = add_poisson_noise(images, np.array([1.0]), np.array([True]), source(1))
    noise = (noisy - images)[0]
    torch.testing.assert_close(noise[0], noise[1], atol=1e-6, rtol=0)
    torch.testing.assert_close(noise[0], noise[2], atol=1e-6, rtol=0)
    assert noise.std() > 0.02


@pytest.mark.parametrize("add", [add_gaussian_noise, add_poisson_noise])
def test_noise_stays_in_range_leaves_its_input_and_belongs_to_the_sample(add):
    images = torch.rand(3, 3, 16, 16)
    before = images.clone()
    strength, grey = np.array([30.0, 3.0, 2.0]), np.array([False, True, False])
    noisy = add(images, strength, grey, source(3))
    assert torch.equal(images, before)
    assert 0 <= noisy.min() <= noisy.max() <= 1
    one = NoiseSource(0, Purpose.FIRST_NOISE, [1], torch.device("cpu"))
    assert torch.equal(add(images[1:2], strength[1:2], grey[1:2], one), noisy[1:2])
    assert not torch.equal(add(images, strength, grey, source(3, seed=1)), noisy)


def test_draws_have_their_ranges_and_weights():
    draws = Draws(0, Purpose.DEGRADATION, range(4000), 4)
    uniform = draws.uniform(2, 4)
    assert 2 <= uniform.min() < 2.01 < 3.99 < uniform.max() < 4
    assert np.mean(draws.chance(0.25)) == pytest.approx(0.25, abs=0.02)
    shares = np.bincount(draws.place([2, 0, 6, 2]), minlength=4) / 4000
    np.testing.assert_allclose(shares, [0.2, 0, 0.6, 0.2], atol=0.03)
    assert set(draws.one_of("abc")) == set("abc")
    with pytest.raises(StopIteration):
        draws.uniform()
