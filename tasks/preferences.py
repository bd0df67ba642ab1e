"""What people prefer, for other trainers: a folder of positives, and pairs of winner and loser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from rich.progress import track

from desra.errors import InputError, describe
from desra.files import link_or_copy, write_table, write_text
from desra.hggt_labels import ORIGINAL, Ties
from desra.hggt_sets import GroundTruthSet, find_sets
from desra.ledger import Ledger, Row
from tasks.manifest import Manifest

COLUMNS = (
    *("set", "win", "lose", "win_version", "lose_version", "win_label", "lose_label"),
    *("win_votes", "lose_votes", "voters"),
)


class Preferences:
    """Write ``positives/``, ``positives.txt``, ``pairs.csv`` and ``pairs.jsonl``.

    In a pair the winner is a Positive and the loser the original or a Negative, or the winner is
    the original and the loser a Negative; Similar is a tie with the original, and in no pair. Paths
    are relative to the sets' folder. The original has no votes.

    Args:
        gt_root: holds ``original/`` and a folder a version.
        labels: one folder an annotator; HGGT's or DiffIQA's files.
        output_dir: gets all that.
        ties: of votes: ``"similar"`` or ``"drop"``.
        copy: copy positives; False: give them a second name (a hard link) where that is possible.
    """

    def __init__(
        self,
        gt_root: str | Path,
        labels: str | Path,
        output_dir: str | Path,
        ties: Ties = "similar",
        copy: bool = False,
    ) -> None:
        if ties not in ("similar", "drop"):
            raise InputError(f"ties={ties}: give similar or drop")
        self.gt_root, self.labels, self.output_dir = Path(gt_root), labels, Path(output_dir)
        self.ties, self.copy = ties, copy

    def run(self) -> list[str]:
        """Export all labelled sets; what could not be used, a line each."""
        sets, problems = find_sets(self.gt_root, self.labels, self.ties)
        settings = {"ties": self.ties}
        manifest = Manifest(self.output_dir, "preferences", settings, self.gt_root)
        ledger = Ledger(self.output_dir, "preferences", settings)
        positives: list[str] = []
        rows: list[Row] = []
        for one in track(sets, "exporting"):
            try:
                self._link(one, ledger)
            except (InputError, OSError) as error:
                problems.append(describe(error, one.key))
                continue
            positives += [self._relative(one.versions[name]) for name in one.voted("Positive")]
            rows += self.pairs(one)
        write_text(self.output_dir / "positives.txt", "".join(f"{path}\n" for path in positives))
        write_table(self.output_dir / "pairs.csv", rows, COLUMNS)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text(self.output_dir / "pairs.jsonl", "".join(lines))
        counts = {"sets": len(sets), "positives": len(positives), "pairs": len(rows)}
        manifest.write(**counts)
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
        return problems

    def pairs(self, one: GroundTruthSet) -> Iterator[Row]:
        """Rows of `COLUMNS`, positives against the original first."""
        positives, negatives = one.voted("Positive"), one.voted("Negative")
        voters = max((vote.voters for vote in one.votes.values()), default=0)
        for winner, loser in (
            *product(positives, (ORIGINAL,)),
            *product((ORIGINAL,), negatives),
            *product(positives, negatives),
        ):
            sides = {"win": self._side(one, winner), "lose": self._side(one, loser)}
            row = {f"{side}_{name}": each[name] for side, each in sides.items() for name in each}
            paths = {side: row.pop(f"{side}_path") for side in sides}
            yield {"set": one.key, **paths, **row, "voters": voters}

    def _side(self, one: GroundTruthSet, version: str) -> dict[str, Any]:
        if version == ORIGINAL:
            path, label, votes = one.original, "Original", None
        else:
            vote = one.votes[version]
            path, label, votes = one.versions[version], str(vote.label), vote.votes
        return {"path": self._relative(path), "version": version, "label": label, "votes": votes}

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.gt_root).as_posix()

    def _link(self, one: GroundTruthSet, ledger: Ledger) -> None:
        """Positives as ``positives/SET_VERSION_2of3.png``, and none that is one no more."""
        targets = {}
        for version in one.voted("Positive"):
            path, vote = one.versions[version], one.votes[version]
            name = f"{one.key}_{version}_{vote.votes}of{vote.voters}{path.suffix}"
            targets[self.output_dir / "positives" / name] = path
        mark = ledger.fingerprint(f"{one.key} {sorted(map(str, targets))}", targets.values())
        if ledger.finished(one.key, mark) is None:
            ledger.clear(one.key)
            for target, path in targets.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(path, target, self.copy)
            ledger.record(one.key, mark, {"image": one.key}, list(targets))
