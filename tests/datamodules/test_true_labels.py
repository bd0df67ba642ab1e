"""Artifacts by the true image: the correlation of gradients, and what it calls lost."""

import pytest
import torch

from datamodules.true_labels import agreement, true_labels


def noise(seed, side=64):
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_agreement_of_any_two_images_is_symmetrical_and_bounded():
    first, second = noise(0), noise(1)
    between = agreement(first, second)
    assert 0 <= between.min() <= between.max() < 0.6
    assert torch.equal(between, agreement(second, first))
    torch.testing.assert_close(agreement(first, first), torch.ones_like(between))
    assert agreement(first, 1 - first).max() < 0.01  # every edge the other way round


@pytest.mark.parametrize("slope", [0.002, 0.01])
def test_a_flat_image_agrees_with_another_flat_one_alone(slope):
    flat = torch.full((1, 3, 64, 64), 0.5)
    torch.testing.assert_close(agreement(flat, flat + 0.2), torch.ones(1, 1, 64, 64))
    ramp = (slope * torch.arange(64.0)).expand(1, 3, 64, 64)
    quiet = 2 / 255  # gradients are those of squares of 1, 2 and 4 pixels a side
    expected = sum(quiet / (quiet**2 + (side * slope) ** 2) ** 0.5 for side in (1, 2, 4)) / 3
    for pair in ((flat, ramp), (ramp, flat)):
        assert agreement(*pair)[0, 0, 32, 32].item() == pytest.approx(expected, abs=1e-5)


def test_texture_on_a_flat_truth_is_an_artifact_and_flatness_on_texture_is():
    flat, texture = torch.full((1, 3, 64, 64), 0.5), 0.3 + 0.4 * noise(2)
    assert true_labels(flat, flat, texture)[..., 16:48, 16:48].all()
    assert not true_labels(flat, texture, flat).any()
    assert true_labels(texture, texture, flat)[..., 16:48, 16:48].all()
    assert not true_labels(texture, flat, flat).any()
