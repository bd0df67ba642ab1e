"""The paired bootstrap: its level on null comparisons, and its power."""

import numpy as np
import pytest
from scipy import stats

from desra.metrics.paired import lower_bound


def skewed(rng, images=25):
    """Changes of artifact shares between equals: mostly none, else as often up as down."""
    sizes = rng.lognormal(np.log(0.01), 0.7, images)
    return sizes * rng.choice([-1, 1], images) * (rng.random(images) < 0.5)


def test_equals_are_convicted_no_more_often_than_promised():
    rng = np.random.default_rng(0)
    alarms = sum(lower_bound(skewed(rng), 0.975).lower > 0 for _ in range(200))
    # 5 of 200 expected; 12 and more have a chance below 1 %.
    assert alarms <= stats.binom.ppf(0.99, 200, 0.025)


def test_two_points_of_artifact_share_on_25_photos_are_found():
    rng = np.random.default_rng(1)
    found = sum(
        lower_bound(skewed(rng) + rng.exponential(0.02, 25), 0.975).lower > 0 for _ in range(100)
    )
    assert found >= 90


def test_near_students_bound_where_that_is_right():
    values = np.random.default_rng(2).normal(1.0, 0.5, 200)
    bound = lower_bound(values, 0.95, resamples=20_000)
    students = stats.t.interval(0.9, 199, values.mean(), stats.sem(values))[0]
    assert bound.mean == pytest.approx(values.mean())
    assert bound.lower == pytest.approx(students, abs=0.01)
    assert bound.lower <= students


def test_no_spread_no_images():
    assert lower_bound([0.0] * 9) == (0.0, 0.0, 9)
    assert lower_bound([0.1] * 9).lower == pytest.approx(0.1)
    assert lower_bound([0.1]).lower == float("-inf")
    with pytest.raises(ValueError, match="0 differences"):
        lower_bound([])
    with pytest.raises(ValueError, match="level"):
        lower_bound([0.1, 0.2], 1.0)


def test_a_resample_of_images_that_did_not_change_decides_nothing():
    """Its mean is the mean and it has no spread: 0/0 made the bound NaN, which no limit allows."""
    bound = lower_bound([1.0, -1.0] + [0.0] * 23)
    assert bound.mean == 0
    assert bound.lower < 0


def test_the_same_seed_gives_the_same_bound():
    values = skewed(np.random.default_rng(3))
    assert lower_bound(values) == lower_bound(values)
