from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules.degradations import BlurKernels, Degradation, Resize, Round, resize
from datamodules.degradations.draws import Draws
from datamodules.degradations.pipeline import SECOND_ROUND
from datamodules.randomness import Purpose
from desra.errors import InputError

NOTHING = Round(
    blur_probability=0,
    resize=Resize((0, 0, 1)),
    gaussian_probability=1,
    gaussian=(0, 0),
    jpeg=(100, 100),
)


@pytest.fixture
def images_of(photo):
    def make(count, side=80):
        pixels = np.stack([photo(seed, side, side) for seed in range(count)])
        return torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32)) / 255

    return make


def test_a_sample_is_the_same_in_any_part_of_its_batch(images_of):
    images, degrade = images_of(4), Degradation()
    for batch_number in range(12):
        whole = degrade(images, 3, batch_number, [10, 11, 12, 13])
        assert whole.shape == (4, 3, 20, 20)
        assert torch.equal(degrade(images, 3, batch_number, [10, 11, 12, 13]), whole)
        some = degrade(images[[2, 0]], 3, batch_number, [12, 10])
        torch.testing.assert_close(some, whole[[2, 0]], atol=1.01 / 255, rtol=0)
        assert (some != whole[[2, 0]]).float().mean() < 0.01
        assert 0 <= whole.min() <= whole.max() <= 1
        torch.testing.assert_close(whole * 255, (whole * 255).round(), atol=1e-4, rtol=0)


def test_seed_batch_and_number_all_matter(images_of):
    images, degrade = images_of(1), Degradation()
    results = [
        degrade(images, *what) for what in ((0, 0, [0]), (1, 0, [0]), (0, 1, [0]), (0, 0, [1]))
    ]
    assert all(not torch.equal(results[0], other) for other in results[1:])
    assert not images.requires_grad


def test_with_everything_off_only_the_size_changes(images_of):
    degrade = Degradation(first=NOTHING, second=NOTHING, final_sinc_probability=0)
    images = images_of(2).mean(1, keepdim=True).expand(-1, 3, -1, -1)  # JPEG halves colours
    small = degrade(images, 0, 0, [0, 1])
    candidates = [resize(images, (20, 20), method) for method in ("area", "bilinear", "bicubic")]
    assert min((small - other).abs().mean() for other in candidates) < 0.02


@pytest.mark.parametrize(
    ("first", "what"),
    [
        ({"gaussian": (30, 30)}, "noise"),
        ({"gaussian_probability": 0, "poisson": (3, 3)}, "noise"),
        ({"jpeg": (10, 10)}, "blocks"),
        (
            {
                "blur": BlurKernels((3, 3), (1, 0, 0, 0, 0, 0), sinc_probability=0),
                "blur_probability": 1,
            },
            "blur",
        ),
    ],
)
def test_each_step_does_its_part(first, what, images_of):
    degrade = Degradation(1, NOTHING, NOTHING, 0)
    images = images_of(1, side=96)
    plain = degrade(images, 0, 0, [0])
    changed = replace(degrade, first=replace(NOTHING, **first))(images, 0, 0, [0])
    rough = lambda batch: (batch[..., 1:] - batch[..., :-1]).abs().mean()  # noqa: E731
    if what == "noise":
        assert rough(changed) > 1.5 * rough(plain)
    elif what == "blur":
        assert rough(changed) < 0.7 * rough(plain)
    else:
        across = (changed[..., 8::8] - changed[..., 7:-1:8]).abs().mean()
        assert across > 1.2 * (changed[..., 4::8] - changed[..., 3::8]).abs().mean()


def test_factors_are_drawn_with_their_probabilities_and_limits():
    rule = SECOND_ROUND.resize
    drawn = [rule.draw(Draws(0, Purpose.SHARED_DEGRADATION, [number], 3)) for number in range(2000)]
    factors = np.array([factor for factor, _ in drawn])
    shares = [np.mean(factors > 1), np.mean(factors < 1), np.mean(factors == 1)]
    np.testing.assert_allclose(shares, rule.probabilities, atol=0.03)
    assert 0.3 <= factors.min() < 0.31
    assert 1.19 < factors.max() <= 1.2
    methods = [method for _, method in drawn]
    for method in ("area", "bilinear", "bicubic"):
        assert methods.count(method) / 2000 == pytest.approx(1 / 3, abs=0.03)


def test_tiny_images_survive_every_factor(images_of):
    degrade = Degradation()
    for number in range(20):
        assert degrade(images_of(1, side=8), 0, number, [number]).shape == (1, 3, 2, 2)


def test_without_jpeg_there_are_no_blocks(images_of):
    images = images_of(1, side=96).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    plain = Degradation(1, replace(NOTHING, jpeg=None), replace(NOTHING, jpeg=None), 0)
    torch.testing.assert_close(plain(images, 0, 0, [0]), images, atol=0.51 / 255, rtol=0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Round(jpeg=(0, 95)), r"jpeg=\[0, 95\]"),
        (lambda: Round(gaussian=(30, 1)), "lower one first"),
        (lambda: Round(poisson=(-1, 1)), "poisson"),
        (lambda: Round(grey_probability=1.4), "grey_probability=1.4"),
        (lambda: BlurKernels(sigma=(0.0, 2.0)), "blur.sigma"),
        (lambda: BlurKernels(probabilities=(1, 0)), "give 6 probabilities"),
        (lambda: BlurKernels(probabilities=(0,) * 6), "not all of them 0"),
        (lambda: BlurKernels(sinc_probability=-1), "sinc_probability"),
        (lambda: Resize(limits=(1.1, 1.5)), "1 is not within"),
        (lambda: Resize(probabilities=(1, 1)), "give 3 probabilities"),
        (lambda: Degradation(scale=0), "scale=0"),
        (lambda: Degradation(final_sinc_probability=2), "final_sinc_probability=2"),
    ],
)
def test_refuses_settings_out_of_their_range(make, said):
    with pytest.raises(InputError, match=said):
        make()


def test_refuses_sizes_that_are_no_multiple_of_the_scale():
    with pytest.raises(InputError, match="42x40 is no multiple of the scale 4"):
        Degradation()(torch.zeros(1, 3, 40, 42), 0, 0, [0])
