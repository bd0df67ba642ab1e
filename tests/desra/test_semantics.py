import json
import runpy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from desra.errors import InputError
from desra.semantics import (
    ADE20K_CLASSES,
    adjust_distance,
    adjustment_weights,
    texture_intervals,
    weights_digest,
)
from tests.reference.plain_detection import plain_adjust


def test_classes_are_numbered_as_by_mmsegmentation():
    # Read from its file: importing the package would need the compiled mmcv.
    spec = find_spec("mmseg")
    assert spec is not None
    names = Path(spec.origin).parent / "utils" / "class_names.py"
    classes = [name.strip() for name in runpy.run_path(str(names))["ade_classes"]()]
    assert list(ADE20K_CLASSES) == classes


def test_released_intervals():
    table = texture_intervals()
    assert [row.index for row in table] == list(range(150))
    intervals = {row.name: row.interval for row in table}
    # Of the release's file, in which the classes are sorted by name.
    assert {name: intervals[name] for name in ("sky", "building", "tree", "field", "person")} == {
        "sky": 0, "building": 4, "tree": 5, "field": 8, "person": 1,
    }  # fmt: skip
    assert max(intervals.values()) == 11


def test_weights_are_twenty_over_twenty_minus_interval():
    weights = adjustment_weights()
    assert weights.shape == (256,)
    assert weights.dtype == torch.float64
    assert weights[ADE20K_CLASSES.index("field")] == 20 / 12
    assert weights[ADE20K_CLASSES.index("sky")] == 1
    assert (weights[150:] == 1).all()


def test_both_forms_of_a_table_are_read(tmp_path):
    rows = texture_intervals()
    released = tmp_path / "released.txt"
    lines = [f"{row.name}--{row.interval}" for row in reversed(rows)]
    released.write_text("\n".join(lines) + "\n\n")
    assert texture_intervals(released) == rows
    own = tmp_path / "own.csv"
    own.write_bytes(b'\xef\xbb\xbfIndex,Name,Interval\r\n254,"road, wet",19\r\n\r\n0,sky,0\r\n')
    weights = adjustment_weights(own)
    assert weights[254] == 20
    assert (weights[:254] == 1).all()
    assert texture_intervals(own)[1].name == "road, wet"


def test_a_table_says_how_many_intervals_there_are_and_may_say_more(tmp_path):
    table = tmp_path / "table.csv"
    lines = ["index,name,interval,pixels,intervals", "0,wall,30,12345,40", '3,"floor, wet",0,9,8']
    table.write_text("\n".join(lines))
    weights = adjustment_weights(table)
    assert (weights[0], weights[3], weights[1]) == (4, 1, 1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        ("index,name,interval\n0,wall,20\n", "line 2: interval '20'; give an integer from 0 to 19"),
        ("index,name,interval\n0,wall,-1\n", "line 2: interval '-1'"),
        ("index,name,interval\n\n0,wall,1.5\n", "line 3: interval '1.5'"),
        ("index,name,interval\n0,wall\n", "line 2: interval ''"),
        ("index,name,interval\n255,wall,1\n", "class index '255'; give an integer from 0 to 254"),
        ("index,name,interval\n1,wall,1\n1,sky,2\n", "line 3: class 1 is there twice"),
        ("index,name,interval,intervals\n0,wall,8,8\n", "integer from 0 to 7"),
        ("index,name,interval,intervals\n0,wall,0,0\n", "intervals '0'; give an integer from 1"),
        ("wall--20\n", "line 1: interval '20'"),
        ("wall--1\nunicorn--2\n", "line 2: ADE20K has no class 'unicorn'"),
        ("wall--1\nwall--2\n", "line 2: class 0 is there twice"),
        ("wall 1\n", "line 1: 'wall 1' is not understood"),
    ],
)
def test_tables_with_mistakes_are_refused(tmp_path, text, complaint):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=complaint) as error:
        adjustment_weights(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_binary_tables_are_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        texture_intervals(tmp_path / "none.csv")
    binary = tmp_path / "table.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="table of texture intervals"):
        texture_intervals(binary)


def test_equal_tables_have_one_digest(tmp_path):
    same = tmp_path / "same.txt"
    same.write_text("".join(f"{row.name}--{row.interval}\n" for row in texture_intervals()))
    other = tmp_path / "other.txt"
    other.write_text(same.read_text().replace("field--8", "field--7"))
    released, same_digest, other_digest = (
        weights_digest(adjustment_weights(path)) for path in (None, same, other)
    )
    assert released == same_digest != other_digest
    assert json.loads(json.dumps(released)) == released


@pytest.mark.parametrize("layout", ["contiguous", "transposed"])
def test_adjustment_equals_plain(layout):
    rng = np.random.default_rng(0)
    distance = torch.from_numpy(rng.random((2, 1, 37, 41)))
    labels = torch.from_numpy(rng.integers(0, 256, distance.shape, np.uint8))
    if layout == "transposed":
        distance, labels = distance.transpose(2, 3), labels.transpose(2, 3)
    before = distance.clone()
    intervals = {row.index: row.interval for row in texture_intervals()}
    expected = plain_adjust(distance.numpy(), labels.numpy(), intervals)
    adjusted = adjust_distance(distance, labels, adjustment_weights())
    assert adjusted.dtype == torch.float64
    np.testing.assert_array_equal(adjusted, expected)
    assert torch.equal(distance, before)


@pytest.mark.parametrize(
    "labels",
    [torch.zeros(1, 1, 9, 10, dtype=torch.uint8), torch.zeros(1, 1, 10, 10, dtype=torch.int64)],
)
def test_label_maps_of_another_size_or_type_are_refused(labels):
    distance = torch.ones(1, 1, 10, 10, dtype=torch.float64)
    with pytest.raises(InputError, match="label map of shape"):
        adjust_distance(distance, labels, adjustment_weights())
