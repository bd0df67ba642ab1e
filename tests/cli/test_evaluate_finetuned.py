"""evaluate.py before and after finetuning, as users start it: in a shell, over files."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.desra_artifacts import DeSRAArtifacts
from datamodules.image_folders import ImageFolders
from desra.detectors import ArtifactDetector
from desra.errors import InputError
from desra.images import quantize, read_rgb, to_tensor, write_png
from desra.masks import read_mask_image
from desra.metrics import AdditionRate, ArtifactMetrics, RemovalRate, region_hits
from models.generators import RRDBNet, load_generator, write_generator
from models.upscaler import Upscaler

MIN_AREA = 300
ROLES = dict.fromkeys(("lr", "mse_sr", "gan_sr"))


def write_network(path: Path, contrast: float) -> None:
    """An RRDBNet that repeats pixels (values above 0 pass its ReLUs), with this contrast."""
    network = RRDBNet(features=8, blocks=1, growth=4)
    layers = [network.conv_first, *network.upsampling, network.conv_hr, network.conv_last]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for layer in layers:
            for channel in range(3):
                layer.weight[channel, channel, 1, 1] = 1
        network.conv_last.weight *= contrast
        network.conv_last.bias += 0.5 - 0.5 * contrast
    write_generator(path, network)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five images with texture on the left, which a network of low contrast takes away; MSE-SR has
    it. Three are labelled, two of them without the detector's rim; one has a broken LR."""
    random = np.random.default_rng(0)
    root = tmp_path / "root"
    for number in range(5):
        lr = random.integers(20, 230, (30, 34, 3), dtype=np.uint8)
        lr[:, 14 + number :] = 100
        key = f"set/{number}"
        smooth = lr.repeat(4, 0).repeat(4, 1)
        write_png(root / "LR" / f"{key}.png", lr)
        write_png(root / "MSE-SR" / f"{key}.png", smooth)
        write_png(root / "GAN-SR" / f"{key}.png", smooth)
        label = np.zeros(smooth.shape[:2], bool)
        label[10:110, 10:50] = True
        if number in (1, 2, 3):
            path = root / "GT-Mask" / f"{key}.png"
            write_png(path, label if number == 1 else label[5:-5, 5:-5])
    (root / "LR" / "set" / "4.png").write_bytes(b"")
    return root


def command(root: Path, tmp_path: Path) -> list[str]:
    return [
        *("evaluate.py", "task=finetuned", "lpips=null", f"data.root={root}"),
        *(f"weights={tmp_path}/before.pth", f"finetuned={tmp_path}/after.pth"),
        "data.test_split=all",
        *(f"output_dir={tmp_path}/out", f"detector.min_area={MIN_AREA}"),
    ]


