"""The metrics against plain loops over regions, over splits, and over two real processes."""

import importlib
import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage
from torchmetrics import MetricCollection

from desra.metrics import (
    AdditionRate,
    ArtifactIoU,
    ArtifactMetrics,
    OverlapScores,
    RegionF1,
    RegionPrecision,
    RegionRecall,
    RemovalRate,
    added_regions,
    artifact_iou,
    overlap_counts,
    region_hits,
    removed_regions,
)

EIGHT = np.ones((3, 3))
REPOSITORY = Path(__file__).parents[3]


@st.composite
def mask_batches(draw, masks=2):
    """Some batches of bool tensors (B, 1, H, W) of one shape, from single pixels to full images."""
    shape = draw(st.tuples(st.integers(1, 3), st.just(1), st.integers(1, 9), st.integers(1, 9)))
    return [
        torch.from_numpy(draw(npst.arrays(bool, shape, fill=st.booleans()))) for _ in range(masks)
    ]


def regions(mask):
    """Each region of one mask (H, W), as a mask of its own."""
    labels, count = ndimage.label(mask, EIGHT)
    return [labels == index for index in range(1, count + 1)]


def loop_scores(mask, gt_mask):
    """IoU, precision, recall as the words of the paper say, one region after the other."""
    ious, precise, recalled = [], [], []
    for found, labelled in zip(mask[:, 0].numpy(), gt_mask[:, 0].numpy(), strict=True):
        if (found | labelled).any():
            ious.append((found & labelled).sum() / (found | labelled).sum())
        precise += [labelled[region].mean() >= 0.5 for region in regions(found)]
        recalled += [found[region].mean() >= 0.5 for region in regions(labelled)]
    return [np.mean(values) if values else math.nan for values in (ious, precise, recalled)]


def same(value, expected):
    return float(value) == pytest.approx(float(expected), abs=1e-12, nan_ok=True)


@settings(deadline=None, max_examples=150)
@given(mask_batches())
def test_scores_equal_a_loop_over_regions(masks):
    iou, precision, recall = loop_scores(*masks)
    scores = ArtifactMetrics()(*masks)
    assert same(scores["iou"], iou)
    assert same(scores["precision"], precision)
    assert same(scores["recall"], recall)
    for metric, name in (
        (ArtifactIoU(), "iou"),
        (RegionPrecision(), "precision"),
        (RegionRecall(), "recall"),
        (RegionF1(), "f1"),
    ):
        metric.update(*masks)
        assert same(metric.compute(), scores[name])


@settings(deadline=None, max_examples=100)
@given(mask_batches(3))
def test_removal_and_addition_equal_a_loop_over_regions(masks):
    removed, original, added, after_regions, images_with_added = 0, 0, 0, 0, 0
    for before, after, labels in zip(*(mask[:, 0].numpy() for mask in masks), strict=True):
        for region in regions(labels):
            if before[region].mean() >= 0.5:
                original += 1
                removed += after[region].mean() < 0.5
        new = [(before | labels)[region].mean() < 0.5 for region in regions(after)]
        added, after_regions = added + sum(new), after_regions + len(new)
        images_with_added += any(new)
    removal, per_image, per_region = RemovalRate(), AdditionRate(), AdditionRate(per="region")
    for metric in (removal, per_image, per_region):
        metric.update(*masks)
    assert same(removal.compute(), removed / original if original else math.nan)
    assert same(per_image.compute(), images_with_added / len(masks[0]))
    assert same(per_region.compute(), added / after_regions if after_regions else 0)


@settings(deadline=None, max_examples=40)
@given(mask_batches(3))
def test_any_split_into_batches_gives_the_same(masks):
    for make in (ArtifactMetrics, RemovalRate, AdditionRate):
        whole, parts = make(), make()
        inputs = masks[:2] if make is ArtifactMetrics else masks
        whole.update(*inputs)
        for index in range(len(masks[0])):
            parts.update(*(mask[index : index + 1] for mask in inputs))
        expected, found = whole.compute(), parts.compute()
        if not isinstance(expected, dict):
            expected, found = {"rate": expected}, {"rate": found}
        assert expected.keys() == found.keys()
        assert all(same(found[name], expected[name]) for name in expected)


