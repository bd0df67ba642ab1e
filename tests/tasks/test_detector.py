"""Evaluation of a detector, run by a real Trainer over files."""

import csv
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from desra.detectors import ArtifactDetector, LDLDetector
from desra.errors import InputError
from desra.images import read_rgb, write_png
from desra.masks import read_mask_image
from desra.metrics import count_row, score_rows
from desra.segmenters import NoSegmenter
from tasks.detector import DetectorEvaluation
from tasks.detector_scores import first_half
from tests.tasks.image_tasks import run_task, upscalings


def evaluate(output_dir, root, detector, **settings):
    """Run the task over an artifact set; returns it, the rows of its table and what failed."""
    settings = {"page": False, "steps": 10, "replicates": 50, **settings}
    task = DetectorEvaluation(detector, NoSegmenter(), output_dir, "own", **settings)
    failures = run_task(task, upscalings(root, labels=True))
    with open(output_dir / "per_image.csv", newline="") as file:
        return task, list(csv.DictReader(file)), failures


def planes(path) -> torch.Tensor:
    return torch.from_numpy(read_rgb(path).copy()).permute(2, 0, 1)[None]


def detections(root, detector):
    """By key: what the detector finds, and the labels, both without the rim."""
    found = {}
    for path in sorted((root / "GT-Mask").rglob("*.png")):
        key = path.relative_to(root / "GT-Mask").with_suffix("").as_posix()
        pair = (planes(root / folder / f"{key}.png") for folder in ("MSE-SR", "GAN-SR"))
        inner = (0, 0, slice(5, -5), slice(5, -5))
        detection = detector(*pair)
        found[key] = (
            detection.mask[inner].numpy(), detection.adjusted[inner].numpy(),
            read_mask_image(path)[5:-5, 5:-5],
        )  # fmt: skip
    return found


@pytest.mark.parametrize("detector", [ArtifactDetector(min_area=100), LDLDetector(min_area=100)])
def test_scores_at_the_given_and_at_the_best_threshold(tmp_path, make_pairs, detector, capsys):
    root = make_pairs(8)
    task, rows, _ = evaluate(tmp_path / "out", root, detector)
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert figures == task.summary
    found = detections(root, detector)
    counted = [count_row(mask, gt_mask, 0) for mask, _, gt_mask in found.values()]
    for name, value in score_rows(counted).items():
        if name in ("iou", "precision", "recall", "f1"):
            assert figures[name] == pytest.approx(value)
            assert figures[f"{name}_low"] <= value <= figures[f"{name}_high"]
    assert [row["image"] for row in rows] == list(found)
    assert float(rows[0]["iou"]) == pytest.approx(score_rows(counted[:1])["iou"])

    labelled = np.concatenate([gt_mask.ravel() for *_, gt_mask in found.values()])
    distance = np.concatenate([adjusted.ravel() for _, adjusted, _ in found.values()])
    area = average_precision_score(labelled, -np.floor(distance * 1000).clip(max=999))
    assert figures["average_precision"] == pytest.approx(area, abs=1e-9)

    with open(tmp_path / "out" / "thresholds.csv", newline="") as file:
        table = list(csv.DictReader(file))
    half = first_half(list(found), seed=0)
    at = {row["threshold"]: type(detector)(float(row["threshold"]), 100) for row in table}
    best = at[next(text for text in at if float(text) == figures["best_threshold"])]
    again = list(detections(root, best).values())
    rest = score_rows(
        [count_row(m, g, 0) for (m, _, g), tuned in zip(again, half, strict=True) if not tuned]
    )
    assert figures["best_images"] == 4
    assert figures["best_f1"] == pytest.approx(rest["f1"])
    assert figures["best_iou"] == pytest.approx(rest["iou"])
    assert figures["seconds_per_megapixel"] > 0
    assert "average precision" in capsys.readouterr().out


def test_halves_depend_on_keys_and_seed_alone():
    keys = [f"set/{index}" for index in range(11)]
    half = first_half(keys, 3)
    assert half.sum() == 5
    np.testing.assert_array_equal(first_half(keys[::-1], 3), half[::-1])
    assert (first_half(keys, 4) != half).any()


def test_a_second_run_keeps_what_is_done_and_redoes_what_changed(tmp_path, make_pairs):
    root, out = make_pairs(3), tmp_path / "out"
    _, first, _ = evaluate(out, root, ArtifactDetector(min_area=100))
    write_png(root / "GT-Mask" / "set1" / "001.png", np.zeros((120, 160), bool))
    task, second, _ = evaluate(out, root, ArtifactDetector(min_area=100))
    same = [row["image"] for row in first if row in second]
    assert same == ["set0/000", "set0/002"]
    _, other, _ = evaluate(out, root, ArtifactDetector(0.5, min_area=100))
    assert not [row for row in other if row in second]
    assert task.summary["images"] == 3


def test_what_cannot_be_done_is_named_and_the_rest_is_scored(tmp_path, make_pairs):
    root = make_pairs(4)
    (root / "GAN-SR" / "set0" / "000.png").write_bytes(b"")
    (root / "GT-Mask" / "set1" / "001.png").unlink()
    write_png(root / "GT-Mask" / "set0" / "002.png", np.zeros((9, 9), bool))
    task, _, failures = evaluate(tmp_path / "out", root, ArtifactDetector(min_area=100), page=True)
    assert len(failures) == 3
    for text, line in zip(
        ("is empty", "no partner in", "labelled mask of 9x9"), sorted(failures), strict=False
    ):
        assert any(text in failure for failure in failures), (text, line)
    assert (task.summary["images"], task.summary["images_not_done"]) == (1, 3)
    assert "best_threshold" not in task.summary
    page = (tmp_path / "out" / "index.html").read_text()
    assert "own against labelled artifacts" in page
    view = (tmp_path / "out" / "page" / "views" / "set1" / "003.js").read_text()
    assert "Difference" in view
    assert "Hit" in (tmp_path / "out" / "page" / "regions" / "set1" / "003.js").read_text()


def test_nothing_can_be_done(tmp_path, make_pairs):
    root = make_pairs(1)
    (root / "GAN-SR" / "set0" / "000.png").write_bytes(b"")
    task, _, failures = evaluate(tmp_path / "out", root, ArtifactDetector())
    assert len(failures) == task.summary["images_not_done"] == 1
    assert "iou" not in task.summary


def test_settings_that_cannot_be_used_are_refused(tmp_path):
    for name, value in (
        ("border", -1), ("steps", 1), ("replicates", 0), ("min_share", 0), ("tune_for", "recall"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"{name}={value}"):
            DetectorEvaluation(ArtifactDetector(), NoSegmenter(), tmp_path, **{name: value})
