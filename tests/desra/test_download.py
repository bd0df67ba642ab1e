"""Downloads from a real HTTP server on the loopback interface that fails as servers do."""

from __future__ import annotations

import hashlib
import io
import re
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from desra import download
from desra.download import cache_dir, fetch
from desra.errors import InputError

CONTENT = np.random.default_rng(0).bytes(1_000_003)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = np.random.default_rng(1).bytes(900_001)


class Server:
    """Serves ``content`` at every address.

    Attributes:
        content: the bytes.
        etag: the ETag header, or None.
        ranges: whether ``Range`` is understood.
        heeds_if_range: whether ``If-Range`` is understood.
        cuts: after how many bytes to drop the connection, for the next requests in turn.
        stall: what to wait for before dropping it.
        statuses: HTTP errors for the next requests in turn.
        location: answer with a redirect to there.
        requests: the headers of the requests so far.
    """

    def __init__(self) -> None:
        self.content = CONTENT
        self.etag: str | None = '"first"'
        self.ranges = self.heeds_if_range = True
        self.cuts: list[int] = []
        self.stall: threading.Event | None = None
        self.statuses: list[int] = []
        self.location: str | None = None
        self.requests: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(dict(self.headers))
                server.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/weights.pth"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        if self.location:
            to.send_response(302)
            to.send_header("Location", self.location)
            to.end_headers()
            return
        if self.statuses:
            to.send_error(self.statuses.pop(0))
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", to.headers.get("Range", ""))
        start = int(wanted[1]) if wanted and self.ranges else 0
        if self.heeds_if_range and to.headers.get("If-Range", self.etag) != self.etag:
            start = 0
        if start and start >= len(self.content):
            to.send_response(416)
            to.send_header("Content-Range", f"bytes */{len(self.content)}")
            to.end_headers()
            return
        to.send_response(206 if start else 200)
        to.send_header("Content-Length", str(len(self.content) - start))
        if start:
            end = len(self.content)
            to.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        if self.etag:
            to.send_header("ETag", self.etag)
        to.end_headers()
        body = self.content[start:]
        to.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)
        if self.stall:
            self.stall.wait()

    @property
    def starts(self) -> list[str | None]:
        """The ``Range`` headers of the requests so far."""
        return [headers.get("Range") for headers in self.requests]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "weights.pth"


def leftovers(path: Path) -> set[str]:
    """Visible files beside ``path``."""
    return {file.name for file in path.parent.iterdir() if not file.name.startswith(".")}


def interrupt(server: Server, path: Path, after: int, **kwargs) -> None:
    """A download that ended for good after ``after`` bytes, as when its process is killed."""
    server.cuts = [after] + [0] * 10
    with pytest.raises(InputError, match="times in a row"):
        fetch(server.url, path, backoff=0, **kwargs)
    assert path.with_name("weights.pth.part").stat().st_size == after
    server.cuts = []
    server.requests.clear()


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8].upper()], ids=["whole", "prefix"])
def test_downloads_once_and_checks(server, path, sha256):
    assert fetch(server.url, path, sha256=sha256) == path
    assert path.read_bytes() == CONTENT
    assert leftovers(path) == {"weights.pth"}
    fetch(server.url, path, sha256=sha256)
    assert len(server.requests) == 1


def test_broken_connections_are_taken_up_where_they_broke(server, path):
    server.cuts = [400_000, 300_000]
    fetch(server.url, path, sha256=SHA256, backoff=0)
    assert path.read_bytes() == CONTENT
    assert server.starts == [None, "bytes=400000-", "bytes=700000-"]
    assert [headers.get("If-Range") for headers in server.requests] == [None, '"first"', '"first"']


@pytest.mark.parametrize("sha256", [SHA256, None], ids=["checksum", "no checksum"])
def test_a_later_call_resumes(server, path, sha256):
    interrupt(server, path, 250_000, sha256=sha256)
    fetch(server.url, path, sha256=sha256)
    assert path.read_bytes() == CONTENT
    assert server.starts == ["bytes=250000-"]


