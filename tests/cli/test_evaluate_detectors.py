"""Evaluation of detectors as users start it: in a shell, over files."""

import csv
import json

import numpy as np
import pytest

from desra.masks import read_mask_image


def test_a_sweep_over_detectors_ends_with_their_comparison(tmp_path, make_pairs, run_script):
    root, out = make_pairs(4), tmp_path / "out"
    run = run_script(
        "evaluate.py", "-m", "task=detector", "detector=desra,ldl,ssim", "detector.min_area=100",
        f"data.root={root}", f"output_dir={out}", "page=false", "task.replicates=20",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    with open(out / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["detector"] for row in rows} == {"desra", "ldl", "ssim"}
    areas = [float(row["average_precision"]) for row in rows]
    assert areas == sorted(areas, reverse=True)
    assert all(0.5 < float(row["f1"]) <= 1 for row in rows)
    assert (out / "sweep.tex").read_text().count(r" \\") == 4
    assert (out / "precision_recall.svg").is_file()
    assert "best one on the other half" in run.stdout


def score_regions(root, keys):
    """``regions.csv`` beside the labels: each image's region has a higher score than the last."""
    rows = ["image,x,y,score"]
    for number, key in enumerate(keys, 1):
        y, x = np.argwhere(read_mask_image(root / "GT-Mask" / f"{key}.png"))[0]
        rows.append(f"{key},{x},{y},{number / len(keys)}")
    (root / "regions.csv").write_text("\n".join(rows))


def test_two_processes_give_the_scores_of_one(tmp_path, make_pairs, run_script):
    root = make_pairs(6)
    score_regions(root, ["set0/000", "set1/003", "set0/004"])
    (root / "GAN-SR" / "set1" / "001.png").write_bytes(b"")
    folders = [
        f"mse_root={root}/MSE-SR", f"gan_root={root}/GAN-SR", f"gt_root={root}/GT-Mask",
    ]  # fmt: skip
    figures = []
    for name, trainer in (
        ("one", ()),
        ("two", ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")),
    ):
        run = run_script(
            "evaluate.py", "task=detector", "detector=ssim", "detector.min_area=100", *folders,
            f"output_dir={tmp_path / name}", *trainer,
        )  # fmt: skip
        assert run.returncode == 1, run.stderr
        assert "Traceback" not in run.stderr
        assert run.stderr.count("001.png: the file is empty") == 1
        figures.append(json.loads((tmp_path / name / "metrics.json").read_text()))
        assert figures[-1].pop("seconds_per_megapixel") > 0
    assert figures[0] == figures[1]
    assert (figures[0]["images"], figures[0]["images_not_done"]) == (5, 1)
    assert (figures[0]["regions_ranked"], figures[0]["prominent_labelled"]) == (3, 2)
    assert "top_score" in (tmp_path / "two" / "index.html").read_text()


def test_prominence_of_a_detector_is_that_of_the_masks_and_maps_it_leaves(
    tmp_path, make_pairs, run_script
):
    root = make_pairs(6)
    score_regions(root, ["set0/000", "set1/001", "set1/003", "set0/004"])
    shared = [f"gan_root={root}/GAN-SR", f"mse_root={root}/MSE-SR", "page=false"]
    made = [*shared, "detector.min_area=100", f"output_dir={tmp_path / 'made'}"]
    assert run_script("detect.py", *made, "save_intermediates=true").returncode == 0
    figures = []
    for name, what in (
        ("masks", [f"pred_root={tmp_path / 'made/DeSRA-Mask'}"]),
        ("detector", ["task=detector", "detector.min_area=100"]),
    ):
        output = tmp_path / name
        labels = (f"gt_root={root}/GT-Mask", "prominence=0.6", f"output_dir={output}")
        run = run_script("evaluate.py", *what, *shared, *labels)
        assert run.returncode == 0, run.stderr
        assert "score ≥ 0.6" in run.stdout
        figures.append(json.loads((output / "metrics.json").read_text()))
        with open(output / "labelled_regions.csv", newline="") as file:
            figures[-1]["responses"] = [float(row["response"]) for row in csv.DictReader(file)]
    for name in ("iou", "precision", "recall", "f1", "labelled", "detected"):
        assert figures[0][f"prominent_{name}"] == figures[1][f"prominent_{name}"]
    assert figures[0]["spearman"] == figures[1]["spearman"]
    # The map in the file is of 16 bits.
    assert figures[0]["responses"] == pytest.approx(figures[1]["responses"], abs=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("detector=mmseg",), "error: detector=mmseg needs a network that marks artifacts"),
        (("detector=desra",), "error: no MSE-SR, GAN-SR, GT-Mask: give mse_root=DIR"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, run_script, monkeypatch, make_pairs, overrides, message):
    monkeypatch.setenv("DESRA_CACHE", str(tmp_path / "cache"))
    data = () if "desra" in overrides[0] else (f"data.root={make_pairs(1)}",)
    command = ("evaluate.py", "task=detector", *overrides)
    run = run_script(*command, *data, f"output_dir={tmp_path / 'out'}")
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith(message)
    assert "Traceback" not in run.stderr


def test_a_detector_without_its_task_is_one_line_with_the_right_command(tmp_path, run_script):
    run = run_script("evaluate.py", "detector=ssim", "gt_root=a", f"output_dir={tmp_path}")
    assert run.returncode == 2
    assert "give task=detector detector=ssim" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
