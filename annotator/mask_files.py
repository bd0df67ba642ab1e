"""The files of a mask annotation: pictures and masks to begin with, and what is written of it.

Written at every step, each beside its place and renamed into it: ``GT-Mask/KEY.png``, LabelMe's and
COCO's JSON where asked for, ``regions.csv`` with the votes, and ``annotations/masks.csv``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from annotator.journal import RegionVote
from datamodules.roles import FOLDER_NAMES
from desra.coco import is_coco, read_coco, write_coco
from desra.errors import InputError
from desra.files import IMAGE_SUFFIXES, find_images, match_folders, write_table
from desra.images import image_size, write_png
from desra.labelme import find_gt_masks, read_gt_mask
from desra.labelme_writing import Shapes, write_labelme
from desra.masks import read_mask_image
from desra.region_scores import read_regions
from desra.rim import read_mask_of

LABELME, COCO = "GT-LabelMe", "GT-COCO"
SCORES, SCORES_BEFORE = "regions.csv", "regions_before.csv"
SCORE_COLUMNS = ("image", "x", "y", "score", "votes", "kind")
LAYERS = {"lr": "LR", "mse_sr": "MSE-SR", "gan_sr": "GAN-SR"}


@dataclass(frozen=True)
class ImageFiles:
    """The files of one image, by role, and the height and width of GAN-SR."""

    key: str
    paths: Mapping[str, Path]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of GAN-SR and its masks."""
        return image_size(self.paths["gan_sr"])


