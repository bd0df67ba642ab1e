"""Low-rank changes of weights: what is trained, what is averaged and exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from callbacks.weight_export import WeightExport
from desra.errors import InputError
from models.generators import load_generator
from tests.models.finetuning import fit, loader, make_batches, make_finetuner

RANK = 2


def finetuner(rank: int = RANK):
    return make_finetuner(low_rank=rank, artifact=None, adversarial=None, learning_rate=1e-2)


def test_weights_change_by_a_matrix_of_that_rank_and_nothing_else(tmp_path: Path) -> None:
    module = finetuner()
    before = {name: value.clone() for name, value in module.ema.module.state_dict().items()}
    fit(module, loader(make_batches(4)), 4, [WeightExport(tmp_path, "small")])
    after: dict[str, Tensor] = module.plain_generator.state_dict()
    assert after.keys() == before.keys()
    ranks = set()
    for name, value in after.items():
        change = (value - before[name]).double()
        if name.endswith("bias"):
            assert torch.equal(value, before[name]), name
        else:
            ranks.add(int(torch.linalg.matrix_rank(change.flatten(1), rtol=1e-4)))
            averaged = module.ema.module.state_dict()[name]
            assert 0 < (averaged - before[name]).abs().max() < change.abs().max(), name
    assert ranks == {RANK}
    exported = load_generator(tmp_path / "small.pth").state_dict()
    assert all(torch.equal(exported[name], module.ema.module.state_dict()[name]) for name in after)

    torch.manual_seed(1)
    restored = finetuner()
    restored.load_state_dict(module.state_dict())
    found = restored.plain_generator.state_dict()
    assert all(torch.equal(found[name], value) for name, value in after.items())


def test_a_rank_that_limits_nothing_is_one_line() -> None:
    for rank in (0, 10_000):
        with pytest.raises(InputError, match=f"model.low_rank={rank}: "):
            finetuner(rank)
