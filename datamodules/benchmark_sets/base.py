"""A benchmark set: where it comes from, and the images that it holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from desra.benchmark_labels import LabelPart
from desra.errors import InputError
from desra.files import find_images


@dataclass(frozen=True)
class BenchmarkImage:
    """An image of a set.

    Attributes:
        key: unique in its set.
        paths: role to file: ``gan_sr``, the output that is judged; references (``mse_sr``, ``hr``,
            ``bicubic``, …); ``lr``; ``after``, the output after finetuning.
        parts: its labels; none where nothing is wrong.
    """

    key: str
    paths: Mapping[str, Path]
    parts: tuple[LabelPart, ...] = field(default=())


class BenchmarkSet(ABC):
    """A set of judged outputs.

    Args:
        root: the set's folder; None where it is not on this machine.
        home: where to get it.
        licence: its terms, in words.
        folders: role to folder, for roles that the set itself has not; matched by key.

    Raises:
        InputError: in `images`, what is missing or damaged.
    """

    home = "your own"
    licence = "your own"

    def __init__(
        self,
        root: str | Path | None,
        home: str | None = None,
        licence: str | None = None,
        folders: Mapping[str, str | Path | None] | None = None,
    ) -> None:
        self.root = None if root is None else Path(root)
        self.home, self.licence = home or self.home, licence or self.licence
        given = {role: Path(path) for role, path in (folders or {}).items() if path is not None}
        self.folders = given

    def missing(self) -> str | None:
        """What is missing and where to get it, in words; None where the set is there."""
        if self.root is not None and self.root.is_dir():
            return None
        place = "no folder given" if self.root is None else f"{self.root}: no such folder"
        return f"{place}; get it from {self.home} (licence: {self.licence})"

    def images(self) -> list[BenchmarkImage]:
        """The images, sorted by key.

        Raises:
            InputError: nothing in the folder, or something damaged.
        """
        found = sorted(self.find(), key=lambda image: image.key)
        if not found:
            raise InputError(f"{self.root}: nothing of its layout in it; see docs/benchmark.md")
        more = {role: find_images(folder) for role, folder in self.folders.items()}
        return [self._with_folders(image, more) for image in found]

    def _with_folders(
        self, image: BenchmarkImage, more: Mapping[str, Mapping[str, list[Path]]]
    ) -> BenchmarkImage:
        paths = dict(image.paths)
        for role, images in more.items():
            if image.key in images:
                paths[role] = images[image.key][0]
        return BenchmarkImage(image.key, paths, image.parts)

    @abstractmethod
    def find(self) -> Iterable[BenchmarkImage]:
        """What the layout holds."""

    @property
    def folder(self) -> Path:
        """The root, which `missing` has found to be there."""
        assert self.root is not None
        return self.root
