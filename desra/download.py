"""Downloads: resumed where they broke off, checked, and whole or not at all at their final path."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from filelock import FileLock

from desra.errors import InputError
from desra.files import write_text

logger = logging.getLogger(__name__)

_ATTEMPTS = 5  # in a row without a byte of progress
_BLOCK = 1 << 18
_PASSING_ERRORS = frozenset({408, 429, 500, 502, 503, 504})
_RANGE_NOT_SATISFIABLE = 416
_PARTIAL_CONTENT = 206

OnBytes = Callable[[int, int | None], None]


def cache_dir() -> Path:
    """Folder for downloaded weights: ``$DESRA_CACHE``, else ``desra`` in ``$XDG_CACHE_HOME``, else
    ``~/.cache/desra``. It is made when something is downloaded."""
    if folder := os.environ.get("DESRA_CACHE"):
        return Path(folder).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "desra"


def fetch(
    url: str,
    path: str | Path,
    *,
    sha256: str | None = None,
    progress: bool = True,
    timeout: float = 20.0,
    backoff: float = 1.0,
) -> Path:
    """Have the right file at ``path``, downloading it if it is not there.

    Bytes are collected in ``<path>.part`` and go on there after a break, in this call or a later
    one, as long as the server still has the same file. Of several processes that want one file, one
    downloads and the others wait for it. A file placed at ``path`` by hand is used.

    Args:
        url: an ``http`` or ``https`` address; proxies are taken from the environment.
        path: the final path; folders are made as needed.
        sha256: the SHA-256 of the file, or the first 8 or more of its hexadecimal digits. Without
            it, the checksum at first sight is kept in ``<path>.sha256`` and holds from then on.
        progress: show a progress bar on stderr where that is a terminal.
        timeout: seconds to wait for a connection or for the next bytes.
        backoff: seconds before the first new attempt after a broken connection; doubled each time.

    Returns:
        ``path``, expanded.

    Raises:
        InputError: no network and no file, an address that does not answer with a file, a wrong
            checksum, or a folder that cannot be written.
    """
    path = Path(path).expanduser()
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"{url}: not an http or https address; for a local file give its path")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{8,64}", sha256):
        raise ValueError(f"{sha256!r} is not 8 to 64 hexadecimal digits of a SHA-256")
    if path.is_file():
        return _verified(path, sha256)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.is_file():
                with _progress_bar(path.name, progress) as show:
                    _fetch_locked(url, path, sha256, timeout, backoff, show)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); free the space, or set "
            "DESRA_CACHE to a folder that can be written"
        ) from error
    return _verified(path, sha256) if sha256 is None else path


def _fetch_locked(
    url: str, path: Path, sha256: str | None, timeout: float, backoff: float, show: OnBytes
) -> None:
    download = _Download(url, path, timeout, trusted=sha256 is not None)
    resumed = download.offset > 0
    download.run(backoff, show)
    if not _matches(download.digest, sha256) and resumed:
        # The part may have come from an earlier file under the same address.
        download.restart()
        download.run(backoff, show)
    if not _matches(download.digest, sha256):
        digest = download.digest
        download.discard()
        raise InputError(
            f"{url}: the downloaded file has SHA-256 {digest} where {sha256} is expected, and was "
            f"removed; try again, or put the right file at {path}"
        )
    os.replace(download.part, path)
    download.discard()


class _Broken(Exception):
    """A connection that failed in a way that may pass."""


class _Download:
    """The bytes of one file so far, on disk and in a running SHA-256.

    Args:
        url: where from.
        path: the final path; the bytes go to ``<path>.part`` and what they are a part of is noted
            in ``<path>.part.json``.
        timeout: seconds a connection may stay silent.
        trusted: a checksum will be compared at the end, so that bytes may be joined without a
            validator (ETag or Last-Modified) that proves them to be of one file.
    """

    def __init__(self, url: str, path: Path, timeout: float, trusted: bool) -> None:
        self.url, self.path, self.timeout, self.trusted = url, path, timeout, trusted
        self.part = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")
        self._hasher = hashlib.sha256()
        self._validator: str | None = None
        self._answered = False
        self.offset = 0
        self._recover()

    @property
    def digest(self) -> str:
        return self._hasher.hexdigest()

    def _recover(self) -> None:
        """Take up the part that an earlier process left, if it is of this address."""
        try:
            note = json.loads(self._note.read_bytes())
            if note["url"] != self.url or not (note["validator"] or self.trusted):
                return
            with open(self.part, "rb") as file:
                self._hasher = hashlib.file_digest(file, "sha256")
                self.offset = file.tell()
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return
        self._validator = note["validator"]

    def restart(self) -> None:
        """Begin again at the first byte."""
        self._hasher, self._validator, self.offset = hashlib.sha256(), None, 0

    def discard(self) -> None:
        """Remove the part and its note."""
        self.part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def run(self, backoff: float, show: OnBytes) -> None:
        """Bring all bytes, over as many connections as it takes.

        Raises:
            InputError: the file cannot be had.
            OSError: the part cannot be written.
        """
        failures, furthest = 0, self.offset
        while True:
            try:
                self._attempt(show)
                return
            except _Broken as error:
                failures = 1 if self.offset > furthest else failures + 1
                furthest = max(furthest, self.offset)
                if failures == _ATTEMPTS:
                    raise self._unreachable(f"{error}, {failures} times in a row") from error
                logger.info("%s: %s; trying again", self.url, error)
                time.sleep(backoff * 2 ** (failures - 1))

    def _attempt(self, show: OnBytes) -> None:
        """One request for what is missing."""
        try:
            response = self._open()
        except HTTPError as error:
            with closing(error):  # its own context manager fails after a refused redirect
                if error.code == _RANGE_NOT_SATISFIABLE and self.offset:
                    if error.headers.get("Content-Range", "").strip() == f"bytes */{self.offset}":
                        return  # nothing was missing but the renaming
                    self.restart()
                    raise _Broken("the server has another file than before") from error
                if error.code in _PASSING_ERRORS:
                    raise _Broken(f"HTTP {error.code} {error.reason}") from error
                raise self._unreachable(f"HTTP {error.code} {error.reason}") from error
        with response:
            if not self._answered:  # what cannot be had at all is told by the error alone
                logger.info("downloading %s to %s", self.url, self.path)
            self._answered = True
            total = self._begin(response)
            with open(self.part, "r+b" if self.offset else "wb") as file:
                file.seek(self.offset)
                file.truncate()
                for block in self._blocks(response):
                    file.write(block)
                    self._hasher.update(block)
                    self.offset += len(block)
                    show(self.offset, total)
        if total is not None and self.offset != total:
            raise _Broken(f"the connection ended after {self.offset} of {total} bytes")

    def _open(self) -> HTTPResponse:
        # Identity: a compressed answer would be other bytes than the file's.
        headers = {"User-Agent": "desra", "Accept-Encoding": "identity"}
        if self.offset:
            headers["Range"] = f"bytes={self.offset}-"
            if self._validator:
                headers["If-Range"] = self._validator
        try:
            return _opener().open(Request(self.url, headers=headers), timeout=self.timeout)
        except HTTPError:
            raise
        except (OSError, HTTPException, ValueError) as error:
            if self._answered:
                raise _Broken(_reason(error)) from error
            # Without a first answer this is most often a machine without network: say so at once.
            raise self._unreachable(_reason(error)) from error

    def _begin(self, response: HTTPResponse) -> int | None:
        """Settle where the answer's bytes belong; returns the size of the whole file if known."""
        validator = _validator(response.headers)
        if self.offset and response.status == _PARTIAL_CONTENT:
            start, total = _content_range(response.headers)
            if start == self.offset and validator == self._validator:
                return total
            self.restart()
            raise _Broken("the server has another file than before")
        self.restart()
        self._validator = validator
        write_text(self._note, json.dumps({"url": self.url, "validator": validator}))
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else None

    def _blocks(self, response: HTTPResponse) -> Iterator[bytes]:
        while True:
            try:
                block = response.read1(_BLOCK)
            except (OSError, HTTPException) as error:
                raise _Broken(_reason(error)) from error
            if not block:
                return
            yield block

    def _unreachable(self, reason: str) -> InputError:
        return InputError(
            f"{self.path.name} cannot be downloaded from {self.url} ({reason}); download it where "
            f"that works and put it at {self.path}"
        )


