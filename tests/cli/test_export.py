"""export.py as users run it, and an upload to a server that stands for Hugging Face."""

import base64
import json
import os
import re
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import onnxruntime
import pytest
import torch

import cli.run  # noqa: F401  its resolvers are in the config
from desra.errors import InputError
from desra.files import write_text
from desra.images import read_rgb, write_png
from desra.leftovers import temporary_name
from models.exporting.hub import push
from models.generators import SRVGGNetCompact, load_generator, write_generator
from tests.conftest import smooth_photo
from tests.models.networks import noise, randomise

ROOT = Path(__file__).parents[2]


@pytest.fixture
def weights(tmp_path):
    network = randomise(SRVGGNetCompact(2, features=8, depth=2))
    with torch.no_grad():
        network.body[-1].weight.mul_(0.1)
    write_generator(tmp_path / "tuned.pth", network)
    return tmp_path / "tuned.pth"


@pytest.fixture
def export(run_script):
    return partial(run_script, "export.py")


def test_several_formats_with_card_and_entry(export, weights, tmp_path):
    for number in range(2):
        write_png(tmp_path / f"photos/{number}.png", smooth_photo(number, 70, 80))
    out = tmp_path / "out"
    of_no_process = temporary_name(".onnx").replace(f"-{os.getpid()}-", "-99999999-")
    write_text(out / of_no_process, "of a run that was killed")
    done = export(
        *(f"weights={weights}", "format=[onnx,ncnn]", f"output_dir={out}"),
        *(f"lr_root={tmp_path / 'photos'}", "license=CC-BY-4.0", "author=Ada L", "tags=[photo]"),
        f"before={weights}",
    )
    assert done.returncode == 0, done.stderr
    assert not (out / of_no_process).exists()
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        *("tuned.onnx", "2x_tuned.param", "2x_tuned.bin", "model_card.md", "openmodeldb.json"),
        *("proof.json", "pictures", "export.log"),
    }
    session = onnxruntime.InferenceSession(out / "tuned.onnx")
    lr = noise(3, 21, 34)
    expected = load_generator(weights)(lr).detach()
    (output,) = session.run(None, {"input": lr.numpy()})
    torch.testing.assert_close(torch.from_numpy(output), expected, atol=1e-5, rtol=0)
    proof = json.loads((out / "proof.json").read_text())
    assert proof["onnx fp32"]["difference"] < 1e-4
    card = (out / "model_card.md").read_text()
    assert card.startswith('---\nlicense: "CC-BY-4.0"\n')
    assert "Ada L" in card
    digests = re.findall(r"`([0-9a-f]{64})`", card)
    assert len(set(digests)) == 3
    for picture in re.findall(r"\]\((pictures/.*?\.png)\)", card):
        height, width, _ = read_rgb(out / picture).shape
        assert width == 3 * 2 * 80 + 2 * 8  # LR, before, after, with gaps
        assert height == 2 * 70
    entry = json.loads((out / "openmodeldb.json").read_text())
    assert (entry["architecture"], entry["scale"], entry["author"]) == ("compact", 2, "ada-l")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry["date"])
    (resource,) = entry["resources"]
    assert resource["sha256"] in digests
    assert resource["size"] == (out / "tuned.onnx").stat().st_size


def test_what_is_refused_is_not_left_there(export, weights, tmp_path):
    out = tmp_path / "out"
    done = export(f"weights={weights}", "format=onnx", f"output_dir={out}", "tolerance=0")
    assert done.returncode == 1
    assert "tuned as onnx in fp32: refused: differs by" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in out.rglob("*") if path.suffix in (".onnx", ".md")]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("format=tflite", "format=tflite: give one of onnx, ncnn"),
        ("precision=int8", "precision=int8: give one of fp32, fp16"),
        ("name=a/b", "is a file's name"),
        ("weights=nowhere.pth", "no such file"),
        ("push_to_hub=name", "give OWNER/NAME"),
        ("lr_root=nowhere", "nowhere"),
    ],
)
def test_wrong_use_is_a_line(weights, tmp_path, setting, message):
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    given = [f"weights={weights}", f"output_dir={tmp_path}", f"task.output_dir={tmp_path}", setting]
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = compose("export", given)
    with pytest.raises(Exception, match=re.escape(message)) as caught:
        instantiate(config.task)
    causes = [caught.value, caught.value.__cause__]
    assert any(isinstance(error, InputError) for error in causes)


class Hub(BaseHTTPRequestHandler):
    """What of Hugging Face's interface an upload of small files needs."""

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers.get("Authorization"), body))
        if self.headers.get("Authorization") != "Bearer hf_secret":
            return self.answer(401, {"error": "Invalid credentials"})
        if self.path == "/api/repos/create":
            return self.answer(200, {"url": f"{self.server.address}/ada/model"})
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if self.path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            mode = {"uploadMode": "regular", "shouldIgnore": False}
            return self.answer(200, {"files": [{"path": f["path"], **mode} for f in files]})
        if self.path.split("?")[0].endswith("/commit/main"):
            address = f"{self.server.address}/ada/model/commit/1"
            return self.answer(200, {"commitUrl": address, "commitOid": "1"})
        return self.answer(404, {"error": self.path})

    def do_GET(self):
        self.answer(404, {"error": self.path})

    def answer(self, code, content):
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.requests, server.address = [], f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", server.address, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield server
    server.shutdown()
    server.server_close()


def test_an_upload(hub, tmp_path):
    (tmp_path / "pictures").mkdir()
    contents = {"model_card.md": b"card", "tuned.onnx": b"\x08\x01" * 9, "pictures/1.png": b"p"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    files = [tmp_path / name for name in contents]
    assert push("ada/model", tmp_path, files, private=True) == f"{hub.address}/ada/model/commit/1"
    created = json.loads(next(body for path, _, body in hub.requests if path.endswith("create")))
    assert created["name"] == "model"
    assert created.get("private") is True or created.get("visibility") == "private"
    body = next(body for path, _, body in hub.requests if "/commit/" in path)
    operations = [json.loads(line) for line in body.splitlines()]
    uploaded = {
        item["value"]["path"]: base64.b64decode(item["value"]["content"])
        for item in operations
        if item["key"] == "file"
    }
    contents["README.md"] = contents.pop("model_card.md")
    assert uploaded == contents


def test_an_upload_that_is_not_allowed(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    (tmp_path / "a.onnx").write_bytes(b"a")
    with pytest.raises(InputError, match=r"push_to_hub=ada/model: .*the files are in"):
        push("ada/model", tmp_path, [tmp_path / "a.onnx"], private=False)
