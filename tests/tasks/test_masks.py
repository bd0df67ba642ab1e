"""Evaluation of masks, run by a real Trainer over files."""

import csv
import json

import numpy as np
import pytest

from desra.errors import InputError
from desra.images import write_png
from desra.masks import read_mask_image
from tasks.masks import MaskEvaluation
from tests.tasks.image_tasks import mask_pairs, run_task


def evaluate(output_dir, pred, gt, pictures=None, **settings):
    """Run the task over the folders; returns it and the rows of its table."""
    task = MaskEvaluation(output_dir, **settings)
    run_task(task, mask_pairs(pred, gt, **(pictures or {})))
    with open(output_dir / "per_image.csv", newline="") as file:
        return task, {row["image"]: row for row in csv.DictReader(file)}


def box(top, bottom, left, right, size=(40, 50)):
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.fixture
def masks(tmp_path):
    """Three images: one partly found, one clean, one with an artifact missed."""
    pred, gt = tmp_path / "pred", tmp_path / "gt"
    found = box(8, 18, 10, 20) | box(25, 30, 30, 40)
    write_png(pred / "a/partly.png", found)
    write_png(gt / "a/partly.png", box(8, 18, 14, 24) | box(0, 4, 0, 50))  # the second in the rim
    write_png(pred / "clean.png", box(0, 0, 0, 0))
    write_png(gt / "clean.png", box(0, 0, 0, 0))
    write_png(pred / "missed.png", box(0, 0, 0, 0)[5:-5, 5:-5])  # as the release writes it
    write_png(gt / "missed.png", box(20, 25, 20, 25))
    return pred, gt


def test_scores_of_the_set_and_of_each_image(tmp_path, masks, capsys):
    task, rows = evaluate(tmp_path / "out", *masks, page=False)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written == task.summary
    expected_iou = (60 / (100 + 100 - 60 + 50) + 0) / 2
    assert written["iou"] == pytest.approx(expected_iou, abs=1e-12)
    assert (written["precision"], written["recall"], written["f1"]) == (0.5, 0.5, 0.5)
    assert (written["images"], written["images_without_artifacts"]) == (3, 1)
    assert list(rows) == ["a/partly", "clean", "missed"]
    assert float(rows["a/partly"]["iou"]) == pytest.approx(60 / 190, abs=1e-12)
    assert rows["clean"]["iou"] == rows["clean"]["precision"] == rows["missed"]["precision"] == ""
    assert (rows["missed"]["recall"], rows["missed"]["f1"]) == ("0.0", "0.0")
    table = capsys.readouterr().out
    assert "0.5000  (1 of 2 detected regions)" in table
    assert "not done" not in table


def test_asks_whether_masks_are_inverted(tmp_path, masks, caplog):
    pred, gt = masks
    evaluate(tmp_path / "out", pred, gt, page=False)
    assert "inverted" not in caplog.text
    for path in gt.rglob("*.png"):
        write_png(path, ~read_mask_image(path))
    evaluate(tmp_path / "again", pred, gt, page=False)
    assert "artifacts are white in a mask: are these inverted?" in caplog.text


def test_failed_images_are_counted_and_named(tmp_path, masks):
    pred, gt = masks
    (pred / "cut.png").write_bytes((pred / "a/partly.png").read_bytes()[:60])
    write_png(gt / "cut.png", box(0, 0, 0, 0))
    write_png(pred / "sizes.png", box(0, 1, 0, 1, size=(40, 40)))
    write_png(gt / "sizes.png", box(0, 1, 0, 1, size=(40, 44)))
    task, rows = evaluate(tmp_path / "out", *masks, page=False)
    assert task.summary["images_not_done"] == 2
    assert task.summary["images"] == 3
    assert rows["cut"]["error"].startswith(f"{pred / 'cut.png'}: ")
    assert rows["sizes"]["error"].startswith("sizes: detected mask of 40x40 for an image of 44x40")
    assert rows["sizes"]["iou"] == ""


