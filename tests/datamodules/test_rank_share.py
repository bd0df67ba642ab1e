import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from datamodules.rank_share import NO_ITEM, RankShare

ROOT = Path(__file__).parents[2]
PROGRAM = """
    import json, sys
    from lightning import LightningDataModule, LightningModule, Trainer
    from torch.utils.data import DataLoader
    from datamodules.rank_share import NO_ITEM, RankShare, present

    class Names(LightningDataModule):
        def __init__(self, names):
            super().__init__()
            self.names = names

        def __len__(self):
            return len(self.names)

        def __getitem__(self, index):
            return None if index == NO_ITEM else self.names[index]

        def predict_dataloader(self):
            share = RankShare(len(self), self.trainer.global_rank, self.trainer.world_size)
            return DataLoader(self, batch_size=2, sampler=share, collate_fn=present)

    class Task(LightningModule):
        seen = []

        def predict_step(self, batch):
            self.seen += batch

        def on_predict_end(self):
            self.trainer.strategy.barrier()
            with open(f"{sys.argv[1]}/{self.trainer.global_rank}.json", "w") as file:
                json.dump(self.seen, file)

    trainer = Trainer(accelerator="cpu", strategy="ddp", devices=2, logger=False,
                      enable_checkpointing=False, enable_progress_bar=False)
    trainer.predict(Task(), Names(sys.argv[2:]))
"""


@pytest.mark.parametrize(("size", "ranks"), [(0, 2), (1, 3), (7, 1), (7, 3), (9, 3)])
def test_every_item_is_in_one_share_and_no_rank_is_without_an_index(size, ranks):
    shares = [list(RankShare(size, rank, ranks)) for rank in range(ranks)]
    items = [index for share in shares for index in share if index != NO_ITEM]
    assert sorted(items) == list(range(size))
    assert [len(RankShare(size, rank, ranks)) for rank in range(ranks)] == list(map(len, shares))
    assert min(map(len, shares)) == 1 or size >= ranks
    assert all(NO_ITEM not in share or share == [NO_ITEM] for share in shares)


def test_a_rank_without_a_share_ends_with_the_others(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, str(program), str(tmp_path), "only"],
        env=environment,
        check=True,
        timeout=200,
    )
    seen = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert seen == [["only"], []]
