"""The images of a benchmark: each of a set's outputs with each reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.benchmark_sets import BenchmarkImage, BenchmarkSet
from datamodules.image_folders import MatchedImages
from desra.benchmark_labels import LabelPart
from desra.errors import InputError
from desra.files import Match

MADE = ("bicubic",)
"""References that need nothing but LR."""


@dataclass(frozen=True)
class BenchmarkMatch(Match):
    """An output, a reference and the labels; its key is ``set/reference/image``.

    Attributes:
        set_name: as the benchmark calls it.
        reference: role of what the output is compared with.
        parts: labels.
    """

    set_name: str = ""
    reference: str = ""
    parts: tuple[LabelPart, ...] = ()

    @property
    def identity(self) -> str:
        """With its boxes, scores and levels, which are in no file of its own."""
        labels = [(part.box, part.score, part.level, part.points) for part in self.parts]
        return f"{self.key} {labels}"


class BenchmarkImages(MatchedImages):
    """Every output of the sets, once for each reference, for `Trainer.predict`.

    Args:
        sets: by the names that tables show.
        references: roles: ``mse_sr``, ``hr``, ``bicubic`` (made from LR), or any other that the
            sets have or ``weights`` make.
        weights: role to weights that make it from LR, or None; ``after`` among them is the output
            after finetuning.
        num_workers: see `MatchedImages`.
        batch_size: likewise.

    Raises:
        InputError: a set is not there: all that are missing are named, with where to get them and
            under which licence; or a reference can neither be read nor made.
    """

    def __init__(
        self,
        sets: Mapping[str, BenchmarkSet],
        references: Sequence[str],
        weights: Mapping[str, str | None] | None = None,
        num_workers: int | None = None,
        batch_size: int = 1,
    ) -> None:
        if not sets or not references:
            raise InputError("benchmark.sets and benchmark.references: give at least one of each")
        made = {role for role, file in (weights or {}).items() if file is not None}
        lines = [f"{name}: {line}" for name, one in sets.items() if (line := one.missing())]
        if lines:
            raise InputError(
                f"benchmark sets are not here: {'; '.join(lines)}. Give roots.NAME=DIR, or leave a "
                "set out of the table with '~benchmark.sets.NAME'"
            )
        matches = [
            match
            for name, one in sets.items()
            for image in one.images()
            for match in _matches(name, image, references, made)
        ]
        super().__init__(matches, num_workers, batch_size)


def _matches(
    set_name: str, image: BenchmarkImage, references: Sequence[str], made: set[str]
) -> list[Match]:
    after = {role: image.paths[role] for role in ("after",) if role in image.paths}
    if "after" in made:
        after = {}
    found: list[Match] = []
    for reference in references:
        paths: dict[str, Path] = {"gan_sr": image.paths["gan_sr"]}
        if reference in image.paths and reference not in made:
            paths["mse_sr"] = image.paths[reference]
        elif reference not in (*MADE, *made):
            raise InputError(
                f"{set_name}: {image.key} has no reference {reference}; give its folder with "
                f"benchmark.sets.{set_name}.folders.{reference}=DIR, or weights that make it from "
                f"LR with weights.{reference}=FILE, or leave it out of benchmark.references"
            )
        if ("mse_sr" not in paths or "after" in made) and "lr" not in image.paths:
            raise InputError(f"{set_name}: {image.key} has no LR to make {reference} from")
        if "lr" in image.paths:
            paths["lr"] = image.paths["lr"]
        key = f"{set_name}/{reference}/{image.key}"
        paths |= after
        match = BenchmarkMatch(
            key, paths, set_name=set_name, reference=reference, parts=image.parts
        )
        found.append(match)
    return found
