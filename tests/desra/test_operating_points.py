"""A sweep against detecting and counting anew at every threshold and minimum area."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from desra.detector import ArtifactDetector
from desra.errors import InputError
from desra.metrics import count_row, score_rows
from desra.operating_points import (
    OperatingPoint,
    Regions,
    Sweep,
    bootstrap_scores,
    choose,
    compare_regions,
    held_out_counts,
    regions_from_record,
    sweep_thresholds,
)
from desra.regions import remove_small_regions

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))
PLANES = SHAPES.flatmap(
    lambda shape: st.tuples(*[npst.arrays(bool, shape, fill=st.booleans())] * 2)
)


@settings(deadline=None, max_examples=60)
@given(PLANES, st.integers(0, 20), st.sampled_from([0.25, 0.5, 1]))
def test_every_minimum_area_is_counted_as_if_detected_with_it(planes, min_area, min_share):
    mask, gt_mask = (torch.from_numpy(plane) for plane in planes)
    sweep = Sweep([0.7], [min_area], min_share)
    sweep.add([compare_regions(mask, gt_mask, min_share)])
    kept = remove_small_regions(mask, min_area).numpy()
    row = count_row(kept, planes[1], border=0, min_share=min_share)
    names = ("detected", "detected_hits", "labelled", "labelled_hits")
    assert sweep.counts[0, 0, 0].tolist() == [row[name] for name in names]
    iou = row["intersection"] / row["union"] if row["union"] else np.nan
    np.testing.assert_array_equal(sweep.ious[0, 0, 0], iou)


def test_a_sweep_has_the_scores_of_the_detector_at_each_point():
    thresholds, min_areas = [0.3, 0.6, 0.9], [0, 300, 900]
    rng = np.random.default_rng(3)
    sweep = Sweep(thresholds, min_areas)
    images = []
    for _ in range(4):
        coarse = torch.from_numpy(rng.random((1, 1, 8, 9)))
        distance = torch.nn.functional.interpolate(coarse, size=(90, 100), mode="bicubic")
        gt_mask = np.zeros((90, 100), bool)
        top, left = rng.integers(0, 40, 2)
        gt_mask[top : top + 40, left : left + 30] = True
        images.append((distance, gt_mask))
        labelled = torch.from_numpy(gt_mask)
        swept = sweep_thresholds(ArtifactDetector(), distance, None, labelled, thresholds, 5)
        records = json.loads(json.dumps([regions._asdict() for regions in swept]))
        sweep.add(regions_from_record(record) for record in records)
    points = sweep.points()
    assert len(points) == 9
    for point in points:
        detector = ArtifactDetector(point.threshold, point.min_area)
        masks = [detector.from_distance(distance).mask[0, 0].numpy() for distance, _ in images]
        rows = [count_row(mask, gt) for mask, (_, gt) in zip(masks, images, strict=True)]
        expected = score_rows(rows)
        for name in ("precision", "recall", "f1", "iou", "detected", "labelled_hits"):
            assert getattr(point, name) == pytest.approx(expected[name], abs=1e-12), name
    assert max(point.recall for point in points) > 0


def point(threshold, min_area, precision, recall):
    f1 = None if precision is None else 2 * precision * recall / (precision + recall)
    return OperatingPoint(threshold, min_area, precision, recall, f1, 0.5, 8, 4, 8, 4)


CURVE = [
    point(0.2, 0, 0.9, 0.2),
    point(0.4, 0, 0.8, 0.5),
    point(0.4, 500, 0.85, 0.5),
    point(0.6, 0, 0.6, 0.7),
    point(0.1, 0, None, 0.0),
]


def test_the_other_score_is_as_high_as_can_be():
    assert choose(CURVE, "precision", 0.8).point == CURVE[2]  # recall equal, more precise
    assert choose(CURVE, "precision", 0.55).point == CURVE[3]
    assert choose(CURVE, "recall", 0.5).point == CURVE[2]
    assert choose(CURVE, "recall", 0.1).point == CURVE[0]
    assert choose(CURVE, "f1", None).point == CURVE[3]
    assert choose(CURVE, "recall", 0.7).reached


def test_a_target_out_of_reach_gives_the_nearest():
    choice = choose(CURVE, "precision", 0.95)
    assert (choice.point, choice.reached) == (CURVE[0], False)
    choice = choose(CURVE, "recall", 0.95)
    assert (choice.point, choice.reached) == (CURVE[3], False)
    with pytest.raises(InputError, match="precision is undefined everywhere"):
        choose([CURVE[-1]], "precision", 0.5)


def test_intervals_hold_the_score_and_halves_choose_for_each_other():
    rng = np.random.default_rng(0)
    sweep = Sweep([0.5, 0.7], [0])
    for _ in range(40):
        images = []
        for share in (0.9, 0.5):  # at the higher threshold, half of the regions are wrong
            overlaps = np.where(rng.random(3) < share, 100, 0).tolist()
            decisive = np.where(rng.random(2) < 1.2 - share, 100, 0).tolist()
            images.append(Regions([100] * 3, overlaps, decisive, 300))
        sweep.add(images)
    points = sweep.points()
    low, high = bootstrap_scores(sweep, points[0])["precision"]
    assert 0.8 < low < points[0].precision < high < 1
    held_out = held_out_counts(sweep, "precision", 0.8)
    assert held_out == {"precision": points[0].precision, "recall": points[0].recall}
    assert held_out_counts(Sweep([0.5], [0]), "f1", None) is None


def test_bounds_are_left_out_where_the_score_is_mostly_undefined():
    sweep = Sweep([0.5], [0])
    for _ in range(3):
        sweep.add([Regions([], [], [0], 50)])
    (only,) = sweep.points()
    assert (only.precision, only.recall, only.f1, only.iou) == (None, 0.0, 0.0, 0.0)
    assert bootstrap_scores(sweep, only) == {"precision": None, "recall": (0.0, 0.0)}
