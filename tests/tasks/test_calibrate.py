"""Calibration over files: by a real Trainer, in one process and in two."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from desra.detector import ArtifactDetector
from desra.errors import InputError
from desra.images import write_png
from desra.segmenters import LabelFolder, NoSegmenter
from desra.semantics import ADE20K_CLASSES, adjustment_weights
from models.generators import SRVGGNetCompact
from models.upscaler import Upscaler
from tasks.calibrate import CalibrationTask
from tests.reference import plain_detection
from tests.tasks.image_tasks import run_task, upscalings

DDP = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
SHOWN = {"wall": 0, "sky": 2, "tree": 4}
MIN_PIXELS = 4000


@pytest.fixture
def pairs(make_pairs):
    """Five pairs with labels: trees where there are artifacts, some sky, a strip of no class."""
    root = make_pairs(5, 72, 96)
    for path in (root / "GT-Mask").rglob("*.png"):
        labels = np.where(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0, 4, 0).astype(np.uint8)
        labels[:12], labels[-9:] = 2, 255
        write_png(root / "labels" / path.relative_to(root / "GT-Mask"), labels)
    return root


def calibrate(pairs: Path, output: Path, **settings):
    settings = {"min_pixels": MIN_PIXELS, **settings}
    task = CalibrationTask(ArtifactDetector(), LabelFolder(pairs / "labels"), output, **settings)
    failures = run_task(task, upscalings(pairs))
    with open(output / "intervals.csv", newline="") as file:
        return task, failures, {row["name"]: row for row in csv.DictReader(file)}


def plain_distances(pairs):
    """Distances by class name, and of all pixels, by the published algorithm; without the rim."""
    found = {name: [] for name in (*SHOWN, "all")}
    for path in (pairs / "labels").rglob("*.png"):
        key = path.relative_to(pairs / "labels")
        images = [cv2.imread(str(pairs / folder / key)) for folder in ("MSE-SR", "GAN-SR")]
        distance = plain_detection.plain_distance(*images)
        labels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[5:-5, 5:-5]
        found["all"].append(distance.ravel())
        for name, index in SHOWN.items():
            found[name].append(distance[labels == index])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def test_the_table_is_that_of_all_pixels_sorted(pairs, tmp_path, capsys):
    _, failures, rows = calibrate(pairs, tmp_path)
    assert not failures
    assert tuple(rows) == ADE20K_CLASSES
    expected = plain_distances(pairs)
    reached = {
        name: 1 - np.percentile(1 - distances, 85, method="inverted_cdf")
        for name, distances in expected.items()
    }
    intervals = {name: 19 - min(int(value * 20), 19) for name, value in reached.items()}
    for name in SHOWN:
        row = rows[name]
        few = len(expected[name]) < MIN_PIXELS
        assert (int(row["pixels"]), int(row["fallback"])) == (len(expected[name]), few)
        assert float(row["distance"]) == pytest.approx(reached[name], abs=1.001e-3)  # of a bin
        assert int(row["interval"]) == intervals["all" if few else name]
    assert rows["sky"]["fallback"] == "1"
    assert rows["wall"]["fallback"] == rows["tree"]["fallback"] == "0"
    assert intervals["tree"] > intervals["wall"]
    car = rows["car"]
    assert (car["pixels"], car["fallback"], int(car["interval"])) == ("0", "1", intervals["all"])

    weights = adjustment_weights(tmp_path / "intervals.csv")
    assert weights[4] == 20 / (20 - intervals["tree"])
    summary = json.loads((tmp_path / "metrics.json").read_text())
    assert (summary["images"], summary["classes_calibrated"], summary["classes_seen"]) == (5, 2, 3)
    assert cv2.imread(str(tmp_path / "overview.png")) is not None
    assert (tmp_path / "classes.pdf").read_bytes().startswith(b"%PDF")
    with open(tmp_path / "distribution.csv", newline="") as file:
        shares = {row["name"]: row for row in csv.DictReader(file)}
    counted = [int(shares["wall"][edge]) for edge in list(shares["wall"])[2:]]
    np.testing.assert_array_equal(counted, np.histogram(expected["wall"].clip(0, 1), 20, (0, 1))[0])
    assert f"detector.intervals={tmp_path / 'intervals.csv'}" in capsys.readouterr().out


def test_what_is_counted_is_kept_and_broken_images_are_listed(pairs, tmp_path):
    (pairs / "labels/set0/000.png").unlink()
    (pairs / "GAN-SR/set1/001.png").write_bytes(b"")
    write_png(pairs / "labels/set1/003.png", np.zeros((5, 5), np.uint8))
    _, failures, first = calibrate(pairs, tmp_path)
    assert [line.split(":")[0].endswith(key) for line, key in zip(
        failures, ("set0/000", "001.png", "set1/003"), strict=True)] == [True] * 3  # fmt: skip
    assert "no label map" in failures[0]
    kept = {path: path.stat().st_ino for path in (tmp_path / "histograms").rglob("*.npz")}
    assert len(kept) == 2

    task, _, second = calibrate(pairs, tmp_path, percentile=99)
    assert {path: path.stat().st_ino for path in kept} == kept
    assert int(second["wall"]["interval"]) > int(first["wall"]["interval"])
    assert task.summary["images_not_done"] == 3
    *_, coarse = calibrate(pairs, tmp_path, intervals=10)
    assert {path: path.stat().st_ino for path in kept} == kept, "1000 bins serve 10 intervals too"
    assert coarse["wall"]["intervals"] == "10"


def test_no_image_gives_no_table(pairs, tmp_path, capsys):
    for path in (pairs / "labels").rglob("*.png"):
        path.write_bytes(b"")
    task = CalibrationTask(ArtifactDetector(), LabelFolder(pairs / "labels"), tmp_path)
    failures = run_task(task, upscalings(pairs))
    assert len(failures) == task.summary["images_not_done"] == 5
    assert not (tmp_path / "intervals.csv").exists()
    assert "no table" in capsys.readouterr().out


def test_settings_that_cannot_be_used(tmp_path):
    labels = LabelFolder(tmp_path)
    with pytest.raises(InputError, match="segmenter=none: calibration is by semantic class"):
        CalibrationTask(ArtifactDetector(), NoSegmenter(), tmp_path)
    with pytest.raises(InputError, match="percentile=0"):
        CalibrationTask(ArtifactDetector(), labels, tmp_path, percentile=0)


def test_upscalings_of_two_scales_are_refused(tmp_path):
    mse, gan = (Upscaler(SRVGGNetCompact(scale, features=4, depth=1)) for scale in (2, 4))
    with pytest.raises(InputError, match="mse_weights upscale ×2, gan_weights ×4"):
        CalibrationTask(ArtifactDetector(), LabelFolder(tmp_path), tmp_path, mse=mse, gan=gan)


def test_two_processes_make_the_table_of_one(pairs, run_script, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    calibrate(pairs, one)
    run = run_script(
        *("evaluate.py", "task=calibrate", f"output_dir={two}", f"min_pixels={MIN_PIXELS}"),
        *(f"mse_root={pairs}/MSE-SR", f"gan_root={pairs}/GAN-SR"),
        *("segmenter=labels", f"segmenter.root={pairs}/labels", *DDP),
    )
    assert run.returncode == 0, run.stderr
    for name in ("intervals.csv", "distribution.csv", "metrics.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
