"""train.py with detection in the loop, as users run it: a sweep over the detector's threshold."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.generators import RRDBNet, load_generator, write_generator


@pytest.fixture
def arguments(make_pairs: Callable[..., Path], tmp_path: Path) -> list[str]:
    """Six labelled images with masks, and a tiny generator."""
    pairs = make_pairs(6)
    for label in (pairs / "GT-Mask").rglob("*.png"):
        mask = pairs / "DeSRA-Mask" / label.relative_to(pairs / "GT-Mask")
        mask.parent.mkdir(parents=True, exist_ok=True)
        mask.write_bytes(label.read_bytes())
    torch.manual_seed(0)
    write_generator(tmp_path / "tiny.pth", RRDBNet(features=8, blocks=1, growth=4))
    return [
        *(f"data.root={pairs}", "data.gt_crop=32", "data.batch_size=2", "data.val_share=0.4"),
        *("model=mse", f"generator_weights={tmp_path}/tiny.pth", "trainer=cpu"),
        *("detector.min_area=500", "callbacks.artifact_validation.lpips=null"),
        "callbacks.alignment_check.least_psnr=null",  # GAN-SR is of another generator
        f"output_dir={tmp_path}/out",
    ]


def test_masks_are_renewed_and_weights_pages_and_figures_left(
    arguments: list[str], run_script: Callable[..., subprocess.CompletedProcess], tmp_path: Path
) -> None:
    run = run_script(
        *("train.py", "-m", *arguments, "iterations=4", "validate_every=3"),
        *("detector.threshold=0.5,0.7", "callbacks.artifact_detection.every_n_steps=2"),
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout.count("iteration 2: ") == 2  # the masks were renewed
    with open(tmp_path / "out" / "sweep.csv", newline="") as file:
        jobs = list(csv.DictReader(file))
    assert [job["detector.threshold"] for job in jobs] == ["0.5", "0.7"]
    folders = sorted(path.parent for path in (tmp_path / "out").rglob("summary.json"))
    for folder, job in zip(folders, jobs, strict=True):
        check_job(folder, job, tmp_path / "tiny.pth")


def check_job(out: Path, job: dict[str, str], source: Path) -> None:
    summary = json.loads((out / "summary.json").read_text())
    assert summary["iterations"] == 4
    for name in ("artifact_share/after", "residual/iou", "detection/f1", "psnr/outside"):
        assert float(job[name]) == summary[name]
    with open(out / "metrics.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["addition_rate"]]
    assert [int(row["step"]) for row in rows] == [0, 3, 4]
    assert float(rows[-1]["psnr/outside"]) == pytest.approx(summary["psnr/outside"])
    with open(out / "per_image.csv", newline="") as file:
        images = list(csv.DictReader(file))
    shares = [float(row["artifact_share_after"]) for row in images]
    assert sum(shares) / len(shares) == pytest.approx(summary["artifact_share/after"], rel=1e-5)

    page = (out / "index.html").read_text()
    layers = (out / "page" / "images").iterdir()
    assert {"lr", "mse-sr", "gan-sr", "finetuned"} <= {layer.name for layer in layers}
    for row in images:
        assert row["image"] in page
        assert (out / "page" / "images" / "finetuned" / f"{row['image']}.webp").is_file()
        assert sorted(p.name for p in (out / "panels" / row["image"]).iterdir()) == [
            *("000000.png", "000003.png", "000004.png")
        ]
    before = load_generator(source).conv_first.weight
    for suffix in (".pth", ".safetensors"):
        after = load_generator(out / "weights" / f"tiny_desra{suffix}").conv_first.weight
        assert 0 < (after - before).abs().max() < 1e-3


def test_wrong_objective_stops_a_sweep_before_it_trains(
    arguments: list[str], run_script: Callable[..., subprocess.CompletedProcess], tmp_path: Path
) -> None:
    run = run_script("train.py", "-m", *arguments, "iterations=1", "objective=artifacts")
    assert run.returncode == 2
    assert "error: objective=artifacts: no such metric; give one of loss/generator" in run.stderr
    assert not list((tmp_path / "out").rglob("*.pth"))
