"""What annotators do to items: a row an action or vote, which can be undone and done again.

Every operation on a work carries the version that it makes. One that was confirmed, but whose
answer was lost, comes again with the same token and is answered, not done twice; one that does not
follow the present version was made elsewhere on an older state, and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from annotator.store import Annotator, Item, Store

Status = Literal["open", "done", "skipped"]


_WORK_COLUMNS = (
    *("id", "item", "annotator", "repeat", "status", "base", "version", "seconds"),
    *("opened", "finished"),
)


class Conflict(Exception):
    """An operation on a state that is no longer the present one; the page loads it anew."""


@dataclass(frozen=True)
class Step:
    """What an operation says of itself.

    Attributes:
        version: of the work, once it is done.
        token: its own random name.
        seconds: that the work took since the operation before.
    """

    version: int
    token: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Action:
    """One thing that was done to an item.

    Attributes:
        tool: what it was done with.
        detail: what else is to be known of it.
        pixels: `annotator.runs` of the pixels that it turned over, or None.
        state: ``"done"`` or ``"undone"``.
        at: when, in Unix seconds.
    """

    id: int
    tool: str
    detail: Mapping[str, Any]
    pixels: bytes | None
    state: str
    at: float


@dataclass(frozen=True)
class Work:
    """One annotator's answer to one item.

    Attributes:
        repeat: 1 where the annotator is shown the item once more, to be held against themselves.
        start: what it began with.
        base: `annotator.runs` of the mask that it began with, or None.
        version: how many operations it has seen.
        seconds: that it was worked on.
        opened: when, in Unix seconds; as ``finished``.
    """

    id: int
    item: int
    annotator: int
    repeat: int
    status: Status
    start: Mapping[str, Any]
    base: bytes | None
    version: int
    seconds: float
    opened: float
    finished: float | None


@dataclass(frozen=True)
class RegionVote:
    """What an annotator says of the region at a pixel."""

    annotator: str
    x: int
    y: int
    noticed: bool | None
    kind: str


class Journal:
    """The works, actions and votes of a `Store`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def begin(
        self,
        item: Item,
        annotator: Annotator,
        start: Mapping[str, Any] | None = None,
        base: bytes | None = None,
        repeat: int = 0,
    ) -> Work:
        """The annotator's work on an item; begun with ``start`` and ``base`` if there is none."""
        with self.store.transaction() as connection:
            connection.execute(
                "INSERT INTO work (item, annotator, repeat, start, base, opened) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (item, annotator, repeat) DO NOTHING",
                (item.id, annotator.id, repeat, json.dumps(start or {}), base, self.store.clock()),
            )
            found = self.find(item, annotator, repeat)
        assert found is not None
        return found

    def find(self, item: Item, annotator: Annotator, repeat: int = 0) -> Work | None:
        """The annotator's work on an item, if there is one."""
        found = self.works(
            "item = ? AND annotator = ? AND repeat = ?", item.id, annotator.id, repeat
        )
        return found[0] if found else None

    def works(self, where: str = "1", *values: Any) -> list[Work]:
        """The works that a condition in SQL holds for."""
        rows = self.store.rows(f"SELECT * FROM work WHERE {where} ORDER BY id", *values)
        return [
            Work(
                **{name: row[name] for name in _WORK_COLUMNS},
                start=json.loads(row["start"]),
            )
            for row in rows
        ]

    def actions(self, work: Work) -> list[Action]:
        """What was done to it and what was undone, in order."""
        rows = self.store.rows(
            "SELECT * FROM action WHERE work = ? AND state != 'dropped' ORDER BY id", work.id
        )
        return [
            Action(
                row["id"],
                row["tool"],
                json.loads(row["detail"]),
                *(row[name] for name in ("pixels", "state", "at")),
            )
            for row in rows
        ]

    def act(
        self,
        work: Work,
        step: Step,
        tool: str,
        detail: Mapping[str, Any] | None = None,
        pixels: bytes | None = None,
    ) -> bool:
        """Note an action; what was undone can then be done again no more.

        Returns:
            False if this very step was noted before.

        Raises:
            Conflict: the work has another version than the step goes on from.
        """
        with self.store.transaction() as connection:
            if not self._advance(work, step):
                return False
            connection.execute(
                "UPDATE action SET state = 'dropped' WHERE work = ? AND state = 'undone'",
                (work.id,),
            )
            connection.execute(
                "INSERT INTO action (work, tool, detail, pixels, at) VALUES (?, ?, ?, ?, ?)",
                (work.id, tool, json.dumps(detail or {}), pixels, self.store.clock()),
            )
            return True

    def answer(self, work: Work, step: Step, detail: Mapping[str, Any]) -> bool:
        """Note an answer that is all there is to do; as `act`, and the work is done."""
        with self.store.transaction() as connection:
            if not self.act(work, step, "answer", detail):
                return False
            connection.execute(
                "UPDATE work SET status = 'done', finished = ? WHERE id = ?",
                (self.store.clock(), work.id),
            )
            return True

    def turn(self, work: Work, step: Step, direction: Literal["undo", "redo"]) -> Action | None:
        """Undo the last action, or do again the first that was undone.

        Returns:
            that action; None if this very step was noted before.

        Raises:
            Conflict: as for `act`, or there is nothing to undo or do again.
        """
        old, new, order = (
            ("done", "undone", "DESC") if direction == "undo" else ("undone", "done", "ASC")
        )
        with self.store.transaction() as connection:
            if not self._advance(work, step):
                return None
            row = connection.execute(
                f"SELECT id FROM action WHERE work = ? AND state = ? ORDER BY id {order} LIMIT 1",
                (work.id, old),
            ).fetchone()
            if row is None:
                raise Conflict(f"nothing to {direction}")
            connection.execute("UPDATE action SET state = ? WHERE id = ?", (new, row["id"]))
            return next(action for action in self.actions(work) if action.id == row["id"])

    def finish(self, work: Work, step: Step, status: Status) -> bool:
        """Set the status of a work; as `act`."""
        with self.store.transaction() as connection:
            if not self._advance(work, step):
                return False
            connection.execute(
                "UPDATE work SET status = ?, finished = ? WHERE id = ?",
                (status, None if status == "open" else self.store.clock(), work.id),
            )
            return True

    def _advance(self, work: Work, step: Step) -> bool:
        with self.store.transaction() as connection:
            version, token = connection.execute(
                "SELECT version, token FROM work WHERE id = ?", (work.id,)
            ).fetchone()
            if version == step.version and token == step.token:
                return False
            if version != step.version - 1:
                raise Conflict("this was changed elsewhere meanwhile")
            connection.execute(
                "UPDATE work SET version = ?, token = ?, seconds = seconds + ? WHERE id = ?",
                (step.version, step.token, max(0.0, step.seconds), work.id),
            )
            return True

    # --- votes on regions

    def vote(
        self, item: Item, annotator: Annotator, x: int, y: int, noticed: bool | None, kind: str
    ) -> None:
        """Note what an annotator says of the region at a pixel."""
        with self.store.transaction() as connection:
            connection.execute(
                "INSERT INTO vote (item, annotator, x, y, noticed, kind, at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (item.id, annotator.id, x, y, noticed, kind, self.store.clock()),
            )

    def votes(self, item: Item) -> list[RegionVote]:
        """All votes on an item's regions, the newest last."""
        rows = self.store.rows(
            "SELECT name, x, y, noticed, kind FROM vote JOIN annotator ON annotator.id = annotator "
            "WHERE item = ? ORDER BY vote.id",
            item.id,
        )
        return [
            RegionVote(
                row["name"],
                row["x"],
                row["y"],
                None if row["noticed"] is None else bool(row["noticed"]),
                row["kind"],
            )
            for row in rows
        ]

    def voted(self) -> set[str]:
        """Keys of the items that have votes."""
        return {
            row["key"]
            for row in self.store.rows("SELECT DISTINCT key FROM vote JOIN item ON item.id = item")
        }