def masks_of(*rows):
    return torch.tensor([[[[character == "#" for character in row]]] for row in rows])


def test_a_region_half_covered_is_hit_and_one_below_is_not():
    hits, count = region_hits(masks_of("####.##.", "###.####"), masks_of("##...#..", "#...##.."))
    assert hits.tolist() == [2, 1]
    assert count.tolist() == [2, 2]
    hits, _ = region_hits(masks_of("####"), masks_of("##.."), min_share=0.51)
    assert hits.tolist() == [0]


def test_diagonal_neighbours_are_one_region():
    mask = torch.eye(4, dtype=torch.bool)[None, None]
    assert region_hits(mask, mask)[1].tolist() == [1]


def test_images_without_artifacts_are_left_out_of_the_mean_and_counted():
    mask, gt_mask = masks_of("##..", "....", "...."), masks_of(".##.", "....", "#...")
    scores = ArtifactMetrics()(mask, gt_mask)
    assert float(scores["iou"]) == pytest.approx((1 / 3 + 0) / 2, abs=1e-15)
    assert (int(scores["images"]), int(scores["images_without_artifacts"])) == (3, 1)
    assert artifact_iou(mask, gt_mask).isnan().tolist() == [False, True, False]


def test_undefined_scores_are_nan_and_f1_is_zero_where_only_one_is_undefined():
    nothing, something = masks_of("...."), masks_of("##..")
    scores = ArtifactMetrics()(nothing, nothing)
    assert all(math.isnan(scores[name]) for name in ("iou", "precision", "recall", "f1"))
    missed = ArtifactMetrics()(nothing, something)
    assert math.isnan(missed["precision"])
    assert (float(missed["recall"]), float(missed["f1"])) == (0, 0)
    invented = ArtifactMetrics()(something, nothing)
    assert math.isnan(invented["recall"])
    assert (float(invented["precision"]), float(invented["f1"])) == (0, 0)
    assert math.isnan(RemovalRate()(nothing, something))
    assert float(AdditionRate(per="region")(something, nothing)) == 0


def test_removal_without_labels_is_over_what_was_detected():
    before, after = masks_of("##.##.##"), masks_of("##......")
    removed, original = removed_regions(before, after)
    assert (removed.tolist(), original.tolist()) == ([2], [3])


def test_a_labelled_artifact_seen_only_now_is_not_added():
    before, after, gt_mask = masks_of("##......"), masks_of("##.##.##"), masks_of("...##...")
    assert [counts.tolist() for counts in added_regions(before, after, gt_mask)] == [[1], [3]]
    assert [counts.tolist() for counts in added_regions(before, after)] == [[2], [3]]


def test_counts_can_be_added_without_masks():
    mask, gt_mask = masks_of("##.#....", "........"), masks_of(".#....##", "........")
    scores, direct = OverlapScores(), ArtifactMetrics()
    for index in range(2):
        scores.update(overlap_counts(mask[index : index + 1], gt_mask[index : index + 1]))
    direct.update(mask, gt_mask)
    assert {k: float(v) for k, v in scores.compute().items()} == {
        k: float(v) for k, v in direct.compute().items()
    }


