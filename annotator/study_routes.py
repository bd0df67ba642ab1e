"""The routes of `annotator.study.StudyTask`, and the page of its results."""

from __future__ import annotations

import html
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import BaseModel, Field

from annotator.access import Who, manager
from annotator.application import item_of
from annotator.mask_routes import Operation
from annotator.pictures import send_picture
from annotator.study import StudyTask
from annotator.study_results import PLOT, VOTES, QuestionResult, StudyResults, write_summary

routes = APIRouter()


class Chosen(Operation):
    """An answer."""

    view: str = Field(max_length=40)
    choice: Literal["left", "right", "tie"]


class Opening(BaseModel):
    """Nothing more is said of a pair that is opened."""


def _task(request: Request) -> StudyTask:
    task: StudyTask = request.app.state.task
    return task


@routes.post("/api/pairs/{number}/open")
def open_pair(request: Request, number: int, _: Opening, annotator: Who) -> dict[str, Any]:
    """A certain pair."""
    return _task(request).open(item_of(request, number), annotator)


@routes.get("/api/pairs/{number}/{view}/{place}")
def picture(
    request: Request,
    number: int,
    view: str,
    place: Annotated[int, Path(ge=0, le=1)],
    annotator: Who,
) -> Response:
    """The picture on the left or right of a view."""
    return send_picture(_task(request).picture(item_of(request, number), annotator, view, place))


@routes.post("/api/pairs/{number}/answer")
def answer(request: Request, number: int, given: Chosen, annotator: Who) -> dict[str, int]:
    """Answer."""
    task, item = _task(request), item_of(request, number)
    return {"version": task.answer(item, annotator, given.step(), given.view, given.choice)}


@routes.get("/results", dependencies=[Depends(manager)])
def results(request: Request) -> Response:
    """The page of results; it brings ``results.json`` and the plot up to date."""
    task = _task(request)
    found = task.results()
    write_summary(task.output_dir, found)
    return HTMLResponse(results_html(found), headers={"cache-control": "no-store"})


@routes.get("/results/{name}", dependencies=[Depends(manager)])
def result_file(request: Request, name: Literal["results.png", "votes.csv"]) -> Response:
    """The plot, or the table of votes."""
    task = _task(request)
    if name == VOTES:
        task.write()
    return FileResponse(task.output_dir / name, headers={"cache-control": "no-store"})


def results_html(results: StudyResults) -> str:
    """The document of the results."""
    sections = "".join(_section(question) for question in results.questions if question.pairs)
    people = len(results.participants) - len(results.left_out)
    out = "".join(
        f"<li>{html.escape(name)}: {100 * share:.0f} % right</li>"
        for name, share in results.left_out.items()
    )
    excluded = f"<p>Left out, {html.escape(results.rule)}:</p><ul>{out}</ul>" if out else ""
    plot = f'<img class="plot" src="results/{PLOT}" alt="Shares and scores with intervals">'
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Results</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="page.css"></head>
<body class="results"><main><h1>Results</h1>
<p>{people} counted, {len(results.left_out)} left out.
<a href="results/{VOTES}" download>{VOTES}, a row a vote</a></p>{excluded}
{plot if sections else "<p>No answer counts yet.</p>"}{sections}</main></body></html>
"""


def _section(question: QuestionResult) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(pair.first)} over {html.escape(pair.second)}</th>"
        f"<td>{100 * pair.share.share:.1f} %</td>"
        f"<td>{100 * pair.share.low:.1f}–{100 * pair.share.high:.1f} %</td>"
        f"<td>{' / '.join(map(str, pair.votes))}</td><td>{_p_value(pair.share.p_value)}</td></tr>"
        for pair in question.pairs
    )
    scores = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{score:.2f}</td><td>{low:.2f} – {high:.2f}</td></tr>"
        for name, (score, low, high) in sorted(
            question.scores.items(), key=lambda entry: -entry[1][0]
        )
    )
    ranked = (
        "<table><caption>Bradley–Terry</caption><tr><th>method</th><th>score</th>"
        f"<th>95 % bootstrap interval</th></tr>{scores}</table>"
        if scores
        else ""
    )
    sentences = "".join(
        f"<blockquote>{html.escape(text)}</blockquote>" for text in question.sentences
    )
    return f"""<section><h2>{html.escape(question.text)}</h2>
<table><tr><th>pair</th><th>share</th><th>95 % Wilson interval</th><th>first / second / tie</th>
<th>binomial p</th></tr>{rows}</table>{ranked}
<p>Agreement of participants on a picture pair: {_number(question.agreement)}, Fleiss’ κ
{_number(question.kappa)}.</p>{sentences}</section>"""


def _p_value(value: float) -> str:
    return "–" if value != value else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _number(value: float) -> str:
    return "undefined" if value != value else f"{value:.2f}"
