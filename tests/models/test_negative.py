"""HGGT's negative term against a loop over samples, as its paper and FACTS state it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from desra.errors import InputError
from models.losses import NegativeLoss, PixelLoss
from tests.models.finetuning import (
    fit,
    loader,
    make_batches,
    make_finetuner,
    weights_of,
)


def window_variance(plane: Tensor) -> Tensor:
    """Of an ``(H, W)`` plane, 3 × 3 windows one by one, reflected borders."""
    padded = F.pad(plane[None, None].double(), [1] * 4, mode="reflect")[0, 0]
    height, width = plane.shape
    return torch.stack(
        [
            torch.stack([padded[y : y + 3, x : x + 3].var(unbiased=True) for x in range(width)])
            for y in range(height)
        ]
    )


def sample_map(original, negative, negative_votes, positive, positive_votes) -> Tensor:
    faults = (negative_votes / 3) * window_variance((original - negative).abs().sum(0)) ** 0.75
    wanted = (positive_votes / 3) * window_variance((original - positive).abs().sum(0)) ** 0.75
    return torch.where(wanted >= faults, 0.0, faults)


def loop(output: Tensor, batch: dict[str, Tensor]) -> Tensor:
    total = output.new_zeros((), dtype=torch.float64)
    for i in range(len(output)):
        negative_votes = 3 * batch["negative_share"][i].double()
        if negative_votes == 0:
            continue
        weight = sample_map(
            batch["original"][i],
            batch["negative"][i],
            negative_votes,
            batch["positive"][i],
            3 * batch["positive_share"][i].double(),
        )
        total += 300 * (weight * output[i] - weight * batch["negative"][i]).abs().mean()
    return -total / len(output)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    names = ("original", "negative", "positive")
    images = {name: torch.rand(4, 3, 11, 14, generator=generator) for name in names}
    images["positive"][3] = images["original"][3]  # no positive of this one
    return {
        **images,
        "negative_share": torch.tensor([2 / 3, 1.0, 0.0, 2 / 3]),
        "positive_share": torch.tensor([1.0, 2 / 3, 1.0, 1.0]),
    }


@pytest.fixture
def output() -> Tensor:
    return torch.rand(4, 3, 11, 14, generator=torch.Generator().manual_seed(1))


def test_the_map_is_the_definition(batch: dict[str, Tensor]) -> None:
    found = NegativeLoss().weight_map(
        batch["original"],
        batch["negative"],
        batch["negative_share"].view(-1, 1, 1, 1),
        batch["positive"],
        batch["positive_share"].view(-1, 1, 1, 1),
    )
    assert found.shape == (4, 1, 11, 14)
    for i in range(4):
        votes = [3 * batch[f"{kind}_share"][i].double() for kind in ("negative", "positive")]
        expected = sample_map(
            batch["original"][i], batch["negative"][i], votes[0], batch["positive"][i], votes[1]
        )
        torch.testing.assert_close(found[i, 0].double(), expected, rtol=0, atol=1e-6)
    assert 0.1 < (found[0] == 0).float().mean() < 0.9


def test_the_batch_is_the_loop_over_its_samples(batch: dict[str, Tensor], output: Tensor) -> None:
    output.requires_grad_()
    loss = NegativeLoss()(output, batch)
    (found,) = torch.autograd.grad(loss, output)
    (expected,) = torch.autograd.grad(loop(output, batch), output)
    torch.testing.assert_close(loss.double(), loop(output, batch), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-7)
    assert loss < 0


def test_no_negatives_add_exactly_nothing(batch: dict[str, Tensor], output: Tensor) -> None:
    output.requires_grad_()
    batch["negative_share"].zero_()
    loss = NegativeLoss()(output, batch)
    (gradient,) = torch.autograd.grad(loss, output)
    assert loss == 0
    assert not gradient.any()


def test_without_a_positive_the_map_is_not_refined(batch: dict[str, Tensor]) -> None:
    plain = (2 / 3) * window_variance(
        (batch["original"][3] - batch["negative"][3]).abs().sum(0)
    ) ** 0.75
    found = NegativeLoss().weight_map(
        *(batch[name][3:] for name in ("original", "negative")), 2 / 3, batch["positive"][3:], 1.0
    )
    torch.testing.assert_close(found[0, 0].double(), plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_two_ranks_of_half_a_batch_are_one_of_a_whole(
    batch: dict[str, Tensor], output: Tensor, share: float
) -> None:
    batch["negative_share"][: int(4 * share)] = 0.0  # all of the first rank's, say
    whole = NegativeLoss()(output, batch)
    halves = [
        NegativeLoss()(output[part], {key: value[part] for key, value in batch.items()})
        for part in (slice(0, 2), slice(2, 4))
    ]
    torch.testing.assert_close(torch.stack(halves).mean(), whole)


def test_desra_tuples_have_negatives_inside_their_masks(output: Tensor) -> None:
    generator = torch.Generator().manual_seed(2)
    images = {name: torch.rand(4, 3, 11, 14, generator=generator) for name in ("mse_sr", "gan_sr")}
    mask = torch.zeros(4, 1, 11, 14, dtype=torch.bool)
    mask[0, :, 2:7, 3:9] = True
    output.requires_grad_()
    (gradient,) = torch.autograd.grad(NegativeLoss()(output, {**images, "mask": mask}), output)
    inside = mask.expand_as(gradient)
    assert gradient[inside].abs().min() > 0
    assert not gradient[~inside].any()
    # downhill is away from GAN-SR
    away = (output - images["gan_sr"]).sign()
    assert torch.equal(-gradient[inside].sign(), away[inside])


def test_data_without_negatives_is_refused(output: Tensor) -> None:
    with pytest.raises(InputError, match=r"model\.negative"):
        NegativeLoss()(output, {"gt": output})


def test_the_finetuner_adds_it() -> None:
    batches = make_batches(3)
    terms = {"pixel": PixelLoss(), "adversarial": None, "artifact": None}
    without, within = make_finetuner(**terms), make_finetuner(**terms, negative=NegativeLoss(30.0))
    fit(without, loader(batches), steps=3)
    trainer = fit(within, loader(batches), steps=3)
    losses = trainer.callback_metrics
    assert losses["loss/negative"] < 0
    torch.testing.assert_close(
        losses["loss/generator"], losses["loss/pixel"] + losses["loss/negative"]
    )
    assert not torch.equal(weights_of(without.generator), weights_of(within.generator))
    assert within.hparams["negative"]["weight"] == 30.0
