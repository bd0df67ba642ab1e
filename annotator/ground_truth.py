"""Labelling enhanced versions beside the original: Positive, Similar or Negative (HGGT)."""

from __future__ import annotations

import json
import math
import random
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from annotator.journal import Action, Conflict, Journal, Status, Step, Work
from annotator.pictures import stamp
from annotator.store import Annotator, Item, Store
from desra.errors import InputError
from desra.files import find_images, match_folders, write_text
from desra.hggt_labels import LABELS, ORIGINAL, Label, Tagging, write_tagging
from desra.images import image_size
from desra.metrics.agreement import cohen_kappa, observed_agreement

REPEATS, SELF_AGREEMENT = "repeats", "self_agreement.json"


class GroundTruthTask:
    """Sets of one original and enhanced versions, labelled by several annotators each.

    Versions are shown without their names, in an order that is drawn anew at each view and noted in
    the label files. Now and then an annotator is shown a set again, to be held against themselves.

    Args:
        root: holds one folder of originals and one of each version, matched by relative path.
        output_dir: gets the database and the repeats.
        labels: gets ``ANNOTATOR/SET.json``, in HGGT's layout; None for ``ROOT/labels``.
        original: name of the folder of originals.
        versions: names of the versions' folders; None for all others that hold images.
        copies: how many annotators label each set.
        repeats: share of the queue that is shown again.
        repeat_after: so many other sets lie between, or more.
        lease_minutes: see `annotator.masks.MaskTask`.

    Raises:
        InputError: folders or settings that cannot be used.
    """

    name = "ground_truth"
    title = "Ground truths"
    scripts = ("saving.js", "flow.js", "ground_truth.js")

    def __init__(
        self,
        root: str | Path,
        output_dir: str | Path,
        labels: str | Path | None = None,
        original: str = ORIGINAL,
        versions: Sequence[str] | None = None,
        copies: int = 3,
        repeats: float = 0.05,
        repeat_after: int = 10,
        lease_minutes: float = 30,
    ) -> None:
        if copies < 1:
            raise InputError(f"task.copies={copies}; give 1 or more")
        if not 0 <= repeats < 1:
            raise InputError(f"task.repeats={repeats}; give a share, 0 for none")
        self.root, self.output_dir = Path(root), Path(output_dir)
        self.labels = self.root / "labels" if labels is None else Path(labels)
        self.copies, self.repeats, self.repeat_after = copies, repeats, max(1, repeat_after)
        self.lease_seconds = 60 * lease_minutes
        folder = self.root / original
        if not folder.is_dir():
            raise InputError(
                f"{folder}: no such folder; root=DIR must hold the originals in it, and one folder "
                "a version beside it (task.original=NAME for another name)"
            )
        self.versions = sorted(versions) if versions else self._find_versions(original)
        if not self.versions:
            raise InputError(f"{self.root}: no versions beside {original}; a folder each")
        folders = {version: self.root / version for version in self.versions}
        matches = match_folders({ORIGINAL: folder, **folders})
        self.sets = {match.key: match.paths for match in matches if match.error is None}
        if not self.sets:
            raise InputError(f"{self.root}: no image is in all folders; {matches[0].error}")

    def _find_versions(self, original: str) -> list[str]:
        found = []
        for path in sorted(self.root.iterdir()):
            hidden = path.name.startswith(".") or path in (self.labels, self.output_dir)
            if path.is_dir() and not hidden and path.name != original:
                try:
                    find_images(path)
                except InputError:
                    continue
                found.append(path.name)
        return found

    def start(self, store: Store) -> None:
        """Take the database, and say what there is to do."""
        self.store, self.journal = store, Journal(store)
        store.set_items([(key, {}) for key in self.sets])
        store.clear_priorities()

    def stop(self) -> None:
        """Nothing runs beside."""

    def describe(self) -> dict[str, Any]:
        """What the page needs to know before the first set."""
        return {"labels": list(LABELS), "versions": len(self.versions)}

    # --- opening

    def next(
        self, annotator: Annotator, without: Sequence[int] = (), opened: bool = True
    ) -> dict[str, Any] | None:
        """The next set for an annotator: one of their own again, or one that is new to them."""
        again = self._due_again(annotator, without)
        if again is not None:
            return self._payload(again, annotator, 1)
        item = self.store.claim(
            annotator,
            copies=self.copies,
            seconds=self.lease_seconds,
            opened=opened,
            without=without,
        )
        return None if item is None else self._payload(item, annotator, 0)

    def _due_again(self, annotator: Annotator, without: Sequence[int]) -> Item | None:
        works = self.journal.works("annotator = ? AND status = 'done'", annotator.id)
        done = sorted((w for w in works if not w.repeat), key=lambda work: work.finished or 0)
        open_again = self.journal.works(
            "annotator = ? AND repeat = 1 AND status = 'open'", annotator.id
        )
        shown = {work.item for work in works if work.repeat}
        if not open_again and len(done) * self.repeats < len(shown) + 1:
            return None
        candidates = [work.item for work in open_again] + [
            work.item for work in done[: -self.repeat_after] if work.item not in shown
        ]
        for number in candidates:
            item = self.store.item(number)
            if item is not None and number not in without:
                return item
        return None

    def open(self, item: Item, annotator: Annotator, repeat: int = 0) -> dict[str, Any]:
        """A certain set, lent to the annotator.

        Raises:
            Conflict: it is with as many others as label it.
        """
        self._lend(item, annotator, repeat)
        return self._payload(item, annotator, repeat)

    def _lend(self, item: Item, annotator: Annotator, repeat: int) -> None:
        # Whoever is shown a set again had it before.
        if not repeat and not self.store.lend(
            item, annotator, copies=self.copies, seconds=self.lease_seconds
        ):
            raise Conflict(f"{item.key} is with other annotators")

    def _payload(self, item: Item, annotator: Annotator, repeat: int) -> dict[str, Any]:
        work = self.journal.begin(item, annotator, repeat=repeat)
        view = secrets.token_urlsafe(6)
        order = self.order(item, annotator, view)
        paths = self.sets[item.key]
        sizes = [image_size(paths[name]) for name in (ORIGINAL, *order)]
        layers = [
            {
                "name": _letter(place),
                "url": f"sets/{item.id}/{view}/{place}?v={stamp(paths[name])}",
                "width": sizes[place][1],
            }
            for place, name in enumerate((ORIGINAL, *order))
        ]
        labels = self._labels_of(work)
        states = [action.state for action in self.journal.actions(work)]
        return {
            "id": item.id,
            "repeat": repeat,
            "view": view,
            "key": item.key,
            "width": max(width for _, width in sizes),
            "height": max(height for height, _ in sizes),
            "layers": layers,
            "labels": [labels.get(version) for version in order],
            "undo": states.count("done"),
            "redo": states.count("undone"),
            "version": work.version,
            "status": work.status,
        }

    def order(self, item: Item, annotator: Annotator, view: str) -> list[str]:
        """The versions in the order of a view, which the view's name decides."""
        draw = random.Random(f"{item.key} {annotator.link} {view}")
        return draw.sample(self.versions, len(self.versions))

    def picture(self, item: Item, annotator: Annotator, view: str, place: int) -> Path | None:
        """The file at a place of a view; place 0 is the original."""
        names = [ORIGINAL, *self.order(item, annotator, view)]
        return self.sets[item.key][names[place]] if 0 <= place < len(names) else None

    # --- doing

    def label(
        self,
        item: Item,
        annotator: Annotator,
        step: Step,
        repeat: int,
        view: str,
        place: int,
        label: Label,
    ) -> int:
        """Label the picture at a place of a view; the work's version.

        Raises:
            Conflict: the set is with others, or was labelled elsewhere meanwhile.
            InputError: there is no such place, or the original is there.
        """
        self._lend(item, annotator, repeat)
        order = self.order(item, annotator, view)
        if not 1 <= place <= len(order):
            raise InputError(f"{item.key}: no version is at place {place}")
        work = self.journal.begin(item, annotator, repeat=repeat)
        detail = {"version": order[place - 1], "label": label, "view": view, "shown": order}
        self.journal.act(work, step, "label", detail)
        self._export(item, annotator, repeat)
        return step.version

    def turn(
        self,
        item: Item,
        annotator: Annotator,
        step: Step,
        repeat: int,
        direction: Literal["undo", "redo"],
    ) -> int:
        """Undo or do again. Raises as `label`."""
        self._lend(item, annotator, repeat)
        work = self.journal.begin(item, annotator, repeat=repeat)
        self.journal.turn(work, step, direction)
        self._export(item, annotator, repeat)
        return step.version

    def finish(
        self, item: Item, annotator: Annotator, step: Step, repeat: int, status: Status
    ) -> int:
        """Say that a set is done, skipped or open again.

        Raises:
            Conflict: as `label`.
            InputError: it is to be done and versions have no label.
        """
        self._lend(item, annotator, repeat)
        work = self.journal.begin(item, annotator, repeat=repeat)
        if status == "done" and set(self._labels_of(work)) != set(self.versions):
            raise InputError(f"{item.key}: not all versions have a label")
        self.journal.finish(work, step, status)
        self._export(item, annotator, repeat)
        if status != "open" and not repeat:
            self.store.release(item, annotator)
        if repeat:
            self._write_self_agreement()
        return step.version

    def _labels_of(self, work: Work) -> dict[str, Label]:
        return {action.detail["version"]: action.detail["label"] for action in self._said(work)}

    def _said(self, work: Work) -> list[Action]:
        actions = self.journal.actions(work)
        return [a for a in actions if a.state == "done" and a.detail["version"] in self.versions]

    # --- files

    def _export(self, item: Item, annotator: Annotator, repeat: int) -> None:
        work = self.journal.begin(item, annotator, repeat=repeat)
        said, paths = self._said(work), self.sets[item.key]
        labels = {action.detail["version"]: action.detail["label"] for action in said}
        tagging = Tagging(
            {version: labels.get(version) for version in self.versions},
            {name: paths[name].name for name in (ORIGINAL, *self.versions)},
            datetime.fromtimestamp(work.opened),
            datetime.fromtimestamp(said[-1].at) if said else None,
            round(work.seconds),
            tuple(said[-1].detail["shown"]) if said else (),
        )
        folder = self.output_dir / REPEATS if repeat else self.labels
        write_tagging(folder / annotator.name / f"{item.key}.json", tagging)

    def self_agreement(self) -> dict[str, dict[str, Any]]:
        """Each annotator against himself, on the sets that were shown again.

        Returns:
            by name: ``sets``, ``labels``, the share of them that is ``equal``, and Cohen's
            ``kappa`` (None where it is undefined).
        """
        found = {}
        for annotator in self.store.annotators():
            first: list[int] = []
            second: list[int] = []
            again = self.journal.works(
                "annotator = ? AND repeat = 1 AND status = 'done'", annotator.id
            )
            for work in again:
                before = self.journal.works(
                    "annotator = ? AND item = ? AND repeat = 0", annotator.id, work.item
                )
                old, new = self._labels_of(before[0]), self._labels_of(work)
                both = [version for version in self.versions if version in old and version in new]
                first += [LABELS.index(old[version]) for version in both]
                second += [LABELS.index(new[version]) for version in both]
            if first:
                ratings = np.stack([first, second], axis=1)
                kappa = cohen_kappa(ratings[:, 0], ratings[:, 1], len(LABELS))
                found[annotator.name] = {
                    "sets": len(again),
                    "labels": len(first),
                    "equal": round(observed_agreement(ratings, len(LABELS)), 6),
                    "kappa": None if math.isnan(kappa) else round(kappa, 6),
                }
        return found

    def _write_self_agreement(self) -> None:
        found: Mapping[str, Any] = self.self_agreement()
        write_text(self.output_dir / SELF_AGREEMENT, json.dumps(found, indent=2) + "\n")


def _letter(place: int) -> str:
    return "Original" if place == 0 else chr(ord("A") + place - 1) if place <= 26 else str(place)
