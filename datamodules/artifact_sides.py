"""The two sides of an artifact set, training and validation, with their masks."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from rich.table import Table

from datamodules import splits
from datamodules.artifact_folders import (
    IMAGE_ROLES,
    ArtifactSet,
    ArtifactTuple,
    find_artifact_set,
)
from datamodules.cache import ImageCache, Size
from datamodules.mask_store import Mask, MaskStore
from datamodules.problems import collect, raise_all, some
from desra.errors import InputError
from desra.masks import doubt
from desra.rim import read_mask_of

log = logging.getLogger(__name__)

MaskSource = Literal["detected", "labelled"]
_MASK_ROLES: dict[MaskSource, str] = {"detected": "mask", "labelled": "gt_mask"}


@dataclass
class ArtifactSide:
    """Tuples with their masks in memory.

    Attributes:
        tuples: sorted by key.
        masks: one a tuple on the training side; on the validation side as many as are there.
        labels: labelled masks, of the tuples that have one.
    """

    tuples: list[ArtifactTuple] = field(default_factory=list)
    masks: MaskStore = field(default_factory=MaskStore)
    labels: MaskStore = field(default_factory=MaskStore)

    @property
    def sized_paths(self) -> list[tuple[Path, Size]]:
        """All image files with their heights and widths."""
        return [
            (item.paths[role], item.lr_size if role == "lr" else item.sr_size)
            for item in self.tuples
            for role in (*IMAGE_ROLES, "hr", "weight")
            if role in item.paths
        ]


def find_sides(
    root: str,
    method: str | None,
    folder_names: Mapping[str, str],
    rule: splits.SplitRule,
    mask_source: MaskSource,
    mask_required: bool,
    weight_root: str | None = None,
) -> tuple[ArtifactSide, ArtifactSide, list[str]]:
    """Find and check both sides and read their masks.

    Returns:
        training side, validation side (perhaps empty), and what was left out, one line each.

    Raises:
        InputError: anything that is wrong, all of it listed.
    """
    needed = _MASK_ROLES[mask_source]
    train, val, left_out = _find_tuples(root, method, folder_names, rule, weight_root)
    train = _without("hr", train)  # training does not look at the truth
    val = _without("weight", val)
    problems = [
        f"{item.key}: no {mask_source} mask; make it with detect.py or by hand, or give "
        "data.mask_required=false to begin with an empty one"
        for item in train
        if mask_required and needed not in item.paths
    ]
    sides = [
        ArtifactSide(tuples, *(_read_masks(tuples, role, problems) for role in ("mask", "gt_mask")))
        for tuples in (train, val)
    ]
    raise_all(problems, root)
    for masks in (sides[0].masks, sides[0].labels):
        if masks and (said := doubt(_marked(masks))):
            log.warning("%s: %s", root, said)
    source = sides[0].masks if mask_source == "detected" else sides[0].labels
    sides[0].masks = MaskStore(
        {
            item.key: source[item.key] if item.key in source else Mask(np.zeros(item.sr_size, bool))
            for item in train
        }
    )
    return sides[0], sides[1], left_out


def _without(role: str, tuples: Sequence[ArtifactTuple]) -> list[ArtifactTuple]:
    return [
        replace(item, paths={name: path for name, path in item.paths.items() if name != role})
        for item in tuples
    ]


def _find_tuples(
    root: str,
    method: str | None,
    folder_names: Mapping[str, str],
    rule: splits.SplitRule,
    weight_root: str | None,
) -> tuple[list[ArtifactTuple], list[ArtifactTuple], list[str]]:
    found = _usable(find_artifact_set(root, method, folder_names, weight_root))
    keys = [item.key for item in found.tuples]
    if not rule.val_root:
        held = rule.held_out(keys)
        train = [item for item in found.tuples if item.key not in held]
        val = [item for item in found.tuples if item.key in held]
        return _drawn(train, rule), val, found.left_out
    val_method = method if method and Path(rule.val_root, method).is_dir() else None
    other = _usable(find_artifact_set(rule.val_root, val_method, folder_names))
    if other.tuples[0].scale != found.tuples[0].scale:
        raise InputError(
            f"{rule.val_root}: upscaled ×{other.tuples[0].scale}, but the training images in "
            f"{root} ×{found.tuples[0].scale}; give sets of one scale"
        )
    splits.refuse_straddling(keys, [item.key for item in other.tuples], rule.group_pattern)
    return _drawn(found.tuples, rule), other.tuples, found.left_out + other.left_out


def _drawn(train: Sequence[ArtifactTuple], rule: splits.SplitRule) -> list[ArtifactTuple]:
    drawn = rule.drawn([item.key for item in train])
    return [item for item in train if item.key in drawn]


def _usable(found: ArtifactSet) -> ArtifactSet:
    raise_all(found.errors, found.root)
    if not found.tuples:
        raise InputError(
            f"{found.root}: no image has LR, MSE-SR and GAN-SR: {some(found.left_out)}"
        )
    return found


def _read_masks(tuples: Sequence[ArtifactTuple], role: str, problems: list[str]) -> MaskStore:
    def read(item: ArtifactTuple) -> tuple[str, Mask]:
        return item.key, Mask(
            read_mask_of(item.paths[role], item.sr_size, drawn_on=item.paths["gan_sr"])
        )

    return MaskStore(dict(collect(read, [item for item in tuples if role in item.paths], problems)))


def summary(
    root: str, train: ArtifactSide, val: ArtifactSide, pairs: int, images: ImageCache
) -> Table:
    """What was found, as a table for the terminal."""
    table = Table("", "training", "validation", title=f"artifact set {root}")
    sides = (train, val)
    table.add_row("images", *(str(len(side.tuples)) for side in sides))
    table.add_row("LR sizes", *(_size_range(side.tuples) for side in sides))
    table.add_row("masks with artifacts", *(_count(side.masks) for side in sides))
    table.add_row("artifact share", *(_share(side.masks) for side in sides))
    table.add_row("labelled", *(str(len(side.labels)) for side in sides))
    table.add_row("with the true image", "", str(sum("hr" in item.paths for item in val.tuples)))
    if weighted := sum("weight" in item.paths for item in train.tuples):
        table.add_row("weighted", str(weighted), "")
    table.add_row("LR/HR pairs mixed in", str(pairs), "")
    table.add_row("scale", f"×{train.tuples[0].scale}", "")
    table.add_row("kept in memory", f"{images.kept_bytes / 1e9:.2f} GB", "")
    return table


def _size_range(tuples: Sequence[ArtifactTuple]) -> str:
    ordered = sorted((item.lr_size for item in tuples), key=math.prod)
    ends = [f"{width}x{height}" for height, width in (*ordered[:1], *ordered[-1:])]
    return " to ".join(dict.fromkeys(ends))


def _count(masks: MaskStore) -> str:
    return f"{sum(mask.area > 0 for mask in masks.values())} of {len(masks)}"


def _share(masks: MaskStore) -> str:
    return f"{_marked(masks):.2%}" if masks else ""


def _marked(masks: MaskStore) -> float:
    pixels = sum(math.prod(mask.shape) for mask in masks.values())
    return sum(mask.area for mask in masks.values()) / pixels