class MaskFiles:
    """Finds, reads and writes the files below one root.

    Args:
        root: holds ``MSE-SR`` and ``GAN-SR``, and perhaps ``LR``, ``DeSRA-Mask``, ``GT-Mask``.
        output_dir: gets what is not part of an artifact set.
        labels: more labels to begin with: a folder of masks or LabelMe's JSON, or a COCO dataset.
        labelme: also write LabelMe's JSON, with regions as polygons or masks.
        coco: also write COCO's JSON.
        copies: how many annotators do each image. Of several, each one's masks are in
            ``OUTPUT_DIR/NAME/GT-Mask``, and ``GT-Mask`` has the majority's once all have done it.

    Raises:
        InputError: folders that are missing, or no image that both upscalings have.
    """

    def __init__(
        self,
        root: Path,
        output_dir: Path,
        labels: str | Path | None = None,
        labelme: Shapes | None = None,
        coco: bool = False,
        copies: int = 1,
    ) -> None:
        self.root, self.output_dir = root, output_dir
        self.labelme, self.coco, self.copies = labelme, coco, copies
        folders = {role: root / FOLDER_NAMES[role] for role in (*LAYERS, "mask")}
        for role in ("mse_sr", "gan_sr"):
            if not folders[role].is_dir():
                raise InputError(
                    f"{folders[role]}: no such folder; root=DIR must hold MSE-SR and GAN-SR, as "
                    "detect.py leaves them"
                )
        optional = {
            role: folder
            for role, folder in folders.items()
            if role not in ("mse_sr", "gan_sr") and _has_images(folder)
        }
        needed = {role: folders[role] for role in ("mse_sr", "gan_sr")}
        matches = match_folders(needed, optional)
        self.images = {m.key: ImageFiles(m.key, m.paths) for m in matches if m.error is None}
        self.left_out = [f"{match.key}: {match.error}" for match in matches if match.error]
        if not self.images:
            raise InputError(f"{root}: no image is in both MSE-SR and GAN-SR; {self.left_out[0]}")
        self._labels = _Labels(labels) if labels is not None else None
        self._gt_folder = root / FOLDER_NAMES["gt_mask"]
        self._gt = find_gt_masks(self._gt_folder) if _has_labels(self._gt_folder) else {}
        self._others = self._read_others()
        self.rows: dict[str, list[dict[str, Any]]] = {}

    # --- what it begins with

    def first_mask(self, image: ImageFiles) -> tuple[NDArray[np.bool_], str]:
        """The mask to begin with, and where it is from: labels, else what was detected, else none.

        Raises:
            InputError: it cannot be read, or is of another size.
        """
        size = image.size
        gt = self.gt_path(image.key)
        if gt.is_file() and self.copies == 1:
            return read_mask_of(gt, size), "labelled"
        if self._labels is not None and (mask := self._labels.read(image.key)) is not None:
            if mask.shape != size:
                raise InputError(f"{self._labels.source}: {image.key} is labelled at another size")
            return mask, "labelled"
        if self._gt.get(image.key) and self.copies == 1:
            return read_mask_of(self._gt[image.key][0], size), "labelled"
        if "mask" in image.paths:
            return read_mask_of(image.paths["mask"], size), "detected"
        return np.zeros(size, bool), "empty"

    # --- what is written

    def gt_path(self, key: str, annotator: str | None = None) -> Path:
        """The labelled mask of an image, or one annotator's where several do each."""
        return self._folder(annotator) / FOLDER_NAMES["gt_mask"] / f"{key}.png"

    def _folder(self, annotator: str | None) -> Path:
        return self.root if annotator is None else self.output_dir / annotator

    def write_mask(
        self,
        image: ImageFiles,
        mask: NDArray[np.bool_],
        votes: Sequence[RegionVote] = (),
        annotator: str | None = None,
    ) -> None:
        """Write an image's labelled mask in every format asked for.

        Args:
            image: the image.
            mask: ``(H, W)`` bool.
            votes: on its regions; their kinds become labels of LabelMe's shapes.
            annotator: whose it is, where several do each image.
        """
        if annotator is None:
            self._put_aside(image.key)
        folder = self._folder(annotator)
        write_png(self.gt_path(image.key, annotator), mask)
        if self.labelme is not None:
            kinds = [(vote.x, vote.y, vote.kind) for vote in votes if vote.kind]
            kinds = [kind for kind in kinds if kind[1] < mask.shape[0] and kind[0] < mask.shape[1]]
            path = folder / LABELME / f"{image.key}.json"
            write_labelme(path, mask, image.paths["gan_sr"], self.labelme, kinds=kinds)
        if self.coco:
            path = folder / COCO / f"{image.key}.json"
            write_coco(path, [(image.key, mask, image.paths["gan_sr"].name)])

    def write_all_coco(self) -> Path:
        """All labelled masks as one COCO dataset.

        Raises:
            InputError: a mask that cannot be read.
        """
        path = self.output_dir / "coco.json"
        there = [image for image in self.images.values() if self.gt_path(image.key).is_file()]
        write_coco(
            path,
            (
                (image.key, read_mask_image(self.gt_path(image.key)), image.paths["gan_sr"].name)
                for image in there
            ),
        )
        return path

    def _put_aside(self, key: str) -> None:
        """Labels of another format would be a second label of the image, or come before ours."""
        for path in self._gt.pop(key, []):
            if path != self.gt_path(key):
                aside = self.output_dir / "replaced" / path.relative_to(self._gt_folder)
                aside.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, aside)

    # --- votes on regions

    def _read_others(self) -> dict[str, list[dict[str, Any]]]:
        """What ``regions.csv`` said before any vote here; kept in a file of its own."""
        before, now = self.output_dir / SCORES_BEFORE, self.root / SCORES
        if not before.is_file():
            write_table(before, _rows_of(now) if now.is_file() else [], SCORE_COLUMNS)
        kept: dict[str, list[dict[str, Any]]] = {}
        for row in _rows_of(before):
            kept.setdefault(row["image"], []).append(row)
        return kept

    def write_scores(self, key: str, mask: NDArray[np.bool_], votes: Sequence[RegionVote]) -> None:
        """Bring ``regions.csv`` up to date with the votes on one image's regions.

        A region's score is the share of annotators who notice it, its kind the most frequent name.
        Votes on what is no region now are left out. What the file said before stays where nobody
        said anything else.
        """
        self.rows[key] = region_rows(key, mask, votes, self._others.get(key, ()))
        if not votes and key not in self._others:
            del self.rows[key]
        rows = {**self._others, **self.rows}
        write_table(
            self.root / SCORES, [row for name in sorted(rows) for row in rows[name]], SCORE_COLUMNS
        )


