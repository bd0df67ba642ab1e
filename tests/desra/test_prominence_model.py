"""A model of prominence on simulated crowds, whose true probabilities are known."""

import numpy as np
import pytest
from scipy import special, stats

from desra.errors import InputError
from desra.prominence_model import (
    ProminenceModel,
    calibration_error,
    cross_validate,
    fit_prominence,
)

FEATURES = ["area", "contrast", "hue", "desra", "ssim"]
MONOTONE = [True, True, False, True, True]


def crowd(count=300, viewers=20, seed=0):
    """Regions, and the shares of viewers who notice them.

    Viewers see the contrast energy of a region, its contrast times the root of its area, and see
    less of it where much else is going on (hue far from the middle); a few always or never say so.
    It is no logistic regression of the features. The detectors respond to contrast and to the
    masking, each with errors of its own.
    """
    random = np.random.default_rng(seed)
    area, contrast, hue = (
        random.normal(6, 1, count),
        random.normal(0, 0.6, count),
        random.normal(0, 1, count),
    )
    energy = np.exp(contrast) * np.exp(area / 2) / np.exp(3)
    seen = special.ndtr(2.2 * (np.log(energy) - 0.3 * hue**2 + 0.1))
    truth = 0.04 + 0.92 * seen
    desra = special.expit(contrast + random.normal(0, 0.6, count))
    ssim = special.expit(0.7 * contrast - 0.3 * hue**2 + random.normal(0, 0.6, count))
    scores = random.binomial(viewers, truth) / viewers
    return np.stack([area, contrast, hue, desra, ssim], 1), scores, truth


@pytest.mark.parametrize("seed", range(4))
def test_it_ranks_better_than_the_best_detector_and_is_calibrated(seed):
    values, scores, truth = crowd(seed=seed)
    images = np.arange(len(scores)) // 3
    found = cross_validate(values, scores, images, FEATURES, MONOTONE)
    best = max(stats.spearmanr(values[:, place], scores).statistic for place in (3, 4))
    assert found.spearman >= best + 0.1
    assert found.calibration_error <= 0.05
    assert np.abs(found.probability - truth).mean() < 0.1


def test_it_never_falls_as_a_monotone_feature_grows(tmp_path):
    values, scores, _ = crowd()
    fit_prominence(values, 1 - scores, FEATURES, MONOTONE, 0.1).save(tmp_path / "against.json")
    model = ProminenceModel.read(tmp_path / "against.json")  # fitted to viewers who see the faint
    for place, grows in enumerate(MONOTONE):
        steps = np.repeat(values[:1], 50, 0)
        steps[:, place] = np.linspace(values[:, place].min(), values[:, place].max(), 50)
        rises = np.diff(model.probability(steps))
        assert (rises >= 0).all() or not grows


def test_few_regions_and_damaged_files_are_refused(tmp_path):
    values, scores, _ = crowd(30)
    with pytest.raises(InputError, match="10 labelled regions with scores; a model needs"):
        fit_prominence(values[:10], scores[:10], FEATURES, MONOTONE, 0.1)
    with pytest.raises(InputError, match="3 images with scores"):
        cross_validate(values, scores, np.arange(30) // 10, FEATURES, MONOTONE)
    (tmp_path / "x.json").write_text('{"features": ["a"], "knots": []}')
    with pytest.raises(InputError, match="not a model of prominence"):
        ProminenceModel.read(tmp_path / "x.json")
    for other in ("none.json", "."):
        with pytest.raises(InputError, match=r"give prominence\.json of task=fit_prominence"):
            ProminenceModel.read(tmp_path / other)


def test_calibration_error_of_constant_and_of_perfect_answers():
    scores = np.linspace(0, 1, 100)
    assert calibration_error(scores, scores) == 0
    assert calibration_error(np.full(100, 0.5), scores) == pytest.approx(0.25, abs=0.01)
