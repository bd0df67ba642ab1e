"""What the server does with masks: files after every step, agreement with the journal, formats."""

import base64
import csv
import json
import os
import sys
import threading

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from annotator import mask_routes, masks, queueing
from annotator.application import make_application
from annotator.background import NICENESS
from annotator.masks import MaskTask
from annotator.runs import decode_runs, encode_runs
from annotator.store import Store
from desra.coco import read_coco
from desra.detectors import ArtifactDetector, SSIMDetector
from desra.errors import InputError
from desra.images import read_rgb, write_png
from desra.labelme import read_labelme
from desra.masks import read_mask_image
from desra.region_scores import read_regions, read_scores


class Page:
    """What the page does, without a browser."""

    def __init__(self, client, name):
        self.client = client
        assert client.post("/api/enter", json={"name": name}).status_code == 200

    def next(self, **ask):
        return self.client.post("/api/next", json=ask).json()

    def post(self, item, what, **body):
        return self.client.post(f"/api/items/{item['id']}/{what}", json=body)

    def draw(self, item, pixels, tool="brush", **detail):
        item["version"] += 1
        runs = base64.b64encode(encode_runs(pixels)).decode()
        body = {"tool": tool, "runs": runs, "detail": detail}
        return self.post(item, "actions", version=item["version"], token=tool, **body)

    def turn(self, item, direction):
        item["version"] += 1
        return self.post(item, direction, version=item["version"], token=direction)

    def finish(self, item, status="done"):
        item["version"] += 1
        return self.post(item, "finish", version=item["version"], token="end", status=status)


def mask_of(item):
    shape = item["height"], item["width"]
    mask = decode_runs(base64.b64decode(item["base"]), shape)
    for action in item["actions"]:
        if action["state"] == "done" and action["runs"]:
            mask ^= decode_runs(base64.b64decode(action["runs"]), shape)
    return mask


@pytest.fixture
def serve(artifact_set):
    clients = []

    def start(names=None, **settings):
        task = MaskTask(
            artifact_set,
            artifact_set / "annotations",
            ArtifactDetector(min_area=100),
            **{"order": "name", **settings},
        )
        store = Store(task.output_dir / "a.sqlite")
        application = make_application(
            task, store, [mask_routes.routes], hosts=["testserver"], names=names
        )
        client = TestClient(application)
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


def pixels(item, *box):
    mask = np.zeros((item["height"], item["width"]), bool)
    top, bottom, left, right = box
    mask[top:bottom, left:right] = True
    return mask


def test_it_begins_with_what_was_detected(serve, artifact_set):
    page = Page(serve(), "anna")
    item = page.next()
    assert (item["key"], item["source"], item["version"]) == ("one", "detected", 0)
    assert np.array_equal(mask_of(item), read_mask_image(artifact_set / "DeSRA-Mask/one.png"))
    assert [layer["name"] for layer in item["layers"]] == ["LR", "MSE-SR", "GAN-SR"]
    for layer in item["layers"]:
        answer = page.client.get(f"/api/{layer['url']}")
        path = artifact_set / layer["name"] / "one.png"
        assert answer.content == path.read_bytes()
    assert not (artifact_set / "GT-Mask").exists()


def test_the_file_is_there_after_every_step(serve, artifact_set):
    page = Page(serve(), "anna")
    item = page.next()
    path = artifact_set / "GT-Mask" / "one.png"
    expected = mask_of(item)
    stroke = pixels(item, 50, 60, 0, 128)
    assert page.draw(item, stroke).json() == {"version": 1}
    assert np.array_equal(read_mask_image(path), expected ^ stroke)
    with Image.open(path) as image:
        assert (image.mode, set(np.unique(np.asarray(image)))) == ("L", {0, 255})
    page.turn(item, "undo")
    assert np.array_equal(read_mask_image(path), expected)
    page.turn(item, "redo")
    assert np.array_equal(read_mask_image(path), expected ^ stroke)
    page.finish(item)
    assert page.next()["key"] == "sub/two"
    row = next(csv.DictReader((artifact_set / "annotations/masks.csv").open()))
    assert row["image"] == "one"
    assert (row["annotator"], row["status"], row["actions"]) == ("anna", "done", "1")


