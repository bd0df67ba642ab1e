import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from datamodules.degradations.draws import Draws
from datamodules.degradations.kernels import SIZES, BlurKernels, bell_kernels, sinc_kernels
from datamodules.randomness import Purpose


def draw(kernels: BlurKernels, count: int) -> np.ndarray:
    draws = Draws(0, Purpose.DEGRADATION, range(count), BlurKernels.DRAWS)
    return kernels.draw(draws).double().numpy()


def sides(kernels: np.ndarray) -> np.ndarray:
    """The side of the smallest centred square that holds all of a kernel."""
    return 2 * np.array([np.abs(np.argwhere(kernel) - 10).max() for kernel in kernels]) + 1


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
def test_the_plain_kernel_is_the_bivariate_normal_density(angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    covariance = turn @ np.diag([2.5**2, 1.2**2]) @ turn.T
    x, y = np.meshgrid(np.arange(-6, 7), np.arange(-6, 7))
    density = stats.multivariate_normal([0, 0], covariance).pdf(np.dstack([x, y]))
    kernel = bell_kernels([13], [2.5], [1.2], [angle], [1.0], [False])[0].numpy()
    np.testing.assert_allclose(kernel[4:17, 4:17], density / density.sum(), atol=1e-12)
    assert kernel.sum() == pytest.approx(1)
    assert not kernel[:4].any()


@pytest.mark.parametrize(
    ("beta", "plateau"), [(0.5, False), (4.0, False), (1.0, True), (2.0, True)]
)
def test_other_families_fall_with_the_radius_as_their_formulas_say(beta, plateau):
    kernel = bell_kernels([21], [3.0], [3.0], [0.0], [beta], [plateau])[0].numpy()
    q = (np.arange(11) / 3.0) ** 2
    profile = 1 / (1 + q**beta) if plateau else np.exp(-0.5 * q**beta)
    np.testing.assert_allclose(kernel[10, 10:] / kernel[10, 10], profile, rtol=1e-12)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-15)


@pytest.mark.parametrize("cutoff", [0.7, 1.5, np.pi])
def test_the_sinc_is_the_transform_of_a_disc(cutoff):
    """∫ over |f| < ω of cos(f · x) / 4π², by numerical integration along f."""
    kernel = sinc_kernels([cutoff], [21])[0].numpy()
    plain = [
        integrate.quad(lambda f, r=r: f * special.j0(f * r), 0, cutoff)[0] / (2 * np.pi)
        for r in range(11)
    ]
    ratio = kernel[10, 10:] / kernel[10, 10]
    np.testing.assert_allclose(ratio, np.array(plain) / plain[0], atol=1e-7)
    assert kernel.sum() == pytest.approx(1)


def test_sizes_and_families_are_drawn_with_their_probabilities():
    kernels = draw(BlurKernels(sigma=(2.0, 3.0), sinc_probability=0.3), 3000)
    np.testing.assert_allclose(kernels.sum((1, 2)), 1, atol=1e-6)
    counts = [np.mean(sides(kernels) == side) for side in SIZES]
    np.testing.assert_allclose(counts, 1 / 8, atol=0.03)
    assert np.mean(kernels.min((1, 2)) < 0) == pytest.approx(0.3, abs=0.03)  # only sincs go below 0
    x, y = np.meshgrid(np.arange(21) - 10, np.arange(21) - 10)
    moments = [(kernels * part).sum((1, 2)) for part in (x**2 - y**2, 2 * x * y)]
    elongated = np.hypot(*moments) > 1e-4
    expected = 0.7 * (0.25 + 0.03 + 0.03)
    assert np.mean(elongated) == pytest.approx(expected, abs=0.03)


def test_one_family_only_gives_that_family_within_its_limits():
    iso = BlurKernels((1.0, 2.0), (1, 0, 0, 0, 0, 0), sinc_probability=0)
    kernels = draw(iso, 400)
    kernels = kernels[sides(kernels) > 13]
    axis = np.arange(21) - 10
    sigma = np.sqrt((kernels.sum(1) * axis**2).sum(1))
    assert 0.99 < sigma.min() < 1.1
    assert 1.9 < sigma.max() < 2.01
    assert stats.kstest(sigma, stats.uniform(1.0, 1.0).cdf).pvalue > 0.01


def test_plateaus_and_generalised_kernels_draw_half_their_exponents_on_each_side_of_1():
    flat = BlurKernels((2.0, 2.0), (0, 0, 1, 0, 0, 0), (0.5, 4.0), sinc_probability=0)
    kernels = draw(flat, 1500)
    drop = -2 * np.log(kernels[:, 10, 12] / kernels[:, 10, 10])  # q = 1 at σ: the same for every β
    np.testing.assert_allclose(drop, 1, atol=1e-4)
    beta = np.log(-2 * np.log(kernels[:, 10, 13] / kernels[:, 10, 10])) / np.log(1.5**2)
    assert np.mean(beta < 1) == pytest.approx(0.5, abs=0.04)
    assert beta.min() == pytest.approx(0.5, abs=0.01)
    assert beta.max() == pytest.approx(4, abs=0.1)


def test_a_sample_has_the_same_kernel_in_any_batch():
    whole = draw(BlurKernels(), 6)
    draws = Draws(0, Purpose.DEGRADATION, [3, 1], BlurKernels.DRAWS)
    assert np.array_equal(BlurKernels().draw(draws).double().numpy(), whole[[3, 1]])
    assert torch.get_default_dtype() == torch.float32
