"""The table of texture intervals against sorting all pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from desra.calibration import (
    TextureDistribution,
    bins_for,
    calibrate,
    distance_histogram,
    interval_counts,
)
from desra.errors import InputError
from desra.semantics import adjustment_weights, texture_intervals

CLASSES = ("wall", "building", "sky, cloudy")


def random_images(seed=0, count=3):
    """Distances of three classes that differ, and labels; class 2 is rare, 255 is no class."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        labels = rng.choice([0, 1, 2, 255], (1, 1, 60, 70), p=[0.5, 0.3, 0.01, 0.19])
        shape = np.choose(np.where(labels == 255, 3, labels), [20, 4, 2, 8])
        distance = rng.beta(shape, 1)
        yield torch.from_numpy(distance), torch.from_numpy(labels.astype(np.uint8))


def distribution_of(images, bins=1000):
    distribution = TextureDistribution(bins)
    for distance, labels in images:
        distribution.update(distance, labels)
    return distribution


@pytest.mark.parametrize(("percentile", "intervals"), [(85, 20), (50, 7), (99.5, 40), (100, 1)])
def test_intervals_equal_those_of_all_pixels_sorted(percentile, intervals):
    images = list(random_images())
    bins = bins_for(intervals)
    found = calibrate(distribution_of(images, bins), CLASSES, percentile, intervals, 1)
    distance, labels = (torch.cat(part).numpy().ravel() for part in zip(*images, strict=True))
    pixels = [*(distance[labels == index] for index in range(len(CLASSES))), distance]
    for row, values in zip([*found.classes, found.overall], pixels, strict=True):
        # The value that so many per cent reach from above: a percentile of 1 − D from below.
        reached = 1 - np.percentile(1 - values, percentile, method="inverted_cdf")
        assert row.interval == intervals - 1 - int(reached * intervals)
        assert row.distance == pytest.approx(reached, abs=1 / bins)
        assert (row.pixels, row.images, row.fallback) == (len(values), 3, False)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 25))
def test_the_interval_is_the_first_to_hold_enough(values, intervals):
    distance = torch.tensor(values, dtype=torch.float64)[None, None, None]
    labels = torch.zeros_like(distance, dtype=torch.uint8)
    distribution = distribution_of([(distance, labels)], bins_for(intervals))
    (row,) = calibrate(distribution, ["wall"], 85, intervals, 1).classes
    bins = bins_for(intervals)
    from_below = (distance * bins).long().clamp(max=bins - 1) // (bins // intervals)
    number = intervals - 1 - from_below
    held = [100 * int((number <= n).sum()) >= 85 * len(values) for n in range(intervals)]
    assert row.interval == held.index(True)


def test_exactly_the_percentage_is_enough():
    # 17 of 20 pixels; 0.85 · 20 is 17.0 in floats, 0.07 · 100 is 7.000000000000001.
    distance = torch.tensor([0.97] * 7 + [0.5] * 93, dtype=torch.float64)[None, None, None]
    labels = torch.zeros_like(distance, dtype=torch.uint8)
    distribution = distribution_of([(distance, labels)])
    assert calibrate(distribution, ["wall"], 7, 20, 1).classes[0].interval == 0
    assert calibrate(distribution, ["wall"], 7.01, 20, 1).classes[0].interval == 9


def test_rare_and_unseen_classes_get_the_interval_of_all_pixels():
    distribution = distribution_of(random_images())
    found = calibrate(distribution, [*CLASSES, "tree"], min_pixels=1000)
    assert [row.fallback for row in found.classes] == [False, False, True, True]
    rare, unseen = found.classes[2:]
    assert rare.interval == unseen.interval == found.overall.interval
    assert 0 < rare.pixels < 1000
    assert rare.distance < found.overall.distance  # its own, so that it can be looked at
    assert (unseen.pixels, unseen.images, unseen.distance) == (0, 0, None)
    assert found.overall.pixels == 3 * 60 * 70


def test_the_detector_reads_what_is_written(tmp_path):
    found = calibrate(distribution_of(random_images(), bins_for(40)), CLASSES, 85, 40, 1)
    found.write(tmp_path / "intervals.csv")
    weights = adjustment_weights(tmp_path / "intervals.csv")
    expected = [40 / (40 - row.interval) for row in found.classes]
    assert weights[:3].tolist() == expected
    assert weights[1] > weights[0] > 1
    assert (weights[3:] == 1).all()
    assert [row.name for row in texture_intervals(tmp_path / "intervals.csv")] == list(CLASSES)


def test_any_split_gives_the_same_counts():
    images = list(random_images(count=4))
    one, other = distribution_of(images[:1]), distribution_of(images[1:])
    together = distribution_of([tuple(torch.cat(part) for part in zip(*images, strict=True))])
    assert torch.equal(one.compute() + other.compute(), together.compute())
    assert torch.equal(one.images + other.images, together.images)
    assert int(together.all_images) == 4
    assert int(together.compute().sum()) == 4 * 60 * 70


def test_distances_at_the_ends_and_at_the_edges_of_bins():
    distance = torch.tensor([0.0, 0.0499999, 0.05, 0.95, 1.0], dtype=torch.float64)
    counts = distance_histogram(distance, torch.full((5,), 255, dtype=torch.uint8), 1000)
    assert interval_counts(counts[255], 20).tolist() == [2, 1, *[0] * 16, 0, 2]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"percentile": 0}, "percentile=0"),
        ({"percentile": 101}, "percentile=101"),
        ({"intervals": 0}, "intervals=0"),
        ({"min_pixels": 0}, "min_pixels=0"),
    ],
)
def test_settings_without_a_meaning_are_refused(rule, message):
    with pytest.raises(InputError, match=message):
        calibrate(TextureDistribution(1000), CLASSES, **rule)


def test_nothing_to_calibrate_on_and_labels_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="no pixel"):
        calibrate(TextureDistribution(1000), CLASSES)
    distance = torch.ones(1, 1, 4, 5, dtype=torch.float64)
    with pytest.raises(InputError, match="label map"):
        distance_histogram(distance, torch.zeros(1, 1, 5, 5, dtype=torch.uint8), 1000)
