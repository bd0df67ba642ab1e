"""Kinds of an artifact set, through a real Trainer."""

import csv
import json

import numpy as np
import pytest

from datamodules.image_folders import ImageFolders
from datamodules.roles import Role
from desra.detectors import ArtifactDetector
from desra.errors import InputError
from desra.images import write_png
from tasks.kinds import KindsOfArtifacts
from tests.conftest import smooth_photo
from tests.desra.test_kinds import wave
from tests.tasks.image_tasks import run_task


def write_set(root, count=6):
    """Images with a region of waves on the left and one of coloured noise on the right; after
    finetuning only the noise is left, and a patch is new in the first."""
    for index in range(count):
        random = np.random.default_rng(index)
        mse_sr = (0.2 * smooth_photo(index, 96, 240) + 100).astype(np.uint8)
        left, right = np.zeros((96, 240), bool), np.zeros((96, 240), bool)
        left[20:76, 10:66], right[20:76, 94:150] = True, True
        waves = 40 * wave(0.2, 6, (96, 240))[..., None] * left[..., None]
        noise = random.normal(0, 45, (24, 60, 3)).repeat(4, 0).repeat(4, 1) * right[..., None]
        gan_sr, after = mse_sr + waves + noise, mse_sr + noise
        if index == 0:
            after[20:76, 190:230] += 40 * wave(0.2, 6, (56, 40))[..., None]
        pictures = {"LR": mse_sr[::4, ::4], "MSE-SR": mse_sr, "GAN-SR": gan_sr, "After": after}
        for folder, pixels in pictures.items():
            pixels = pixels.clip(0, 255).astype(np.uint8)
            write_png(root / folder / f"{index}.png", pixels)
        write_png(root / "DeSRA-Mask" / f"{index}.png", left | right)
    return root


def images(root, after=False):
    roles = {"mse_sr": Role(), "gan_sr": Role(), "mask": Role(kind="label")}
    if after:
        roles["after"] = Role(root / "After")
    return ImageFolders(roles, root, num_workers=0)


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_kinds_are_named_shown_and_followed_through_finetuning(tmp_path, capsys):
    root = write_set(tmp_path / "set")
    detector = ArtifactDetector(min_area=100)
    first = KindsOfArtifacts(detector, tmp_path / "out", count=2)
    assert not run_task(first, images(root))
    rows = table(tmp_path / "out" / "regions.csv")
    left = {row["kind"] for row in rows if int(row["x"]) < 80}
    right = {row["kind"] for row in rows if int(row["x"]) >= 80}
    assert (len(left), len(right), len(rows)) == (1, 1, 12)
    assert left != right
    (waves,), (noise,) = left, right

    names = {waves: "ripples", noise: "speckles"}
    again = KindsOfArtifacts(
        detector, tmp_path / "after", kinds=tmp_path / "out" / "kinds.json", names=names
    )
    assert not run_task(again, images(root, after=True))
    figures = {row["kind"]: row for row in again.summary["per_kind"]}
    assert figures["ripples"]["removal_rate"] == 1
    assert figures["speckles"]["removal_rate"] == 0
    assert (figures["ripples"]["added"], figures["speckles"]["added"]) == (1, 0)
    assert "ripples" in capsys.readouterr().out
    saved = json.loads((tmp_path / "after" / "kinds.json").read_text())["kinds"]
    assert {kind["name"] for kind in saved} == set(names.values())
    outlines = (tmp_path / "after" / "page" / "regions" / "3.js").read_text()
    assert '"ripples"' in outlines
    assert "still there" in outlines
    assert "speckles" in (tmp_path / "after" / "index.html").read_text()


def test_kinds_that_people_gave_hold_and_the_rest_is_recognised(tmp_path):
    root = write_set(tmp_path / "set")
    said = ["0,40,40,moiré", "1,40,40,moiré", "2,120,40,snow", "3,120,40,moiré"]  # the last, oddly
    (root / "regions.csv").write_text("\n".join(["image,x,y,kind", *said]))
    task = KindsOfArtifacts(
        ArtifactDetector(min_area=100), tmp_path / "out", kinds=root / "regions.csv"
    )
    assert not run_task(task, images(root, after=True))
    figures = {row["kind"]: row for row in task.summary["per_kind"]}
    assert {name: (row["regions"], row["named"]) for name, row in figures.items()} == {
        "moiré": (7, 3), "snow": (5, 1)
    }  # fmt: skip
    assert figures["moiré"]["removal_rate"] == pytest.approx(6 / 7)
    assert figures["snow"]["removal_rate"] == 0
    (root / "regions.csv").write_text("image,x,y,kind\nelsewhere,5,5,moiré\n")
    with pytest.raises(InputError, match="no region of these images has a kind"):
        run_task(
            KindsOfArtifacts(ArtifactDetector(), tmp_path / "c", kinds=root / "regions.csv"),
            images(root),
        )


def test_what_makes_no_kinds_is_said(tmp_path):
    root = write_set(tmp_path / "set", 1)
    write_png(root / "DeSRA-Mask" / "0.png", np.zeros((96, 240), bool))
    with pytest.raises(InputError, match="0 regions make no 2 kinds"):
        run_task(KindsOfArtifacts(ArtifactDetector(), tmp_path / "out"), images(root))
    with pytest.raises(InputError, match="count=0"):
        KindsOfArtifacts(ArtifactDetector(), tmp_path / "out", count=0)
