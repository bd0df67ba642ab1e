"""The application: pages, sessions of annotators, and the routes that every task has."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from annotator.access import Guard, Who, link_cookie, may_manage, who
from annotator.journal import Conflict
from annotator.page import index_html, script, style
from annotator.store import Annotator, Item, Store
from desra.errors import DiskError, InputError

log = logging.getLogger(__name__)


class Task(Protocol):
    """What people do: `annotator.masks.MaskTask` and the others."""

    name: str
    title: str
    scripts: Sequence[str]

    def start(self, store: Store) -> None:
        """Take the database; called once, before the first request."""

    def stop(self) -> None:
        """Called once, after the last request."""

    def describe(self) -> dict[str, Any]:
        """What the page needs to know before the first item."""

    def next(
        self, annotator: Annotator, without: Sequence[int] = (), opened: bool = True
    ) -> dict[str, Any] | None:
        """The next item for an annotator."""


class Name(BaseModel):
    """What an annotator calls themselves."""

    name: str = Field(min_length=1, max_length=60)


class Ask(BaseModel):
    """A request for the next item."""

    without: list[int] = Field(default_factory=list, max_length=1000)
    opened: bool = True


def make_application(
    task: Task,
    store: Store,
    routes: Iterable[APIRouter],
    *,
    hosts: Iterable[str],
    token: str | None = None,
    names: Sequence[str] | None = None,
) -> FastAPI:
    """The application of a task.

    Args:
        task: what people do.
        store: its database.
        routes: those of the task.
        hosts: names, without ports, that requests may name.
        token: what opens it from other machines, or None.
        names: the annotators; others are not let in. None: whoever gives a name is.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task.start(store)
        yield
        task.stop()
        store.close()

    application = FastAPI(
        title="DeSRA annotator", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    application.state.store, application.state.token = store, token
    application.state.names = None if names is None else list(names)
    application.state.task = task
    for name in names or ():
        store.add_annotator(name)
    for router in (_pages, _sessions, *routes):
        application.include_router(router)
    application.add_exception_handler(InputError, _bad_input)
    application.add_exception_handler(Conflict, _conflict)
    application.add_exception_handler(DiskError, _no_room)
    application.add_exception_handler(sqlite3.OperationalError, _no_room)
    application.add_middleware(Guard, store=store, hosts=list(hosts), token=token)
    return application


def item_of(request: Request, number: int) -> Item:
    """The item of a request.

    Raises:
        HTTPException: 404, there is none.
    """
    store: Store = request.app.state.store
    item = store.item(number)
    if item is None:
        raise HTTPException(404, "There is no such item.")
    return item


async def _bad_input(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)


async def _no_room(_: Request, error: Exception) -> Response:
    """The page says so, and tries again until there is room."""
    if isinstance(error, sqlite3.Error) and error.sqlite_errorcode != sqlite3.SQLITE_FULL:
        raise error
    return JSONResponse({"detail": str(error)}, 507)


async def _conflict(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 409)


_pages = APIRouter()
_sessions = APIRouter(prefix="/api")


@_pages.get("/")
def _index(request: Request) -> Response:
    if "token" in request.query_params:  # it is in a cookie now, and need not be seen
        return RedirectResponse("/", 303)
    return HTMLResponse(index_html(request.app.state.task), headers={"cache-control": "no-store"})


@_pages.get("/page.js")
def _script(request: Request) -> Response:
    headers = {"cache-control": "no-cache"}
    task = request.app.state.task
    return Response(script(task.scripts), media_type="text/javascript", headers=headers)


@_pages.get("/page.css")
def _style() -> Response:
    return Response(style(), media_type="text/css", headers={"cache-control": "no-cache"})


@_pages.get("/a/{link}")
def _enter_by_link(request: Request, link: str) -> Response:
    """An annotator's own link."""
    annotator = request.app.state.store.annotator_of(link)
    if annotator is None:
        raise HTTPException(404, "Nobody has this link; ask who sent it for another.")
    return RedirectResponse("/", 303, headers={"set-cookie": link_cookie(annotator)})


@_sessions.post("/enter")
def _enter(request: Request, given: Name) -> Response:
    """Give a name, where anybody may."""
    names = request.app.state.names
    name = " ".join(given.name.split())
    if not name or any(part in name for part in "/\\\0") or name.startswith("."):
        raise HTTPException(422, "Give a name without / and \\, which can be a folder's.")
    if names is not None:
        raise HTTPException(403, "Open the link that you were sent.")
    annotator = request.app.state.store.add_annotator(name)
    return JSONResponse({"name": name}, headers={"set-cookie": link_cookie(annotator)})


@_sessions.get("/session")
def _session(request: Request) -> dict[str, Any]:
    """Who asks, and what the page needs to know."""
    try:
        name: str | None = who(request).name
    except HTTPException:
        name = None
    state = request.app.state
    return {
        "name": name,
        "open": state.names is None,
        "manages": may_manage(request),
        "task": state.task.name,
        **state.task.describe(),
    }


@_sessions.post("/next")
def _next(request: Request, ask: Ask, annotator: Who) -> dict[str, Any] | None:
    """The next item of the queue."""
    task: Task = request.app.state.task
    return task.next(annotator, ask.without, ask.opened)
