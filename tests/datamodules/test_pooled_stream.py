from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.pooled_stream import PooledStream, PoolLayout


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 60),
    st.integers(1, 13),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(0, 9),
)
def test_each_sample_of_a_window_is_made_and_handed_out_once(
    pool, group, batch, world, window, seed
):
    ranks = [PoolLayout(pool, group, batch, rank, world, seed) for rank in range(world)]
    size = ranks[0].window_samples
    assert pool <= size < pool + batch * world
    handed, made = [], []
    for layout in ranks:
        mine = [n for step in range(layout.steps) for n in layout.handed_out(window, step)]
        groups = layout.groups(window)
        assert sorted(n for numbers in groups.values() for n in numbers) == sorted(mine)
        assert all(n // group == number for number, ns in groups.items() for n in ns)
        assert all(groups.values())
        handed += mine
        made += groups
    assert sorted(handed) == list(range(window * size, (window + 1) * size))
    one = PoolLayout(pool, group, batch * world, 0, 1, seed)
    for step in range(one.steps):
        parts = [n for layout in ranks for n in layout.handed_out(window, step)]
        assert one.handed_out(window, step) == parts


def test_batches_mix_groups_evenly():
    layout = PoolLayout(180, 12, 12, 0, 1, seed=0)
    batches = [layout.handed_out(w, s) for w in range(20) for s in range(layout.steps)]
    kinds = [len({number // 12 for number in batch}) for batch in batches]
    # Of 12 places drawn without replacement from 15 groups of 12.
    none_of_a_group = np.prod([(168 - place) / (180 - place) for place in range(12)])
    assert np.mean(kinds) == pytest.approx(15 * (1 - none_of_a_group), abs=0.2)


class Counting:
    version = 0

    def plan(self, index):
        return index


def make(plans):
    return {
        "number": torch.tensor(plans),
        "index": torch.tensor(plans),
        "keys": list(map(str, plans)),
    }


def finish(batch, group):
    assert set((batch["number"] // 4).tolist()) == {group}
    return {"number": batch["number"], "group": torch.full_like(batch["number"], group)}


def stream_of(batch_size=6, rank=0, world=1, **options):
    layout = PoolLayout(20, 4, batch_size, rank, world, seed=3)
    return PooledStream(Counting(), make, finish, layout, 5, **options)


def rows(batches):
    return [
        list(
            zip(
                b["number"].tolist(),
                b["group"].tolist(),
                b["index"].tolist(),
                b["keys"],
                strict=True,
            )
        )
        for b in batches
    ]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_ranks_and_workers_change_nothing(num_workers):
    whole = rows(stream_of())
    assert sorted(row[0] for batch in whole[:4] for row in batch) == list(range(24))
    assert all(str(n) == key and n == i for batch in whole for n, _, i, key in batch)
    ranks = [stream_of(3, rank, 2, num_workers=num_workers) for rank in (0, 1)]
    parts = zip(*(rows(stream) for stream in ranks), strict=True)
    assert [first + second for first, second in parts] == whole
    for stream in ranks:
        stream.close()


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("steps", [1, 3, 4, 6])
def test_a_resumed_stream_goes_on_within_the_window(num_workers, steps):
    stream = stream_of()
    first = rows(stream) + rows(stream)
    again = stream_of()
    list(islice(iter(again), min(steps, 5)))
    list(islice(iter(again), steps - min(steps, 5)))
    resumed = stream_of(num_workers=num_workers)
    resumed.load_state_dict(again.state_dict())
    assert rows(islice(iter(resumed), 3)) == first[steps : steps + 3]
    resumed.close()
