"""Planes come back as they were given, and are made once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from callbacks.kept_planes import KeptPlanes


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    count=st.integers(1, 3),
    as_bool=st.booleans(),
    seed=st.integers(0, 99),
)
def test_planes_come_back(height: int, width: int, count: int, as_bool: bool, seed: int) -> None:
    torch.manual_seed(seed)
    planes = torch.randint(0, 256, (count, 1, height, width), dtype=torch.uint8)
    planes = planes > 127 if as_bool else planes
    planes = planes.transpose(-1, -2)  # not contiguous
    kept, keys = KeptPlanes(), [str(number) for number in range(count)]
    calls: list[int] = []

    def make() -> torch.Tensor:
        calls.append(1)
        return planes

    assert kept.get(keys, make) is planes
    again = kept.get(keys, make)
    assert again is not None
    assert again.dtype == planes.dtype
    assert torch.equal(again, planes)
    one = kept.get(keys[-1:], make)  # in another batch
    assert one is not None
    assert torch.equal(one, planes[-1:])
    assert len(calls) == 1


def test_images_without_planes_are_remembered_too() -> None:
    kept = KeptPlanes()
    assert kept.get(["a"], lambda: None) is None
    assert kept.get(["a"], lambda: pytest.fail("asked for twice")) is None
