"""Sets of folders, one a role: the DeSRA release, and any other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datamodules.benchmark_sets.base import BenchmarkImage, BenchmarkSet
from datamodules.roles import Role, locate_roles
from desra.benchmark_labels import LabelPart
from desra.errors import InputError
from desra.files import find_images
from desra.labelme import find_gt_masks
from desra.region_scores import find_scores, read_scores

_ROLES = {
    "gan_sr": Role(),
    "mse_sr": Role(required=False),
    "lr": Role(required=False),
}


class Release(BenchmarkSet):
    """DeSRA's release: ``<method>/{LR,MSE-SR,GAN-SR,GT-Mask}/``, also what detect.py leaves.

    Scores of regions are read from ``regions.csv`` or ``.json`` in ``GT-Mask/`` or beside it, or
    from ``scores`` (see `desra.region_scores`). With several methods all of them are taken, and
    keys begin with the method's name.

    Args:
        root: the set's folder.
        method: one method's; None for all there are.
        scores: file of scores, in the place of the one beside the labels.
        gt_root: folder of other labels, in the place of ``GT-Mask``; of one method.
        labelled: take only images that have a label file; otherwise no label means no artifact.
        kwargs: of `BenchmarkSet`.
    """

    home = "https://github.com/TencentARC/DeSRA"
    licence = "of the DeSRA release, for research"

    def __init__(
        self,
        root: str | Path | None,
        method: str | None = None,
        scores: str | Path | None = None,
        gt_root: str | Path | None = None,
        labelled: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.method, self.scores, self.labelled = method, scores, labelled
        self.gt_root = gt_root

    def find(self) -> Iterable[BenchmarkImage]:
        """See the class."""
        methods: list[str | None] = [self.method]
        if self.method is None and not (self.folder / "GAN-SR").is_dir():
            methods = [
                child.name for child in sorted(self.folder.iterdir()) if (child / "GAN-SR").is_dir()
            ]
        for method in methods:
            own = {"gt_mask": Role(self.gt_root, "label")}
            roles = locate_roles({**_ROLES, **own}, self.folder, method)
            folders = {name: role.folder for name, role in roles.items()}
            prefix = f"{method}/" if len(methods) > 1 else ""
            yield from self._of_method(folders, prefix)

    def _of_method(self, folders: Mapping[str, Path], prefix: str) -> Iterable[BenchmarkImage]:
        roles = ("gan_sr", "mse_sr", "lr")
        images = {role: find_images(folders[role]) for role in roles if role in folders}
        beside = folders["gan_sr"].parent
        if (beside / "HR").is_dir():
            images["hr"] = find_images(beside / "HR")
        labels = find_gt_masks(folders["gt_mask"])
        path = self.scores or find_scores(folders["gt_mask"])
        scores = read_scores(path) if path is not None else {}
        for key in images["gan_sr"]:
            if self.labelled and key not in labels:
                continue
            paths = {role: there[key][0] for role, there in images.items() if key in there}
            points = tuple(scores.get(key, ()))
            parts = tuple(LabelPart(path, points=points) for path in labels.get(key, [])[:1])
            yield BenchmarkImage(prefix + key, paths, parts)


class Folder(BenchmarkSet):
    """Any folder: one subfolder a role, matched by relative path.

    Args:
        root: the set's folder.
        names: role to subfolder.
        scores: file of scores of the labelled regions, or None.
        kwargs: of `BenchmarkSet`.
    """

    def __init__(
        self,
        root: str | Path | None,
        names: Mapping[str, str] | None = None,
        scores: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        default = {"gan_sr": "sr", "gt_mask": "masks", "lr": "lr", "hr": "hr", "mse_sr": "mse"}
        self.names = {**default, **(names or {})}
        self.scores = scores

    def find(self) -> Iterable[BenchmarkImage]:
        """See the class."""
        there = {role: self.folder / name for role, name in self.names.items()}
        for role in ("gan_sr", "gt_mask"):
            if not there[role].is_dir():
                raise InputError(f"{there[role]}: no such folder; name it with names.{role}=FOLDER")
        labels = find_gt_masks(there.pop("gt_mask"))
        images = {role: find_images(path) for role, path in there.items() if path.is_dir()}
        path = self.scores or find_scores(self.folder / self.names["gt_mask"])
        scores = read_scores(path) if path is not None else {}
        for key in images["gan_sr"]:
            paths = {role: found[key][0] for role, found in images.items() if key in found}
            points = tuple(scores.get(key, ()))
            parts = tuple(LabelPart(path, points=points) for path in labels.get(key, [])[:1])
            yield BenchmarkImage(key, paths, parts)
