import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve

from desra.metrics import OverlapCounts, OverlapScores, curves


def scene(seed: int, pixels: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Distances on a grid of a hundredth, lower where something is labelled, and the labels."""
    rng = np.random.default_rng(seed)
    labelled = rng.random(pixels) < 0.3
    distance = np.rint((rng.beta(2, 2, pixels) * (1 - 0.5 * labelled)) * 99) / 100 + 0.005
    return distance, labelled


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_curve_and_area_are_sklearns(seed):
    distance, labelled = scene(seed)
    histogram = curves.pixel_histogram(
        torch.from_numpy(distance), torch.from_numpy(labelled), bins=100
    )
    assert histogram.sum() == len(distance)
    area = curves.average_precision(histogram)
    assert area == pytest.approx(average_precision_score(labelled, -distance))
    precision, recall = curves.precision_recall(histogram)
    theirs = {
        round(-threshold, 3): (p, r)
        for p, r, threshold in zip(*precision_recall_curve(labelled, -distance), strict=False)
    }
    for value, expected in theirs.items():
        below = int(value * 100)
        assert (precision[below], recall[below]) == pytest.approx(expected)


def test_histograms_of_images_add_up():
    parts = [scene(seed) for seed in range(3)]
    single = [
        curves.pixel_histogram(torch.from_numpy(d), torch.from_numpy(m), 100) for d, m in parts
    ]
    whole = curves.pixel_histogram(
        *(torch.from_numpy(np.concatenate(side)) for side in zip(*parts, strict=True)), 100
    )
    np.testing.assert_array_equal(sum(single), whole)


def test_nothing_labelled_has_no_area():
    assert np.isnan(curves.average_precision(np.array([[0, 0], [3, 1]])))
    perfect = np.array([[[4, 0], [0, 3]], [[0, 4], [3, 0]]])
    np.testing.assert_allclose(curves.average_precision(perfect), [1, 4 / 7])


def random_counts(images: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    union = rng.integers(0, 4, images) * 100
    intersection = (union * rng.random(images)).astype(int)
    detected, labelled = rng.integers(0, 4, (2, images))
    hits = [(count * rng.random(images)).astype(int) for count in (detected, labelled)]
    return np.stack([intersection, union, detected, hits[0], labelled, hits[1]], 1)


def expected_scores(counts: np.ndarray) -> dict[str, float]:
    scores = OverlapScores()
    scores.update(OverlapCounts(*torch.from_numpy(counts).unbind(1)))
    return {name: float(value) for name, value in scores.compute().items()}


def test_weights_count_images_as_often():
    counts, weights = random_counts(9), curves.bootstrap_weights(9, 5, seed=1)
    assert (weights.sum(1) == 9).all()
    found = curves.weighted_scores(counts, weights)
    for index, row in enumerate(weights):
        expected = expected_scores(np.repeat(counts, row, axis=0))
        for name, values in found.items():
            assert values[index] == pytest.approx(expected[name], nan_ok=True)
    once = curves.weighted_scores(np.stack([counts, counts], 1))
    np.testing.assert_allclose(once["iou"], expected_scores(counts)["iou"])


def test_intervals_hold_the_score_and_narrow_with_images():
    widths = []
    for images in (20, 2000):
        row = curves.with_intervals(random_counts(images), 400, seed=0, prefix="best_")
        expected = expected_scores(random_counts(images))
        for name in ("iou", "precision", "recall", "f1"):
            low, value, high = (row[f"best_{name}{end}"] for end in ("_low", "", "_high"))
            assert low < value < high
            assert value == pytest.approx(expected[name])
        widths.append(row["best_iou_high"] - row["best_iou_low"])
    assert widths[1] == pytest.approx(widths[0] / 10, rel=0.5)  # as the root of the images
    assert row == curves.with_intervals(random_counts(2000), 400, seed=0, prefix="best_")


def test_undefined_scores_are_none():
    empty = np.zeros((3, 6), int)
    assert set(curves.with_intervals(empty, 10, seed=0).values()) == {None}
    nothing_found = empty.copy()
    nothing_found[:, [1, 4]] = 1
    row = curves.with_intervals(nothing_found, 10, seed=0)
    assert (row["precision"], row["recall"], row["f1"]) == (None, 0, 0)
