"""Positives and pairs of sets that were labelled, in HGGT's layout and in DiffIQA's."""

import csv
import json

import numpy as np
import pytest

from desra.errors import InputError
from desra.hggt_labels import Label, Tagging, write_tagging
from desra.images import read_rgb, write_png
from tasks.preferences import Preferences

LETTERS: dict[str, Label] = {"P": "Positive", "S": "Similar", "N": "Negative"}


def sets(root, original="original"):
    for number, key in enumerate(("x-0-0", "y-1-2", "new-0-0")):
        write_png(root / "sets" / original / f"{key}.png", np.full((4, 4, 3), number, np.uint8))
        for place in range(1, 4):
            pixels = np.full((4, 4, 3), 10 * number + place, np.uint8)
            write_png(root / f"sets/{place:02d}/{key}_{place:02d}.png", pixels)


def label(root, key, by):
    for annotator, letters in zip("ABC", by, strict=True):
        labels = {f"{i:02d}": LETTERS[letter] for i, letter in enumerate(letters, start=1)}
        write_tagging(root / f"labels/{annotator}/{key}.json", Tagging(labels))


def export(root, **options):
    return Preferences(root / "sets", root / "labels", root / "out", **options).run()


def test_positives_win_over_the_original_and_that_over_negatives(tmp_path):
    sets(tmp_path)
    label(tmp_path, "x-0-0", ("PSN", "PSN", "PPN"))
    label(tmp_path, "y-1-2", ("PPS", "PPS", "NPS"))
    assert export(tmp_path) == []
    rows = [json.loads(line) for line in (tmp_path / "out/pairs.jsonl").read_text().splitlines()]
    assert [(row["set"], row["win_version"], row["lose_version"]) for row in rows] == [
        ("x-0-0", "01", "original"),
        ("x-0-0", "original", "03"),
        ("x-0-0", "01", "03"),
        ("y-1-2", "01", "original"),
        ("y-1-2", "02", "original"),
    ]
    assert rows[2] == {
        "set": "x-0-0", "win": "01/x-0-0_01.png", "lose": "03/x-0-0_03.png",
        "win_version": "01", "lose_version": "03",
        "win_label": "Positive", "lose_label": "Negative",
        "win_votes": 3, "lose_votes": 3, "voters": 3,
    }  # fmt: skip
    table = list(csv.DictReader((tmp_path / "out/pairs.csv").open()))
    assert [row["win"] for row in table] == [row["win"] for row in rows]
    assert table[0]["lose_votes"] == ""
    listed = (tmp_path / "out/positives.txt").read_text().split()
    names = sorted(path.name for path in (tmp_path / "out/positives").iterdir())
    assert names == ["x-0-0_01_3of3.png", "y-1-2_01_2of3.png", "y-1-2_02_3of3.png"]
    for path, name in zip(listed, names, strict=True):
        pixels = read_rgb(tmp_path / "out/positives" / name)
        assert np.array_equal(read_rgb(tmp_path / "sets" / path), pixels)


def test_labels_that_changed_take_their_positives_with_them(tmp_path):
    sets(tmp_path)
    label(tmp_path, "x-0-0", ("PSN", "PSN", "PPN"))
    label(tmp_path, "y-1-2", ("PPS", "PPS", "NPS"))
    export(tmp_path)
    label(tmp_path, "x-0-0", ("SPN", "SPN", "PPN"))
    export(tmp_path)
    names = sorted(path.name for path in (tmp_path / "out/positives").iterdir())
    assert names == ["x-0-0_02_3of3.png", "y-1-2_01_2of3.png", "y-1-2_02_3of3.png"]
    assert read_rgb(tmp_path / "sets/01/x-0-0_01.png").shape == (4, 4, 3)  # the picture stays


def test_diffiqa_with_ties_dropped(tmp_path):
    """One version a file, folders of images with a capital, three who all differ: no label."""
    sets(tmp_path, "Original")
    for annotator, letters in zip("ABC", ("PN", "PS", "NP"), strict=True):
        for place, letter in enumerate(letters, start=1):
            picture = {"Name": f"x-0-0_{place:02d}.png", "File": f"{place:02d}", "ImageSize": 512}
            record = {
                "Picture_AI": {**picture, "Label": LETTERS[letter]},
                "picture_Original": {"Name": "x-0-0.png", "File": "Original", "Label": None},
                "Time_cost": {"Total": 1.5},
            }
            path = tmp_path / f"labels/{annotator}/{place:02d}/x-0-0_{place:02d}.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(record))
    assert export(tmp_path, ties="drop") == []
    lines = (tmp_path / "out/pairs.jsonl").read_text().splitlines()
    assert [json.loads(line)["win"] for line in lines] == ["01/x-0-0_01.png"]
    assert json.loads(lines[0])["lose"] == "Original/x-0-0.png"
    with pytest.raises(InputError, match="ties=first"):
        export(tmp_path, ties="first")
