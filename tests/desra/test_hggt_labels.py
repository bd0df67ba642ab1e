import json
from datetime import datetime
from itertools import product

import pytest

from desra.errors import InputError
from desra.hggt_labels import (
    LABELS,
    Tagging,
    read_labels,
    read_tagging,
    vote,
    write_tagging,
)


def write(root, annotator, key, labels, **changes):
    said = Tagging(
        {f"{place:02d}": label for place, label in enumerate(labels, start=1)},
        {
            "original": f"{key}.png",
            **{f"{n:02d}": f"{key}_{n:02d}.png" for n in range(1, len(labels) + 1)},
        },
        datetime(2023, 1, 2, 3, 4, 5),
        datetime(2023, 1, 2, 3, 4, 17),
        **changes,
    )
    write_tagging(root / annotator / f"{key}.json", said)


def test_the_27_votes_of_three():
    votes = [vote(labels) for labels in product(LABELS, repeat=3)]
    counts = {label: sum(v.label == label for v in votes) for label in LABELS}
    assert counts == {"Positive": 7, "Similar": 13, "Negative": 7}
    assert sum(v.tie for v in votes) == 6
    assert {v.votes for v in votes if v.tie} == {1}
    assert {v.votes for v in votes} == {1, 2, 3}
    dropped = [vote(labels, "drop") for labels in product(LABELS, repeat=3)]
    assert sum(v.label is None for v in dropped) == 6
    assert sum(v.label == "Similar" for v in dropped) == 7


def test_other_numbers_of_annotators():
    assert vote(["Negative"]).label == "Negative"
    assert vote(["Positive", "Negative"]).label == "Similar"
    five = vote(["Positive"] * 2 + ["Negative"] * 2 + ["Similar"])
    assert (five.label, five.votes, five.voters, five.tie) == ("Similar", 2, 5, True)
    assert vote([None, None]).voters == 0


def test_the_released_layout(tmp_path):
    write(tmp_path, "A", "0001-16-300", ["Positive", "Similar", "Negative", "Positive"])
    record = json.loads((tmp_path / "A/0001-16-300.json").read_text())
    assert list(record) == [f"Picture_{n}" for n in range(1, 6)] + ["Time_cost"]
    assert record["Picture_1"] == {"Name": "0001-16-300.png", "File": "original", "Label": None}
    assert record["Picture_4"] == {
        "Name": "0001-16-300_03.png",
        "File": "03",
        "Label": "Negative",
    }
    assert record["Time_cost"] == {
        "Start": "2023-01-02 03:04:05",
        "End": "2023-01-02 03:04:17",
        "Total": 12,
    }
    said, problems = read_tagging(tmp_path / "A/0001-16-300.json")
    assert not problems
    assert list(said.labels.values()) == ["Positive", "Similar", "Negative", "Positive"]
    assert said.seconds == 12
    assert said.start == datetime(2023, 1, 2, 3, 4, 5)


def test_the_shown_order_is_kept(tmp_path):
    write(tmp_path, "A", "x", ["Positive", "Similar"], shown=("02", "01"))
    said, _ = read_tagging(tmp_path / "A/x.json")
    assert said.shown == ("02", "01")


def test_position_tells_the_version_where_file_is_missing(tmp_path):
    pictures = {f"Picture_{n}": {"Name": "", "Label": "Similar"} for n in range(1, 4)}
    (tmp_path / "x.json").write_text(json.dumps(pictures))
    said, problems = read_tagging(tmp_path / "x.json")
    assert list(said.labels) == ["01", "02"]
    assert not problems


@pytest.mark.parametrize("count", [1, 3, 5])
def test_any_number_of_annotators_and_versions(tmp_path, count):
    for annotator in "ABCDE"[:count]:
        write(tmp_path, annotator, "x", ["Positive"] * 6)
        write(tmp_path, annotator, "sub/y", ["Negative"] * 6)
    labels = read_labels(tmp_path)
    assert not labels.problems
    assert labels.annotators == tuple("ABCDE"[:count])
    assert len(labels.versions) == 6
    votes = labels.votes()
    assert list(votes) == ["sub/y", "x"]
    assert {v.label for v in votes["sub/y"].values()} == {"Negative"}
    assert {v.votes for v in votes["x"].values()} == {count}


def test_diffiqa(tmp_path):
    for version, label in (("01", "Positive"), ("02", "Negative")):
        path = tmp_path / "A" / version / f"0800_{version}.json"
        path.parent.mkdir(parents=True)
        picture = {"Name": f"0800_{version}.png", "File": version, "ImageSize": 512}
        record = {
            "Picture_AI": {**picture, "Label": label},
            "picture_Original": {"Name": "0800.png", "File": "Original", "Label": None},
            "Time_cost": {"Total": 1.5},
        }
        path.write_text(json.dumps(record))
    labels = read_labels(tmp_path)
    assert not labels.problems
    said = labels.taggings["0800"]["A"]
    assert said.labels == {"01": "Positive", "02": "Negative"}
    assert said.seconds == 3.0


def test_what_cannot_be_used_is_a_line_and_the_rest_is_used(tmp_path):
    for annotator in "ABC":
        for key in ("good", "null", "word", "few", "more", "broken", "missing", "not_labels"):
            write(tmp_path, annotator, key, ["Positive", "Similar", "Negative"])
    write(tmp_path, "A", "null", ["Positive", None, "Negative"])
    write(tmp_path, "A", "word", ["positiv", "Similar", "Negative"])
    write(tmp_path, "A", "few", ["Positive", "Similar"])
    write(tmp_path, "A", "more", ["Positive", "Similar", "Negative", "Negative"])
    (tmp_path / "A/broken.json").write_text('{"Picture_1": ')
    (tmp_path / "A/missing.json").unlink()
    (tmp_path / "A/not_labels.json").write_text("[]")
    (tmp_path / "A/good.JSON").write_bytes((tmp_path / "A/good.json").read_bytes())
    labels = read_labels(tmp_path)
    for part in (
        "null.json: Picture_3 (02): no label",
        "word.json: Picture_2 (01): 'positiv' is no label",
        "few.json: lacks the version(s) 03",
        "more.json: has the version(s) 04",
        "broken.json: not JSON",
        "missing: labelled by B, C alone",
        "not_labels.json: no picture in it",
        "labels good already",
    ):
        assert sum(part in line for line in labels.problems) == 1, part
    assert all("\n" not in line for line in labels.problems)
    votes = labels.votes()
    assert votes["null"]["02"].voters == 2
    assert votes["word"]["01"].label == "Positive"
    assert votes["more"].keys() == {"01", "02", "03"}
    assert votes["broken"]["03"].label == "Negative"


def test_nothing_that_can_be_used(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_labels(tmp_path / "nowhere")
    (tmp_path / "A").mkdir()
    with pytest.raises(InputError, match=r"ANNOTATOR/SET\.json"):
        read_labels(tmp_path)
