"""The database of an annotation: who annotates what, and for how long an item is theirs.

SQLite in WAL mode, synchronised to the disk at every commit: what was confirmed is there after a
kill or a power cut. Times are Unix seconds. What is done to an item is in `annotator.journal`.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desra.errors import InputError

MIGRATIONS = (
    """
    CREATE TABLE item (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        detail TEXT NOT NULL DEFAULT '{}',
        place INTEGER NOT NULL,      -- in the queue, where priorities are equal
        priority REAL,               -- larger first; null after all others
        present INTEGER NOT NULL DEFAULT 1
    );
    CREATE INDEX item_order ON item (present, priority DESC, place);
    CREATE TABLE annotator (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        link TEXT NOT NULL UNIQUE,
        detail TEXT NOT NULL DEFAULT '{}',
        created REAL NOT NULL
    );
    CREATE TABLE lease (
        item INTEGER NOT NULL REFERENCES item,
        annotator INTEGER NOT NULL REFERENCES annotator,
        opened INTEGER NOT NULL,     -- 0: only fetched ahead, so another may have it
        expires REAL NOT NULL,
        PRIMARY KEY (item, annotator)
    );
    CREATE TABLE work (              -- one annotator's answer to one item
        id INTEGER PRIMARY KEY,
        item INTEGER NOT NULL REFERENCES item,
        annotator INTEGER NOT NULL REFERENCES annotator,
        repeat INTEGER NOT NULL DEFAULT 0,
        status TEXT NOT NULL DEFAULT 'open',  -- open, done, skipped
        start TEXT NOT NULL DEFAULT '{}',     -- what it began with
        base BLOB,                            -- the mask it began with
        version INTEGER NOT NULL DEFAULT 0,   -- counts what was done to it
        token TEXT,                           -- of the last one, which may come again
        seconds REAL NOT NULL DEFAULT 0,      -- that it was worked on
        opened REAL NOT NULL,
        finished REAL,
        UNIQUE (item, annotator, repeat)
    );
    CREATE INDEX work_status ON work (status, item);
    CREATE TABLE action (
        id INTEGER PRIMARY KEY,
        work INTEGER NOT NULL REFERENCES work,
        tool TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT '{}',
        pixels BLOB,                          -- runs of the pixels that it turned over
        state TEXT NOT NULL DEFAULT 'done',   -- done, undone, dropped (no redo any more)
        at REAL NOT NULL
    );
    CREATE INDEX action_work ON action (work, id);
    CREATE TABLE vote (                       -- on a region; the last one of an annotator counts
        id INTEGER PRIMARY KEY,
        item INTEGER NOT NULL REFERENCES item,
        annotator INTEGER NOT NULL REFERENCES annotator,
        x INTEGER NOT NULL,
        y INTEGER NOT NULL,
        noticed INTEGER,
        kind TEXT NOT NULL DEFAULT '',
        at REAL NOT NULL
    );
    CREATE INDEX vote_item ON vote (item, id);
    """,
)
"""Each brings a database of the version before to the next; ``PRAGMA user_version`` counts them."""


@dataclass(frozen=True)
class Item:
    """One thing to annotate: an image, a set of images, or a pair."""

    id: int
    key: str
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Annotator:
    """One who annotates, known by the link that was given to them."""

    id: int
    name: str
    link: str
    detail: Mapping[str, Any]


class Store:
    """The database of one annotation; safe to use from several threads.

    Args:
        path: the file; made, or brought to the present version.
        clock: gives the time, in seconds.

    Raises:
        InputError: the file is of a newer version of this program, or no database.
    """

    def __init__(self, path: str | Path, clock: Callable[[], float] = time.time) -> None:
        self.path, self.clock = Path(path), clock
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._migrate()
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: {error}; move the file away to begin anew") from error

    def close(self) -> None:
        """Close the database; what was confirmed is in it."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block or nothing of it."""
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """The rows that a query gives."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def row(self, query: str, *values: Any) -> sqlite3.Row | None:
        """The first row that a query gives."""
        with self._lock:
            found: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
            return found

    def _migrate(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise InputError(
                f"{self.path}: written by a newer version of this program; install that one"
            )
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            # A script commits what is before it, so the transaction is part of it.
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;"
            )

    # --- items

    def set_items(self, items: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """What there is to annotate now, in order; what was annotated before stays known."""
        with self.transaction() as connection:
            connection.execute("UPDATE item SET present = 0")
            connection.executemany(
                "INSERT INTO item (key, detail, place) VALUES (?, ?, ?) ON CONFLICT (key) "
                "DO UPDATE SET detail = excluded.detail, place = excluded.place, present = 1",
                [(key, json.dumps(detail), place) for place, (key, detail) in enumerate(items)],
            )

    def set_priorities(self, priorities: Mapping[str, float]) -> None:
        """Larger ones come first in the queue, items without one last."""
        with self.transaction() as connection:
            connection.executemany(
                "UPDATE item SET priority = ? WHERE key = ?",
                [(value, key) for key, value in priorities.items()],
            )

    def clear_priorities(self) -> None:
        """Let the queue follow the items' order."""
        with self.transaction() as connection:
            connection.execute("UPDATE item SET priority = NULL")

    def item(self, number: int) -> Item | None:
        """An item of now, by its number."""
        row = self.row("SELECT * FROM item WHERE id = ? AND present", number)
        return None if row is None else Item(row["id"], row["key"], json.loads(row["detail"]))

    def items(self) -> list[Item]:
        """All items of now, in the order of the queue."""
        rows = self.rows(
            "SELECT id, key, detail FROM item WHERE present = 1 ORDER BY priority DESC, place"
        )
        return [Item(row["id"], row["key"], json.loads(row["detail"])) for row in rows]

    # --- annotators

    def add_annotator(self, name: str, detail: Mapping[str, Any] | None = None) -> Annotator:
        """The annotator of this name, new or known."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO annotator (name, link, detail, created) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (name) DO NOTHING",
                (name, secrets.token_urlsafe(9), json.dumps(detail or {}), self.clock()),
            )
            row = self.row("SELECT * FROM annotator WHERE name = ?", name)
        assert row is not None
        return _annotator(row)

    def annotator_of(self, link: str) -> Annotator | None:
        """Whose link this is."""
        row = self.row("SELECT * FROM annotator WHERE link = ?", link)
        return None if row is None else _annotator(row)

    def annotators(self) -> list[Annotator]:
        """All of them, in the order in which they came."""
        return [_annotator(row) for row in self.rows("SELECT * FROM annotator ORDER BY id")]

    # --- leases

    def claim(
        self,
        annotator: Annotator,
        *,
        copies: int = 1,
        seconds: float = 1800,
        opened: bool = True,
        without: Iterable[int] = (),
    ) -> Item | None:
        """Lend an annotator the next item of the queue that is theirs to do.

        An item is given to ``copies`` annotators; who has one, or had one and answered, counts.
        What another only fetched ahead is taken where nothing else is left.

        Args:
            annotator: who asks.
            copies: how many annotators are to do each item.
            seconds: for how long it is theirs; `lend` begins that time anew.
            opened: whether they begin with it now, or fetch it ahead.
            without: numbers of items not to be given.
        """
        now = self.clock()
        left_out = [int(number) for number in without]
        with self.transaction() as connection:
            for held in ("expires > ?2", "expires > ?2 AND opened"):
                row = connection.execute(
                    f"""
                    SELECT id FROM item AS i WHERE present = 1
                    AND id NOT IN (SELECT item FROM work WHERE annotator = ?1 AND status != 'open')
                    AND id NOT IN (SELECT value FROM json_each(?4))
                    AND (SELECT count(*) FROM (
                        SELECT annotator FROM work WHERE item = i.id AND status = 'done'
                        UNION SELECT annotator FROM lease WHERE item = i.id AND {held}
                    ) WHERE annotator != ?1) < ?3
                    ORDER BY priority DESC, place LIMIT 1
                    """,
                    (annotator.id, now, copies, json.dumps(left_out)),
                ).fetchone()
                if row is not None:
                    self._lend(row["id"], annotator, now + seconds, opened)
                    return self.item(row["id"])
        return None

    def lend(
        self, item: Item, annotator: Annotator, *, copies: int = 1, seconds: float = 1800
    ) -> bool:
        """Lend a certain item, or lend it for longer.

        Returns:
            False where as many others have it as may.
        """
        now = self.clock()
        with self.transaction() as connection:
            (others,) = connection.execute(
                "SELECT count(*) FROM ("
                "SELECT annotator FROM work WHERE item = ?1 AND status = 'done' "
                "UNION SELECT annotator FROM lease WHERE item = ?1 AND expires > ?2 AND opened) "
                "WHERE annotator != ?3",
                (item.id, now, annotator.id),
            ).fetchone()
            if others >= copies:
                return False
            self._lend(item.id, annotator, now + seconds, True)
            return True

    def release(self, item: Item, annotator: Annotator) -> None:
        """Give an item back."""
        with self.transaction() as connection:
            connection.execute(
                "DELETE FROM lease WHERE item = ? AND annotator = ?", (item.id, annotator.id)
            )

    def _lend(self, item: int, annotator: Annotator, until: float, opened: bool) -> None:
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO lease (item, annotator, opened, expires) VALUES (?1, ?2, ?3, ?4) "
                "ON CONFLICT (item, annotator) DO UPDATE "
                "SET opened = max(opened, excluded.opened), expires = excluded.expires",
                (item, annotator.id, opened, until),
            )


def _annotator(row: sqlite3.Row) -> Annotator:
    return Annotator(row["id"], row["name"], row["link"], json.loads(row["detail"]))
