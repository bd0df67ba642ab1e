"""The routes of `annotator.masks.MaskTask`."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, Field

from annotator.access import Who
from annotator.application import item_of
from annotator.journal import Step
from annotator.masks import MaskTask
from annotator.pictures import send_picture

routes = APIRouter(prefix="/api")


class Operation(BaseModel):
    """What every change of a work says of itself; see `annotator.journal.Step`."""

    version: int = Field(ge=1)
    token: str = Field(min_length=1, max_length=40)
    seconds: float = Field(0, ge=0, le=86400)

    def step(self) -> Step:
        """As the journal takes it."""
        return Step(self.version, self.token, self.seconds)


class Drawing(Operation):
    """An action of a tool; ``runs`` in base64."""

    tool: str
    detail: dict[str, Any] = Field(default_factory=dict)
    runs: str | None = None


class Finish(Operation):
    """The end of a work, or its beginning anew."""

    status: Literal["open", "done", "skipped"]


class Vote(BaseModel):
    """What an annotator says of the region at a pixel."""

    x: int = Field(ge=0)
    y: int = Field(ge=0)
    noticed: bool | None = None
    kind: str = Field("", max_length=80)


def _task(request: Request) -> MaskTask:
    task: MaskTask = request.app.state.task
    return task


@routes.get("/items")
def items(request: Request, annotator: Who) -> list[list[Any]]:
    """The queue: number, key, status for this annotator, and whether it is with another."""
    store = request.app.state.store
    rows = store.rows(
        "SELECT item.id, key, coalesce(mine.status, ''), "
        "EXISTS (SELECT 1 FROM lease WHERE lease.item = item.id AND lease.annotator != ?1 "
        "AND opened AND expires > ?2), "
        "(SELECT count(*) FROM work WHERE work.item = item.id AND status = 'done') "
        "FROM item LEFT JOIN work AS mine ON mine.item = item.id AND mine.annotator = ?1 "
        "AND mine.repeat = 0 WHERE present ORDER BY priority DESC, place",
        annotator.id,
        store.clock(),
    )
    return [list(row) for row in rows]


@routes.post("/items/{number}/open")
def open_item(request: Request, number: int, annotator: Who) -> dict[str, Any]:
    """A certain image."""
    return _task(request).open(item_of(request, number), annotator)


@routes.get("/items/{number}/distance")
def distance(request: Request, number: int, _: Who) -> Response:
    """The detector's distance as a grey PNG."""
    data = _task(request).distance(item_of(request, number))
    headers = {"cache-control": "private, max-age=86400, immutable"}
    return Response(data, media_type="image/png", headers=headers)


@routes.get("/items/{number}/{layer}")
def picture(request: Request, number: int, layer: str, _: Who) -> Response:
    """A picture of an image."""
    path = _task(request).picture(item_of(request, number), layer)
    if path is None:
        raise HTTPException(404, "This image has no such picture.")
    return send_picture(path)


@routes.post("/items/{number}/actions")
def act(request: Request, number: int, given: Drawing, annotator: Who) -> dict[str, int]:
    """Draw."""
    task, item = _task(request), item_of(request, number)
    version = task.act(item, annotator, given.step(), given.tool, given.detail, given.runs)
    return {"version": version}


@routes.post("/items/{number}/undo")
def undo(request: Request, number: int, given: Operation, annotator: Who) -> dict[str, int]:
    """Undo the last action."""
    item = item_of(request, number)
    return {"version": _task(request).turn(item, annotator, given.step(), "undo")}


@routes.post("/items/{number}/redo")
def redo(request: Request, number: int, given: Operation, annotator: Who) -> dict[str, int]:
    """Do again what was undone."""
    item = item_of(request, number)
    return {"version": _task(request).turn(item, annotator, given.step(), "redo")}


@routes.post("/items/{number}/finish")
def finish(request: Request, number: int, given: Finish, annotator: Who) -> dict[str, int]:
    """Say that an image is done, skipped, or open again."""
    item = item_of(request, number)
    return {"version": _task(request).finish(item, annotator, given.step(), given.status)}


@routes.post("/items/{number}/vote")
def vote(request: Request, number: int, given: Vote, annotator: Who) -> dict[str, bool]:
    """Say whether one notices a region, and what kind it is."""
    item = item_of(request, number)
    _task(request).vote(item, annotator, given.x, given.y, given.noticed, given.kind)
    return {"saved": True}
