"""Patches beside a plain loop over the release's rules, and what becomes of stopped runs."""

import json
import random
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from desra.errors import InputError
from desra.images import read_rgb, write_png
from desra.patch_selection import PatchRule
from tasks.select import Select

VERSIONS = ("01", "02")


def photo(seed, height=150, width=190):
    """Noise on the left, nothing on the right."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    pixels[:, width // 2 :] = 90
    return pixels


@pytest.fixture
def sets(tmp_path):
    for number, name in enumerate(("a", "b")):
        original = photo(number)
        write_png(tmp_path / "in/original" / f"{name}.png", original)
        for place, version in enumerate(VERSIONS, start=1):
            brighter = (original + 3.0 * place * np.linspace(0, 1, 190)[:, None]).clip(0, 255)
            path = tmp_path / "in" / version / f"{name}_{version}.png"
            write_png(path, brighter.astype(np.uint8))
    return tmp_path


OPTIONS = {"crop": 48, "step": 30, "jitter": 16}


def textured(patch):
    """As the release's compute_var."""
    grey = np.array(Image.fromarray(patch).convert("L"))
    deviation = cv2.meanStdDev(grey.astype(np.float32))[1][0][0]
    return deviation >= 30 and cv2.Laplacian(grey, cv2.CV_8U).var() >= 30


def plain_selection(root, name, seed):
    """A photo's patches by the release's loop: row, column, distance."""
    pictures = [read_rgb(root / f"original/{name}.png")]
    pictures += [read_rgb(root / version / f"{name}_{version}.png") for version in VERSIONS]
    height, width, _ = pictures[0].shape
    random.seed(f"{seed}/{name}")
    rows = np.arange(random.randint(0, 32), height, 30)
    columns = np.arange(random.randint(0, 32), width, 30)
    found = []
    for row in rows:
        for column in columns:
            top = max(row + random.randint(-16, 16), 0)
            left = max(column + random.randint(-16, 16), 0)
            if top + 48 > height or left + 48 > width:
                continue
            patches = [picture[top : top + 48, left : left + 48] for picture in pictures]
            if any(textured(np.ascontiguousarray(patch)) for patch in patches):
                first, *rest = (patch.astype(np.float32) for patch in patches)
                distance = max(abs((first - patch).mean()) for patch in rest)
                found.append((distance, len(found), top, left))
    return [(int(top), int(left), d) for d, _, top, left in sorted(found, reverse=True)]


def test_the_release_selects_the_same(sets):
    assert Select(sets / "in", sets / "out", seed=3, **OPTIONS).run() == []
    lines, number = [], 0
    for name in ("a", "b"):
        expected = plain_selection(sets / "in", name, 3)
        assert 0 < len(expected) < 20
        for top, left, distance in expected:
            number += 1
            lines.append(f"{name}-{top}-{left}-{distance:.4f}-{number}.png")
            for version in ("", *VERSIONS):
                folder, end = version or "original", f"_{version}" if version else ""
                whole = read_rgb(sets / "in" / folder / f"{name}{end}.png")
                patch = read_rgb(sets / "out" / folder / f"{name}-{top}-{left}{end}.png")
                assert np.array_equal(patch, whole[top : top + 48, left : left + 48])
    assert (sets / "out/crop_area_info.txt").read_text().splitlines() == lines
    assert len(list((sets / "out/01").iterdir())) == number
    manifest = json.loads((sets / "out/manifest.json").read_text())
    assert manifest["settings"] == {"seed": 3, **PatchRule(**OPTIONS).settings}
    assert (manifest["photos"], manifest["patches"]) == (2, number)


def test_one_textured_version_keeps_a_patch():
    flat, rough = np.full((64, 64, 3), 90, np.uint8), photo(0, 64, 128)[:, :64]
    rule = PatchRule(crop=64, jitter=0)
    seed = next(s for s in map(str, range(9999)) if list(rule.positions(64, 64, s)))
    assert rule.select(flat, {"01": flat, "02": flat}, seed) == []
    ((top, left, _),) = rule.select(flat, {"01": flat, "02": rough}, seed)
    assert (top, left) == (0, 0)


def test_a_photo_is_done_again_alone_and_its_old_patches_go(sets):
    Select(sets / "in", sets / "out", **OPTIONS).run()
    before = {path: path.stat().st_mtime_ns for path in (sets / "out/original").iterdir()}
    grown = photo(9, 180, 190)
    write_png(sets / "in/original/a.png", grown)
    for version in VERSIONS:
        write_png(sets / "in" / version / f"a_{version}.png", grown)
    Select(sets / "in", sets / "out", **OPTIONS).run()
    after = {path: path.stat().st_mtime_ns for path in (sets / "out/original").iterdir()}
    assert {p: t for p, t in before.items() if p.name[0] == "b"} == {
        p: t for p, t in after.items() if p.name[0] == "b"
    }
    listed = (sets / "out/crop_area_info.txt").read_text().split()
    assert len(after) == len(listed)
    alone = sets / "alone"
    Select(sets / "in", alone, **OPTIONS).run()
    assert (alone / "crop_area_info.txt").read_text().split() == listed


def test_other_settings_do_not_mix(sets):
    Select(sets / "in", sets / "out", **OPTIONS).run()
    with pytest.raises(InputError, match="seed 0, not 1; give another output_dir"):
        Select(sets / "in", sets / "out", seed=1, **OPTIONS).run()


def test_what_cannot_be_cut_is_a_line(sets):
    write_png(sets / "in/02/a_02.png", np.zeros((190, 150, 3), np.uint8))
    (problem,) = Select(sets / "in", sets / "out", **OPTIONS).run()
    assert "a_02.png: 150x190, but its original has 190x150; was one of them turned" in problem
    shutil.rmtree(sets / "in/original")
    with pytest.raises(InputError, match="holds no folder original"):
        Select(sets / "in", sets / "out", **OPTIONS).run()
    with pytest.raises(InputError, match="difference=mse"):
        Select(sets / "in", sets / "out", difference="mse")


def test_hardly_enhanced_sets_can_be_left_out(sets):
    Select(sets / "in", sets / "all", difference="absolute", **OPTIONS).run()
    lines = (sets / "all/crop_area_info.txt").read_text().split()
    distances = sorted(float(line.split("-")[3]) for line in lines)
    least = distances[len(distances) // 2]
    Select(sets / "in", sets / "some", difference="absolute", least_difference=least + 1e-3,
           **OPTIONS).run()  # fmt: skip
    kept = (sets / "some/crop_area_info.txt").read_text().split()
    assert 0 < len(kept) == sum(distance > least + 1e-3 for distance in distances)
