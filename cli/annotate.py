"""The annotator's server: address, token, and one server a folder."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from desra.errors import InputError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from omegaconf import DictConfig

    from annotator.application import Task
    from annotator.store import Store

log = logging.getLogger(__name__)

_DATABASE = "annotations.sqlite"


def name_group() -> None:
    """Read ``task=NAME`` as the group ``annotation``; the group ``task`` is evaluate.py's."""
    sys.argv[1:] = [
        f"annotation@{argument}" if argument.startswith("task=") else argument
        for argument in sys.argv[1:]
    ]


def annotate(config: DictConfig) -> None:
    """Serve ``config.task`` until the process is interrupted.

    Raises:
        InputError: a folder that is missing or already served, or a port in use.
    """
    from filelock import FileLock, Timeout
    from hydra.utils import instantiate

    from annotator.store import Store

    task = instantiate(config.task)
    output_dir = Path(config.output_dir)
    lock = FileLock(output_dir / f"{_DATABASE}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(f"{output_dir}: already served by another process; use that one") from None
    with lock:
        _serve(task, Store(output_dir / _DATABASE), config)


def routes_of(name: str) -> list[Any]:
    from annotator import finetuning, ground_truth_routes, mask_routes, study_routes

    return {
        "masks": [mask_routes.routes, finetuning.routes],
        "ground_truth": [ground_truth_routes.routes],
        "study": [study_routes.routes],
    }[name]


def _serve(task: Task, store: Store, config: DictConfig) -> None:
    import uvicorn

    from annotator.access import is_local, new_token
    from annotator.application import make_application

    host, port = str(config.host), config.port
    if not isinstance(port, int) or not 0 <= port < 2**16:
        raise InputError(f"port={port}: give a number from 0 (any that is free) to 65535")
    token = None if is_local(host) else new_token()
    names = _names(config.annotators)
    with _bind(host, port) as listener:
        port = listener.getsockname()[1]
        own = _names_of(host, config.hosts or ())
        application: FastAPI = make_application(
            task, store, routes_of(task.name), hosts=own, token=token, names=names
        )
        shown = f"[{host}]" if ":" in host else host
        shown = own[0] if shown in ("0.0.0.0", "[::]") else shown
        address = f"http://{shown}:{port}"
        log.info("%s: %s", task.title, f"{address}/?token={token}" if token else f"{address}/")
        for annotator in store.annotators() if names else ():
            if annotator.name in (names or ()):
                log.info("  %s: %s/a/%s", annotator.name, address, annotator.link)
        log.info("Ctrl+C ends it; what the page calls saved is saved.")
        settings = uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=5)
        with suppress(KeyboardInterrupt):  # how people end it, once all requests are answered
            uvicorn.Server(settings).run(sockets=[listener])


def _names(given: Any) -> list[str] | None:
    """Names of the annotators: as given, or P01, P02, … where their number is."""
    if given is None:
        return None
    if isinstance(given, int):
        if given < 1:
            raise InputError(f"annotators={given}: give at least 1, names, or null for anybody")
        return [f"P{number:0{len(str(given))}d}" for number in range(1, given + 1)]
    return [str(name) for name in given]


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InputError(f"host={host} port={port}: {error.strerror}; give another") from error
    return listener


def _names_of(host: str, more: Sequence[str]) -> list[str]:
    """Names that requests may call this server by; the first is the one to tell people."""
    from annotator.access import is_local

    names = [str(name) for name in more]
    if is_local(host):
        return [*names, "127.0.0.1", "localhost", "::1", host]
    if host in ("0.0.0.0", "::"):
        name = socket.gethostname()
        return [*names, name, *_addresses(name), "127.0.0.1", "localhost"]
    return [*names, host]


def _addresses(name: str) -> list[str]:
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, None)})
    except OSError:
        return []
