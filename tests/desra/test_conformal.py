"""Promises on simulated images, whose true share of missed artifacts is known."""

import numpy as np
import pytest
from scipy import stats

from desra.conformal import (
    certified,
    labels_needed,
    most_precise,
    promise_p_value,
    try_splits,
)
from desra.errors import InputError

RATE, CONFIDENCE = 0.1, 0.9
LEVELS = np.linspace(0.0, 0.5, 26)
"""True share of missed regions at each threshold, the most sensitive first."""


def draw(random, images, together, most=4, areas=1):
    """Counts ``(N, T, M, 4)`` of images whose regions are missed alike.

    ``together`` is the share of images of which all regions are missed or none; a stricter setting
    misses what a more sensitive one misses.
    """
    labelled = random.integers(0, most + 1, images)
    own, shared = random.random((images, most)), random.random((images, 1))
    luck = np.where(random.random((images, 1)) < together, shared, own)
    there = np.arange(most) < labelled[:, None]
    missed = (there[:, :, None] & (luck[:, :, None] < LEVELS)).sum(1)
    counts = np.zeros((images, len(LEVELS), areas, 4), np.int64)
    counts[..., 2] = labelled[:, None, None]
    counts[..., 3] = (labelled[:, None] - missed)[..., None]
    counts[..., 0] = 10 - np.arange(len(LEVELS))[:, None] // 3  # stricter: fewer false alarms
    counts[..., 1] = 1
    return counts


@pytest.mark.parametrize("together", [0.0, 0.5, 1.0])
def test_a_promise_is_broken_in_no_more_draws_than_it_says(together):
    """500 draws of 120 images; what is missed in truth is known, not estimated."""
    random = np.random.default_rng(7)
    broken, made = 0, 0
    for _ in range(500):
        counts = draw(random, 120, together)
        labelled, missed = counts[:, 0, 0, 2], counts[..., 2] - counts[..., 3]
        point = most_precise(certified(missed, labelled, RATE, CONFIDENCE), counts.sum(0))
        if point is not None:
            made += 1
            broken += LEVELS[point[0]] > RATE
    assert broken / 500 <= 0.12
    assert made > 490  # and it is made


@pytest.mark.parametrize("together", [0.0, 1.0])
def test_over_500_random_splits_the_other_half_keeps_the_promise(together):
    counts = draw(np.random.default_rng(3), 600, together, areas=2)
    found = try_splits(counts, RATE, CONFIDENCE, splits=500, seed=1)
    assert found.made == 500
    assert found.broken <= 0.12
    assert 0.02 < found.missed < RATE  # and it is not kept by finding everything


def test_regions_taken_for_units_would_break_it():
    """Why the image is the unit: as independent regions, correlated ones promise too much."""
    random = np.random.default_rng(5)
    broken = 0
    for _ in range(300):
        counts = draw(random, 30, together=1.0)
        labelled, missed = counts[:, 0, 0, 2].sum(), (counts[..., 2] - counts[..., 3]).sum(0)[:, 0]
        enough = np.logical_and.accumulate(stats.binom.cdf(missed, labelled, RATE) <= 0.1)
        broken += bool(enough.any()) and LEVELS[np.flatnonzero(enough)[-1]] > RATE
    assert broken / 300 > 0.12


def test_p_values_are_valid_at_the_edge_of_the_hypothesis():
    """Where exactly the rate is missed, a p-value is below u in at most a share u of draws."""
    random = np.random.default_rng(11)
    values = []
    for _ in range(2000):
        labelled = random.integers(0, 4, 40)
        together = random.random(40) < 0.5
        one, each = random.random(40) < RATE, random.binomial(labelled, RATE)
        missed = np.where(together, labelled * one, each)
        values.append(float(promise_p_value(missed, labelled, RATE)))
    for level in (0.01, 0.05, 0.1, 0.3):
        assert np.mean(np.array(values) <= level) <= level + 3 * np.sqrt(level / 2000)


def test_p_value_against_the_definition():
    labelled = np.array([3, 0, 1, 2])
    missed = np.array([1, 0, 0, 2])
    stakes = [0.999 * step / 20 / (0.9 * 3) for step in range(1, 21)]
    wealth = 0.0
    for stake in stakes:
        product = 1.0
        for m, n in zip(missed, labelled, strict=True):
            product *= 1 - stake * (m - 0.1 * n)
        wealth += product / 20
    assert float(promise_p_value(missed, labelled, 0.1)) == pytest.approx(min(1, 1 / wealth))
    assert promise_p_value(np.zeros((3, 2), int), np.zeros(3, int), 0.1).tolist() == [1, 1]
    with pytest.raises(ValueError, match="between 0 and labelled"):
        promise_p_value(np.array([2]), np.array([1]), 0.1)
    with pytest.raises(ValueError, match="do not match"):
        promise_p_value(np.zeros((2, 1), int), np.zeros(3, int), 0.1)


def test_one_region_each_is_the_binomial_tail():
    labelled = np.ones(60, np.int64)
    missed = np.zeros((60, 3), np.int64)
    missed[:2, 1], missed[:6, 2] = 1, 1
    expected = stats.binom.cdf([0, 2, 6], 60, 0.1)
    np.testing.assert_allclose(promise_p_value(missed, labelled, 0.1), expected)


def test_testing_ends_at_the_first_setting_that_cannot_be_promised():
    labelled = np.ones(100, np.int64)
    missed = np.zeros((100, 3, 1), np.int64)
    missed[:30, 1] = 1  # the second of three is bad, the third good again
    assert certified(missed, labelled, 0.1, 0.9)[:, 0].tolist() == [True, False, False]


def test_more_minimum_areas_cost_labels():
    one = labels_needed(np.zeros(10, np.int64), np.full(10, 2), 0.1, 0.9)
    many = labels_needed(np.zeros(10, np.int64), np.full(10, 2), 0.1, 0.9, areas=15)
    assert many.images > one.images
    for needed, areas in ((one, 1), (many, 15)):
        labelled = np.full(needed.images, 2)
        enough = [
            certified(np.zeros((count, 1, areas), np.int64), labelled[:count], 0.1, 0.9).any()
            for count in (needed.images - 1, needed.images)
        ]
        assert enough == [False, True]


def test_what_no_number_of_labels_can_promise():
    labelled = np.ones(10, np.int64)
    assert labels_needed(np.eye(10, dtype=np.int64)[0], labelled, 0.1, 0.9) is None
    assert labels_needed(np.zeros(3, np.int64), np.zeros(3, np.int64), 0.1, 0.9) is None
    counts = np.zeros((8, 1, 1, 4), np.int64)
    counts[..., 2] = 1  # all missed
    found = try_splits(counts, 0.1, 0.9, splits=5)
    assert (found.made, found.broken, found.missed) == (0, 0, None)


@pytest.mark.parametrize(("rate", "confidence"), [(0, 0.9), (1, 0.9), (0.1, 1), (0.1, 0)])
def test_no_promise(rate, confidence):
    with pytest.raises(InputError, match="give a share between 0 and 1"):
        certified(np.zeros((1, 1, 1), np.int64), np.ones(1, np.int64), rate, confidence)
