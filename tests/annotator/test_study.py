"""Studies: sides and orders differ, controls decide who counts, results follow from the votes."""

import csv
import html
import json

import pytest
from fastapi.testclient import TestClient

from annotator import study_routes
from annotator.application import make_application
from annotator.store import Store
from annotator.study import StudyTask
from annotator.study_results import Answer, summarise
from desra.errors import InputError
from desra.images import write_png
from tests.conftest import smooth_photo

NAMES = ("A", "B", "C")


@pytest.fixture
def folders(tmp_path):
    for number, name in enumerate(NAMES):
        for index in range(4):
            write_png(tmp_path / name / f"i{index}.png", smooth_photo(10 * index + number, 48, 64))
    return tmp_path


@pytest.fixture
def serve(folders):
    opened = []

    def start(methods=NAMES, control="artifacts", **settings):
        question = {
            "text": "Which has fewer artifacts?",
            "methods": {name: folders / name for name in methods},
            "control": control,
        }
        task = StudyTask(folders / "out", [question], **settings)
        store = Store(folders / "out/a.sqlite")
        application = make_application(task, store, [study_routes.routes], hosts=["testserver"])
        client = TestClient(application)
        client.__enter__()
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.__exit__(None, None, None)


class Participant:
    def __init__(self, app, name):
        self.client = TestClient(app)
        self.client.post("/api/enter", json={"name": name})

    def next(self):
        return self.client.post("/api/next", json={}).json()

    def sides(self, item, folders):
        """What is on the left and on the right, by the bytes: a folder's name, or better, worse."""
        found = []
        for layer in item["layers"]:
            data = self.client.get(f"/api/{layer['url']}").content
            paths = [p for p in folders.rglob("*.png") if p.read_bytes() == data]
            names = [path.relative_to(folders).parts for path in paths]
            made = [parts[-2] for parts in names if "controls" in parts]
            plain = [parts[0] for parts in names if "controls" not in parts]
            found.append((plain or made)[0] if len(found) < 9 else None)
        return found

    def choose(self, item, choice):
        item["version"] += 1
        body = {"version": item["version"], "token": f"{item['version']}", "seconds": 2}
        path = f"/api/pairs/{item['id']}/answer"
        return self.client.post(path, json={**body, "view": item["view"], "choice": choice})

    def answer_all(self, folders, order, careless=False):
        """Choose what comes first in ``order``; returns how often each was on the left."""
        left = []
        while (item := self.next()) is not None:
            sides = self.sides(item, folders)
            left.append(sides[0])
            if "worse" in sides:
                right_one = "left" if sides[1] == "worse" else "right"
                wrong_one = "right" if right_one == "left" else "left"
                self.choose(item, wrong_one if careless else right_one)
            else:
                best = min(sides, key=order.index)
                self.choose(item, ("left", "right")[sides.index(best)])
        return left


def test_everyone_sees_all_pairs_and_controls_in_an_order_of_their_own(serve, folders):
    client = serve(controls=2)
    orders = []
    for name in ("p1", "p2"):
        participant = Participant(client.app, name)
        left = participant.answer_all(folders, NAMES)
        assert len(left) == 3 * 4 + 2
        rows = [row for row in votes(folders) if row["participant"] == name]
        orders.append([(row["first"], row["second"], row["image"]) for row in rows])
        assert len({row["left"] for row in rows if row["control"] == "False"}) > 1
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


