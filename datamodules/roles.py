"""Roles of an image's files and the folders they lie in, flat ones or those of an artifact set."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from desra.errors import InputError
from desra.files import Match, match_folders

log = logging.getLogger(__name__)

Kind = Literal["image", "mask", "label"]
Unmatched = Literal["error", "skip"]

FOLDER_NAMES: dict[str, str] = {
    "lr": "LR",
    "mse_sr": "MSE-SR",
    "gan_sr": "GAN-SR",
    "mask": "DeSRA-Mask",
    "gt_mask": "GT-Mask",
    "hr": "HR",
    "weight": "Weight",
}
"""Of the released dataset, which detect.py leaves and train.py reads."""

_SETTINGS = {
    "lr": "lr_root=DIR (low-resolution images)",
    "mse_sr": "mse_root=DIR (or mse_weights=NAME_OR_FILE with lr_root=DIR, to make it; where the "
    "generator has no MSE network, python train.py experiment=mse_partner makes one of it)",
    "gan_sr": "gan_root=DIR (or gan_weights=NAME_OR_FILE with lr_root=DIR, to make it)",
    "mask": "pred_root=DIR (detected masks, detect.py's DeSRA-Mask)",
    "gt_mask": "gt_root=DIR (labels, mask images or LabelMe's JSON)",
    "hr": "the folder HR of an artifact set (true images)",
    "weight": "data.weight_root=DIR (P(noticed) of each region, Weight of task=weight_masks)",
}
"""What gives a role its folder, in the words of the command line."""


@dataclass(frozen=True)
class Role:
    """What one folder holds of each image.

    Attributes:
        root: the folder, of any depth, or one file; None: that of the artifact set.
        kind: ``"image"``; ``"mask"``, a mask image; or ``"label"``, a mask image or LabelMe's JSON.
            Images say which there are; masks and labels do so where no image is required.
        required: whether every image needs one.
        made_by: the weights that make it of ``lr``, which is then required in its place.
    """

    root: str | Path | None = None
    kind: Kind = "image"
    required: bool = True
    made_by: Any = None

    @property
    def folder(self) -> Path:
        """The root of a role that `locate_roles` gave."""
        assert self.root is not None
        return Path(self.root)


Given = Role | Mapping[str, Any] | str | Path | None
"""A role, its settings, or only the root of a required image."""


def locate_roles(
    roles: Mapping[str, Given],
    root: str | Path | None = None,
    method: str | None = None,
    folder_names: Mapping[str, str] | None = None,
) -> dict[str, Role]:
    """The roles that are read, each with its folder.

    Args:
        roles: name to role.
        root: an artifact set; roles without a folder of their own have theirs in it.
        method: whose folder, where ``root`` holds the folders of several methods.
        folder_names: role to its folder's name in the set, where that is not the release's.

    Raises:
        InputError: a folder is missing, given twice, or not to be chosen among methods.
    """
    named = {name: _role(given) for name, given in roles.items()}
    made = [name for name, role in named.items() if role.made_by is not None]
    for name in made:
        if named.pop(name).root is not None:
            raise InputError(f"{_title(name)}: give either {_SETTINGS.get(name, name)}, not both")
    if made:
        named = {"lr": replace(named.pop("lr", Role()), required=True), **named}
    if root is not None:
        names = {**FOLDER_NAMES, **(folder_names or {})}
        wanted = {name: names[name] for name, role in named.items() if role.root is None}
        needed = [folder for name, folder in wanted.items() if named[name].required]
        base = _set_folder(Path(root), method, needed)
        for name, folder in wanted.items():
            if (base / folder).is_dir():
                named[name] = replace(named[name], root=base / folder)
    absent = [name for name, role in named.items() if role.required and role.root is None]
    if absent:
        settings = " ".join(_SETTINGS.get(name, f"data.roles.{name}.root=DIR") for name in absent)
        raise InputError(f"no {', '.join(map(_title, absent))}: give {settings}")
    return {name: role for name, role in named.items() if role.root is not None}


def _role(given: Given) -> Role:
    if isinstance(given, Role):
        return given
    return Role(**given) if isinstance(given, Mapping) else Role(given)


def _title(name: str) -> str:
    return FOLDER_NAMES.get(name, name)


def _set_folder(root: Path, method: str | None, needed: Sequence[str]) -> Path:
    """The folder that holds the needed ones: ``root``, or that of a method in it."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give data.root=DIR, an artifact set")
    methods = sorted(
        child.name
        for child in root.iterdir()
        if child.is_dir() and all((child / name).is_dir() for name in needed)
    )
    if method is not None:
        if method not in methods:
            there = ", ".join(methods) or "no method's folders"
            raise InputError(f"{root}: no artifact set of method {method}; it has {there}")
        return root / method
    missing = [name for name in needed if not (root / name).is_dir()]
    if not missing:
        return root
    if not methods:
        raise InputError(
            f"{root}: folders missing: {', '.join(missing)}; an artifact set has "
            f"{', '.join(needed)}, as detect.py leaves them"
        )
    if len(methods) > 1:
        choice = "|".join(methods)
        raise InputError(f"{root}: sets of several methods; choose with data.method={choice}")
    return root / methods[0]


def match_roles(roles: Mapping[str, Role], unmatched: Unmatched = "error") -> list[Match]:
    """Match the files of all roles by relative path; suffixes may differ.

    Args:
        roles: as `locate_roles` gives them.
        unmatched: what becomes of an image without a mask or label that it needs, and of a mask or
            label without the other: ``"error"`` lists it as not done, ``"skip"`` leaves it out.

    Returns:
        one match per image, sorted by key.

    Raises:
        InputError: a root does not exist or holds nothing of its kind, masks or labels belong to
            no image, or ``unmatched`` is another word.
    """
    from desra.labelme import find_gt_masks  # loads PyTorch; folders are located before

    if unmatched not in ("error", "skip"):
        raise InputError(f"data.unmatched={unmatched}: give error or skip")
    roots = {name: role.folder for name, role in roles.items()}
    required = {name: root for name, root in roots.items() if roles[name].required}
    pictures = [name for name in required if roles[name].kind == "image"]
    judged = [name for name in required if roles[name].kind != "image"]
    naming = pictures or judged
    finders = {name: find_gt_masks for name in roots if roles[name].kind == "label"}
    optional = {name: root for name, root in roots.items() if name not in required}
    matches = match_folders(required, optional, finders, naming)
    whole = [match for match in matches if not {*judged} & {*match.missing}]
    if judged and not whole:
        raise InputError(
            f"{roots[judged[-1]]}: no {roles[judged[-1]].kind} has the relative path of a file in "
            f"{roots[naming[0]]}; give the folders that hold both under the same names"
        )
    if unmatched == "skip":
        _say_left_out(len(whole), len(matches), judged)
        return whole
    return [_advised(match, roles) if {*judged} & {*match.missing} else match for match in matches]


def _advised(match: Match, roles: Mapping[str, Role]) -> Match:
    unlabelled = any(roles[name].kind == "label" for name in match.missing)
    clean = " (with no shape if it is clean)" if unlabelled else ""
    return replace(match, error=f"{match.error}{clean}; data.unmatched=skip leaves it out")


def _say_left_out(count: int, whole: int, judged: Sequence[str]) -> None:
    # Not at the top: a missing folder is named before Lightning is loaded, which takes seconds.
    from lightning.pytorch.utilities import rank_zero_only

    if count < whole:
        names = " and ".join(map(_title, judged))
        text = "%d of %d images have %s; the others are left out"
        rank_zero_only(log.info)(text, count, whole, names)
