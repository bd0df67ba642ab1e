"""`index.html` as a file: what is in it, and that nothing in the data can break out of it."""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from desra.report import Column, Scale, write_page

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "a\"b'c&d",
    "x\u2028y",
    "{{data}}",
    "\\u003c",
    "]]>",
]


class Parts(HTMLParser):
    """Elements of a page with their attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.text.append("")

    def handle_data(self, data):
        if self.text:
            self.text[-1] += data

    def data(self) -> dict:
        (index,) = [i for i, (_, a) in enumerate(self.elements) if a.get("id") == "page-data"]
        return json.loads(self.text[index])


def read(path) -> Parts:
    return Parts(path.read_text("utf-8"))


COLUMNS = [
    Column("artifact_share", kind="share"),
    Column("regions", "number of regions", "integer"),
]


def test_hostile_text_stays_data(tmp_path):
    plain = read(write_page(tmp_path, [], title="t", columns=COLUMNS))
    rows = [{"image": key, "artifact_share": 0.5} for key in HOSTILE]
    rows += [{"image": f"e{index}", "error": text} for index, text in enumerate(HOSTILE)]
    parts = read(
        write_page(
            tmp_path,
            rows,
            title=HOSTILE[0],
            subtitle=HOSTILE[2],
            columns=COLUMNS,
            settings={name: name for name in HOSTILE},
            classes=HOSTILE,
        )
    )
    assert [tag for tag, _ in parts.elements] == [tag for tag, _ in plain.elements]
    data = parts.data()
    assert [row[0] for row in data["rows"][: len(HOSTILE)]] == HOSTILE
    assert [row[1] for row in data["rows"][len(HOSTILE) :]] == HOSTILE
    assert data["classes"] == HOSTILE
    assert data["settings"] == [[name, name] for name in HOSTILE]
    title = parts.text[[tag for tag, _ in parts.elements].index("h1")]
    assert title.strip() == HOSTILE[0]


def test_values_that_are_not_json_become_absent_or_plain(tmp_path):
    values = [np.float32(0.25), np.int64(3), math.nan, np.float64(np.inf), None, "text"]
    rows = [{"image": str(index), "regions": value} for index, value in enumerate(values)]
    data = read(write_page(tmp_path, rows, title="t", columns=COLUMNS)).data()
    assert [row[2][1] for row in data["rows"]] == [0.25, 3, None, None, None, "text"]
    assert all(row[2][0] is None for row in data["rows"])


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    path = write_page(tmp_path, [], title="t", columns=COLUMNS)
    text = path.read_text("utf-8")
    parts = Parts(text)
    for tag, attributes in parts.elements:
        for name in ("src", "href", "action", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'<]*", text))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|fetch\(|XMLHttpRequest|\bimport\s*\(", text)


def test_same_rows_make_the_same_bytes(tmp_path):
    rows = [{"image": "a", "artifact_share": 0.5}]
    first = write_page(tmp_path / "one", rows, title="t", columns=COLUMNS)
    second = write_page(tmp_path / "two", rows, title="t", columns=COLUMNS)
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["index.html"]


def test_sort_share_and_scales_reach_the_script(tmp_path):
    scales = {"Distance": Scale(1, 0, mark=0.7)}
    data = read(
        write_page(tmp_path, [], title="t", columns=COLUMNS, sort="regions", scales=scales)
    ).data()
    assert (data["share"], data["sort"]) == (0, 1)
    assert data["scales"]["Distance"] == {
        "start": 1,
        "end": 0,
        "mark": 0.7,
        "mark_title": "threshold",
    }
    assert [column["title"] for column in data["columns"]] == [
        "artifact share",
        "number of regions",
    ]


def test_column_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="score is not among the columns: artifact_share, regions"):
        write_page(tmp_path, [], title="t", columns=COLUMNS, sort="score")
    with pytest.raises(ValueError, match="artifact_share is not among the columns: iou"):
        write_page(tmp_path, [], title="t", columns=[Column("iou")])
