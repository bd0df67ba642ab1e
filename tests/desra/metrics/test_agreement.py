import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from desra.metrics.agreement import (
    MISSING,
    annotator_bias,
    cohen_kappa,
    fleiss_kappa,
    observed_agreement,
    pairwise_kappa,
    rating_counts,
)

# 14 raters, 10 subjects, 5 categories: https://en.wikipedia.org/wiki/Fleiss'_kappa
TEXTBOOK = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]


def test_the_textbook_example():
    assert fleiss_kappa(np.array(TEXTBOOK)) == pytest.approx(0.210, abs=5e-4)


def pairwise_definition(ratings, categories):
    """Fleiss' kappa from pairs of ratings, one by one."""
    shares, every = [], []
    for row in ratings:
        given = [rating for rating in row if rating != MISSING]
        pairs = [(a, b) for i, a in enumerate(given) for j, b in enumerate(given) if i != j]
        if pairs:
            shares.append(sum(a == b for a, b in pairs) / len(pairs))
            every += given
    chance = sum((every.count(category) / len(every)) ** 2 for category in range(categories))
    observed = sum(shares) / len(shares)
    return observed, (observed - chance) / (1 - chance)


def test_missing_ratings_by_its_definition():
    ratings = np.random.default_rng(0).integers(-1, 3, size=(60, 5))
    observed, kappa = pairwise_definition(ratings.tolist(), 3)
    assert fleiss_kappa(rating_counts(ratings, 3)) == pytest.approx(kappa, abs=1e-12)
    assert observed_agreement(ratings, 3) == pytest.approx(observed, abs=1e-12)


def test_pairs_against_scikit_learn():
    random = np.random.default_rng(1)
    truth = random.integers(3, size=200)
    ratings = np.where(
        random.random((200, 3)) < 0.6, truth[:, None], random.integers(3, size=(200, 3))
    )
    kappas = pairwise_kappa(ratings, 3)
    for one in range(3):
        assert math.isnan(kappas[one, one])
        for other in range(3):
            if one != other:
                expected = cohen_kappa_score(ratings[:, one], ratings[:, other])
                assert kappas[one, other] == pytest.approx(expected, abs=1e-12)


def test_two_annotators_who_share_some_items():
    first = np.array([0, 0, 1, 1, MISSING, 2])
    second = np.array([0, 0, 1, 0, 1, MISSING])
    assert cohen_kappa(first, second, 3) == pytest.approx(0.5)


def test_what_is_undefined_is_not_a_number():
    one_category = np.array([[3, 0], [3, 0]])
    assert math.isnan(fleiss_kappa(one_category))
    assert math.isnan(fleiss_kappa(np.array([[1, 0], [0, 1]])))
    assert math.isnan(cohen_kappa(np.array([0, MISSING]), np.array([MISSING, 0]), 2))
    assert math.isnan(observed_agreement(np.full((3, 2), MISSING), 2))


def test_a_rating_outside_the_categories():
    with pytest.raises(ValueError, match="from 0 to 1"):
        rating_counts(np.array([[2, 0]]), 2)


def test_bias_is_against_the_others_on_the_same_items():
    ratings = np.array([[0, 2, 2], [0, 0, MISSING], [0, MISSING, MISSING]])
    bias = annotator_bias(ratings, np.array([1.0, 0.0, -1.0]))
    np.testing.assert_allclose(bias, [(2 + 0) / 2, (-1 + 0) / 2, -1])
