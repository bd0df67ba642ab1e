from itertools import islice

import pytest
import torch

from datamodules.sample_stream import SampleStream
from desra.errors import InputError


class Counting:
    """Plans that say which sample they are and how often something had changed by then."""

    def __init__(self):
        self.version = 0

    def plan(self, index):
        return index, self.version


def make(plans):
    if any(index == 1000 for index, _ in plans):
        raise InputError("sample 1000: not to be had")
    return {"plans": torch.tensor(plans)}


def stream_of(planner, **options):
    return SampleStream(planner, make, **{"batch_size": 3, "epoch_steps": 4, **options})


def samples(batches):
    return [tuple(plan) for batch in batches for plan in batch["plans"].tolist()]


def test_epochs_go_on_where_the_last_one_ended():
    stream = stream_of(Counting())
    assert len(stream) == 4
    assert samples(stream) == [(i, 0) for i in range(12)]
    assert samples(stream) == [(i, 0) for i in range(12, 24)]
    assert stream.position == 24


@pytest.mark.parametrize("num_workers", [0, 2])
def test_ranks_share_the_samples_of_each_step(num_workers):
    ranks = [
        stream_of(Counting(), rank=rank, world_size=2, num_workers=num_workers) for rank in (0, 1)
    ]
    one = stream_of(Counting(), batch_size=6)
    for batches in zip(*ranks, one, strict=True):
        *parts, whole = (samples([batch]) for batch in batches)
        assert parts[0] + parts[1] == whole
    assert {stream.position for stream in (*ranks, one)} == {24}
    for stream in ranks:
        stream.close()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_was_prepared_before_a_change_is_made_again(num_workers):
    planner = Counting()
    stream = stream_of(planner, num_workers=num_workers)
    batches = iter(stream)
    taken = [next(batches), next(batches)]
    planner.version = 5
    taken += list(batches)
    assert samples(taken) == [(i, 0) for i in range(6)] + [(i, 5) for i in range(6, 12)]
    stream.close()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_goes_on_from_a_position_in_the_midst_of_an_epoch(num_workers):
    stream = stream_of(Counting(), num_workers=num_workers)
    list(islice(iter(stream), 3))
    state = stream.state_dict()
    assert state == {"position": 9}  # whatever the workers have prepared
    rest = samples(stream)
    resumed = stream_of(Counting(), num_workers=num_workers)
    resumed.load_state_dict(state)
    assert samples(resumed) == rest == [(i, 0) for i in range(9, 21)]
    stream.position = 3
    assert samples(islice(iter(stream), 1)) == [(3, 0), (4, 0), (5, 0)]
    for each in (stream, resumed):
        each.close()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_unreadable_image_is_one_line_even_from_a_worker(num_workers):
    stream = stream_of(Counting(), num_workers=num_workers)
    stream.position = 999
    with pytest.raises(InputError) as caught:
        next(iter(stream))
    assert str(caught.value) == "sample 1000: not to be had"
    stream.close()


def test_a_checkpoint_leaves_out_the_step_that_is_under_way():
    under_way = []
    stream = stream_of(Counting(), world_size=2, unfinished=lambda: len(under_way))
    list(islice(iter(stream), 2))
    assert stream.state_dict() == {"position": 12}
    under_way.append("a step")
    assert stream.state_dict() == {"position": 6}
