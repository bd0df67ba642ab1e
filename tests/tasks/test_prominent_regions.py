"""Scores of labelled regions in the evaluation of masks, by a real Trainer over files."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from desra.errors import InputError
from desra.images import write_png
from tasks.masks import MaskEvaluation
from tasks.prominent_regions import prominence_of
from tests.tasks.image_tasks import mask_pairs, run_task

SIZE = (60, 80)
BOXES = ((10, 10), (10, 50), (38, 10), (38, 50))
SCORES = {"a": (0.9, 0.2, 0.6, 0.5), "b": (0.1, 0.8, 0.3, None)}
FOUND = {"a": (0, 2), "b": (1, 2)}


@pytest.fixture
def folders(tmp_path):
    """Two scored images, one labelled and not scored, one clean with a false alarm; each region is
    a square, a response lies over it that grows with its score but for one."""
    rng = np.random.default_rng(0)
    rows = ["image,x,y,score,note"]
    for key in ("a", "b", "unscored", "clean"):
        gt_mask, mask, response = np.zeros(SIZE, bool), np.zeros(SIZE, bool), np.zeros(SIZE)
        for number, (top, left) in enumerate(() if key == "clean" else BOXES):
            square = slice(top, top + 12), slice(left, left + 12)
            gt_mask[square] = True
            mask[square] = number in FOUND.get(key, ())
            score = SCORES.get(key, (None,) * 4)[number]
            response[square] = rng.uniform(0, 2 * (score or 0.2), (12, 12)).clip(0, 1)
            if score is not None:
                rows.append(f"{key},{left + 11},{top + 5},{score},")
        if key == "clean":
            mask[20:30, 20:30] = True
        write_png(tmp_path / "GT-Mask" / f"{key}.png", gt_mask)
        write_png(tmp_path / "out/DeSRA-Mask" / f"{key}.png", mask)
        distance = np.round((1 - response) * 65535).astype(np.uint16)
        write_png(tmp_path / "out/Intermediates/Adjusted" / f"{key}.png", distance)
    (tmp_path / "regions.csv").write_text("\n".join(rows))
    return tmp_path


def evaluate(folders, output, **settings):
    pred, gt = folders / "out/DeSRA-Mask", folders / "GT-Mask"
    prominence = prominence_of(gt_root=gt, pred_root=pred, **settings)
    task = MaskEvaluation(output, prominence=prominence)
    return task, run_task(task, mask_pairs(pred, gt))


def test_prominent_regions_and_ranks(folders, tmp_path, capsys):
    task, failures = evaluate(folders, tmp_path / "scores")
    assert not failures
    summary = json.loads((tmp_path / "scores/metrics.json").read_text())
    assert summary == task.summary
    # Prominent: three of a, one of b; found of them 0, 2 of a and 1 of b. Detected also: b's 2,
    # which is faint, and a false alarm. The image without scores is left out.
    assert summary["prominent_labelled"] == 4
    assert summary["prominent_recall"] == 3 / 4
    assert summary["prominent_precision"] == 3 / 5
    assert summary["prominent_iou"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert summary["prominent_f1"] == pytest.approx(2 / (4 / 3 + 5 / 3))
    assert summary["faint_recall"] == pytest.approx(1 / 3)
    assert (summary["images_without_score"], summary["regions_without_score"]) == (1, 5)

    with open(tmp_path / "scores/labelled_regions.csv", newline="") as file:
        regions = [row for row in csv.DictReader(file) if row["score"]]
    scores, responses = ([float(row[name]) for row in regions] for name in ("score", "response"))
    assert sorted(scores) == sorted(s for each in SCORES.values() for s in each if s is not None)
    assert summary["regions_ranked"] == 7
    expected = stats.spearmanr(responses, scores).statistic
    assert summary["spearman"] == pytest.approx(expected)
    assert summary["kendall"] == pytest.approx(stats.kendalltau(responses, scores).statistic)
    shown = capsys.readouterr().out
    assert "recall, score ≥ 0.5" in shown
    assert "labelled regions without a score" in shown


def test_what_is_written_can_be_given_back(folders, tmp_path):
    first, _ = evaluate(folders, tmp_path / "first")
    (folders / "regions.csv").unlink()
    table = tmp_path / "first/labelled_regions.csv"
    second, failures = evaluate(folders, tmp_path / "second", scores=table)
    assert not failures
    assert second.summary == first.summary
    higher, _ = evaluate(folders, tmp_path / "second", scores=table, prominence=0.7)
    assert higher.summary["prominent_labelled"] == 2


@pytest.mark.parametrize("scored", [True, False])
def test_what_is_found_of_each_kind(folders, tmp_path, capsys, scored):
    kinds = {("a", 0): "grid", ("a", 1): "grid", ("a", 2): "blobs", ("b", 3): "grid"}
    rows = ["image,x,y,score,kind"]
    for (key, number), kind in kinds.items():
        top, left = BOXES[number]
        rows.append(f"{key},{left},{top},{0.5 if scored else ''},{kind}")
    (folders / "regions.csv").write_text("\n".join(rows))
    task, failures = evaluate(folders, tmp_path / "scores")
    assert not failures
    assert task.summary["per_kind"] == [
        {"kind": "grid", "labelled": 3, "found": 1, "recall": 1 / 3},
        {"kind": "blobs", "labelled": 1, "found": 1, "recall": 1.0},
    ]
    assert task.summary["regions_without_kind"] == 8
    assert ("prominent_recall" in task.summary) is scored
    shown = capsys.readouterr().out
    assert "0.3333  (1 of 3 labelled regions)" in shown
    assert ("recall, score" in shown) is scored
    assert ("top_score" in (tmp_path / "scores/index.html").read_text()) is scored
    assert '"blobs"' in (tmp_path / "scores/page/regions/a.js").read_text()
    table = tmp_path / "scores/labelled_regions.csv"
    again, _ = evaluate(folders, tmp_path / "again", scores=table)
    assert again.summary == task.summary
    (folders / "regions.csv").write_text("image,x,y,score,kind\n")  # all votes taken back
    assert prominence_of(gt_root=folders / "GT-Mask") is None


def test_the_page_has_scores_to_sort_by(folders, tmp_path):
    evaluate(folders, tmp_path / "scores")
    text = (tmp_path / "scores/page/regions/a.js").read_text()
    data = json.loads(text[text.index("{") : text.rindex("}") + 1])
    outlines = {outline["name"]: outline["regions"] for outline in data["outlines"]}
    assert {region[0]: region[-1]["score"] for region in outlines["Labelled"]} == {
        1: 0.9, 2: 0.2, 3: 0.6, 4: 0.5
    }  # fmt: skip
    assert {region[0]: region[-1]["score"] for region in outlines["Miss"]} == {2: 0.2, 4: 0.5}
    assert all(0 < region[-1]["response"] < 1 for region in outlines["Labelled"])
    assert "top_score" in (tmp_path / "scores/index.html").read_text()


def test_without_scores_nothing_changes_and_without_maps_ranks_are_undefined(folders, tmp_path):
    unscored = prominence_of(gt_root=folders / "out/DeSRA-Mask", pred_root=folders / "GT-Mask")
    assert unscored is None
    (folders / "out/Intermediates/Adjusted").rename(folders / "moved")
    task, _ = evaluate(folders, tmp_path / "scores")
    assert task.summary["spearman"] is None
    assert task.summary["prominent_recall"] == 3 / 4
    again, _ = evaluate(folders, tmp_path / "scores", response_root=folders / "moved")
    assert again.summary["regions_ranked"] == 7


def test_scores_that_fit_no_region_fail_their_image(folders, tmp_path):
    with open(folders / "regions.csv", "a") as file:
        file.write("\nclean,3,4,0.5,")
    write_png(folders / "out/Intermediates/Adjusted/b.png", np.zeros((30, 30), np.uint8))
    task, failures = evaluate(folders, tmp_path / "scores")
    assert "b: response of 30x30" in failures[0]
    assert failures[1].startswith(f"clean: {folders / 'regions.csv'}, line 9: x=3, y=4 is on no")
    assert task.summary["images_not_done"] == 2
    with pytest.raises(InputError, match="prominence=2"):
        prominence_of(folders / "regions.csv", prominence=2)