class _HTTPRedirects(HTTPRedirectHandler):
    """Follows redirects, but never from https to an address that anyone on the way can change."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise URLError(f"it redirects from https to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> OpenerDirector:
    """An opener of http and https alone; urllib's own would follow to ftp and read files, too."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        _HTTPRedirects(),
    ):
        opener.add_handler(handler)
    return opener


def _validator(headers: HTTPMessage) -> str | None:
    """What ``If-Range`` may hold: a strong ETag, or else the date of the last change (RFC 9110)."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")


def _content_range(headers: HTTPMessage) -> tuple[int | None, int | None]:
    """First byte and size of the whole file, from ``Content-Range: bytes 5-9/10``."""
    found = re.match(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if found is None:
        return None, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, socket.gaierror):
        return "no network, or no such host"
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    return str(cause) or type(cause).__name__


def _matches(digest: str, expected: str | None) -> bool:
    return expected is None or digest.startswith(expected.lower())


def _verified(path: Path, sha256: str | None) -> Path:
    """``path``, if its bytes have the checksum given, or the one noted at first sight.

    Raises:
        InputError: they have another one.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    note = path.with_name(f"{path.name}.sha256")
    noted = None
    if sha256 is None and note.is_file():
        noted = note.read_text(errors="replace").split(maxsplit=1)[:1]
        sha256 = noted[0] if noted else "an empty note"
    if not _matches(digest, sha256):
        also = f" and {note.name}" if noted is not None else ""
        raise InputError(
            f"{path}: SHA-256 is {digest} where {sha256} is expected; delete it{also} to have it "
            "downloaded again, or put the right file there"
        )
    if sha256 is None:
        _note_checksum(note, digest, path.name)
    return path


def _note_checksum(note: Path, digest: str, name: str) -> None:
    try:
        write_text(note, f"{digest}  {name}\n")  # as sha256sum writes and checks it
    except OSError as error:
        logger.warning("%s: cannot keep the checksum (%s)", note, error.strerror or error)
    else:
        logger.info("%s: SHA-256 %s, kept in %s", name, digest, note)


@contextmanager
def _progress_bar(name: str, enabled: bool) -> Iterator[OnBytes]:
    """A bar on stderr, on a terminal only, for downloads that take more than a second."""
    if not (enabled and sys.stderr.isatty()):
        yield lambda done, total: None
        return
    from rich import progress  # here, since most runs download nothing
    from rich.console import Console

    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(name, total=None)
    began = time.monotonic()

    def show(done: int, total: int | None) -> None:
        bar.update(task, completed=done, total=total)
        if time.monotonic() - began > 1:
            bar.start()  # does nothing when started already

    try:
        yield show
    finally:
        bar.stop()
