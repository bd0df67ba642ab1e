"""Statistics of choices, beside SciPy and simulated crowds."""

import numpy as np
import pytest
from scipy import optimize, stats

from desra.metrics.preference import (
    bradley_terry,
    bradley_terry_intervals,
    connected,
    preference_share,
    wilson_interval,
)


@pytest.mark.parametrize(("chosen", "total"), [(0, 5), (5, 5), (8, 10), (411, 500), (1, 1)])
def test_wilson_is_scipys(chosen, total):
    expected = stats.binomtest(chosen, total).proportion_ci(method="wilson")
    assert wilson_interval(chosen, total) == pytest.approx((expected.low, expected.high))


def test_shares_with_ties():
    share = preference_share(6, 2, ties=2)
    assert (share.chosen, share.total, share.share) == (7, 10, 0.7)
    assert share.p_value == pytest.approx(stats.binomtest(6, 8).pvalue)
    assert np.isnan(preference_share(0, 0).share)
    assert (preference_share(0, 0).low, preference_share(0, 0).high) == (0, 1)


def test_wilson_intervals_cover_the_truth_in_95_percent_of_2000_runs():
    generator = np.random.default_rng(1)
    for total, truth in ((200, 0.82), (500, 0.93), (100, 0.5), (40, 0.7)):
        inside = 0
        for chosen in generator.binomial(total, truth, 2000):
            low, high = wilson_interval(int(chosen), total)
            inside += low <= truth <= high
        assert 0.94 <= inside / 2000 <= 0.96, (total, truth)


def likelihood(scores, wins):
    difference = scores[:, None] - scores[None, :]
    return (wins * np.logaddexp(0, -difference)).sum()


def test_bradley_terry_maximises_the_likelihood():
    wins = np.random.default_rng(0).integers(1, 20, (5, 5))
    np.fill_diagonal(wins, 0)
    found = optimize.minimize(likelihood, np.zeros(5), args=(wins,), tol=1e-10).x
    assert bradley_terry(wins, prior=0) == pytest.approx(found - found.mean(), abs=1e-4)


def test_bradley_terry_recovers_known_scores():
    truth = np.array([1.2, 0.4, -0.2, -1.4])
    chance = 1 / (1 + np.exp(truth[None, :] - truth[:, None]))
    upper = np.triu(np.random.default_rng(3).binomial(20000, chance), 1)
    wins = upper + np.tril((20000 - upper).T, -1)
    assert bradley_terry(wins) == pytest.approx(truth, abs=0.03)


def test_many_problems_at_once_are_each_by_itself():
    wins = np.random.default_rng(0).integers(0, 9, (7, 4, 4))
    together = bradley_terry(wins)
    for one, scores in zip(wins, together, strict=True):
        assert bradley_terry(one) == pytest.approx(scores, abs=1e-6)


def test_scores_stay_finite_where_one_always_wins():
    assert np.isfinite(bradley_terry(np.array([[0, 9, 9], [0, 0, 5], [0, 4, 0]]))).all()


def test_connected():
    assert connected(np.array([[0, 1, 0], [0, 0, 0], [0, 2, 0]]))
    assert not connected(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]))


def crowd(generator, truth, participants, votes):
    chance = 1 / (1 + np.exp(truth[None, :] - truth[:, None]))
    wins = np.zeros((participants, len(truth), len(truth)))
    for one in range(len(truth)):
        for other in range(one):
            chosen = generator.binomial(votes, chance[one, other], participants)
            wins[:, one, other], wins[:, other, one] = chosen, votes - chosen
    return wins


@pytest.mark.slow
def test_bootstrap_intervals_cover_the_truth_in_95_percent_of_2000_runs():
    generator = np.random.default_rng(1)
    truth = np.array([0.8, 0.1, -0.9])
    inside = np.zeros(3)
    for run in range(2000):
        wins = crowd(generator, truth, 20, 6)
        _, low, high = bradley_terry_intervals(wins, replicates=200, seed=run)
        inside += (low <= truth) & (truth <= high)
    assert abs(inside.mean() / 2000 - 0.95) <= 0.01
    # Of one score 2000 runs tell the share to half a point (standard error); three scores are three
    # draws of it.
    assert (abs(inside / 2000 - 0.95) <= 0.015).all()


def test_intervals_depend_on_the_seed_alone():
    wins = crowd(np.random.default_rng(0), np.array([0.5, -0.5, 0.0]), 10, 5)
    first, second = (bradley_terry_intervals(wins, replicates=50, seed=4) for _ in range(2))
    assert all(np.array_equal(*pair) for pair in zip(first, second, strict=True))
