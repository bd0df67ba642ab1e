"""Quality against one or several references, beside plain computations."""

import csv
import json
import math
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.functional.image.dists import DISTSNetwork
from torchmetrics.image import LearnedPerceptualImagePatchSimilarity
from torchvision.models import alexnet, vgg

from desra.errors import InputError
from desra.hggt_labels import Tagging, write_tagging
from desra.images import write_png
from desra.metrics import quality
from desra.metrics.quality import Conventions, QualityMetrics
from tasks.quality import MultiGT, Quality
from tests.reference.plain_ssim import valid_ssim

LETTERS = {"P": "Positive", "S": "Similar", "N": "Negative"}
SETS = {"a-0-0": "PSPN", "b-0-0": "NPNN", "c-0-0": "SSSN"}


def noisy(seed, side=56):
    random = np.random.default_rng(seed)
    ramp = np.linspace(30, 220, side)[:, None, None]
    return (ramp + random.normal(0, 12, (side, side, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    for number, (key, letters) in enumerate(SETS.items()):
        for place, version in enumerate(("original", "01", "02", "03", "04")):
            suffix = f"_{version}" if place else ""
            write_png(tmp_path / "gt" / version / f"{key}{suffix}.png", noisy(10 * number + place))
        write_png(tmp_path / "restored" / f"{key}_OURS.png", noisy(100 + number))
        labels = {f"{i:02d}": LETTERS[letter] for i, letter in enumerate(letters, start=1)}
        for annotator in "ABC":
            write_tagging(tmp_path / "labels" / annotator / f"{key}.json", Tagging(labels))
    return tmp_path


def psnr(image, reference, border=4):
    cut = slice(border, -border)
    difference = image[cut, cut].astype(float) - reference[cut, cut].astype(float)
    return 10 * math.log10(255**2 / (difference**2).mean())


def ssim(image, reference, border=4):
    cut = slice(border, -border)
    planes = [
        torch.from_numpy(each[cut, cut].copy()).permute(2, 0, 1)[None].double()
        for each in (image, reference)
    ]
    return float(valid_ssim(*planes))


def scored(root, **options):
    task = MultiGT(
        root / "restored",
        root / "gt",
        root / "labels",
        root / "out",
        **{"metrics": ["psnr", "ssim"], "page": False, **options},
    )
    return task, task.run()


def test_mean_over_positives_and_then_over_images(root):
    task, problems = scored(root)
    expected = {}
    for name, measure in (("psnr", psnr), ("ssim", ssim)):
        first = [measure(noisy(100), noisy(version)) for version in (1, 3)]
        second = measure(noisy(101), noisy(12))
        expected[name] = (sum(first) / 2 + second) / 2
    assert task.summary["psnr"] == pytest.approx(expected["psnr"], abs=1e-6)
    assert task.summary["ssim"] == pytest.approx(expected["ssim"], abs=1e-6)
    assert (task.summary["images"], task.summary["references"]) == (2, 3)
    assert len(problems) == 1
    assert "c-0-0: no version is Positive" in problems[0]
    written = json.loads((root / "out/metrics.json").read_text())
    assert written == task.summary
    rows = list(csv.DictReader((root / "out/per_image.csv").open()))
    assert [(row["image"], row["references"]) for row in rows] == [("a-0-0", "2"), ("b-0-0", "1")]
    each = list(csv.DictReader((root / "out/per_reference.csv").open()))
    assert [row["reference"] for row in each] == ["01", "03", "02"]
    assert "PSNR $\\uparrow$" in (root / "out/table.tex").read_text()


def test_other_versions_and_the_original_do_not_matter(root):
    before, _ = scored(root)
    for version in ("original", "02", "04"):
        suffix = "" if version == "original" else f"_{version}"
        write_png(root / "gt" / version / f"a-0-0{suffix}.png", noisy(999))
    after, _ = scored(root)
    distances = ("nearest", "psnr_to")
    assert after.summary.keys() == before.summary.keys() >= set(distances)
    same = before.summary.keys() - set(distances)
    assert {name: after.summary[name] for name in same} == {
        name: before.summary[name] for name in same
    }


def test_the_nearest_version_is_said_whatever_its_label(root):
    versions = ("Original", "01", "02", "03", "04")
    write_png(root / "gt/02/a-0-0_02.png", (0.2 * noisy(2) + 0.8 * noisy(100)).astype(np.uint8))
    write_png(root / "gt/original/b-0-0.png", noisy(101))
    task, _ = scored(root)
    found = task.summary["nearest"]
    assert found == {name: int(name in ("Original", "02")) for name in versions}
    expected = [psnr(noisy(100 + i), noisy(10 * i + 3)) for i in range(2)]
    assert task.summary["psnr_to"]["03"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert task.summary["psnr_to"]["Original"] is None  # infinite of one
    rows = list(csv.DictReader((root / "out/per_image.csv").open()))
    assert [row["nearest"] for row in rows] == ["02", "Original"]
    assert float(rows[0]["psnr_to_02"]) > 20


def test_equal_images(root):
    write_png(root / "restored/b-0-0_OURS.png", noisy(12))
    task, _ = scored(root)
    assert task.summary["psnr"] is None  # infinite
    assert 0 < task.summary["ssim"] < 1


def test_a_folder_of_clean_images_and_its_conventions(root):
    for key in SETS:
        write_png(root / "hr" / f"{key}_OURS.png", noisy(5))
    write_png(root / "hr" / "more.png", noisy(5))
    options = {"metrics": ["psnr"], "border": 0, "page": False}
    task = Quality(root / "restored", root / "out", root / "hr", **options)
    problems = task.run()
    assert len(problems) == 1
    assert "more" in problems[0]
    squares = [(noisy(100 + i).astype(float) - noisy(5)) ** 2 for i in range(3)]
    expected = np.mean([10 * math.log10(255**2 / square.mean()) for square in squares])
    assert task.summary["psnr"] == pytest.approx(expected, abs=1e-6)
    assert "0 pixels" in task.summary["conventions"]["border"]


def test_the_y_channel():
    image, reference = (torch.from_numpy(noisy(seed)).permute(2, 0, 1)[None] for seed in (1, 2))
    found = QualityMetrics(["psnr"], Conventions(border=0, luma=True))(image, reference)["psnr"]
    weights = np.array([65.481, 128.553, 24.966])
    first, second = (noisy(seed) / 255 @ weights for seed in (1, 2))
    expected = 10 * math.log10(255**2 / ((first - second) ** 2).mean())
    assert found == pytest.approx(expected, abs=2e-6)


@pytest.fixture
def backbones(monkeypatch):
    """Networks of random weights, without the classifiers that hold most of them."""
    torch.manual_seed(0)
    networks = nn.Module(), nn.Module()
    networks[0].features = alexnet(num_classes=1).features
    networks[1].features = vgg.make_layers(vgg.cfgs["D"])
    monkeypatch.setattr("torchvision.models.alexnet", lambda **_: networks[0])
    vgg16 = Mock(return_value=networks[1])
    monkeypatch.setattr("torchmetrics.functional.image.dists.vgg16", vgg16)
    asked = {"built": vgg16}
    monkeypatch.setattr(quality, "fetch_backbone", lambda name, file: asked.update({name: file}))
    return asked


def test_lpips_and_dists_are_the_published_packages_on_whole_images(root, backbones):
    task, _ = scored(
        root,
        metrics=["lpips", "dists"],
        border=2,
        weights={"lpips": "alexnet.pth", "dists": "vgg16.pth"},
    )
    assert backbones.pop("built").call_count == 1  # though three pairs are compared
    assert backbones == {"alex": "alexnet.pth", "vgg": "vgg16.pth"}
    lpips = LearnedPerceptualImagePatchSimilarity("alex").net
    dists = DISTSNetwork()
    expected = {"lpips": [], "dists": []}
    for restored, positives in ((100, (1, 3)), (101, (12,))):
        means = {"lpips": 0.0, "dists": 0.0}
        for positive in positives:
            x, y = (
                torch.from_numpy(noisy(seed)[2:-2, 2:-2].copy()).permute(2, 0, 1)[None] / 255
                for seed in (restored, positive)
            )
            means["lpips"] += plain_lpips(lpips, x, y) / len(positives)
            means["dists"] += dists(x, y).item() / len(positives)
        for name, mean in means.items():
            expected[name].append(mean)
    for name, values in expected.items():
        assert task.summary[name] == pytest.approx(np.mean(values), abs=1e-6)
        assert task.summary[name] > 1e-3


def plain_lpips(network, x, y):
    """Sum over layers of the mean of weighted squared differences of unit features."""
    total = 0.0
    features = [network.net(network.scaling_layer(2 * image - 1)) for image in (x, y)]
    for layer, pair in enumerate(zip(*features, strict=True)):
        first, second = (z / (z.square().sum(1, keepdim=True) + 1e-8).sqrt() for z in pair)
        weights = network.lins[layer].model[-1].weight
        total += float((weights * (first - second) ** 2).sum(1).mean())
    return total


def test_what_cannot_be_scored(root):
    write_png(root / "restored/a-0-0_OURS.png", noisy(1, side=60))
    write_png(root / "restored/ghost_OURS.png", noisy(1))
    task, problems = scored(root)
    assert task.summary["images"] == 1
    assert any("60x60, but its reference has 56x56" in line for line in problems)
    assert any("ghost_OURS.png: no set of that name" in line for line in problems)
    with pytest.raises(InputError, match="border=-1"):
        scored(root, border=-1)
    with pytest.raises(InputError, match=r"pip install pyiqa|pyiqa has no metric"):
        scored(root, metrics=["no_such_metric"])


def test_the_page_shows_all_versions(root):
    scored(root, page=True)
    assert (root / "out/index.html").is_file()
    names = {path.name for path in (root / "out/page").rglob("*.*")}
    assert len(names) > 5
