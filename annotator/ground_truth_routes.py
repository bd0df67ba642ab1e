"""The routes of `annotator.ground_truth.GroundTruthTask`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Request, Response
from pydantic import BaseModel, Field

from annotator.access import Who
from annotator.application import item_of
from annotator.ground_truth import GroundTruthTask
from annotator.mask_routes import Operation
from annotator.pictures import send_picture
from desra.hggt_labels import Label

routes = APIRouter(prefix="/api/sets")


Repeat = Annotated[int, Path(ge=0, le=1)]
"""1 where the annotator is shown a set again."""


class Labelling(Operation):
    """A label for the picture at a place of a view."""

    view: str = Field(max_length=40)
    place: int
    label: Label


class Opening(BaseModel):
    """Nothing more is said of a set that is opened."""


def _task(request: Request) -> GroundTruthTask:
    task: GroundTruthTask = request.app.state.task
    return task


@routes.post("/{number}/{repeat}/open")
def open_set(
    request: Request, number: int, repeat: Repeat, _: Opening, annotator: Who
) -> dict[str, Any]:
    """A certain set."""
    return _task(request).open(item_of(request, number), annotator, repeat)


@routes.get("/{number}/{view}/{place}")
def picture(request: Request, number: int, view: str, place: int, annotator: Who) -> Response:
    """The picture at a place of a view."""
    path = _task(request).picture(item_of(request, number), annotator, view, place)
    if path is None:
        raise HTTPException(404, "There is no such picture.")
    return send_picture(path)


@routes.post("/{number}/{repeat}/label")
def label(
    request: Request, number: int, repeat: Repeat, given: Labelling, annotator: Who
) -> dict[str, int]:
    """Label a picture."""
    task, item = _task(request), item_of(request, number)
    step = given.step()
    version = task.label(item, annotator, step, repeat, given.view, given.place, given.label)
    return {"version": version}


@routes.post("/{number}/{repeat}/{direction}")
def turn(
    request: Request,
    number: int,
    repeat: Repeat,
    direction: Literal["undo", "redo"],
    given: Operation,
    annotator: Who,
) -> dict[str, int]:
    """Undo, or do again."""
    item = item_of(request, number)
    return {"version": _task(request).turn(item, annotator, given.step(), repeat, direction)}


@routes.post("/{number}/{repeat}/end/{status}")
def finish(
    request: Request,
    number: int,
    repeat: Repeat,
    status: Literal["open", "done", "skipped"],
    given: Operation,
    annotator: Who,
) -> dict[str, int]:
    """Say that a set is done, skipped, or open again."""
    item = item_of(request, number)
    return {"version": _task(request).finish(item, annotator, given.step(), repeat, status)}
