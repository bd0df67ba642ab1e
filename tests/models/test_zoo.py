import hashlib
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from desra.errors import InputError
from models.generators import resolve_weights, zoo
from models.generators.zoo import ZOO, weights_folder

CONTENT = b"weights" * 1000


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DESRA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def server():
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()
        thread.join()


def serve(monkeypatch, address, **changes):
    entry = replace(ZOO["swinir-m-gan"], url=f"{address}/weights.pth", **changes)
    monkeypatch.setattr(zoo, "ZOO", {**ZOO, "swinir-m-gan": entry})
    return entry


def test_a_name_is_downloaded_once(server, cache, monkeypatch):
    address, asked = server
    entry = serve(monkeypatch, address, sha256=hashlib.sha256(CONTENT).hexdigest())
    for name in ("swinir-m-gan", "SwinIR_M_GAN", "swinir-m-gan"):
        path = resolve_weights(name)
        assert path == cache / entry.filename
        assert path.read_bytes() == CONTENT
    assert asked == ["/weights.pth"]


def test_other_bytes_than_the_release_has_are_refused(server, cache, monkeypatch):
    serve(monkeypatch, server[0])
    with pytest.raises(InputError, match="SHA-256"):
        resolve_weights("swinir-m-gan")
    assert not list(cache.glob("*.pth"))


def test_an_existing_file_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "swinir-m-gan").write_bytes(b"mine")
    assert resolve_weights("swinir-m-gan").read_bytes() == b"mine"
    assert resolve_weights(tmp_path / "swinir-m-gan") == tmp_path / "swinir-m-gan"


def test_weights_on_a_drive_say_where_and_where_to(cache):
    with pytest.raises(InputError) as error:
        resolve_weights("ldl")
    message = str(error.value)
    assert "https://drive.google.com/drive/folders/" in message
    assert str(cache / "net_g_RealESRGAN+LDL.pth") in message
    assert "\n" not in message


def test_weights_placed_by_hand_are_found(cache):
    cache.mkdir(parents=True)
    place = cache / ZOO["ldl"].filename
    place.write_bytes(CONTENT)
    assert resolve_weights("ldl") == place


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("swinir-gan", "did you mean swinir-m-gan, swinir-l-gan"),
        ("realesrgan_x4", "did you mean realesrgan-x4plus"),
        ("???", "known are realesrgan-x4plus, "),
    ],
)
def test_unknown_names_get_a_hint(name, hint):
    with pytest.raises(InputError) as error:
        resolve_weights(name)
    assert hint in str(error.value)
    assert name in str(error.value)


def test_entries_are_complete():
    for name, entry in ZOO.items():
        assert name == name.lower()
        assert (entry.url is None) != (entry.page is None)
        if entry.url:
            assert entry.url.endswith(f"/{entry.filename}")
            assert entry.url.startswith("https://github.com/")
        if entry.sha256:
            assert len(bytes.fromhex(entry.sha256)) == 32
    checksums = [entry.sha256 for entry in ZOO.values() if entry.sha256]
    assert len(set(checksums)) == len(checksums) == 15
    assert weights_folder().name == "weights"
