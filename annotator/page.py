"""The page: the report's viewer and the annotator's own files, together without a build step."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from importlib import resources
from typing import Protocol

from desra.report.page import SHARED_SCRIPTS
from desra.report.page import template as report_template
from desra.report.style import gradient


class Titled(Protocol):
    """What a page is made of."""

    name: str
    title: str


def index_html(task: Titled) -> str:
    """The document."""
    parts = {"title": html.escape(task.title), "task": html.escape(task.name), "heat": gradient()}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _template("annotator.html"))


def script(names: Sequence[str]) -> str:
    """The script: what all pages of pictures share, then what this one has of its own."""
    parts = [report_template(name) for name in SHARED_SCRIPTS]
    parts += [_template(name) for name in ("client.js", *names)]
    return '(() => {\n"use strict";\n' + "".join(parts) + "})();\n"


def style() -> str:
    """The style sheet: the report's, and what this page has of its own."""
    return report_template("page.css") + _template("annotator.css")


def _template(name: str) -> str:
    return resources.files(__package__).joinpath("template", name).read_text(encoding="utf-8")
