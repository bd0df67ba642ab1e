"""Rank correlations against SciPy's own, and the prominent regions against masks of them alone."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from desra.metrics import ArtifactMetrics
from desra.metrics.prominence import ProminenceCorrelation, ProminentArtifactMetrics

NAMES = {f"{name}{end}" for name in ("spearman", "kendall") for end in ("", "_low", "_high")}


def random_regions(seed=0, count=60, images=12):
    rng = np.random.default_rng(seed)
    score = np.round(rng.random(count), 1)  # with ties
    response = score + rng.normal(0, 0.4, count)
    return tuple(map(torch.from_numpy, (rng.integers(0, images, count), response, score)))


def test_correlations_are_scipys():
    image, response, score = random_regions()
    correlation = ProminenceCorrelation(resamples=100)
    correlation.update(image, response, score)
    values = {name: float(value) for name, value in correlation.compute().items()}
    assert values.keys() == NAMES | {"regions"}
    assert values["spearman"] == pytest.approx(stats.spearmanr(response, score).statistic)
    assert values["kendall"] == pytest.approx(stats.kendalltau(response, score).statistic)
    for name in ("spearman", "kendall"):
        assert values[f"{name}_low"] < values[name] < values[f"{name}_high"]


def test_the_interval_is_scipys_bootstrap_where_each_region_has_an_image_of_its_own():
    _, response, score = random_regions(count=80)
    correlation = ProminenceCorrelation(resamples=1500)
    correlation.update(torch.arange(80), response, score)
    values = correlation.compute()
    own = stats.bootstrap(
        (response.numpy(), score.numpy()),
        lambda one, other: stats.spearmanr(one, other).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=1500,
        rng=1,
    ).confidence_interval
    assert float(values["spearman_low"]) == pytest.approx(own.low, abs=0.04)
    assert float(values["spearman_high"]) == pytest.approx(own.high, abs=0.04)


def test_batches_and_order_do_not_matter():
    regions = random_regions()
    whole, parts = ProminenceCorrelation(resamples=50), ProminenceCorrelation(resamples=50)
    whole.update(*regions)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    for part in order.split(17):  # as ranks would have them
        parts.update(*(column[part] for column in regions))
    first, second = whole.compute(), parts.compute()
    for name, value in first.items():
        assert float(value) == pytest.approx(float(second[name]), abs=1e-12)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_nothing_to_rank_is_undefined(count):
    correlation = ProminenceCorrelation(resamples=20)
    if count:
        correlation.update(torch.arange(count), torch.full((count,), 0.5), torch.rand(count))
    values = correlation.compute()
    assert all(math.isnan(values[name]) for name in NAMES)
    assert int(values["regions"]) == count


def test_the_prominent_subset_is_the_mask_of_those_regions_alone():
    rng = np.random.default_rng(0)
    scores = np.full((3, 1, 40, 40), np.nan)
    for image in scores[:, 0]:
        for top, left in ((2, 2), (2, 22), (22, 2), (22, 22)):
            image[top : top + 12, left : left + 12] = rng.choice([0.3, 0.5, 0.8])
    mask = torch.from_numpy(rng.random((3, 1, 40, 40)) < 0.55)
    metrics, expected = ProminentArtifactMetrics(0.5), ArtifactMetrics()
    metrics.update(mask, torch.from_numpy(scores))
    expected.update(mask, torch.from_numpy(np.nan_to_num(scores, nan=-1) >= 0.5))
    assert {k: float(v) for k, v in metrics.compute().items()} == pytest.approx(
        {k: float(v) for k, v in expected.compute().items()}, nan_ok=True
    )
    assert 0 < int(metrics.labelled) < 12
