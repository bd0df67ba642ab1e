"""Ground truths: HGGT's files, orders that differ, repeats that are hidden."""

import json

import numpy as np
import pytest
from fastapi.testclient import TestClient

from annotator import ground_truth_routes
from annotator.application import make_application
from annotator.ground_truth import GroundTruthTask
from annotator.store import Store
from desra.errors import InputError
from desra.hggt_labels import read_labels
from desra.images import write_png
from tests.conftest import smooth_photo

VERSIONS = ("01", "02", "03", "04")


@pytest.fixture
def sets(tmp_path):
    for index in range(6):
        for folder in ("original", *VERSIONS):
            seed = 10 * index + ("original", *VERSIONS).index(folder)
            write_png(tmp_path / "sets" / folder / f"s{index}.png", smooth_photo(seed, 40, 48))
    return tmp_path / "sets"


@pytest.fixture
def serve(sets):
    opened = []

    def start(**settings):
        task = GroundTruthTask(sets, sets / "annotations", **settings)
        store = Store(task.output_dir / "a.sqlite")
        application = make_application(
            task, store, [ground_truth_routes.routes], hosts=["testserver"]
        )
        client = TestClient(application)
        client.__enter__()
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.__exit__(None, None, None)


class Page:
    def __init__(self, app, name):
        self.client = TestClient(app)
        self.client.post("/api/enter", json={"name": name})

    def next(self):
        return self.client.post("/api/next", json={}).json()

    def post(self, item, what, **body):
        item["version"] += 1
        path = f"/api/sets/{item['id']}/{item['repeat']}/{what}"
        step = {"version": item["version"], "token": str(item["version"])}
        return self.client.post(path, json={**step, **body})

    def label(self, item, place, label):
        return self.post(item, "label", view=item["view"], place=place, label=label)

    def shown(self, item, sets):
        """Which version is at which place, by its bytes."""
        found = []
        for layer in item["layers"]:
            data = self.client.get(f"/api/{layer['url']}").content
            names = ("original", *VERSIONS)
            paths = {name: sets / name / f"{item['key']}.png" for name in names}
            found.append(next(name for name in names if paths[name].read_bytes() == data))
        return found

    def do(self, item, sets, labels):
        for place, name in enumerate(self.shown(item, sets)[1:], 1):
            self.label(item, place, labels[name])
        return self.post(item, "end/done")


LABELS = dict(zip(VERSIONS, ("Positive", "Similar", "Negative", "Positive"), strict=True))


def test_labels_belong_to_the_versions_that_were_shown(serve, sets):
    page = Page(serve(copies=1).app, "anna")
    orders = set()
    while (item := page.next()) is not None:
        if item["repeat"]:
            break
        order = page.shown(item, sets)
        assert order[0] == "original"
        orders.add(tuple(order))
        assert page.do(item, sets, LABELS).status_code == 200
        record = json.loads((sets / f"labels/anna/{item['key']}.json").read_text())
        assert record["Shown"] == order[1:]
        assert record["Picture_1"]["File"] == "original"
    assert len(orders) > 1
    folder = read_labels(sets / "labels")
    assert folder.problems == []
    assert {key: dict(by["anna"].labels) for key, by in folder.taggings.items()} == {
        f"s{index}": LABELS for index in range(6)
    }


def test_the_order_is_new_at_each_view_and_no_name_is_told(serve, sets):
    page = Page(serve().app, "anna")
    item = page.next()
    views = [page.client.post(f"/api/sets/{item['id']}/0/open", json={}).json() for _ in range(12)]
    assert len({tuple(page.shown(view, sets)) for view in views}) > 1
    assert all(version not in json.dumps(item["layers"]).split('"') for version in VERSIONS)
    page.label(item, 2, "Negative")  # as it was shown at first
    version = page.shown(item, sets)[2]
    assert read_labels(sets / "labels").taggings["s0"]["anna"].labels[version] == "Negative"


def test_undo_redo_and_an_early_end(serve, sets):
    page = Page(serve().app, "anna")
    item = page.next()
    version = page.shown(item, sets)[1]
    page.label(item, 1, "Negative")
    page.label(item, 1, "Positive")
    page.post(item, "undo")
    path = sets / "labels/anna/s0.json"
    labels = lambda: read_labels(sets / "labels").taggings["s0"]["anna"].labels  # noqa: E731
    assert labels()[version] == "Negative"
    page.post(item, "redo")
    assert labels()[version] == "Positive"
    early = page.post(item, "end/done")
    assert early.status_code == 422
    assert "not all versions" in early.json()["detail"]
    assert path.is_file()


def test_three_label_each_set(serve, sets):
    app = serve(copies=3).app
    pages = [Page(app, name) for name in "ABCD"]
    given = [page.next()["key"] for page in pages]
    assert given == ["s0", "s0", "s0", "s1"]


def test_repeats_are_shown_later_and_held_against_oneself(serve, sets):
    client = serve(copies=1, repeats=0.3, repeat_after=2)
    page = Page(client.app, "anna")
    seen = []
    while (item := page.next()) is not None:
        seen.append((item["key"], item["repeat"]))
        labels = dict(LABELS)
        if item["repeat"]:
            labels["02"] = "Negative"
        page.do(item, sets, labels)
    repeated = [key for key, repeat in seen if repeat]
    assert len(repeated) == 1
    first = seen.index((repeated[0], 0))
    assert seen.index((repeated[0], 1)) - first > 2
    assert sorted(key for key, repeat in seen if not repeat) == [f"s{n}" for n in range(6)]
    # What was said first stays, and is what counts.
    assert read_labels(sets / "labels").taggings[repeated[0]]["anna"].labels == LABELS
    found = json.loads((sets / "annotations/self_agreement.json").read_text())["anna"]
    assert (found["sets"], found["labels"], found["equal"]) == (1, 4, 0.75)
    observed, expected = 0.75, np.mean([1, 0]) * 0.5 + 0 + 0.25 * 0.5
    assert found["kappa"] == pytest.approx((observed - expected) / (1 - expected))


def test_folders_that_cannot_be_used(tmp_path, sets):
    with pytest.raises(InputError, match="originals"):
        GroundTruthTask(tmp_path, tmp_path)
    with pytest.raises(InputError, match="share"):
        GroundTruthTask(sets, tmp_path, repeats=2)
