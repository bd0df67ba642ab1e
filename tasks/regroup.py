"""Sets of patches in groups, one for each annotator's round."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from rich.progress import track

from desra.errors import InputError
from desra.files import link_or_copy, write_text
from desra.hggt_labels import ORIGINAL
from desra.hggt_sets import GroundTruthSet, find_sets
from tasks.manifest import Manifest


class Regroup:
    """Deal sets out to groups by chance, in HGGT's layout.

    Group i of n sets is ``{i:02d}_subdir/`` with ``images{A}-{B}/{original,01,…}``, an empty
    ``labels{A}-{B}/tagging`` for its annotators, and the names of its originals, sorted, in
    ``img_info_{A}-{B}.txt``; A = (i - 1) n, B = i n.

    Args:
        input: a folder that holds ``original/`` and a folder a version.
        output_dir: gets the groups.
        size: sets a group; the last one may have fewer.
        seed: another seed, other groups.
        copy: copy pictures; False: give them a second name (a hard link) where that is possible.

    Raises:
        InputError: a size below 1.
    """

    def __init__(
        self,
        input: str | Path,
        output_dir: str | Path,
        size: int = 1000,
        seed: int = 0,
        copy: bool = False,
    ) -> None:
        if size < 1:
            raise InputError(f"size={size}: give the number of sets of a group")
        self.input, self.output_dir = Path(input), Path(output_dir)
        self.size, self.seed, self.copy = size, seed, copy

    def run(self) -> list[str]:
        """Deal out all sets; what was left out, a line each."""
        sets, problems = find_sets(self.input)
        keys = hashlib.blake2b("\n".join(one.key for one in sets).encode(), digest_size=16)
        # Other sets would all be dealt out anew, while people may have labelled these already.
        settings = {"seed": self.seed, "size": self.size, "sets": f"{len(sets)} {keys.hexdigest()}"}
        manifest = Manifest(self.output_dir, "regroup", settings, self.input)
        random.Random(self.seed).shuffle(sets)
        starts = range(0, len(sets), self.size)
        for number, start in enumerate(track(starts, "regrouping"), start=1):
            self._write(number, sorted(sets[start : start + self.size], key=lambda one: one.key))
        manifest.write(groups=len(starts))
        print(f"{len(sets)} sets in {len(starts)} groups")
        return problems

    def _write(self, number: int, sets: list[GroundTruthSet]) -> None:
        folder = self.output_dir / f"{number:02d}_subdir"
        span = f"{(number - 1) * self.size}-{number * self.size}"
        for one in sets:
            for version, path in {ORIGINAL: one.original, **one.versions}.items():
                relative = Path(one.key).parent / path.name
                target = folder / f"images{span}" / version / relative
                # Written whole or not at all: what is there was done before.
                if not target.exists() or target.stat().st_size != path.stat().st_size:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    link_or_copy(path, target, self.copy)
        (folder / f"labels{span}" / "tagging").mkdir(parents=True, exist_ok=True)
        names = [f"{Path(one.key).parent / one.original.name}\n" for one in sets]
        write_text(folder / f"img_info_{span}.txt", "".join(names))
