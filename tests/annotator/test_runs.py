"""Masks as runs: nothing is lost, and damage is noticed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from annotator.runs import decode_runs, encode_runs
from desra.errors import InputError


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_a_mask_comes_back(mask):
    assert np.array_equal(decode_runs(encode_runs(mask), mask.shape), mask)


@pytest.mark.parametrize("value", [False, True])
def test_long_runs(value):
    mask = np.full((300, 700), value)
    mask[299, 699] = not value
    assert np.array_equal(decode_runs(encode_runs(mask), mask.shape), mask)


@given(st.binary(max_size=30))
def test_what_is_no_mask_is_refused_or_one(data):
    try:
        mask = decode_runs(data, (5, 7))
    except InputError:
        return
    assert mask.shape == (5, 7)


def test_runs_of_another_size_are_refused():
    with pytest.raises(InputError, match="35 pixels for an image of 36"):
        decode_runs(encode_runs(np.ones((5, 7), bool)), (6, 6))
