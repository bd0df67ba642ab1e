"""A study with people: of two pictures one is chosen, for each question and pair of methods."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from annotator.journal import Journal, Step
from annotator.pictures import stamp
from annotator.store import Annotator, Item, Store
from annotator.study_pictures import Control, control_pair, images_of
from annotator.study_results import Answer, StudyResults, summarise, write_results
from desra.errors import InputError
from desra.images import image_size

log = logging.getLogger(__name__)

Choice = Literal["first", "second", "tie"]


@dataclass(frozen=True)
class Question:
    """What is asked of pairs of pictures.

    Attributes:
        text: the question itself.
        methods: name to what it shows of each image.
        control: what makes one of a control pair worse, or None for no control pairs.
    """

    text: str
    methods: Mapping[str, Mapping[str, Path]]
    control: Control | None = None

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All pairs of methods."""
        return list(combinations(self.methods, 2))


class StudyTask:
    """Two-alternative forced choice, or with a tie, among pairs of any folders or weights.

    The order of pairs is drawn for each participant, the side anew at each view. Control pairs with
    a known answer are strewn in; who answers too few of them right is left out of the results.

    Args:
        output_dir: gets the database, what is made for the study, and the results.
        questions: a list of mappings: ``text``; ``methods``, name to a folder of images or to
            weights (a file or name) that upscale ``lr``; and ``control``, ``artifacts`` (fewer are
            better) or ``detail`` (more is better), or null.
        lr: folder of LR images, where methods are weights.
        images: names (relative paths without suffix) of the images to show; None for all.
        trials: pairs a participant is shown, controls not counted; None for all there are.
        controls: control pairs a participant is shown.
        control_share: who answers less than this share of them right is left out.
        tie: whether "no difference" may be answered.
        instructions: what participants read first.
        seed: of the control pairs.

    Raises:
        InputError: folders, weights or settings that cannot be used.
    """

    name = "study"
    title = "Which one?"
    scripts = ("saving.js", "flow.js", "study.js")

    def __init__(
        self,
        output_dir: str | Path,
        questions: Sequence[Mapping[str, Any]],
        lr: str | Path | None = None,
        images: Sequence[str] | None = None,
        trials: int | None = None,
        controls: int = 4,
        control_share: float = 0.75,
        tie: bool = False,
        instructions: str = "",
        seed: int = 0,
    ) -> None:
        if not questions:
            raise InputError("task.questions: no question; give a text and two methods")
        if not 0 <= control_share <= 1:
            raise InputError(f"task.control_share={control_share}; give a share, 0 to 1")
        self.output_dir = Path(output_dir)
        self.trials, self.controls, self.control_share = trials, controls, control_share
        self.tie, self.instructions = bool(tie), str(instructions)
        wanted = None if images is None else {str(key) for key in images}
        self.questions = [
            _question(number, given, lr, self.output_dir, wanted)
            for number, given in enumerate(questions, 1)
        ]
        self.items: dict[str, dict[str, Any]] = {}
        for number, question in enumerate(self.questions):
            self._add(number, question, wanted)
        self._pairs = sum(not detail["control"] for detail in self.items.values())
        self._controls = min(controls, len(self.items) - self._pairs)
        if not self._pairs:
            raise InputError("task.images: none of these images is of two methods of a question")
        self._draw = random.Random(seed)
        self._made: dict[str, tuple[Path, Path]] = {}

    def _add(self, number: int, question: Question, wanted: set[str] | None) -> None:
        for first, second in question.pairs:
            shared = question.methods[first].keys() & question.methods[second].keys()
            for key in sorted(shared if wanted is None else shared & wanted):
                name = json.dumps([number, first, second, key], ensure_ascii=False)
                self.items[name] = {
                    "question": number, "first": first, "second": second, "image": key,
                    "control": False,
                }  # fmt: skip
        if question.control is None or not self.controls:
            return
        base = next(iter(question.methods.values()))
        keys = sorted(base if wanted is None else base.keys() & wanted)
        for key in keys[: self.controls]:
            name = json.dumps([number, "control", key], ensure_ascii=False)
            self.items[name] = {
                "question": number, "first": "better", "second": "worse", "image": key,
                "control": True,
            }  # fmt: skip

    def start(self, store: Store) -> None:
        """Take the database, and say what there is to answer."""
        self.store, self.journal = store, Journal(store)
        store.set_items(list(self.items.items()))
        store.clear_priorities()

    def stop(self) -> None:
        """Nothing runs beside."""

    def describe(self) -> dict[str, Any]:
        """What the page needs to know before the first pair."""
        return {"tie": self.tie, "instructions": self.instructions, "trials": self._length()}

    def _length(self) -> int:
        """Pairs that each participant is shown, controls among them."""
        return min(self._pairs, self.trials or self._pairs) + self._controls

    # --- asking

    def next(
        self, annotator: Annotator, without: Sequence[int] = (), opened: bool = True
    ) -> dict[str, Any] | None:
        """The participant's next pair; None when all were answered."""
        answered = {
            row["item"]
            for row in self.store.rows(
                "SELECT item FROM work WHERE annotator = ? AND status = 'done'", annotator.id
            )
        }
        passed = answered | set(without)
        items = {item.id: item for item in self.store.items()}
        gone = [items[number] for number in passed if number in items]
        pairs = sum(not item.detail["control"] for item in gone)
        shown = len(gone) - pairs
        length = self._length() - self._controls
        # Control k comes once its share of the pairs was answered.
        due = shown < self._controls and pairs * (self._controls + 1) >= (shown + 1) * length
        if pairs >= length and not due:
            return None
        counts = {
            row["item"]: row["n"]
            for row in self.store.rows(
                "SELECT item, count(*) AS n FROM work WHERE status = 'done' GROUP BY item"
            )
        }
        left = [i for i in items.values() if i.id not in passed and i.detail["control"] == due]
        if not left:
            return None
        # Pairs that few have answered first where nobody is shown all; else a random order.
        fewest = min(counts.get(item.id, 0) for item in left) if length < self._pairs else 0
        choice = min(
            (i for i in left if length == self._pairs or counts.get(i.id, 0) == fewest),
            key=lambda item: _digest(annotator.link, item.key),
        )
        return self._payload(choice, annotator, len(gone))

    def open(self, item: Item, annotator: Annotator) -> dict[str, Any]:
        """A certain pair, as when going back to it."""
        answered = self.store.rows(
            "SELECT 1 FROM work WHERE annotator = ? AND status = 'done'", annotator.id
        )
        return self._payload(item, annotator, len(answered))

    def _payload(self, item: Item, annotator: Annotator, number: int) -> dict[str, Any]:
        work = self.journal.begin(item, annotator)
        view = secrets.token_urlsafe(6)
        layers: list[dict[str, Any]] = []
        for place in (0, 1):
            path = self.picture(item, annotator, view, place)
            height, width = image_size(path)
            layers.append(
                {
                    "name": str(place + 1),
                    "url": f"pairs/{item.id}/{view}/{place}?v={stamp(path)}",
                    "width": width,
                    "height": height,
                }
            )
        return {
            "id": item.id,
            "view": view,
            "question": self.questions[item.detail["question"]].text,
            "layers": layers,
            "width": max(layer["width"] for layer in layers),
            "height": max(layer["height"] for layer in layers),
            "number": number,
            "version": work.version,
            "status": work.status,
        }

    @staticmethod
    def swapped(item: Item, annotator: Annotator, view: str) -> bool:
        """Whether the first of a pair is on the right, which the view's name decides."""
        return _digest(annotator.link, item.key, view)[0] % 2 == 1

    def picture(self, item: Item, annotator: Annotator, view: str, place: int) -> Path:
        """The file on the left (0) or right (1) of a view."""
        side = place ^ self.swapped(item, annotator, view)
        detail = item.detail
        question = self.questions[detail["question"]]
        if detail["control"]:
            if item.key not in self._made:
                assert question.control is not None
                source = next(iter(question.methods.values()))[detail["image"]]
                folder = self.output_dir / "controls" / str(detail["question"])
                self._made[item.key] = control_pair(
                    source, folder, detail["image"], question.control
                )
            return self._made[item.key][side]
        return question.methods[(detail["first"], detail["second"])[side]][detail["image"]]

    def answer(
        self,
        item: Item,
        annotator: Annotator,
        step: Step,
        view: str,
        choice: Literal["left", "right", "tie"],
    ) -> int:
        """Note an answer, and bring the table of votes up to date; the work's version.

        Raises:
            Conflict: it was answered elsewhere meanwhile.
            InputError: a tie where none is allowed.
        """
        if choice == "tie" and not self.tie:
            raise InputError("choose one of the two")
        swapped = self.swapped(item, annotator, view)
        said: Choice = "tie"
        if choice != "tie":
            said = "second" if (choice == "right") != swapped else "first"
        left = item.detail["second" if swapped else "first"]
        detail = {"choice": said, "left": left, "view": view, "seconds": round(step.seconds, 2)}
        self.journal.answer(self.journal.begin(item, annotator), step, detail)
        self.write()
        return step.version

    # --- results

    def answers(self) -> list[Answer]:
        """The last answer of each participant to each pair."""
        rows = self.store.rows(
            "SELECT item.detail AS item, name, action.detail AS detail, at FROM action "
            "JOIN work ON work.id = work JOIN item ON item.id = work.item "
            "JOIN annotator ON annotator.id = annotator WHERE action.id IN "
            "(SELECT max(id) FROM action WHERE state = 'done' GROUP BY work) ORDER BY action.id"
        )
        found = []
        for row in rows:
            item, said = json.loads(row["item"]), json.loads(row["detail"])
            found.append(
                Answer(
                    participant=row["name"],
                    question=item["question"],
                    control=item["control"],
                    image=item["image"],
                    first=item["first"],
                    second=item["second"],
                    choice=said["choice"],
                    left=said["left"],
                    seconds=said["seconds"],
                    at=row["at"],
                )
            )
        return found

    def results(self) -> StudyResults:
        """Shares, intervals, tests and scores of what was answered so far."""
        return summarise(
            [question.text for question in self.questions], self.answers(), self.control_share
        )

    def write(self) -> None:
        """``votes.csv``: a row a vote."""
        write_results(self.output_dir, self.answers())


def _question(
    number: int,
    given: Mapping[str, Any],
    lr: str | Path | None,
    output_dir: Path,
    wanted: set[str] | None,
) -> Question:
    text, methods = str(given.get("text") or ""), given.get("methods")
    if not text:
        raise InputError(f"task.questions: question {number} has no text")
    if not isinstance(methods, Mapping) or len(methods) < 2:
        raise InputError(f"task.questions: {text!r} needs methods, a name and a folder for each")
    control = given.get("control")
    if control not in (None, "artifacts", "detail"):
        raise InputError(f"task.questions: control={control}; give artifacts, detail or null")
    found = {
        str(name): images_of(str(name), source, lr, output_dir, wanted)
        for name, source in methods.items()
    }
    return Question(text, found, control)


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).digest()
