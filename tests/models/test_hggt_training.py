"""GAN runs on sets of ground truths with negatives: two ranks, and runs that go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from datamodules.hggt import HGGTSets
from desra.hggt_labels import Tagging, write_tagging
from desra.images import write_png
from models.losses import NegativeLoss
from tests.models.finetuning import (
    SaveAt,
    assert_same_weights,
    fit,
    make_finetuner,
    make_noisy,
    weights_of,
)
from tests.processes import call_forked

NEGATIVE: dict[str, Any] = {"negative": NegativeLoss(30.0), "artifact": None}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six sets with a Positive each, of which two have a Negative."""
    root, random = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    for number in range(6):
        for version in ("original", "01", "02"):
            pixels = random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            write_png(root / "images" / version / f"{number}.png", pixels)
        said = Tagging({"01": "Positive", "02": "Negative" if number < 2 else "Similar"})
        write_tagging(root / "labels" / "A" / f"{number}.json", said)
    return root


def data_of(root: Path, batch_size: int) -> HGGTSets:
    return HGGTSets(
        *(str(root / "images"), str(root / "labels")),
        negatives=True,
        val_share=0,
        hr_crop=40,
        gt_crop=32,
        batch_size=batch_size,
        pool_size=8,
        group_size=4,
        epoch_steps=4,
        num_workers=0,
    )


class Rank(Callback):
    """Saves what this rank saw and became."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.negatives = folder, []

    def on_train_batch_end(self, trainer: Trainer, _: Any, __: Any, batch: Any, ___: int) -> None:
        self.negatives.append(int((batch["negative_share"] > 0).sum()))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = {"negatives": self.negatives, "state": pl_module.state_dict()}
        torch.save(found, self.folder / f"{trainer.global_rank}.pt")


def _train_on_two_ranks(sets: Path, folder: Path) -> None:
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork, and must not be waited for
    ranks = {"strategy": "ddp_fork", "devices": 2}
    fit(make_finetuner(**NEGATIVE), data_of(sets, 2), 4, [Rank(folder)], **ranks)


def test_two_ranks_with_unequal_shares_of_negatives_are_one(sets: Path, tmp_path: Path) -> None:
    """Two forked processes over gloo share each batch of four; one often has no negative."""
    call_forked(_train_on_two_ranks, sets, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    shares = list(zip(first["negatives"], second["negatives"], strict=True))
    assert any(a != b and min(a, b) == 0 for a, b in shares), shares

    module, untrained = make_finetuner(**NEGATIVE), make_finetuner(**NEGATIVE)
    fit(module, data_of(sets, 4), 4)
    for found in (first["state"], second["state"]):
        for key, value in module.state_dict().items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=1e-6)
    assert (weights_of(module.generator) - weights_of(untrained.generator)).abs().max() > 1e-3


@pytest.mark.parametrize("saved_after", [3, 4])
def test_a_resumed_gan_run_is_the_uninterrupted_one_bit_for_bit(
    sets: Path, tmp_path: Path, saved_after: int
) -> None:
    path, terms = tmp_path / "saved.ckpt", {"negative": NegativeLoss(30.0)}
    straight = make_noisy(**terms)
    fit(straight, data_of(sets, 2), 7, [SaveAt(saved_after, path)])  # pools of 4 steps, as epochs
    torch.manual_seed(99)
    resumed = make_noisy(**terms)
    fit(resumed, data_of(sets, 2), 7, ckpt_path=path)
    assert_same_weights(resumed, straight)
