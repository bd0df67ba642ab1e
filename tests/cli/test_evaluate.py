"""evaluate.py as users start it: in a shell, over files."""

import csv
import json

import numpy as np
import pytest
from scipy import ndimage

from desra.images import write_png

DDP = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


@pytest.fixture
def roots(tmp_path):
    """Seven images of detected masks and of labels, both as arrays of the inner area and as files:
    labels by turns as PNG and as LabelMe's JSON, one detected mask without its rim."""
    random = np.random.default_rng(5)
    pred, gt = tmp_path / "pred", tmp_path / "gt"
    pairs = {}
    for index in range(7):
        size = random.integers(30, 60, 2)
        left, top = random.integers(6, 12, 2).tolist()
        points = [[left, top], [left + 9, top + 8]]
        shape = {"label": "artifact", "shape_type": "rectangle", "points": points}
        mask = np.zeros(size, bool)
        mask[top : top + 9, left : left + 10] = True
        label = {"shapes": [shape], "imageHeight": int(size[0]), "imageWidth": int(size[1])}
        if index % 2:
            (gt / f"{index}.json").write_text(json.dumps(label))
        else:
            write_png(gt / f"{index}.png", mask)
        detected = np.roll(mask, index, 1) | (random.random(size) < 0.01)
        write_png(pred / f"{index}.png", detected[5:-5, 5:-5] if index == 3 else detected)
        pairs[str(index)] = detected[5:-5, 5:-5], mask[5:-5, 5:-5]
    return pred, gt, pairs


def share_inside(masks, others):
    """Over all images, the share of 8-connected regions at least half of which is in the other."""
    inside = []
    for mask, other in zip(masks, others, strict=True):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        inside += [other[labels == number].mean() >= 0.5 for number in range(1, count + 1)]
    return np.mean(inside)


def test_two_processes_score_each_image_once_and_list_what_is_broken(tmp_path, roots, run_script):
    pred, gt, pairs = roots
    (pred / "empty.png").write_bytes(b"")
    write_png(gt / "empty.png", np.zeros((20, 20), bool))
    write_png(pred / "alone.png", np.zeros((20, 20), bool))
    (gt / "1.json").write_text('{"shapes": [')
    del pairs["1"]
    out = tmp_path / "out"
    run = run_script("evaluate.py", f"pred_root={pred}", f"gt_root={gt}", f"output_dir={out}", *DDP)

    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stderr
    lines = run.stderr.splitlines()
    assert sum("images not done" in line and "3" in line for line in lines) == 1
    for reason in (f"{pred / 'empty.png'}: the file is empty", "alone: no partner in", "1.json: "):
        assert sum(reason in line for line in lines) == 1

    detected, labelled = zip(*pairs.values(), strict=True)
    precision, recall = share_inside(detected, labelled), share_inside(labelled, detected)
    ious = [(a & b).sum() / (a | b).sum() for a, b in pairs.values()]
    scores = json.loads((out / "metrics.json").read_text())
    assert (scores["images"], scores["images_not_done"]) == (6, 3)
    assert scores["images_without_artifacts"] == 0
    assert scores["iou"] == pytest.approx(np.mean(ious), abs=1e-12)
    assert scores["precision"] == pytest.approx(precision, abs=1e-12)
    assert scores["recall"] == pytest.approx(recall, abs=1e-12)
    assert scores["f1"] == pytest.approx(2 / (1 / precision + 1 / recall), abs=1e-12)
    assert run.stdout.count(f"{scores['iou']:.4f}") == 1

    with open(out / "per_image.csv", newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert [key for key, row in rows.items() if row["error"]] == ["1", "alone", "empty"]
    found = [float(row["iou"]) for row in rows.values() if not row["error"]]
    assert found == pytest.approx(ious, abs=1e-12)
    page = (out / "index.html").read_text()
    assert "alone" in page


def test_wrong_use_is_one_line(tmp_path, run_script):
    run = run_script(
        "evaluate.py", "pred_root=/nowhere", "gt_root=/nowhere", f"output_dir={tmp_path}"
    )
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith("error: /nowhere: no such file or folder")
    assert "Traceback" not in run.stderr


def test_help_names_the_command_and_its_settings(run_script):
    run = run_script("evaluate.py", "--help")
    assert run.returncode == 0
    assert "python evaluate.py pred_root=DIR gt_root=DIR output_dir=DIR" in run.stdout
    assert "border: 5" in run.stdout
