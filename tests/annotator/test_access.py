"""Who is let in, and what no request reaches."""

import pytest
from fastapi.testclient import TestClient

from annotator import mask_routes
from annotator.access import is_local, new_token
from annotator.application import make_application
from annotator.masks import MaskTask
from annotator.store import Store
from desra.detectors import ArtifactDetector


@pytest.fixture
def make(artifact_set):
    opened = []

    def start(**settings):
        task = MaskTask(artifact_set, artifact_set / "o", ArtifactDetector(), order="name")
        store = Store(artifact_set / "o/a.sqlite")
        application = make_application(
            task, store, [mask_routes.routes], hosts=["testserver"], **settings
        )
        client = TestClient(application, follow_redirects=False)
        client.__enter__()
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.__exit__(None, None, None)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "testserver@evil"])
def test_a_host_of_another_name_is_refused(make, host):
    assert make().get("/", headers={"host": host}).status_code == 421


def test_a_change_from_another_page_is_refused(make):
    client = make()
    answer = client.post(
        "/api/enter", json={"name": "a"}, headers={"origin": "http://evil.example"}
    )
    assert answer.status_code == 403
    own = client.post("/api/enter", json={"name": "a"}, headers={"origin": "http://testserver"})
    assert own.status_code == 200


def test_the_token_is_needed_and_leaves_the_address(make):
    token = new_token()
    client = make(token=token)
    for path in ("/", "/api/session", "/api/items", "/?token=wrong"):
        assert client.get(path).status_code == 403, path
    answer = client.get(f"/?token={token}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert client.get("/").status_code == 200
    assert client.get("/api/session").json()["manages"] is True


def test_a_link_lets_its_annotator_in_and_no_one_else(make):
    client = make(token=new_token(), names=["anna"])
    store = client.app.state.store
    (anna,) = store.annotators()
    assert client.get("/a/guessed").status_code == 404
    assert client.get("/").status_code == 403
    assert client.get(f"/a/{anna.link}").status_code == 303
    session = client.get("/api/session").json()
    assert (session["name"], session["open"], session["manages"]) == ("anna", False, False)
    assert client.post("/api/enter", json={"name": "ben"}).status_code == 403
    assert client.post("/api/next", json={}).json()["key"] == "one"


def test_without_a_name_nothing_is_shown(make):
    client = make()
    assert client.get("/api/items").status_code == 401
    assert client.post("/api/next", json={}).status_code == 401
    assert client.get("/api/items/1/gan_sr").status_code == 401


@pytest.mark.parametrize("name", ["", " ", "../x", "a/b", "a\\b", ".hidden", "x" * 61])
def test_names_that_are_no_folders(make, name):
    assert make().post("/api/enter", json={"name": name}).status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/items/1/..%2f..%2fetc%2fpasswd",
        "/api/items/1/../../../etc/passwd",
        "/api/items/1/gt_mask",
        "/api/items/99/gan_sr",
        "/api/items/-1/gan_sr",
        "/a/../../etc/passwd",
        "/page.js/../../pyproject.toml",
    ],
)
def test_no_path_reaches_outside(make, path):
    client = make()
    client.post("/api/enter", json={"name": "a"})
    answer = client.get(path)
    assert answer.status_code in (404, 405, 422)
    assert "root:" not in answer.text


def test_large_bodies_are_refused(make):
    client = make()
    body = {"name": "x" * 2**25}
    assert client.post("/api/enter", json=body).status_code == 413
    parts = (b"x" * 2**20 for _ in range(20))  # no length is said
    assert client.post("/api/enter", content=parts).status_code == 413


def test_pages_may_run_nothing_of_others(make):
    headers = make().get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)],
)
def test_local_hosts(host, local):
    assert is_local(host) is local


def test_a_full_disk_is_said_and_the_page_may_try_again(make):
    client = make()
    store = client.app.state.store
    store.row(f"PRAGMA max_page_count = {store.row('PRAGMA page_count')[0]}")
    answers = [client.post("/api/enter", json={"name": "a" * 50 + str(n)}) for n in range(99)]
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert refused.status_code == 507
    assert refused.json() == {"detail": "database or disk is full"}
    store.row("PRAGMA max_page_count = 1000000")
    assert client.post("/api/enter", json={"name": "a"}).status_code == 200
