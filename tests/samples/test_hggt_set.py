"""The shipped miniature of human-guided ground truth is whole, and made by its recipe."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from desra.files import find_images
from desra.hggt_labels import read_labels
from desra.hggt_sets import find_sets
from desra.images import read_rgb
from samples import hggt_set
from samples.photos import PHOTOS, collect_photos

SETS = Path(hggt_set.__file__).parent / "hggt"
SIDES = ("train", "test")


@pytest.mark.parametrize("side", SIDES)
def test_every_set_has_four_versions_and_three_annotators(side: str) -> None:
    sets, problems = find_sets(SETS / side / "images", SETS / side / "labels")
    assert not problems
    photos = {photo.name: photo.side for photo in PHOTOS}
    for one in sets:
        assert list(one.versions) == ["01", "02", "03", "04"]
        assert (photos[one.key.split("-")[0]] == "test") == (side == "test")
        for path in (one.original, *one.versions.values()):
            assert read_rgb(path).shape == (hggt_set.CROP, hggt_set.CROP, 3)
        assert {vote.voters for vote in one.votes.values()} == {3}
    held_out = side == "test"
    counts = [n for name, n in hggt_set.CROPS.items() if (photos[name] == "test") == held_out]
    assert len(sets) == sum(counts)
    assert sum(bool(one.voted("Positive")) for one in sets) >= len(sets) - 1
    assert sum(bool(one.voted("Negative")) for one in sets) >= len(sets) // 2


def test_the_rule() -> None:
    assert [hggt_set.judge(gain) for gain in (1.0, 0.1, -0.1, -1.0)] == [
        *("Positive", "Similar", "Similar", "Negative")
    ]


def test_annotators_differ_but_not_much() -> None:
    said = read_labels(SETS / "train" / "labels")
    labels = [
        [tagging.labels[version] for tagging in by.values()]
        for by in said.taggings.values()
        for version in said.versions
    ]
    unanimous = sum(len(set(three)) == 1 for three in labels) / len(labels)
    assert 0.5 < unanimous < 1


def test_the_recipe_makes_the_originals(tmp_path: Path) -> None:
    collect_photos(tmp_path / "photos")
    hggt_set.halve(tmp_path / "photos", tmp_path / "halved")
    hggt_set.write_crops(tmp_path / "halved", tmp_path)
    for side in SIDES:
        made = find_images(tmp_path / side / "seen")
        shipped = find_images(SETS / side / "images" / "original")
        assert made.keys() == shipped.keys()
        for key, (path, *_) in shipped.items():
            assert cv2.PSNR(read_rgb(made[key][0]), read_rgb(path)) > 30  # noise, and WebP
