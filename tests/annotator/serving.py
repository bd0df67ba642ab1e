"""The application in a thread of this process: a real server, without the seconds of a start."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from annotator.application import Task, make_application
from annotator.store import Store
from cli.annotate import routes_of


class Served:
    """What a browser needs to know of it: its address, and the links of its annotators."""

    def __init__(self, port: int, links: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.links = {name: f"{self.url}a/{link}" for name, link in links.items()}


@contextmanager
def serving(task: Task, names: Sequence[str] | None = None) -> Iterator[Served]:
    """Serve a task on a free port while the block runs."""
    store = Store(task.output_dir / "annotations.sqlite")
    application = make_application(
        task, store, routes_of(task.name), hosts=["127.0.0.1"], names=names
    )
    links = {annotator.name: annotator.link for annotator in store.annotators()}
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield Served(server.servers[0].sockets[0].getsockname()[1], links)
    server.should_exit = True
    thread.join()