def test_a_collection_counts_regions_once(monkeypatch):
    calls = []
    real = importlib.import_module("desra.metrics.detection").region_overlaps
    monkeypatch.setattr(
        "desra.metrics.detection.region_overlaps", lambda *a: calls.append(1) or real(*a)
    )
    collection = MetricCollection(
        [ArtifactIoU(), RegionPrecision(), RegionRecall(), RegionF1()],
        compute_groups=[["ArtifactIoU"], ["RegionPrecision", "RegionRecall", "RegionF1"]],
        prefix="detection/",
    )
    collection.update(masks_of("##.#"), masks_of("#..."))
    assert len(calls) == 2  # detected in labelled, labelled in detected
    assert {name: float(value) for name, value in collection.compute().items()} == {
        "detection/ArtifactIoU": pytest.approx(1 / 3),
        "detection/RegionPrecision": 0.5,
        "detection/RegionRecall": 1.0,
        "detection/RegionF1": pytest.approx(2 / 3),
    }


def test_non_contiguous_masks():
    mask = (torch.rand(2, 1, 12, 20, generator=torch.Generator().manual_seed(1)) < 0.4).mT[..., ::2]
    gt_mask = mask.flip(-1)
    scores = ArtifactMetrics()(mask, gt_mask)
    expected = pytest.approx(loop_scores(mask, gt_mask))
    assert [float(scores[name]) for name in ("iou", "precision", "recall")] == expected


@pytest.mark.parametrize(
    ("mask", "gt_mask", "message"),
    [
        (
            torch.zeros(1, 1, 4, 4),
            torch.zeros(1, 1, 4, 4, dtype=torch.bool),
            "must be a bool tensor",
        ),
        (torch.zeros(1, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.bool), "B, 1, H"),
        (
            torch.zeros(1, 1, 4, 4, dtype=torch.bool),
            torch.zeros(1, 1, 4, 5, dtype=torch.bool),
            "different shapes",
        ),
    ],
)
def test_other_tensors_are_refused(mask, gt_mask, message):
    for metric in (ArtifactIoU(), RegionF1(), ArtifactMetrics(), RemovalRate(), AdditionRate()):
        with pytest.raises(ValueError, match=message):
            metric.update(mask, gt_mask)
    with pytest.raises(ValueError, match="per must be"):
        AdditionRate(per="pixel")


RANK_PROGRAM = """
    import json, sys
    import torch
    from torch import distributed
    from desra.metrics import AdditionRate, ArtifactMetrics, RemovalRate

    rank, folder = int(sys.argv[1]), sys.argv[2]
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    masks = torch.load(f"{folder}/masks.pt")
    metrics = ArtifactMetrics(), RemovalRate(), AdditionRate(per="region")
    for index in range(rank, len(masks[0]), 2):  # shares of different size
        before, after, labels = (mask[index : index + 1] for mask in masks)
        metrics[0].update(before, labels)
        for rate in metrics[1:]:
            rate.update(before, after, labels)
    scores = metrics[0].compute() | {str(i): metrics[i].compute() for i in (1, 2)}
    print(json.dumps({name: float(value) for name, value in scores.items()}))
    distributed.destroy_process_group()  # else gloo's threads may be running when Python ends
"""


def run_ranks(folder):
    program = folder / "program.py"
    program.write_text(textwrap.dedent(RANK_PROGRAM))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(program), str(rank), str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=250)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def test_two_processes_give_the_sums_of_one(tmp_path):
    generator = torch.Generator().manual_seed(7)
    masks = [torch.rand(7, 1, 20, 30, generator=generator) < 0.25 for _ in range(3)]
    masks[0][3] = masks[2][3] = False  # an image without artifacts
    torch.save(masks, tmp_path / "masks.pt")
    first, second = run_ranks(tmp_path)
    alone = ArtifactMetrics()(masks[0], masks[2])
    alone |= {"1": RemovalRate()(*masks), "2": AdditionRate(per="region")(*masks)}
    expected = {name: pytest.approx(float(value), abs=1e-14) for name, value in alone.items()}
    assert first == second == expected
    assert (first["images"], first["images_without_artifacts"]) == (7, 1)
    assert first["iou"] == pytest.approx(loop_scores(masks[0], masks[2])[0], abs=1e-12)