def test_two_processes_compare_each_image_once_and_list_what_is_broken(
    root: Path, tmp_path: Path, run_script: Callable[..., subprocess.CompletedProcess]
) -> None:
    write_network(tmp_path / "before.pth", 0.3)
    write_network(tmp_path / "after.pth", 0.95)
    arguments = command(root, tmp_path)
    ranks = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    run = run_script(*arguments, *ranks)
    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stderr
    assert run.stderr.count("4.png: the file is empty") == 1

    detector = ArtifactDetector(min_area=MIN_AREA)
    upscalers = [Upscaler(load_generator(tmp_path / f"{name}.pth")) for name in ("before", "after")]
    detection, residual = ArtifactMetrics(), ArtifactMetrics()
    removal, addition = RemovalRate(), AdditionRate()
    shares, outside = [], []
    for number in range(4):
        name = f"set/{number}.png"
        lr, mse_sr = (to_tensor(read_rgb(root / role / name)) for role in ("LR", "MSE-SR"))
        images = [quantize(upscaler(lr)) for upscaler in upscalers]
        before, after = (detector(mse_sr, image).mask for image in images)
        labelled = (root / "GT-Mask" / name).is_file()
        label = torch.from_numpy(read_mask_image(root / "GT-Mask" / name)) if labelled else None
        if label is not None:
            label = (label if number > 1 else label[5:-5, 5:-5]).clone()[None, None]
        inner = [mask[..., 5:-5, 5:-5] for mask in (before, after)]
        removal.update(*inner, label)
        addition.update(*inner, label)
        if label is not None:
            detection.update(inner[0], label)
            residual.update(inner[1], label)
        known = before.clone()
        if label is not None:
            known[..., 5:-5, 5:-5] |= label
        shares.append(before.float().mean().item())
        difference = (images[1].double() - images[0].double())[~known.expand(-1, 3, -1, -1)]
        outside.append(min(10 * np.log10(255**2 / max(difference.square().mean(), 1e-9)), 58.9226))
        assert region_hits(before, before)[1] > 0

    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (figures["images"], figures["images_labelled"], figures["images_not_done"]) == (4, 3, 1)
    assert figures["removal_rate"] == removal.compute() == 1
    assert figures["addition_rate"] == addition.compute() == 0
    assert figures["artifact_share/before"] == pytest.approx(np.mean(shares), rel=1e-6)
    assert figures["psnr/outside"] == pytest.approx(np.mean(outside), abs=1e-3)
    assert "lpips/outside" not in figures
    for name, metrics in {"detection": detection, "residual": residual}.items():
        for score in ("iou", "recall", "f1"):
            expected = metrics.compute()[score].item()
            assert figures[f"{name}/{score}"] == pytest.approx(expected, abs=1e-9)
    assert figures["detection/iou"] > 0.5 > figures["residual/iou"]
    assert f"{100 * figures['detection/iou']:.2f} %" in run.stdout

    with open(tmp_path / "out" / "per_image.csv", newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert [key for key, row in rows.items() if row["error"]] == ["set/4"]
    assert all(row["psnr_mse_sr_outside"] for row in rows.values() if not row["error"])
    layers = {layer.name for layer in (tmp_path / "out" / "page" / "images").iterdir()}
    assert {"lr", "mse-sr", "gan-sr", "finetuned", "difference-before"} <= layers
    check_resume(arguments, run_script, tmp_path / "out", root)


def mend(root: Path) -> None:
    """Make the broken LR whole."""
    smooth = read_rgb(root / "MSE-SR" / "set" / "4.png")
    write_png(root / "LR" / "set" / "4.png", smooth[::4, ::4])


def check_resume(
    arguments: list[str],
    run_script: Callable[..., subprocess.CompletedProcess],
    out: Path,
    root: Path,
) -> None:
    """Once the broken image is mended, it alone is done; the figures are of all."""
    view = out / "page" / "views" / "set" / "0.js"
    written = view.stat().st_mtime_ns
    mend(root)
    run = run_script(*arguments, "trainer=cpu")
    assert run.returncode == 0, run.stderr
    assert view.stat().st_mtime_ns == written
    assert json.loads((out / "metrics.json").read_text())["images"] == 5
    assert "set/4" in (out / "index.html").read_text()


def test_wrong_use_is_one_line(
    root: Path, tmp_path: Path, run_script: Callable[..., subprocess.CompletedProcess]
) -> None:
    run = run_script(*command(root, tmp_path), "weights=null", "finetuned=null")
    assert run.returncode == 2
    assert "error: give both weights=BEFORE and finetuned=AFTER" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_split": "some"}, "data.test_split=some: give train, val or all"),
        ({"root": "/nowhere"}, "/nowhere: no such folder"),
        ({"val_share": 0.0}, "none of 5 images is in the val split"),
        ({"val_root": "root", "test_split": "all"}, "there are two roots"),
    ],
)
def test_settings_that_select_nothing_are_one_line(
    root: Path, settings: dict[str, Any], message: str
) -> None:
    mend(root)
    with pytest.raises(InputError, match=message):
        ImageFolders(ROLES, **{"root": root, "val_share": 0.1, "test_split": "val", **settings})


def test_the_split_is_that_of_training(root: Path) -> None:
    mend(root)
    settings = {"val_share": 0.4, "seed": 3}
    trained = DeSRAArtifacts(str(root), mask_required=False, check_alignment=False, **settings)
    trained.setup()
    for split, side in {"train": trained.train, "val": trained.val}.items():
        evaluated = ImageFolders(ROLES, root, test_split=split, **settings)
        assert [match.key for match in evaluated.matches] == [item.key for item in side.tuples]
