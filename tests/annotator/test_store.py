"""The database: leases, the order of the queue, undo and redo, restarts."""

import sqlite3

import pytest

from annotator.journal import Conflict, Journal, Step
from annotator.store import MIGRATIONS, Store
from desra.errors import InputError


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    store = Store(tmp_path / "a.sqlite", clock)
    store.set_items([(key, {}) for key in "abcd"])
    yield store
    store.close()


def step(version, token=""):
    return Step(version, token or f"t{version}", 1.5)


def test_the_queue_follows_priorities_and_then_the_order(store):
    store.set_priorities({"c": 0.5, "b": 0.9})
    assert [item.key for item in store.items()] == ["b", "c", "a", "d"]
    anna = store.add_annotator("anna")
    assert store.claim(anna).key == "b"
    assert store.claim(anna, without=[store.items()[0].id]).key == "c"


def test_two_annotators_never_get_the_same_item(store):
    anna, ben = store.add_annotator("anna"), store.add_annotator("ben")
    given = [store.claim(who, without=held) for who, held in ((anna, []), (ben, []))]
    assert [item.key for item in given] == ["a", "b"]
    assert not store.lend(given[0], ben)
    assert store.lend(given[0], anna)


def test_a_lease_ends(store, clock):
    anna, ben = store.add_annotator("anna"), store.add_annotator("ben")
    item = store.claim(anna, seconds=60)
    clock.now += 61
    assert store.claim(ben, seconds=60) == item
    assert not store.lend(item, anna)


def test_what_is_only_fetched_ahead_goes_to_who_has_nothing_else(store):
    anna, ben = store.add_annotator("anna"), store.add_annotator("ben")
    held = [store.claim(anna).id]
    for _ in range(3):
        held.append(store.claim(anna, opened=False, without=held).id)
    item = store.claim(ben)
    assert item.id == held[1]
    assert not store.lend(item, anna)


def test_an_item_for_several(store):
    annotators = [store.add_annotator(name) for name in ("anna", "ben", "cleo")]
    assert [store.claim(who, copies=2).key for who in annotators] == ["a", "a", "b"]


def test_done_items_are_not_given_again(store):
    anna, ben = store.add_annotator("anna"), store.add_annotator("ben")
    journal = Journal(store)
    item = store.claim(anna)
    journal.finish(journal.begin(item, anna), step(1), "done")
    store.release(item, anna)
    assert store.claim(anna).key == "b"
    assert store.claim(ben).key == "c"


def test_undo_and_redo_outlive_the_process(store, clock):
    anna = store.add_annotator("anna")
    journal = Journal(store)
    work = journal.begin(store.claim(anna), anna, {"x": 1}, b"base")
    for version, tool in enumerate(("brush", "eraser", "fill"), 1):
        assert journal.act(work, step(version), tool, {"n": version}, bytes([version]))
    assert journal.turn(work, step(4), "undo").tool == "fill"
    assert journal.turn(work, step(5), "undo").tool == "eraser"
    again = Journal(Store(store.path, clock))
    kept = again.find(store.items()[0], anna)
    assert (kept.version, kept.base, kept.start, kept.seconds) == (5, b"base", {"x": 1}, 7.5)
    assert [(a.tool, a.state) for a in again.actions(kept)] == [
        ("brush", "done"),
        ("eraser", "undone"),
        ("fill", "undone"),
    ]
    assert again.turn(kept, step(6), "redo").tool == "eraser"
    again.act(kept, step(7), "polygon")
    assert [a.tool for a in again.actions(kept)] == ["brush", "eraser", "polygon"]
    with pytest.raises(Conflict, match="nothing to redo"):
        again.turn(kept, step(8), "redo")
    assert again.find(store.items()[0], anna).version == 7


def test_a_step_that_comes_again_is_done_once(store):
    anna = store.add_annotator("anna")
    journal = Journal(store)
    work = journal.begin(store.claim(anna), anna)
    assert journal.act(work, step(1, "same"), "brush")
    assert not journal.act(work, step(1, "same"), "brush")
    with pytest.raises(Conflict):
        journal.act(work, step(1, "other"), "brush")
    with pytest.raises(Conflict):
        journal.act(work, step(3), "brush")
    assert len(journal.actions(work)) == 1


def test_a_transaction_is_all_or_nothing(store):
    def fail():
        with store.transaction() as connection:
            connection.execute("DELETE FROM item")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(store.items()) == 4


def test_items_that_went_away_stay_known(store):
    anna = store.add_annotator("anna")
    journal = Journal(store)
    item = store.claim(anna)
    journal.act(journal.begin(item, anna), step(1), "brush")
    store.set_items([("b", {})])
    assert [item.key for item in store.items()] == ["b"]
    store.set_items([("b", {}), ("a", {})])
    assert journal.find(item, anna).version == 1


def test_a_database_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "a.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(InputError, match="newer version"):
        Store(path)


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "a.sqlite").write_text("no database, but a text that is long enough for a header")
    with pytest.raises(InputError, match="move the file away"):
        Store(tmp_path / "a.sqlite")
