"""Downloads from a real HTTP server on the loopback interface that fails as servers do."""

from __future__ import annotations

import hashlib
import io
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from desra.download import cache_dir, fetch
from desra.errors import InputError

CONTENT = np.random.default_rng(0).bytes(1_000_003)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves `CONTENT` at every address.

    Attributes:
        cut: after how many bytes to drop the connection.
        stall: what to wait for before dropping it.
        status: an HTTP error to answer with.
        location: answer with a redirect to there.
        requests: number of requests so far.
    """

    def __init__(self) -> None:
        self.cut: int | None = None
        self.stall: threading.Event | None = None
        self.status: int | None = None
        self.location: str | None = None
        self.requests = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                server.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/weights.pth"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        if self.status:
            to.send_error(self.status)
            return
        to.send_response(302 if self.location else 200)
        to.send_header("Content-Length", str(0 if self.location else len(CONTENT)))
        if self.location:
            to.send_header("Location", self.location)
        to.end_headers()
        if not self.location:
            to.wfile.write(CONTENT[: self.cut])
        if self.stall:
            self.stall.wait()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    yield server
    server.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "weights.pth"


def leftovers(path: Path) -> set[str]:
    """Visible files beside ``path``."""
    return {file.name for file in path.parent.iterdir() if not file.name.startswith(".")}


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8].upper()], ids=["whole", "prefix"])
def test_downloads_once_and_checks(server, path, sha256):
    assert fetch(server.url, path, sha256=sha256) == path
    assert path.read_bytes() == CONTENT
    assert leftovers(path) == {"weights.pth"}
    fetch(server.url, path, sha256=sha256)
    assert server.requests == 1


def test_a_connection_that_breaks_off_leaves_nothing(server, path):
    server.cut = 400_000
    with pytest.raises(InputError, match=f"broke off.*put it at {path}"):
        fetch(server.url, path)
    assert leftovers(path) == set()


def test_wrong_checksum_leaves_nothing_and_names_both(server, path):
    expected = "0" * 8
    with pytest.raises(InputError, match=f"{SHA256}, not {expected}.*{path}"):
        fetch(server.url, path, sha256=expected)
    assert leftovers(path) == set()


def test_errors_of_the_server_are_named(server, path):
    server.status = 404
    with pytest.raises(InputError, match=f"HTTP 404 Not Found.*put it at {path}"):
        fetch(server.url, path)
    assert leftovers(path) == set()


def test_no_connection_says_so_and_where_to_put_the_file(path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/weights.pth"
        with pytest.raises(InputError, match=rf"\(connection refused\).*put it at {path}"):
            fetch(url, path)


def test_unknown_host_reads_as_no_network(path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(InputError, match="no network, or no such host"):
        fetch("http://weights.invalid/weights.pth", path)


def test_proxy_that_is_not_there(path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(InputError, match=r"\(the proxy of the environment"):
        fetch("http://weights.invalid/weights.pth", path)


def test_silent_server(path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/weights.pth"
        with pytest.raises(InputError, match="no answer in time"):
            fetch(url, path, timeout=0.1)


def test_a_server_that_falls_silent_on_the_way(server, path):
    server.cut, server.stall = 400_000, threading.Event()
    with pytest.raises(InputError, match="no answer in time"):
        fetch(server.url, path, timeout=0.2)
    server.stall.set()
    assert leftovers(path) == set()


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


def test_redirects_are_followed(server, path):
    entrance = Server()
    entrance.location = server.url
    fetch(entrance.url, path, sha256=SHA256)
    entrance.close()
    assert path.read_bytes() == CONTENT


def test_file_placed_by_hand_is_used_and_checked(server, path):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert fetch(server.url, path, sha256=SHA256[:8]) == path
    path.write_bytes(b"other")
    with pytest.raises(InputError, match=f"not {SHA256[:8]}; delete it"):
        fetch(server.url, path, sha256=SHA256[:8])
    assert path.read_bytes() == b"other"  # not ours to delete
    assert not server.requests


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
    assert server.requests == 1


def test_killed_process(server, path):
    server.cut, server.stall = 300_000, threading.Event()
    process = fetch_elsewhere(server, path)
    part = path.with_name("weights.pth.part")
    while not part.exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    server.stall.set()
    server.cut = None
    assert not path.exists()
    fetch(server.url, path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert leftovers(path) == {"weights.pth"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("terminal", "enabled"), [(True, True), (True, False), (False, True)])
def test_progress_only_on_a_terminal(server, path, monkeypatch, terminal, enabled):
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    fetch(server.url, path, sha256=SHA256, progress=enabled)
    assert ("1.00M/1.00M" in stream.getvalue()) == (terminal and enabled)


def test_checksum_must_be_hexadecimal(path):
    with pytest.raises(ValueError, match="hexadecimal"):
        fetch("http://host/x", path, sha256="940a6bd")


def test_cache_dir(monkeypatch, tmp_path):
    monkeypatch.delenv("DESRA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "desra"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DESRA_CACHE", "~/weights")
    assert cache_dir() == tmp_path / "weights"
