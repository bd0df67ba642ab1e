"""evaluate.py task=compare and task=gate as users run them."""

import csv
import json
import xml.etree.ElementTree as ET
from functools import partial

import numpy as np
import pytest
import torch

from desra.images import read_rgb, write_png
from desra.resampling import resize_lanczos
from models.generators import SRVGGNetCompact, load_generator, write_generator
from models.upscaler import Upscaler
from tasks.gate import Limits, judge
from tests.conftest import add_texture, place_artifact, smooth_photo

SMALL = ("data.num_workers=0", "trainer=cpu", "detector.min_area=100")


@pytest.fixture
def evaluate(run_script):
    return partial(run_script, "evaluate.py")


@pytest.fixture
def photos(tmp_path):
    for number in range(6):
        write_png(tmp_path / f"lr/{number}.png", smooth_photo(number, 40, 48))
    return tmp_path / "lr"


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    for name in ("a", "b"):
        network = SRVGGNetCompact(2, features=8, depth=2)
        with torch.no_grad():
            network.body[-1].weight.mul_(0.1)
        write_generator(tmp_path / f"{name}.pth", network)
    return tmp_path / "a.pth", tmp_path / "b.pth"


def folder_of(photos, root, worse=()):
    """Images as a third generator might make them; some with invented texture."""
    for path in sorted(photos.iterdir()):
        pixels = resize_lanczos(read_rgb(path), 80, 96)
        seed = int(path.stem)
        if seed in worse:
            pixels = add_texture(pixels, place_artifact((80, 96), seed, 0.5), seed)
        write_png(root / path.name, pixels)
    return root


def test_three_versions_of_which_one_is_a_folder(evaluate, photos, weights, tmp_path):
    folder = folder_of(photos, tmp_path / "elsewhere", worse=(4,))
    out = tmp_path / "out"
    done = evaluate(
        *("task=compare", f"weights=[{weights[0]},{weights[1]},{folder}]", f"lr_root={photos}"),
        *(f"hr_root={folder}", f"output_dir={out}", "lpips=null", *SMALL),
    )
    assert done.returncode == 0, done.stderr
    with open(out / "per_image.csv", newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert len(rows) == 6
    images = {
        name: Upscaler(load_generator(path)) for name, path in zip("ab", weights, strict=True)
    }
    lr = read_rgb(photos / "3.png")
    a, b = (images[name].upscale_image(lr).astype(float) for name in "ab")
    psnr = 10 * np.log10(255**2 / ((a - b) ** 2).mean())
    assert float(rows["3"]["a–b/psnr"]) == pytest.approx(psnr)
    assert float(rows["3"]["elsewhere–HR/psnr"]) > 58
    assert float(rows["4"]["elsewhere/artifact_share"]) > 0.1
    for row in rows.values():
        distances = {name: float(row[name]) for name in row if name.endswith("/distance")}
        widest = max(distances, key=lambda name: distances[name])
        assert len(distances) == 3
        assert float(row["difference"]) == distances[widest]
        assert row["most_different"] == widest.removesuffix("/distance").replace("–", " and ")
    metrics = json.loads((out / "metrics.json").read_text())
    shares = [float(row["elsewhere/artifact_share"]) for row in rows.values()]
    assert metrics["elsewhere/artifact_share"] == pytest.approx(np.mean(shares))
    assert "Lanczos" in done.stderr + done.stdout
    views = (out / "page/views/4.js").read_text()
    for layer in ("LR", "MSE-SR", "a", "b", "elsewhere", "HR", "Difference b"):
        assert f'"{layer}"' in views
    assert "elsewhere: artifact share" in (out / "index.html").read_text()


def test_a_worse_generator_is_convicted_with_code_3(evaluate, photos, weights, tmp_path):
    old = folder_of(photos, tmp_path / "old")
    new = folder_of(photos, tmp_path / "new", worse=range(6))
    out = tmp_path / "out"
    command = ("task=gate", f"old={old}", f"lr_root={photos}", f"output_dir={out}", *SMALL)
    done = evaluate(*command, f"new={new}")
    assert done.returncode == 3, done.stderr
    suite = ET.parse(out / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "2")
    failure = suite.find("testcase/failure")
    assert failure.get("message").startswith("new beside old: worse")
    assert "%" in failure.text
    gate = json.loads((out / "gate.json").read_text())
    assert gate["passed"] is False
    assert gate["artifact share/mean"] > 0.1
    with open(out / "per_image.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(int(row["added"]) >= 1 for row in rows)
    assert "may not take old's place" in done.stderr + done.stdout


def test_the_same_generator_passes(evaluate, photos, weights, tmp_path):
    out = tmp_path / "out"
    command = ("task=gate", f"old={weights[0]}", f"new={weights[0]}", f"lr_root={photos}")
    done = evaluate(*command, f"output_dir={out}", "limits.psnr_outside=30", *SMALL)
    assert done.returncode == 0, done.stderr
    suite = ET.parse(out / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "0")


def test_what_is_wrong_is_a_line(evaluate, photos, weights, tmp_path):
    for path in sorted(photos.iterdir())[2:]:
        path.unlink()
    done = evaluate(
        *("task=gate", f"old={weights[0]}", f"new={weights[1]}", f"lr_root={photos}"),
        *(f"output_dir={tmp_path / 'out'}", *SMALL),
    )
    assert done.returncode == 2
    assert "2 images; the gate needs 5 or more" in done.stderr
    assert "Traceback" not in done.stderr


def test_limits_say_how_much_is_too_much():
    rows = [
        {"worsening": 0.01, "net_added": 0, "psnr_outside": 30.0 + number % 3}
        for number in range(20)
    ]
    assert not judge(rows, Limits())["artifact share"]["passed"]
    assert judge(rows, Limits(artifact_share=0.02))["artifact share"]["passed"]
    assert judge(rows, Limits(psnr_outside=30))["PSNR outside"]["passed"]
    verdict = judge(rows, Limits(psnr_outside=35))["PSNR outside"]
    assert not verdict["passed"]
    assert verdict["mean"] == pytest.approx(np.mean([row["psnr_outside"] for row in rows]))
    assert verdict["mean"] < verdict["bound"] < 35
