"""P(noticed) fitted to a simulated crowd over files, and used to weight masks."""

import csv
import json

import numpy as np
import pytest

from datamodules.image_folders import ImageFolders
from datamodules.roles import Role
from desra.detectors import ArtifactDetector, LDLDetector
from desra.errors import InputError
from desra.images import read_rgb, write_png
from desra.labelme import read_gt_mask
from tasks.fit_prominence import ProminenceFit, ProminenceWeights
from tests.conftest import smooth_photo
from tests.tasks.image_tasks import run_task

DETECTORS = {"desra": ArtifactDetector(), "ldl": LDLDetector()}


def write_crowd(root, images=20, seed=0):
    """Two artifacts an image, of different contrast and size; the crowd sees contrast times size,
    the detectors contrast alone."""
    random = np.random.default_rng(seed)
    rows = ["image,x,y,score"]
    for index in range(images):
        mse_sr = (0.25 * smooth_photo(index, 80, 160) + 90).astype(np.uint8)
        gan_sr, mask = mse_sr.astype(float), np.zeros((80, 160), bool)
        for left in (8, 88):
            side, strength = int(random.integers(16, 60)), random.uniform(4, 40)
            place = slice(8, 8 + side), slice(left, left + side)
            gan_sr[place] += random.normal(0, strength, (side, side, 1))
            mask[place] = True
            seen = np.log(strength / 12) + 1.5 * np.log(side / 32)
            truth = 0.03 + 0.94 / (1 + np.exp(-3 * seen))
            rows.append(f"{index:02d},{left + 1},9,{random.binomial(25, truth) / 25}")
        pictures = {"LR": mse_sr[::4, ::4], "MSE-SR": mse_sr, "GAN-SR": gan_sr.clip(0, 255)}
        for folder, pixels in pictures.items():
            write_png(root / folder / f"{index:02d}.png", pixels.round().astype(np.uint8))
        for folder in ("GT-Mask", "DeSRA-Mask"):
            write_png(root / folder / f"{index:02d}.png", mask)
    (root / "regions.csv").write_text("\n".join(rows))
    return root


def images(root, folder):
    roles = {"mse_sr": Role(), "gan_sr": Role(), "mask": Role(kind="label")}
    return ImageFolders(roles, root, folder_names={"mask": folder}, num_workers=0)


def test_a_crowd_is_learned_and_weights_masks_and_targets(tmp_path, capsys):
    root = write_crowd(tmp_path / "set")
    task = ProminenceFit(DETECTORS, tmp_path / "fit", root / "regions.csv")
    assert not run_task(task, images(root, "GT-Mask"))
    summary = json.loads((tmp_path / "fit" / "metrics.json").read_text())
    assert summary["regions"] == 40
    assert summary["spearman"] > summary["best_detector_spearman"] + 0.1
    assert "calibration error" in capsys.readouterr().out
    assert (tmp_path / "fit" / "calibration.png").is_file()

    model = tmp_path / "fit" / "prominence.json"
    weights = ProminenceWeights(DETECTORS, tmp_path / "out", model, least=0.5)
    assert not run_task(weights, images(root, "DeSRA-Mask"))
    with open(tmp_path / "out" / "regions.csv", newline="") as file:
        regions = list(csv.DictReader(file))
    assert len(regions) == 40
    kept = sum(float(region["probability"]) >= 0.5 for region in regions)
    assert weights.summary["kept"] == kept
    assert 0 < kept < 40
    first = regions[0]
    x, y = int(first["x"]), int(first["y"])
    name = f"{first['image']}.png"
    weight = read_rgb(tmp_path / "out" / "Weight" / name)[y, x, 0] / 255
    assert weight == pytest.approx(float(first["probability"]), abs=1 / 255)
    mask = read_gt_mask(tmp_path / "out" / "DeSRA-Mask" / name)
    assert mask[y, x] == (float(first["probability"]) >= 0.5)
    target, mse_sr, gan_sr = (
        read_rgb(folder / name)[y, x].astype(float)
        for folder in (tmp_path / "out" / "Pseudo-GT", root / "MSE-SR", root / "GAN-SR")
    )
    np.testing.assert_allclose(target, weight * mse_sr + (1 - weight) * gan_sr, atol=0.51)


def test_what_cannot_be_fitted_or_used_is_said(tmp_path):
    root = write_crowd(tmp_path / "set", 6)
    with pytest.raises(InputError, match="scores: give scores=FILE"):
        ProminenceFit(DETECTORS, tmp_path / "out", None)
    task = ProminenceFit(DETECTORS, tmp_path / "out", root / "regions.csv")
    with pytest.raises(InputError, match="labelled regions with scores; a model needs at least"):
        run_task(task, images(root, "GT-Mask"))
    root = write_crowd(tmp_path / "other", 16)
    run_task(
        ProminenceFit(DETECTORS, tmp_path / "fit", root / "regions.csv"), images(root, "GT-Mask")
    )
    model = tmp_path / "fit" / "prominence.json"
    with pytest.raises(InputError, match="fitted with response_desra, response_ldl; give these"):
        ProminenceWeights({"desra": ArtifactDetector()}, tmp_path / "out", model)
