"""Choosing threshold and minimum area over files, by a real Trainer."""

import csv
import json

import cv2
import pytest

from desra.detector import ArtifactDetector
from desra.errors import InputError
from desra.segmenters import NoSegmenter
from tasks.choose_threshold import ThresholdChoice
from tasks.detect import ArtifactDetection
from tests.tasks.image_tasks import run_task, upscalings

SWEPT = {"thresholds": [0.2, 0.5, 0.7, 0.9], "min_areas": [0, 200, 400, 800]}


def choice(root, output, data=None, **settings):
    task = ThresholdChoice(ArtifactDetector(), NoSegmenter(), output, **{**SWEPT, **settings})
    data = data or upscalings(root, labels=True, unmatched="skip")
    return task, run_task(task, data)


def test_the_chosen_settings_detect_as_well_as_was_said(make_pairs, tmp_path, capsys):
    root = make_pairs(4)
    _, failures = choice(root, tmp_path / "choice", target="recall", value=0.5)
    assert not failures
    summary = json.loads((tmp_path / "choice/metrics.json").read_text())
    assert summary["reached"]
    assert summary["recall"] >= 0.5
    with open(tmp_path / "choice/curve.csv", newline="") as file:
        curve = list(csv.DictReader(file))
    assert len(curve) == 16
    assert cv2.imread(str(tmp_path / "choice/curve.png")) is not None
    settings = (
        f"detector.threshold={summary['threshold']:g} detector.min_area={summary['min_area']}"
    )
    assert settings in capsys.readouterr().out

    detector = ArtifactDetector(summary["threshold"], summary["min_area"])
    detection = ArtifactDetection(detector, NoSegmenter(), tmp_path / "masks", page=False)
    run_task(detection, upscalings(root))
    for name in ("precision", "recall", "f1", "iou"):
        assert detection.summary[name] == pytest.approx(summary[name], abs=1e-12)


def test_another_target_needs_no_image_again_and_may_be_out_of_reach(make_pairs, tmp_path, capsys):
    root = make_pairs(3)
    choice(root, tmp_path, target="recall", value=0.5)
    records = list((tmp_path / ".desra/choose-threshold").rglob("*.json"))
    kept = {path: path.stat().st_ino for path in records}
    capsys.readouterr()
    (root / "GT-Mask/set1/001.png").unlink()  # one image less, and the masks are of other regions
    task, _ = choice(root, tmp_path, target="precision", value=1, min_areas=[0])
    assert {path: path.stat().st_ino for path in kept} == kept
    assert task.summary["images"] == 2
    if not task.summary["reached"]:
        assert "precision 1 is not reached; the best is" in capsys.readouterr().out


def test_broken_images_are_listed_and_nothing_labelled_is_said(make_pairs, tmp_path, capsys):
    root = make_pairs(3)
    (root / "GT-Mask/set0/000.png").write_bytes(b"")
    cv2.imwrite(str(root / "GT-Mask/set1/001.png"), cv2.imread(str(root / "LR/set1/001.png"), 0))
    task, failures = choice(root, tmp_path)
    assert len(failures) == 2
    assert "000.png: the file is empty" in failures[0]
    assert task.summary["reached"] is None
    assert "nothing is labelled in 1 images" in capsys.readouterr().out


def test_wrong_use_is_named(make_pairs, tmp_path):
    root = make_pairs(1)
    for settings, message in (
        ({"target": "accuracy"}, "target=accuracy"),
        ({"value": 0}, "value=0"),
        ({"thresholds": []}, "thresholds="),
        ({"min_areas": [-1]}, "min_areas"),
        ({"min_share": 2}, "min_share=2"),
    ):
        with pytest.raises(InputError, match=message):
            choice(root, tmp_path, **settings)