def votes(folders):
    with (folders / "out/votes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_results_follow_from_the_votes(serve, folders):
    client = serve(controls=2)
    for name in ("p1", "p2", "p3"):
        Participant(client.app, name).answer_all(folders, NAMES)
    Participant(client.app, "careless").answer_all(folders, NAMES[::-1], careless=True)
    page = client.get("/results")
    assert page.status_code == 200
    results = json.loads((folders / "out/results.json").read_text())
    assert results["left_out"] == {"careless": 0.0}
    (question,) = results["questions"]
    shares = {(p["first"], p["second"]): p["share"]["share"] for p in question["pairs"]}
    assert shares == {("A", "B"): 1.0, ("A", "C"): 1.0, ("B", "C"): 1.0}
    scores = {name: score for name, (score, _, _) in question["scores"].items()}
    assert scores["A"] > scores["B"] > scores["C"]
    assert question["agreement"] == 1.0
    assert "3 participants (1 more were left out" in question["sentences"][0]
    assert "100.00 % of 12 comparisons" in question["sentences"][0]
    assert question["sentences"][0] in html.unescape(page.text)
    assert client.get("/results/results.png").content.startswith(b"\x89PNG")
    assert client.get("/results/votes.csv").text.startswith("participant,question")


def test_controls_are_strewn_in(serve, folders):
    client = serve(methods=("A", "B"), controls=2)
    participant = Participant(client.app, "p")
    participant.answer_all(folders, NAMES)
    rows = votes(folders)
    assert [row["control"] for row in rows] == ["False"] * 2 + ["True", "False", "True", "False"]


def test_a_limit_of_trials_spreads_pairs_over_participants(serve, folders):
    client = serve(methods=("A", "B"), control=None, trials=2)
    for name in ("p1", "p2"):
        assert len(Participant(client.app, name).answer_all(folders, NAMES)) == 2
    assert sorted(row["image"] for row in votes(folders)) == ["i0", "i1", "i2", "i3"]


def test_an_answer_can_be_changed_by_going_back(serve, folders):
    client = serve(methods=("A", "B"), control=None)
    participant = Participant(client.app, "p")
    item = participant.next()
    participant.choose(item, "left")
    again = participant.client.post(f"/api/pairs/{item['id']}/open", json={}).json()
    sides = participant.sides(again, folders)
    participant.choose(again, "right")
    (row,) = votes(folders)
    assert row[row["choice"]] == sides[1]


def test_ties_only_where_they_are_allowed(serve, folders):
    participant = Participant(serve(methods=("A", "B"), control=None).app, "p")
    assert participant.choose(participant.next(), "tie").status_code == 422
    participant = Participant(serve(methods=("A", "B"), control=None, tie=True).app, "q")
    assert participant.choose(participant.next(), "tie").status_code == 200


def test_no_name_of_a_method_is_told(serve, folders):
    participant = Participant(serve(methods=("A", "B"), control=None).app, "p")
    item = participant.next()
    assert "i0" not in json.dumps(item["layers"])
    assert not {"A", "B"} & {layer["name"] for layer in item["layers"]}


def test_only_who_started_it_sees_results(folders):
    task = StudyTask(
        folders / "out", [{"text": "?", "methods": {"A": folders / "A", "B": folders / "B"}}]
    )
    store = Store(folders / "out/a.sqlite")
    application = make_application(
        task, store, [study_routes.routes], hosts=["testserver"], token="t", names=["p"]
    )
    with TestClient(application) as client:
        (participant,) = store.annotators()
        client.get(f"/a/{participant.link}")
        assert client.get("/").status_code == 200
        assert client.get("/results").status_code == 403
        assert client.get("/results/votes.csv").status_code == 403


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ([], "no question"),
        ([{"methods": {}}], "no text"),
        ([{"text": "?", "methods": {"A": "."}}], "needs methods"),
        ([{"text": "?", "methods": {"A": "nowhere", "B": "."}}], "is no folder"),
        ([{"text": "?", "methods": {"A": ".", "B": "."}, "control": "x"}], "control=x"),
    ],
)
def test_questions_that_cannot_be_asked(tmp_path, questions, message):
    with pytest.raises(InputError, match=message):
        StudyTask(tmp_path, questions)


def test_the_sentence_names_the_winner_whichever_comes_first():
    answers = [
        Answer(f"p{n}", 0, False, f"i{n}", "X", "Y", "second" if n < 8 else "first", "X", 1.0, 0.0)
        for n in range(10)
    ]
    (sentence,) = summarise(["Which?"], answers).questions[0].sentences
    assert "chose Y over X in 80.00 % of 10 comparisons" in sentence
    assert "(95 % Wilson interval 49.0–94.3 %; two-sided binomial test, p = 0.109)" in sentence
