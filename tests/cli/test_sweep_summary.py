"""The table over a sweep, from the files that its jobs left."""

import csv
import json

import pytest
from omegaconf import OmegaConf
from PIL import Image as PILImage

from callbacks.loggers import read_curves
from callbacks.plots import curve_of
from cli.sweep_summary import SweepSummary, gather_jobs, job_folders
from desra.files import write_text


def leave_job(folder, name, overrides, **figures):
    job = folder / name
    write_text(job / "summary.json", json.dumps(figures))
    write_text(job / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(overrides)))


def test_jobs_are_gathered_with_the_overrides_that_differ(tmp_path):
    leave_job(tmp_path, "a", ["mse_root=x=y", "detector.threshold=0.5"], iou=0.25, regions=3)
    leave_job(tmp_path, "b", ["mse_root=x=y", "detector.threshold=0.7", "+extra=1"], iou=None)
    write_text(tmp_path / "elsewhere" / "summary.json", "{}")
    assert gather_jobs(job_folders(tmp_path)) == [
        {"detector.threshold": "0.5", "iou": 0.25, "regions": 3, "extra": None},
        {"detector.threshold": "0.7", "iou": None, "regions": None, "extra": "1"},
    ]


@pytest.mark.parametrize("left", [b"", b"- model=l\n- 'detector.thr", b"\xff\xfe", b"a: 1\n"])
def test_a_job_whose_record_a_kill_cut_short_is_left_out(tmp_path, left):
    leave_job(tmp_path, "a", ["detector.threshold=0.5"], iou=0.25)
    leave_job(tmp_path, "b", ["detector.threshold=0.7"], iou=0.5)
    (tmp_path / "b" / ".hydra" / "overrides.yaml").write_bytes(left)
    assert job_folders(tmp_path) == [tmp_path / "a"]
    assert gather_jobs(job_folders(tmp_path)) == [{"detector.threshold": "0.5", "iou": 0.25}]


def test_table_and_plot_are_written_and_the_cache_is_dropped(tmp_path, capsys):
    leave_job(tmp_path, "a", ["detector.threshold=0.5"], precision=0.5, recall=0.25, f1=1 / 3)
    leave_job(tmp_path, "b", ["detector.threshold=0.7"], precision=0.4, recall=0.75, f1=0.5)
    leave_job(tmp_path, "c", ["detector.threshold=0.9"], precision=None, recall=0.0, f1=0.0)
    write_text(tmp_path / ".cache" / "x", "")
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    SweepSummary(sort="f1").on_multirun_end(config)
    with open(tmp_path / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["detector.threshold"] for row in rows] == ["0.7", "0.5", "0.9"]
    assert rows[2]["precision"] == ""
    assert PILImage.open(tmp_path / "precision_recall.png").size == (900, 750)
    assert "0.75" in capsys.readouterr().out
    assert not (tmp_path / ".cache").exists()


def test_curves_of_the_jobs_and_the_figures_asked_for(tmp_path, capsys):
    for count, shares in (("5", (0.2, 0.1)), ("10", (0.2, 0.05))):
        figures = {"artifact_share/after": shares[-1], "psnr/outside": 30.0}
        leave_job(tmp_path, count, [f"data.train_count={count}"], **figures)
        lines = ["artifact_share/after,loss/generator,step", "0.3,,0", ",0.5,9"]
        lines += [f"{share},,{100 * step}" for step, share in enumerate(shares, 1)]
        write_text(tmp_path / count / "metrics.csv", "\n".join([*lines, ""]))
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    SweepSummary(metrics=["artifact_share/after", "removal_rate"]).on_multirun_end(config)
    out = capsys.readouterr().out
    assert "0.05" in out
    assert "psnr/outside" not in out
    # One panel: the other figure is not there.
    assert PILImage.open(tmp_path / "curves.png").size == (500, 320)
    assert "psnr/outside" in (tmp_path / "sweep.csv").read_text()
    curve = curve_of(read_curves(tmp_path / "10" / "metrics.csv"), "artifact_share/after")
    assert curve == [(0, 0.3), (100, 0.2), (200, 0.05)]


@pytest.mark.parametrize(
    ("overrides", "left_out"),
    [
        (["data.root=a,b", "iterations=5", "+x=choice(1,2)"], ["iterations"]),
        (["data.root=a", "iterations=5"], None),  # a sweep of one: all of it is its name
    ],
)
def test_folders_are_called_by_what_is_swept(overrides, left_out):
    config = OmegaConf.create({"hydra": {"overrides": {"task": overrides, "hydra": []}}})
    SweepSummary().on_multirun_start(config)
    key = "hydra.job.config.override_dirname.exclude_keys"
    shared = [] if left_out is None else [f"{key}={json.dumps([*left_out, 'output_dir'])}"]
    assert list(config.hydra.overrides.hydra) == shared


def test_the_best_job_comes_first_and_those_without_the_figure_last(tmp_path, capsys):
    leave_job(tmp_path, "0", ["rate=1"], loss=None)
    leave_job(tmp_path, "1", ["rate=2"], loss=0.5)
    leave_job(tmp_path, "2", ["rate=3"], loss=0.25)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    for direction, order in (("minimize", "321"), ("maximize", "231")):
        SweepSummary(sort="loss", direction=direction).on_multirun_end(config)
        with open(tmp_path / "sweep.csv", newline="") as file:
            assert [row["rate"] for row in csv.DictReader(file)] == list(order)


def test_a_sweep_without_finished_jobs_leaves_no_table(tmp_path):
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    SweepSummary().on_multirun_end(config)
    assert list(tmp_path.iterdir()) == []
