"""Finetuning from the page: what is refused, and that no path reaches outside of the runs."""

import pytest
from fastapi.testclient import TestClient

from annotator import finetuning, mask_routes
from annotator.application import make_application
from annotator.masks import MaskTask
from annotator.store import Store
from desra.detectors import ArtifactDetector


@pytest.fixture
def client(artifact_set):
    task = MaskTask(artifact_set, artifact_set / "o", ArtifactDetector(), order="name")
    routes = [mask_routes.routes, finetuning.routes]
    store = Store(artifact_set / "o/a.sqlite")
    with TestClient(make_application(task, store, routes, hosts=["testserver"])) as client:
        yield client


def test_nothing_labelled_is_nothing_to_train_on(client):
    answer = client.post("/api/finetune")
    assert answer.status_code == 422
    assert "nothing is labelled yet" in answer.json()["detail"]
    assert client.get("/api/finetune").json() == {"state": "idle"}


def test_only_files_of_runs_are_served(client, artifact_set):
    page = artifact_set / "o/finetuned/run/index.html"
    page.parent.mkdir(parents=True)
    page.write_text("the page")
    answer = client.get("/runs/run/index.html")
    assert answer.text == "the page"
    assert "'unsafe-inline'" in answer.headers["content-security-policy"]
    for path in ("../a.sqlite", "%2e%2e/a.sqlite", "run/../../a.sqlite", "run", "none.html"):
        assert client.get(f"/runs/{path}").status_code == 404, path


def test_a_run_of_before_is_still_linked_and_the_network_is_that_of_detect(artifact_set):
    runs = finetuning.Finetuning(artifact_set, artifact_set / "o", ["model=ldl"])
    assert runs.state() == {"state": "idle"}
    assert runs.overrides == ["model=ldl"]
    for name in ("1", "2"):
        (artifact_set / f"o/finetuned/{name}").mkdir(parents=True)
        (artifact_set / f"o/finetuned/{name}/index.html").write_text("the page")
    (artifact_set / "GAN.pth").write_bytes(b"")
    for name, text in {
        "config": "gan_weights: GAN.pth",
        "hydra": f"hydra: {{runtime: {{cwd: '{artifact_set}'}}}}",
    }.items():
        (artifact_set / ".hydra").mkdir(exist_ok=True)
        (artifact_set / f".hydra/{name}.yaml").write_text(text)
    runs = finetuning.Finetuning(artifact_set, artifact_set / "o", ["model=ldl"])
    assert runs.state() == {"state": "done", "line": "", "page": "runs/2/index.html"}
    assert runs.overrides == ["model=ldl", f"generator_weights={artifact_set}/GAN.pth"]
    given = finetuning.Finetuning(artifact_set, artifact_set / "o", ["generator_weights=a.pth"])
    assert given.overrides == ["generator_weights=a.pth"]
