"""The page itself: one `index.html` with style, script and the table of images in it."""

from __future__ import annotations

import html
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any, Literal
from urllib.parse import quote

from PIL import Image

from desra.files import write_text
from desra.report.entries import FOLDER, file_name
from desra.report.style import gradient, outline_style

SHARED_SCRIPTS = ("core.js", "camera.js", "panes.js", "views.js")
"""Scripts that any page with pictures can load, in this order."""

_SCRIPTS = (
    *("core.js", "data.js", "overview.js", "list.js", "camera.js", "panes.js", "views.js"),
    *("outlines.js", "panel.js", "viewer.js"),
)


@dataclass(frozen=True)
class Column:
    """A column of the rows, to read and to sort by.

    Attributes:
        name: its name in the rows.
        title: what readers see; by default the name with spaces.
        kind: how values are written. Shares are in [0, 1], seconds in seconds.
        hint: one sentence on what it is.
        descending: whether its first sorting puts the largest value first.
    """

    name: str
    title: str = ""
    kind: Literal["text", "integer", "number", "share", "seconds"] = "number"
    hint: str = ""
    descending: bool = True


@dataclass(frozen=True)
class Scale:
    """What the colours of a heat map stand for.

    Attributes:
        start: the quantity at heat 0, the darkest colour.
        end: the quantity at heat 1, the brightest.
        mark: a value to be marked, such as the detector's threshold.
        mark_title: what the mark is called.
    """

    start: float = 0.0
    end: float = 1.0
    mark: float | None = None
    mark_title: str = "threshold"


def write_page(
    output_dir: str | Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    columns: Sequence[Column],
    subtitle: str = "",
    settings: Mapping[str, Any] | None = None,
    summary: Mapping[str, str] | None = None,
    share: str | None = "artifact_share",
    sort: str | None = None,
    scales: Mapping[str, Scale] | None = None,
    outlines: Sequence[str] = (),
    classes: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write ``index.html`` over the images that `write_views` and `write_regions` were called for.

    Args:
        output_dir: the folder they wrote to.
        rows: one mapping an image: ``image`` (the key), values by column name, and ``error`` where
            the image could not be done; such a row needs nothing else. Missing values, None, NaN
            and infinities are shown as absent and sorted last.
        title: of the page.
        columns: what is shown of a row, in this order.
        subtitle: one line below the title.
        settings: names and values that made the results.
        summary: further metrics over the whole set, written as they are to be read.
        share: the column that says how much of an image is wrong. It carries the filters and the
            histogram, is written on the thumbnails and sorts them unless ``sort`` is given; None:
            none.
        sort: the column that sorts at first.
        scales: name of a heat map to its `Scale`.
        outlines: names of the outlines, in their order, for the key to the thumbnails' colours.
        classes: names of the semantic classes, by index.
        files: title of a link to a path below ``output_dir`` with ``{key}`` for the image's key, as
            ``{"Mask": "DeSRA-Mask/{key}.png"}``.

    Returns:
        the path of ``index.html``.

    Raises:
        ValueError: ``share`` or ``sort`` is not the name of a column.
    """
    names = [column.name for column in columns]
    for name in (share, sort):
        if name is not None and name not in names:
            raise ValueError(f"{name} is not among the columns: {', '.join(names)}")
    first = sort or share
    data = {
        "columns": [asdict(c) | {"title": c.title or c.name.replace("_", " ")} for c in columns],
        "share": None if share is None else names.index(share),
        "sort": None if first is None else names.index(first),
        "settings": [[name, str(value)] for name, value in (settings or {}).items()],
        "summary": list((summary or {}).items()),
        "scales": {name: asdict(scale) for name, scale in (scales or {}).items()},
        "outlines": [
            {"name": name, **outline_style(name, index)._asdict()}
            for index, name in enumerate(outlines)
        ],
        "classes": list(classes),
        "files": list((files or {}).items()),
        "aspect": _usual_aspect(Path(output_dir), rows),
        "rows": [_row(row, names) for row in rows],
    }
    parts = {
        "title": html.escape(title),
        "subtitle": html.escape(subtitle),
        "heat": gradient(),
        "style": template("page.css"),
        "script": "".join(template(name) for name in _SCRIPTS),
        "data": _json_in_html(data),
    }
    text = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template("page.html"))
    path = Path(output_dir) / "index.html"
    write_text(path, text)
    return path


def _row(row: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    """Key, error, values, and where they differ from the key its file name and its URL."""
    key = str(row["image"])
    error = str(row["error"]) if row.get("error") else None
    short = [key, error, [_plain(row.get(name)) for name in names]]
    if file_name(key) != key:
        # Bytes that are not UTF-8 reach Python as surrogates, of which JavaScript makes no URL.
        short += [file_name(key), quote(os.fsencode(key), safe="/")]
    return short


def _usual_aspect(output_dir: Path, rows: Sequence[Mapping[str, Any]], sample: int = 100) -> float:
    """Median width over height of some thumbnails: the shape of the grid's cells."""
    keys = [str(row["image"]) for row in rows if not row.get("error")]
    aspects = [1.25]
    for key in keys[:: max(1, len(keys) // sample)]:
        path = output_dir / FOLDER / "thumbnails" / f"{file_name(key)}.jpg"
        if path.is_file():
            with Image.open(path) as image:
                aspects.append(image.width / image.height)
    return round(min(max(median(aspects[1:] or aspects), 0.8), 1.6), 2)


def _plain(value: Any) -> Any:
    """A value as JSON has it: NumPy's scalars as Python's, what is not finite as None."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json_in_html(data: Any) -> str:
    """JSON in which nothing can end the script element that holds it, or begin a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def template(name: str) -> str:
    """The text of a file of the page's template."""
    return resources.files(__package__).joinpath("template", name).read_text(encoding="utf-8")
