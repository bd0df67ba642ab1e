"""Files of scores, and the regions they are for."""

import json

import numpy as np
import pytest
from scipy import ndimage

from desra.errors import InputError
from desra.images import write_png
from desra.labelme import find_gt_masks
from desra.region_scores import find_scores, kind_map, read_regions, read_scores, score_map

RECORDS = [
    {"image": "sub/a", "x": 3, "y": 2, "score": 0.25},
    {"image": "sub/a", "x": 0, "y": 0, "score": 1},
    {"image": "b, too", "x": 1, "y": 5, "score": 0},
]


def write_csv(path, rows, header="image,x,y,score"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_both_forms_say_the_same(tmp_path):
    table = write_csv(
        tmp_path / "scores.csv",
        ["sub/a,3,2,0.25,9", "sub/a,0,0,1,12", '"b, too",1,5,0,3', "c,1,1,,4"],
        "image,x,y,score,area",
    )
    read = read_scores(table)
    assert {image: [(row.x, row.y, row.score) for row in rows] for image, rows in read.items()} == {
        "sub/a": [(3, 2, 0.25), (0, 0, 1)],
        "b, too": [(1, 5, 0)],
    }
    for name, data in (("list.json", RECORDS), ("object.json", {"regions": RECORDS})):
        (tmp_path / name).write_text(json.dumps(data))
        again = read_scores(tmp_path / name)
        assert [(key, row.x, row.score) for key, rows in again.items() for row in rows] == [
            (key, row.x, row.score) for key, rows in read.items() for row in rows
        ]


@pytest.mark.parametrize(
    "text",
    [
        "image;x;y;score\na;3;2;0,25\n",
        "Image, X, Y, Score\na,3,2,.25\n",
        "image\tx\ty\tscore\na\t3\t2\t0.25",
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path, text):
    (tmp_path / "s.csv").write_text(text)
    (row,) = read_scores(tmp_path / "s.csv")["a"]
    assert (row.x, row.y, row.score) == (3, 2, 0.25)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.csv", 'image,x,y,score\n"a,1,2,0.5\n', r"damaged CSV \(unexpected end of data"),
        ("s.csv", "image,x,score\na,1,1\n", r"line 1: no y; give image,x,y,score"),
        ("s.csv", "image,x,y,score\na,1,2,1.5\n", r"line 2: score is '1.5'; give the share"),
        ("s.csv", "image,x,y,score\na,1,2,nan\n", r"line 2: score is 'nan'"),
        ("s.csv", "image,x,y,score\na,-1,2,0.5\n", r"line 2: x is '-1'; give a pixel's"),
        ("s.csv", "image,x,y,score\n,1,2,0.5\n", r"line 2: no image"),
        ("s.csv", "image,x,y,score\na,1,2,\n", r"no scores in it"),
        ("s.csv", "", r"no image, x, y, score"),
        ("s.json", "[{]", r"damaged JSON"),
        ("s.json", "{}", r"not a list of regions"),
        ("s.json", '[{"image": "a", "x": 1, "y": 2}]', r"region 1: no score"),
        ("s.json", '[{"image": "a", "x": 1.5, "y": 2, "score": 1}]', r"region 1: x is '1.5'"),
        ("s.json", '[{"image": "a", "x": 1, "y": 2, "score": true}]', r"region 1: score is 'True'"),
        ("s.json", "[7]", r"region 1: no image, x, y, score"),
        ("s.json", "[" * 100_000, r"damaged JSON \(nested too deeply"),
        ("s.json", "[" + "9" * 5000 + "]", r"damaged JSON"),
        (
            "s.json",
            '[{"image": "a", "x": %s, "y": 2, "score": 1}]' % ("9" * 4000),
            r"x is 'a number",
        ),
        (
            "s.json",
            '[{"image": "a", "x": 1, "y": 2, "score": %s}]' % ("9" * 400),
            r"score is 'a num",
        ),
        ("s.json", '[{"image": "a", "x": 1, "y": 2, "score": [1]}]', r"score is 'list'"),
        ("s.csv", f"image,x,y,score\na,{'9' * 5000},2,1\n", r"line 2: x is '9+…'"),
        ("s.csv", f"image,x,y,score\n{'a' * 200_000},1,2,1\n", r"damaged CSV"),
        ("s.csv", "image,x,y,kind\na,1,2,grid\n", r"no scores in it"),
        ("s.csv", "image,x,y,kind\na,1,-2,grid\n", r"line 2: y is '-2'"),
        ("s.csv", f"image,x,y,kind\na,1,2,{'k' * 81}\n", r"line 2: kind is 'k+…'; give a name"),
        ("s.json", '[{"image": "a", "x": 1, "y": 2, "kind": 3}]', r"region 1: kind is '3'"),
        ("s.csv", "image,x,y,score\na,²,2,1\n", r"line 2: x is '²'"),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_scores(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_scores_fill_their_regions_and_nothing_else(tmp_path):
    gt_mask = np.random.default_rng(0).random((40, 50)) < 0.1
    labels, count = ndimage.label(gt_mask, np.ones((3, 3)))
    chosen = [1, count // 2, count]
    rows = []
    for number, score in zip(chosen, (0.1, 0.6, 0.9), strict=True):
        y, x = np.argwhere(labels == number)[-1]
        rows.append(f"a,{x},{y},{score}")
    scores = read_scores(write_csv(tmp_path / "s.csv", [*rows, rows[0]]))["a"]  # twice the same
    expected = np.full(gt_mask.shape, np.nan)
    for number, score in zip(chosen, (0.1, 0.6, 0.9), strict=True):
        expected[labels == number] = score
    np.testing.assert_array_equal(score_map(gt_mask, scores), expected)


def test_kinds_fill_their_regions_and_nothing_else(tmp_path):
    gt_mask = np.zeros((6, 9), bool)
    gt_mask[:3, :3] = gt_mask[:3, 5:8] = gt_mask[5] = True
    table = write_csv(
        tmp_path / "s.csv",
        ["a,2,1,,grid", "a,0,0,0.5, grid", "a,8,5,,=tie", "a,5,0,0.25,", "b,0,0,,"],
        "image,x,y,score,kind",
    )
    scores, kinds = read_regions(table)
    assert [(row.x, row.y, row.score) for row in scores["a"]] == [(0, 0, 0.5), (5, 0, 0.25)]
    assert (list(scores), list(kinds)) == (["a"], ["a"])
    plane, names = kind_map(gt_mask, kinds["a"])
    assert names == ["=tie", "grid"]
    expected = np.full(gt_mask.shape, -1)
    expected[:3, :3], expected[5] = 1, 0
    np.testing.assert_array_equal(plane, expected)
    table.write_text(table.read_text() + "a,1,1,,blobs\n")
    with pytest.raises(InputError, match=r"line 7: x=1, y=1 is on a region that already is of the"):
        kind_map(gt_mask, read_regions(table)[1]["a"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,5,0,1"], "line 2: x=5, y=0 is on no labelled region of the 4x3 mask"),
        (["a,0,2,1"], "line 2: x=0, y=2 is on no labelled region"),
        (["a,0,0,1", "a,1,0,0.5"], "line 3: x=1, y=0 is on a region that already has the score 1"),
    ],
)
def test_scores_of_no_region_or_of_one_twice_are_refused(tmp_path, rows, message):
    gt_mask = np.zeros((3, 4), bool)
    gt_mask[0, :2] = True
    scores = read_scores(write_csv(tmp_path / "s.csv", rows))["a"]
    with pytest.raises(InputError, match=message):
        score_map(gt_mask, scores)


def test_scores_are_found_in_the_folder_of_labels_and_beside_it(tmp_path):
    root = tmp_path / "set/GT-Mask"
    write_png(root / "a.png", np.ones((4, 4), bool))
    assert find_scores(root) is None
    beside = write_csv(root.parent / "regions.csv", ["a,0,0,1"])
    assert find_scores(root) == beside
    within = root / "regions.json"
    within.write_text(json.dumps(RECORDS))
    with pytest.raises(InputError, match="are both there; choose with scores=FILE"):
        find_scores(root)
    beside.unlink()
    assert find_scores(root) == within
    assert list(find_gt_masks(root)) == ["a"]  # it is no label
    within.write_text('{"shapes": [], "imageHeight": 4, "imageWidth": 4}')
    assert list(find_gt_masks(root)) == ["a", "regions"]  # LabelMe's, of an image named so
