"""The table over detectors, from the files that a sweep's jobs left."""

import csv
import json

from omegaconf import OmegaConf
from PIL import Image as PILImage

from cli.detector_comparison import DetectorComparison
from desra.files import write_table, write_text

SCORES = ("iou", "precision", "recall", "f1", "average_precision", "best_iou", "best_f1")


def leave_job(folder, name, overrides, **figures):
    job = folder / name
    write_text(job / "metrics.json", json.dumps(figures))
    write_text(job / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(overrides)))
    return job


def leave_detector(folder, detector, area, *overrides, **figures):
    scores = {f"{score}{end}": 0.5 for score in SCORES for end in ("", "_low", "_high")}
    figures = {"threshold": 0.7, "seconds_per_megapixel": 0.25, "best_threshold": 0.6, **figures}
    name = "-".join([detector, *overrides])
    figures = {"detector": detector, **scores, **figures, "average_precision": area}
    job = leave_job(folder, name, [f"detector={detector}", *overrides], **figures)
    curve = [{"distance": d, "precision": 1 - d, "recall": d or ""} for d in (0, 0.5, 1)]
    write_table(job / "curve.csv", curve, list(curve[0]))


def compare(folder):
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}, "logger": {}})
    DetectorComparison("metrics.json").on_multirun_end(config)


def test_tables_and_plots_of_detectors(tmp_path, capsys):
    leave_detector(tmp_path, "desra", 0.4, iou=0.511, iou_low=0.48, iou_high=0.542)
    leave_detector(tmp_path, "ldl_map", 0.9, best_f1=None)
    compare(tmp_path)
    with open(tmp_path / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["detector"] for row in rows] == ["ldl_map", "desra"]  # by average precision
    assert rows[1]["iou_low"] == "0.48"
    assert rows[0]["best_f1"] == ""
    lines = (tmp_path / "sweep.tex").read_text().splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrrrrrrrr}"
    assert lines[4].startswith(r"ldl\_map & 0.7 & ")
    assert lines[5].startswith(r"desra & 0.7 & $51.1_{48.0}^{54.2}$ & ")
    assert all(line.count("&") == 10 for line in (lines[2], *lines[4:6]))
    assert PILImage.open(tmp_path / "precision_recall.png").size == (900, 750)
    assert "ldl_map, AP 0.900" in (tmp_path / "precision_recall.svg").read_text()
    out = capsys.readouterr().out
    assert "51.1" in out
    assert "48–54" in out


def test_ranks_are_compared_where_regions_have_scores(tmp_path, capsys):
    leave_detector(tmp_path, "desra", 0.4, spearman=0.31)
    leave_detector(tmp_path, "ssim", 0.5, spearman=None)
    compare(tmp_path)
    lines = (tmp_path / "sweep.tex").read_text().splitlines()
    assert lines[2].endswith(r"& $\rho$ \\")
    assert [line.split("& ")[-1] for line in lines[4:6]] == [r"-- \\", r"0.31 \\"]
    assert "rank" in capsys.readouterr().out


def test_other_settings_that_vary_are_named(tmp_path):
    leave_detector(tmp_path, "desra", 0.4, "segmenter=none")
    leave_detector(tmp_path, "desra", 0.5, "segmenter=mmseg")
    leave_detector(tmp_path, "ldl", 0.3, "segmenter=none")
    compare(tmp_path)
    tex = (tmp_path / "sweep.tex").read_text()
    assert tex.index("desra, segmenter mmseg") < tex.index("desra, segmenter none")


def test_one_detector_alone_is_named_by_itself(tmp_path):
    leave_detector(tmp_path, "desra", None, "data.root=some/set")
    compare(tmp_path)
    assert "\ndesra & 0.7" in (tmp_path / "sweep.tex").read_text()


def test_sweeps_of_other_tasks_are_summed_up_as_usual(tmp_path, capsys):
    leave_job(tmp_path, "a", ["border=0"], precision=0.5, recall=0.25)
    leave_job(tmp_path, "b", ["border=5"], precision=0.4, recall=0.75)
    compare(tmp_path)
    assert (tmp_path / "sweep.csv").is_file()
    assert not (tmp_path / "sweep.tex").exists()
    assert "0.75" in capsys.readouterr().out
