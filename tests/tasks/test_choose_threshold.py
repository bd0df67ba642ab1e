"""Choosing threshold and minimum area over files, by a real Trainer."""

import csv
import json

import cv2
import numpy as np
import pytest

from desra.detectors import ArtifactDetector, LDLDetector
from desra.errors import InputError
from desra.images import write_png
from desra.segmenters import NoSegmenter
from tasks.choose_threshold import ThresholdChoice
from tasks.detect import ArtifactDetection
from tasks.prominent_regions import prominence_of
from tests.conftest import add_texture, smooth_photo
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


def many_pairs(root, count, scored=()):
    """Images of 64 pixels with one artifact each that the detector finds, all but one in ten."""
    rows = []
    for index in range(count):
        mse_sr = smooth_photo(index % 7, 64, 64)
        mask = np.zeros((64, 64), bool)
        mask[16:44, 16:44] = True
        there = mask & (index % 20 != 9)
        write_png(root / "MSE-SR" / f"{index:03d}.png", mse_sr)
        write_png(root / "GAN-SR" / f"{index:03d}.png", add_texture(mse_sr, there, index))
        write_png(root / "GT-Mask" / f"{index:03d}.png", mask)
        rows.append(f"{index:03d},20,20,{0.2 if index % 20 == 9 else 0.8}")
    if scored:
        (root / "regions.csv").write_text("\n".join(["image,x,y,score", *rows]))
    return root


def test_a_promise_of_few_missed_artifacts(tmp_path, capsys):
    root = many_pairs(tmp_path / "set", 80)
    settings = {"target": "miss_rate", "value": 0.2, "min_areas": [0, 200], "splits": 50}
    task, failures = choice(root, tmp_path / "out", **settings)
    assert not failures
    summary = task.summary
    assert summary["reached"]
    assert (summary["counted"], summary["missed"]) == (80, 4)
    assert summary["p_value"] <= 0.1 / 2  # of two minimum areas
    assert summary["splits_broken"] <= 0.12
    text = capsys.readouterr().out
    assert "at most 20 % of the labelled artifacts are missed, with a confidence of 90 %" in text
    assert f"detector.threshold={summary['threshold']:g}" in text
    assert "Its price: precision" in text

    task, _ = choice(root, tmp_path / "out", **{**settings, "value": 0.06})
    assert not task.summary["reached"]
    assert task.summary["threshold"] is None
    assert task.summary["images_needed"] > 80
    assert f"it would take {task.summary['regions_needed']}" in capsys.readouterr().out
    task, _ = choice(root, tmp_path / "out", **{**settings, "value": 0.04})
    assert task.summary["images_needed"] is None
    assert "The most sensitive setting itself misses 5.0 %" in capsys.readouterr().out


def test_a_promise_of_those_that_viewers_notice(tmp_path):
    root = many_pairs(tmp_path / "set", 40, scored=True)
    settings = {"target": "miss_rate", "value": 0.1, "min_areas": [0], "splits": 10}
    with pytest.raises(InputError, match="of=prominent: no scores"):
        choice(root, tmp_path / "none", of="prominent", **settings)
    asked = prominence_of(root=root, prominence=0.5, own_responses=True)
    task, _ = choice(root, tmp_path / "out", of="prominent", prominence=asked, **settings)
    assert (task.summary["counted"], task.summary["missed"]) == (38, 0)  # 40 without two faint ones
    assert task.summary["reached"]
    for name, value in (("confidence", 1.0), ("of", "some")):
        with pytest.raises(InputError, match=f"{name}={value}"):
            choice(root, tmp_path / "none", **{**settings, name: value})


def test_a_detector_whose_scores_grow_is_swept_the_other_way(tmp_path):
    root = many_pairs(tmp_path / "set", 40)
    task = ThresholdChoice(
        LDLDetector(), NoSegmenter(), tmp_path / "out", target="miss_rate", value=0.2,
        thresholds=[0.0005, 0.005, 0.05, 0.5], min_areas=[0], splits=10,
    )  # fmt: skip
    assert not run_task(task, upscalings(root, labels=True))
    assert task.summary["reached"]
    assert task.summary["threshold"] < 0.5