def test_a_restart_goes_on_where_it_was(serve, artifact_set):
    page = Page(serve(), "anna")
    item = page.next()
    stroke, other = pixels(item, 0, 9, 0, 9), pixels(item, 50, 55, 3, 60)
    page.draw(item, stroke)
    page.draw(item, other)
    page.turn(item, "undo")
    again = Page(serve(), "anna").next()
    assert again["version"] == 3
    assert [action["state"] for action in again["actions"]] == ["done", "undone"]
    assert np.array_equal(mask_of(again), mask_of(item) ^ stroke)


def test_a_lost_answer_is_asked_for_again(serve, artifact_set):
    page = Page(serve(), "anna")
    item = page.next()
    stroke = pixels(item, 0, 9, 0, 9)
    page.draw(item, stroke)
    (artifact_set / "GT-Mask/one.png").unlink()
    item["version"] -= 1
    assert page.draw(item, stroke).status_code == 200
    assert np.array_equal(read_mask_image(artifact_set / "GT-Mask/one.png"), mask_of(item) ^ stroke)
    item["version"] -= 1
    assert page.draw(item, stroke, "eraser").status_code == 409


def test_two_do_not_overwrite_each_other(serve):
    client = serve()
    anna, ben = Page(client, "anna"), Page(TestClient(client.app), "ben")
    first, second = anna.next(), ben.next()
    assert [first["key"], second["key"]] == ["one", "sub/two"]
    stolen = ben.draw(dict(first), pixels(first, 0, 5, 0, 5))
    assert stolen.status_code == 409
    assert "with another annotator" in stolen.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"tool": "brush", "runs": base64.b64encode(b"\x05").decode()}, 422),
        ({"tool": "brush", "runs": "no base64!"}, 422),
        ({"tool": "hammer"}, 422),
        ({}, 422),
    ],
)
def test_bad_actions_are_refused(serve, body, status):
    page = Page(serve(), "anna")
    item = page.next()
    assert page.post(item, "actions", version=1, token="t", **body).status_code == status
    assert page.next()["version"] == 0


def test_votes_and_kinds_are_in_regions_csv(serve, artifact_set):
    client = serve(copies=2)
    anna, ben = Page(client, "anna"), Page(TestClient(client.app), "ben")
    items = [page.next() for page in (anna, ben)]
    assert [item["key"] for item in items] == ["one", "one"]
    for page, item, noticed in ((anna, items[0], True), (ben, items[1], False)):
        page.draw(item, pixels(item, 0, 1, 0, 1))
        vote = {"x": 12, "y": 12, "noticed": noticed, "kind": "grid"}
        assert page.post(item, "vote", **vote).status_code == 200
        nowhere = page.post(item, "vote", x=70, y=50, noticed=True)
        assert nowhere.status_code == 422
        page.finish(item)
    scores = read_scores(artifact_set / "regions.csv")
    assert [(s.x, s.y, s.score) for s in scores["one"]] == [(12, 12, 0.5)]
    row = next(csv.DictReader((artifact_set / "regions.csv").open()))
    assert (row["votes"], row["kind"]) == ("2", "grid")


@pytest.mark.parametrize("score", ["0.75", ""])
def test_what_regions_csv_said_before_stays(serve, artifact_set, score):
    text = f"image,x,y,score,kind\none,12,12,{score},grid\none,90,70,{score},'=stripes\n"
    (artifact_set / "regions.csv").write_text(text)
    for _ in range(2):  # and after a restart
        page = Page(serve(), "anna")
        item = page.next()
        page.post(item, "vote", x=15, y=15, noticed=True)
        scores, kinds = read_regions(artifact_set / "regions.csv")
        said = [(15, 15, 1.0), *([(90, 70, 0.75)] if score else [])]
        assert [(s.x, s.y, s.score) for s in scores["one"]] == said
        said = [(15, 15, "grid"), (90, 70, "=stripes")]
        assert [(k.x, k.y, k.kind) for k in kinds["one"]] == said


