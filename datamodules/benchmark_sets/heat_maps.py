"""Sets whose labels are heat maps: SR-Ground and QualiSR."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from datamodules.benchmark_sets.base import BenchmarkImage, BenchmarkSet
from desra.benchmark_labels import LabelPart
from desra.errors import InputError
from desra.files import IMAGE_SUFFIXES, find_images


class SRGround(BenchmarkSet):
    """SR-Ground: ``datasets/<sr>_<preset>/`` with ``X``, ``X@LR@``, ``X@RF@``, ``X@SR@``, and heat
    maps ``outputs/<sr>_<preset>/<kind>/X.npy.gz``.

    ``X@SR@`` is judged; ``X`` is the original (``hr``), ``X@RF@`` the bicubic reference.

    Args:
        root: the set's folder.
        kind: of the heat maps: ``sr_artifacts`` or ``real_distortions``.
        level: from it on a heat map marks an artifact.
        subset: ``<sr>_<preset>``; None for all.
        kwargs: of `BenchmarkSet`.
    """

    home = "https://huggingface.co/datasets/Divotion/SR-Ground"
    licence = "of the data set's page"

    def __init__(
        self,
        root: str | Path | None,
        kind: str = "sr_artifacts",
        level: float = 0.5,
        subset: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.kind, self.level, self.subset = kind, level, subset

    def find(self) -> Iterable[BenchmarkImage]:
        """See the class."""
        parent = self.folder / "datasets"
        if not parent.is_dir():
            raise InputError(f"{parent}: no such folder; give the folder that holds datasets/")
        for folder in sorted(child for child in parent.iterdir() if child.is_dir()):
            if self.subset in (None, folder.name):
                yield from self._of_subset(folder)

    def _of_subset(self, folder: Path) -> Iterable[BenchmarkImage]:
        files = {
            path.stem: path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES
        }
        tags = {"gan_sr": "@SR@", "hr": "", "bicubic": "@RF@", "lr": "@LR@"}
        for name in sorted(files):
            if "@" in name or f"{name}@SR@" not in files:
                continue
            paths = {role: files[name + tag] for role, tag in tags.items() if name + tag in files}
            heat = self.folder / "outputs" / folder.name / self.kind / f"{name}.npy.gz"
            if not heat.is_file():
                raise InputError(f"{heat}: no such heat map; fetch the whole set")
            yield BenchmarkImage(
                f"{folder.name}/{name}", paths, (LabelPart(heat, level=self.level),)
            )


class QualiSR(BenchmarkSet):
    """QualiSR-Set120: ``hr/ lr/ sr/<method>/ ref/<reference>/ heatmaps/<method>/<id>.npy.gz``.

    Args:
        root: the set's folder.
        methods: of ``sr/``; None for all.
        level: from it on a heat map marks an artifact.
        kwargs: of `BenchmarkSet`.
    """

    home = "https://github.com/msu-video-group (QualiSR-Lab)"
    licence = "of the data set's page"

    def __init__(
        self,
        root: str | Path | None,
        methods: Sequence[str] | None = None,
        level: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.methods, self.level = methods, level

    def find(self) -> Iterable[BenchmarkImage]:
        """See the class."""
        shared: dict[str, dict[str, list[Path]]] = {}
        for role in ("hr", "lr"):
            if (self.folder / role).is_dir():
                shared[role] = find_images(self.folder / role)
        if (self.folder / "ref").is_dir():
            for child in sorted((self.folder / "ref").iterdir()):
                if child.is_dir():
                    shared[child.name.lower()] = find_images(child)
        if not (self.folder / "sr").is_dir():
            raise InputError(f"{self.folder / 'sr'}: no such folder; fetch the whole set")
        for method in sorted(child for child in (self.folder / "sr").iterdir() if child.is_dir()):
            if self.methods is not None and method.name not in self.methods:
                continue
            for key, found in find_images(method).items():
                heat = self.folder / "heatmaps" / method.name / f"{key}.npy.gz"
                if not heat.is_file():
                    raise InputError(f"{heat}: no such heat map; fetch the whole set")
                paths = {role: there[key][0] for role, there in shared.items() if key in there}
                parts = (LabelPart(heat, level=self.level),)
                yield BenchmarkImage(f"{method.name}/{key}", {"gan_sr": found[0], **paths}, parts)