def test_a_part_that_only_lacks_its_renaming(server, path):
    interrupt(server, path, 250_000, sha256=SHA256)
    path.with_name("weights.pth.part").write_bytes(CONTENT)
    fetch(server.url, path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.starts == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_changed_file_is_not_glued_to_the_part(server, path, heeds_if_range):
    interrupt(server, path, 250_000)
    server.content, server.etag, server.heeds_if_range = OTHER, '"second"', heeds_if_range
    fetch(server.url, path, backoff=0)
    assert path.read_bytes() == OTHER


def test_a_changed_shorter_file(server, path):
    interrupt(server, path, 950_000)
    server.content, server.heeds_if_range = OTHER, False
    fetch(server.url, path, backoff=0)
    assert path.read_bytes() == OTHER
    assert server.starts == ["bytes=950000-", None]


def test_a_part_of_another_file_without_validators_is_found_by_the_checksum(server, path):
    server.content, server.etag = OTHER, None
    interrupt(server, path, 250_000, sha256=SHA256)
    server.content = CONTENT
    fetch(server.url, path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.starts == ["bytes=250000-", None]


def test_without_validator_and_checksum_nothing_is_joined(server, path):
    server.etag = None
    interrupt(server, path, 250_000)
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert server.starts == [None]


def test_a_part_of_another_address_is_not_used(server, path):
    interrupt(server, path, 250_000, sha256=SHA256)
    fetch(f"{server.url}?v=2", path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.starts == [None]


def test_server_without_ranges(server, path):
    server.ranges = False
    server.cuts = [400_000]
    fetch(server.url, path, sha256=SHA256, backoff=0)
    assert path.read_bytes() == CONTENT
    assert server.starts == [None, "bytes=400000-"]


def test_wrong_checksum_leaves_nothing_and_names_both(server, path):
    expected = "0" * 8
    with pytest.raises(InputError, match=f"{SHA256}.*{expected}.*{path}"):
        fetch(server.url, path, sha256=expected)
    assert leftovers(path) == set()


def test_passing_errors_are_tried_again(server, path):
    server.statuses = [503, 429]
    fetch(server.url, path, sha256=SHA256, backoff=0)
    assert path.read_bytes() == CONTENT


def test_attempts_are_bounded(server, path):
    server.statuses = [503] * 100
    with pytest.raises(InputError, match=r"HTTP 503 .*5 times in a row"):
        fetch(server.url, path, sha256=SHA256, backoff=0)
    assert len(server.requests) == 5


def test_missing_file_says_so_at_once(server, path):
    server.statuses = [404]
    with pytest.raises(InputError, match=f"HTTP 404 .*put it at {path}"):
        fetch(server.url, path)
    assert len(server.requests) == 1


def test_no_connection_says_so_at_once_and_where_to_put_the_file(path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/weights.pth"
        with pytest.raises(InputError, match=f"refused.*put it at {path}"):
            fetch(url, path, backoff=1000)


def test_unknown_host_reads_as_no_network(path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(InputError, match="no network, or no such host"):
        fetch("http://weights.invalid/weights.pth", path, backoff=1000)


def test_silent_server(path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/weights.pth"
        with pytest.raises(InputError, match="no answer in time"):
            fetch(url, path, timeout=0.1)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/x", "weights.pth"])
def test_only_http(url, path):
    with pytest.raises(InputError, match="not an http or https address"):
        fetch(url, path)
    assert not path.parent.exists()


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_redirects_lead_only_to_http(server, path, location):
    server.location = location
    with pytest.raises(InputError, match="cannot be downloaded"):
        fetch(server.url, path)
    assert not path.exists()


def test_redirects_are_followed_with_the_range(server, path):
    interrupt(server, path, 250_000, sha256=SHA256)
    entrance = Server()
    entrance.location = server.url
    note = path.with_name("weights.pth.part.json")
    note.write_text(note.read_text().replace(server.url, entrance.url))
    fetch(entrance.url, path, sha256=SHA256)
    entrance.http.shutdown()
    entrance.http.server_close()
    assert path.read_bytes() == CONTENT
    assert server.starts == ["bytes=250000-"]


def test_https_is_never_left():
    request = download.Request("https://host/weights.pth")
    with pytest.raises(download.URLError, match="redirects from https"):
        download._HTTPRedirects().redirect_request(
            request, io.BytesIO(), 302, "Found", request.headers, "http://host/weights.pth"
        )


def test_file_placed_by_hand_is_used_and_checked(server, path):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert fetch(server.url, path, sha256=SHA256[:8]) == path
    path.write_bytes(OTHER)
    with pytest.raises(InputError, match=f"{SHA256[:8]} is expected; delete it"):
        fetch(server.url, path, sha256=SHA256[:8])
    assert path.read_bytes() == OTHER  # not ours to delete
    assert not server.requests


def test_unknown_checksum_is_kept_and_holds(server, path):
    fetch(server.url, path)
    note = path.with_name("weights.pth.sha256")
    assert note.read_text() == f"{SHA256}  weights.pth\n"
    fetch(server.url, path)
    path.write_bytes(OTHER)
    with pytest.raises(InputError, match=r"delete it and weights\.pth\.sha256"):
        fetch(server.url, path)
    note.write_text("")
    with pytest.raises(InputError, match="empty note"):
        fetch(server.url, path)


def test_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="DESRA_CACHE"):
        fetch(server.url, tmp_path / "file" / "weights.pth")


def fetch_elsewhere(server: Server, path: Path) -> subprocess.Popen:
    program = (
        "import sys; from desra.download import fetch; fetch(*sys.argv[1:3], sha256=sys.argv[3])"
    )
    command = [sys.executable, "-c", program, server.url, str(path), SHA256]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2])


def test_two_processes_download_once(server, path):
    processes = [fetch_elsewhere(server, path) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_killed_process(server, path):
    server.cuts, server.stall = [300_000], threading.Event()
    process = fetch_elsewhere(server, path)
    part = path.with_name("weights.pth.part")
    while not part.exists() or part.stat().st_size < 200_000:
        time.sleep(0.01)
    process.kill()
    process.wait()
    server.stall.set()
    assert not path.exists()
    fetch(server.url, path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert int(server.starts[1].removeprefix("bytes=").rstrip("-")) >= 200_000


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("terminal", "enabled"), [(True, True), (True, False), (False, True)])
def test_progress_only_on_a_terminal(server, path, monkeypatch, terminal, enabled):
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(download.time, "monotonic", iter(range(0, 10**6, 2)).__next__)
    fetch(server.url, path, sha256=SHA256, progress=enabled)
    assert ("weights.pth" in stream.getvalue()) == (terminal and enabled)


def test_short_downloads_show_nothing(server, path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    monkeypatch.setattr(download.time, "monotonic", lambda: 0.0)
    fetch(server.url, path, sha256=SHA256)
    assert stream.getvalue() == ""


def test_checksum_must_be_hexadecimal(path):
    with pytest.raises(ValueError, match="hexadecimal"):
        fetch("http://host/x", path, sha256="940a6bd")


def test_cache_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DESRA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_dir() == tmp_path / ".cache" / "desra"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "desra"
    monkeypatch.setenv("DESRA_CACHE", "~/weights")
    assert cache_dir() == tmp_path / "weights"