def test_several_annotators_give_a_majority(serve, artifact_set):
    client = serve(copies=3)
    pages = [Page(TestClient(client.app), name) for name in ("anna", "ben", "cleo")]
    strokes = [(0, 5, 0, 20), (0, 5, 10, 30), (50, 55, 0, 5)]
    for page, box in zip(pages, strokes, strict=True):
        item = page.next()
        page.draw(item, pixels(item, *box))
        assert not (artifact_set / "GT-Mask/one.png").exists()
        page.finish(item)
    expected = mask_of(item) | pixels(item, 0, 5, 10, 20)
    assert np.array_equal(read_mask_image(artifact_set / "GT-Mask/one.png"), expected)
    (row,) = csv.DictReader((artifact_set / "annotations/agreement.csv").open())
    assert (row["image"], row["annotators"]) == ("one", "3")
    assert 0.8 < float(row["iou"]) < 1
    own = read_mask_image(artifact_set / "annotations/ben/GT-Mask/one.png")
    assert np.array_equal(own, mask_of(item) ^ pixels(item, *strokes[1]))


@pytest.mark.parametrize("shapes", ["polygon", "mask"])
def test_labelme_and_coco_say_the_same(serve, artifact_set, shapes):
    page = Page(serve(labelme=shapes, coco=True), "anna")
    item = page.next()
    page.draw(item, pixels(item, 0, 2, 100, 128))
    page.post(item, "vote", x=12, y=12, noticed=None, kind="grid")
    mask = read_mask_image(artifact_set / "GT-Mask/one.png")
    path = artifact_set / "GT-LabelMe/one.json"
    assert np.array_equal(read_labelme(path), mask)
    record = json.loads(path.read_text())
    assert sorted(shape["label"] for shape in record["shapes"]) == ["artifact", "artifact", "grid"]
    kinds = {shape["shape_type"] for shape in record["shapes"]}
    assert kinds == ({"mask"} if shapes == "mask" else {"polygon", "mask"})  # one has a hole
    assert (path.parent / record["imagePath"]).resolve() == artifact_set / "GAN-SR/one.png"
    assert np.array_equal(read_coco(artifact_set / "GT-COCO/one.json")["one"], mask)


@pytest.mark.parametrize("form", ["png", "labelme", "coco"])
def test_labels_from_elsewhere_are_what_it_begins_with(serve, artifact_set, tmp_path, form):
    page = Page(serve(labelme="mask", coco=True), "anna")
    item = page.next()
    page.draw(item, pixels(item, 40, 60, 40, 60))
    mask = read_mask_image(artifact_set / "GT-Mask/one.png")
    folder = {"png": "GT-Mask", "labelme": "GT-LabelMe", "coco": "GT-COCO"}[form]
    (artifact_set / folder).rename(tmp_path / "labels")
    (artifact_set / "annotations").rename(tmp_path / "before")
    for name in {"GT-Mask", "GT-LabelMe", "GT-COCO"} - {folder}:
        (artifact_set / name).rename(tmp_path / f"old {name}")
    item = Page(serve(labels=tmp_path / "labels"), "anna").next()
    assert item["source"] == "labelled"
    assert np.array_equal(mask_of(item), mask)


def test_labelme_files_in_gt_mask_are_put_aside_when_they_are_edited(serve, artifact_set):
    from desra.labelme_writing import write_labelme

    mask = np.zeros((96, 128), bool)
    mask[5:20, 5:30] = True
    path = artifact_set / "GT-Mask/one.json"
    write_labelme(path, mask, artifact_set / "GAN-SR/one.png")
    page = Page(serve(), "anna")
    item = page.next()
    assert np.array_equal(mask_of(item), mask)
    page.draw(item, pixels(item, 0, 1, 0, 1))
    assert not path.exists()
    assert (artifact_set / "annotations/replaced/one.json").is_file()
    assert read_mask_image(artifact_set / "GT-Mask/one.png").sum() == mask.sum() + 1


def test_the_distance_is_that_of_the_detector(serve, artifact_set, tmp_path):
    page = Page(serve(), "anna")
    item = page.next()
    (tmp_path / "d.png").write_bytes(page.client.get(f"/api/{item['distance']}").content)
    with Image.open(tmp_path / "d.png") as image:
        values = np.asarray(image)
    assert values.shape == (96, 128)
    mask = read_mask_image(artifact_set / "DeSRA-Mask/one.png")
    assert values[mask].mean() > 3 * values[~mask].mean()


