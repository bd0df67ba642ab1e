"""The images of an artifact set, for evaluation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_only

from datamodules.artifact_folders import FOLDER_NAMES, IMAGE_ROLES, resolve_folders
from datamodules.image_folders import ImageFolders
from datamodules.splits import SplitRule
from desra.errors import InputError
from desra.files import Match
from desra.labelme import find_gt_masks

log = logging.getLogger(__name__)

TestSplit = Literal["train", "val", "all"]


class ArtifactImages(ImageFolders):
    """Tuples of LR, MSE-SR, GAN-SR and labels for `Trainer.predict`, split as in training.

    It takes the settings of `datamodules.desra_artifacts.DeSRAArtifacts`, so that one configuration
    serves both; what decides training crops alone is left to that.

    Args:
        root: see `DeSRAArtifacts`, as the others up to ``seed``.
        test_split: the images that trained (``"train"``), those that did not (``"val"``), or both.
        num_workers: see `ImageFolders`.
        crops: settings of training crops, of no use here.

    Raises:
        InputError: no artifact set, settings that cannot be used, or no image in the split.
    """

    def __init__(
        self,
        root: str | Path,
        method: str | None = None,
        folder_names: Mapping[str, str] | None = None,
        val_root: str | Path | None = None,
        val_list: str | None = None,
        val_share: float = 0.1,
        group_pattern: str | None = None,
        test_split: TestSplit = "val",
        seed: int = 0,
        num_workers: int | None = None,
        **crops: Any,
    ) -> None:
        rule = SplitRule(str(val_root) if val_root else None, val_list, val_share, group_pattern)
        rule = replace(rule, seed=seed)
        if test_split not in ("train", "val", "all"):
            raise InputError(f"data.test_split={test_split}: give train, val or all")
        if val_root and test_split == "all":
            raise InputError("data.test_split=all: there are two roots; evaluate one after another")
        chosen = val_root if val_root and test_split == "val" else root
        names = {**FOLDER_NAMES, **(folder_names or {})}
        if chosen == val_root and method and not Path(chosen, method).is_dir():
            method = None
        folders = resolve_folders(chosen, method, names)
        super().__init__({role: folders[role] for role in IMAGE_ROLES}, None, num_workers)
        labels = find_gt_masks(folders["gt_mask"]) if "gt_mask" in folders else {}
        whole = len(self.matches)
        if not val_root and test_split != "all":
            self.matches = _on_side(self.matches, rule, test_split)
        self.matches = [_labelled(match, labels.get(match.key, [])) for match in self.matches]
        if not self.matches:
            raise InputError(
                f"{chosen}: none of its {whole} images is in the {test_split} split; give "
                "data.test_split=all, or more data.val_share"
            )
        _say(len(self.matches), whole, chosen, test_split)


@rank_zero_only
def _say(count: int, whole: int, root: str | Path, split: str) -> None:
    log.info("%s: %d of %d images (data.test_split=%s)", root, count, whole, split)


def _on_side(matches: Sequence[Match], rule: SplitRule, split: TestSplit) -> list[Match]:
    """Matches of the split that training made, and all that are broken, which training refused."""
    held = rule.held_out([match.key for match in matches if not match.error])
    return [match for match in matches if match.error or (match.key in held) == (split == "val")]


def _labelled(match: Match, labels: Sequence[Path]) -> Match:
    if len(labels) > 1:
        names = " and ".join(path.name for path in labels)
        return replace(match, error=f"{names} are labels of one image; keep one of them")
    return replace(match, paths={**match.paths, "gt_mask": labels[0]}) if labels else match
