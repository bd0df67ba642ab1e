"""Evaluation of detectors as users start it: in a shell, over files."""

import csv
import json

import pytest


def test_a_sweep_over_detectors_ends_with_their_comparison(tmp_path, make_pairs, run_script):
    root, out = make_pairs(4), tmp_path / "out"
    run = run_script(
        "evaluate.py", "-m", "detector=desra,ldl,ssim", "detector.min_area=100",
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


def test_two_processes_give_the_scores_of_one(tmp_path, make_pairs, run_script):
    root = make_pairs(3)
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
            "evaluate.py", "detector=ssim", "detector.min_area=100", *folders,
            f"output_dir={tmp_path / name}", *trainer,
        )  # fmt: skip
        assert run.returncode == 1, run.stderr
        assert "Traceback" not in run.stderr
        assert run.stderr.count("001.png: the file is empty") == 1
        figures.append(json.loads((tmp_path / name / "metrics.json").read_text()))
        assert figures[-1].pop("seconds_per_megapixel") > 0
    assert figures[0] == figures[1]
    assert (figures[0]["images"], figures[0]["images_not_done"]) == (2, 1)
    assert (tmp_path / "two" / "index.html").is_file()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("detector=niqe",), "error: detector=niqe has no model of clean images"),
        (("detector=mmseg",), "error: detector=mmseg needs a network that marks artifacts"),
        (("detector=desra",), "error: a detector is evaluated on mse_root=DIR"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, run_script, monkeypatch, make_pairs, overrides, message):
    monkeypatch.setenv("DESRA_CACHE", str(tmp_path / "cache"))
    data = () if "desra" in overrides[0] else (f"data.root={make_pairs(1)}",)
    run = run_script("evaluate.py", *overrides, *data, f"output_dir={tmp_path / 'out'}")
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith(message)
    assert "Traceback" not in run.stderr