def test_nothing_labelled_and_nothing_found_is_undefined_not_a_score(tmp_path):
    for name in ("pred", "gt"):
        write_png(tmp_path / name / "1.png", box(0, 0, 0, 0))
    task, _ = evaluate(tmp_path / "out", tmp_path / "pred", tmp_path / "gt", page=False)
    text = (tmp_path / "out" / "metrics.json").read_text()
    assert task.summary["iou"] is None
    assert json.loads(text)["f1"] is None


def test_a_second_run_keeps_what_is_done_and_redoes_what_changed(tmp_path, masks):
    first, _ = evaluate(tmp_path / "out", *masks, page=False)
    table = (tmp_path / "out" / "per_image.csv").read_bytes()
    again, _ = evaluate(tmp_path / "out", *masks, page=False)
    assert again.summary == first.summary
    assert (tmp_path / "out" / "per_image.csv").read_bytes() == table  # even the seconds
    write_png(masks[0] / "missed.png", box(20, 25, 20, 25))
    changed, rows = evaluate(tmp_path / "out", *masks, page=False)
    assert rows["missed"]["iou"] == "1.0"
    assert changed.summary["recall"] == 1


@pytest.mark.parametrize(
    ("settings", "message"), [({"border": -1}, "border=-1"), ({"min_share": 0}, "min_share=0")]
)
def test_settings_out_of_range(tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        MaskEvaluation(tmp_path, **settings)


def regions_of(output_dir, key):
    """The page's regions of an image, by outline name: their areas."""
    text = (output_dir / "page" / "regions" / f"{key}.js").read_text()
    data = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return {
        outline["name"]: [region[1] for region in outline["regions"]]
        for outline in data["outlines"]
    }


def layers_of(output_dir, key):
    text = (output_dir / "page" / "views" / f"{key}.js").read_text()
    return json.loads(text[text.index("{") : text.rindex("}") + 1])["layers"]


def test_page_shows_hits_misses_and_false_alarms(tmp_path, masks):
    evaluate(tmp_path / "out", *masks)
    assert regions_of(tmp_path / "out", "a/partly") == {
        "Labelled": [100],
        "Hit": [100],
        "False alarm": [50],
        "Miss": [],
    }
    assert regions_of(tmp_path / "out", "missed")["Miss"] == [25]
    assert [layer["name"] for layer in layers_of(tmp_path / "out", "a/partly")] == [
        "Detected mask",
        "Labelled mask",
    ]
    page = (tmp_path / "out" / "index.html").read_text()
    assert "a/partly" in page
    assert "missed" in page


def test_page_over_pictures_of_masks_with_and_without_rim(tmp_path, masks):
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for key in ("a/partly", "clean", "missed"):
        write_png(tmp_path / "gan" / f"{key}.png", photo)
        write_png(tmp_path / "lr" / f"{key}.png", photo[::4, ::4])
    pictures = {"gan_sr": tmp_path / "gan", "lr": tmp_path / "lr"}
    task, _ = evaluate(tmp_path / "out", *masks, pictures)
    layers = layers_of(tmp_path / "out", "missed")
    assert [(layer["name"], layer["width"]) for layer in layers] == [("LR", 13), ("GAN-SR", 50)]
    assert task.summary["images_not_done"] == 0

    cropped = tmp_path / "cropped"
    write_png(cropped / "pred/missed.png", box(0, 0, 0, 0)[5:-5, 5:-5])
    write_png(cropped / "gt/missed.png", box(20, 25, 20, 25)[5:-5, 5:-5])
    evaluate(tmp_path / "out0", cropped / "pred", cropped / "gt", pictures, border=0)
    text = (tmp_path / "out0/page/regions/missed.js").read_text()
    data = json.loads(text[text.index("{") : text.rindex("}") + 1])
    (miss,) = (outline for outline in data["outlines"] if outline["name"] == "Miss")
    assert miss["regions"][0][2] == [20, 20, 5, 5]  # where it is in the picture


def test_a_picture_of_another_size_is_named(tmp_path, masks):
    write_png(tmp_path / "gan" / "missed.png", np.zeros((80, 100, 3), np.uint8))
    task, rows = evaluate(tmp_path / "out", *masks, {"gan_sr": tmp_path / "gan"})
    assert task.summary["images_not_done"] == 1
    assert rows["missed"]["error"].startswith(
        "missed: detected mask of 40x30 for an image of 100x80"
    )