@pytest.mark.skipif(sys.platform != "linux", reason="nice belongs to the process elsewhere")
def test_only_distances_are_computed_at_low_priority(serve, monkeypatch):
    seen = {}

    def watch(module, name, what):
        real = getattr(module, name)

        def watched(*given):
            seen.setdefault(what, os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return real(*given)

        monkeypatch.setattr(module, name, watched)

    watch(queueing, "adjusted_distance", "order")
    watch(masks, "adjusted_distance", "distance")
    watch(masks, "encode_runs", "answer")
    page = Page(serve(order="uncertain"), "anna")
    page.client.get(f"/api/{page.next()['distance']}")
    page.client.app.state.task._ordering.join()
    here = os.getpriority(os.PRIO_PROCESS, 0)
    assert seen["answer"] == here
    assert seen["order"] == seen["distance"] == min(19, here + NICENESS)


def test_a_damaged_image_is_left_out_and_the_rest_goes_on(serve, artifact_set, caplog):
    (artifact_set / "GAN-SR/one.png").write_bytes(b"no image")
    assert Page(serve(), "anna").next()["key"] == "sub/two"
    assert "one.png" in caplog.text


def test_the_queue_is_listed(serve):
    page = Page(serve(), "anna")
    page.finish(page.next())
    rows = page.client.get("/api/items").json()
    assert [(key, status) for _, key, status, _, _ in rows] == [
        ("one", "done"),
        ("sub/two", ""),
        ("three", ""),
    ]


def test_a_list_chooses_and_orders(serve, artifact_set, tmp_path):
    (tmp_path / "list.txt").write_text("three\none\n")
    page = Page(serve(order="list", images=tmp_path / "list.txt"), "anna")
    assert [key for _, key, *_ in page.client.get("/api/items").json()] == ["three", "one"]


@pytest.mark.parametrize("order", ["uncertain", "share", "disagreement"])
def test_measured_orders(serve, artifact_set, order):
    other = artifact_set / "other"
    for index, key in enumerate(("one", "sub/two", "three")):
        mask = read_mask_image(artifact_set / f"DeSRA-Mask/{key}.png")
        mask[50:58, : 40 * index] = True
        write_png(other / f"{key}.png", mask)
    client = serve(order=order, others=[other] if order == "disagreement" else [])
    client.app.state.task._ordering.join()
    keys = [key for _, key, *_ in Page(client, "anna").client.get("/api/items").json()]
    assert sorted(keys) == ["one", "sub/two", "three"]
    if order == "share":  # the second region grows with the number
        assert keys == ["three", "sub/two", "one"]
    if order == "disagreement":
        assert keys == ["three", "sub/two", "one"]
    assert client.app.state.task._ordering is not None
    again = serve(order=order, others=[other] if order == "disagreement" else [])
    assert again.app.state.task._ordering is None  # all was kept
    assert [key for _, key, *_ in Page(again, "anna").client.get("/api/items").json()] == keys


def test_disagreement_with_ssim_is_computed_where_no_other_masks_are(serve, artifact_set):
    detectors = ArtifactDetector(min_area=100), SSIMDetector(min_area=100)
    apart = {}
    for key in ("one", "sub/two", "three"):
        pair = [
            torch.from_numpy(read_rgb(artifact_set / f"{role}/{key}.png").copy()).permute(2, 0, 1)[
                None
            ]
            for role in ("MSE-SR", "GAN-SR")
        ]
        first, second = (detector(*pair).mask for detector in detectors)
        apart[key] = 1 - (first & second).sum() / (first | second).sum()
    assert len(set(map(float, apart.values()))) == 3
    client = serve(order="disagreement")
    client.app.state.task._ordering.join()
    keys = [key for _, key, *_ in Page(client, "anna").client.get("/api/items").json()]
    assert keys == sorted(apart, key=apart.get, reverse=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"order": "best"}, "order=best"),
        ({"order": "list"}, "task.images=FILE"),
        ({"copies": 0}, "copies=0"),
        ({"labelme": "yes"}, "labelme=yes"),
    ],
)
def test_settings_that_cannot_be_used(artifact_set, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        MaskTask(artifact_set, tmp_path / "o", ArtifactDetector(), **settings).start(
            Store(tmp_path / "o/a.sqlite")
        )


def test_a_folder_without_upscalings(tmp_path):
    with pytest.raises(InputError, match="MSE-SR and GAN-SR"):
        MaskTask(tmp_path, tmp_path, ArtifactDetector())
