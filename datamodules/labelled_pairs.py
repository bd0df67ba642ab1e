"""Two upscalings of images whose artifacts are labelled, for choosing a detector's settings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from datamodules.artifact_folders import FOLDER_NAMES, resolve_folders
from datamodules.image_folders import DetectionFolders
from desra.errors import InputError
from desra.files import Match
from desra.labelme import find_gt_masks

log = logging.getLogger(__name__)


class LabelledPairs(DetectionFolders):
    """The images of `DetectionFolders` that are labelled, each with the file ``gt_mask``.

    Args:
        root: an artifact set in the release's layout, in the place of the other folders.
        gt_root: labels, mask images or LabelMe JSON.
        method: which method's, where ``root`` holds several.
        folders: the other settings of `DetectionFolders`.

    Raises:
        InputError: no labels, or none that belongs to an image.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        gt_root: str | Path | None = None,
        method: str | None = None,
        **folders: Any,
    ) -> None:
        if root is not None:
            found = resolve_folders(root, method, FOLDER_NAMES)
            folders |= {f"{name}_root": found[f"{name}_sr"] for name in ("mse", "gan")}
            gt_root = gt_root or found.get("gt_mask")
        if gt_root is None:
            raise InputError(
                "gt_root: give the folder of labels (mask images or LabelMe's JSON), or "
                "data.root=DIR, an artifact set with GT-Mask"
            )
        super().__init__(**folders)
        labels, whole = find_gt_masks(gt_root), len(self.matches)
        if Path(gt_root).is_file() and whole == 1:  # one image and its label, whatever the names
            labels = {self.matches[0].key: [Path(gt_root)]}
        self.matches = [
            _labelled(match, labels[match.key]) for match in self.matches if match.key in labels
        ]
        if not self.matches:
            raise InputError(
                f"{gt_root}: no label has the relative path of an image; give the folders that "
                "hold both under the same names"
            )
        if len(self.matches) < whole:
            _say(f"{len(self.matches)} of {whole} images are labelled; the others are left out")


def _labelled(match: Match, labels: Sequence[Path]) -> Match:
    error = match.error
    if len(labels) > 1 and not error:
        names = " and ".join(path.name for path in labels)
        error = f"{names} are labels of one image; keep one of them"
    return replace(match, paths={**match.paths, "gt_mask": labels[0]}, error=error)


@rank_zero_only
def _say(line: str) -> None:
    log.info(line)