def _rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows of a file of scores and kinds, one a pixel that it names."""
    scores, kinds = read_regions(path)
    rows: dict[tuple[str, int, int], dict[str, Any]] = {}
    for column, found in (("score", scores), ("kind", kinds)):
        for key, said in found.items():
            for one in said:
                place = {"image": key, "x": one.x, "y": one.y}
                row = rows.setdefault((key, one.x, one.y), place)
                row[column] = getattr(one, column)
    return list(rows.values())


def region_rows(
    key: str,
    mask: NDArray[np.bool_],
    votes: Sequence[RegionVote],
    others: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Rows of ``regions.csv`` for one image: one for each 8-connected region that has any.

    Args:
        key: of the image.
        mask: ``(H, W)`` bool.
        votes: on its regions, the newest last.
        others: rows of before, which hold where no vote says anything else.
    """
    _, regions = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)
    latest: dict[tuple[int, str], RegionVote] = {}
    places: dict[int, tuple[int, int]] = {}
    for vote in votes:
        if vote.y < mask.shape[0] and vote.x < mask.shape[1] and mask[vote.y, vote.x]:
            number = int(regions[vote.y, vote.x])
            latest[number, vote.annotator] = vote
            places.setdefault(number, (vote.x, vote.y))
    before: dict[int, dict[str, Any]] = {}
    for known in others:
        x, y = known["x"], known["y"]
        if y < mask.shape[0] and x < mask.shape[1] and mask[y, x]:
            before.setdefault(int(regions[y, x]), {}).update(known)
    rows: list[dict[str, Any]] = []
    for number, (x, y) in places.items():
        said = [vote for (region, _), vote in latest.items() if region == number]
        noticed = [vote.noticed for vote in said if vote.noticed is not None]
        kinds = [vote.kind for vote in said if vote.kind]
        if not noticed and not kinds:
            continue
        row: dict[str, Any] = {"score": None, "kind": ""} | before.pop(number, {})
        row |= {"image": key, "x": x, "y": y, "votes": len(noticed)}
        if noticed:
            row["score"] = round(sum(noticed) / len(noticed), 6)
        if kinds:
            row["kind"] = max(sorted(set(kinds)), key=kinds.count)
        rows.append(row)
    return [*rows, *before.values()]


class _Labels:
    """Labels from elsewhere: a folder of masks or LabelMe's files, or a COCO dataset."""

    def __init__(self, source: str | Path) -> None:
        self.source = Path(source)
        self._masks: dict[str, NDArray[np.bool_]] = {}
        self._files: dict[str, list[Path]] = {}
        if self.source.is_file() and self.source.suffix.lower() == ".json":
            self._masks = read_coco(self.source)
            return
        self._files = find_gt_masks(self.source)
        for paths in list(self._files.values()):
            for path in paths:
                if path.suffix.lower() == ".json" and is_coco(json.loads(path.read_bytes())):
                    self._masks |= read_coco(path)

    def read(self, key: str) -> NDArray[np.bool_] | None:
        if key in self._masks:
            return self._masks[key]
        paths = self._files.get(key, [])
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            raise InputError(f"{paths[0].parent}: {names} label one image; keep one of them")
        return read_gt_mask(paths[0]) if paths else None


def _has_images(folder: Path) -> bool:
    try:
        return bool(find_images(folder))
    except InputError:
        return False


def _has_labels(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    try:
        return bool(find_images(folder, IMAGE_SUFFIXES | {".json"}))
    except InputError:
        return False
