"""Detected and labelled masks of the same images, for evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from datamodules.image_folders import ImageFolders
from desra.errors import InputError
from desra.files import Match
from desra.labelme import find_gt_masks


class MaskPairs(ImageFolders):
    """Detected masks with their labels, matched by relative path; pictures to show them on.

    Args:
        pred_root: folder of detected masks, or one mask.
        gt_root: folder of labels (mask images, or LabelMe JSON), or one label.
        unmatched: what becomes of a detected mask without a label and of a label without a detected
            mask: ``"error"`` lists it as not done, ``"skip"`` leaves it out.
        gan_root: GAN-SR images to show the regions on, or None.
        mse_root: MSE-SR images to show beside them, or None.
        lr_root: LR images to show beside them, or None.
        num_workers: see `ImageFolders`.

    Raises:
        InputError: a root is not given, does not exist or holds nothing of its kind, no two files
            match, or ``unmatched`` is another word.
    """

    def __init__(
        self,
        pred_root: str | Path | None,
        gt_root: str | Path | None,
        unmatched: Literal["error", "skip"] = "error",
        gan_root: str | Path | None = None,
        mse_root: str | Path | None = None,
        lr_root: str | Path | None = None,
        num_workers: int | None = None,
    ) -> None:
        if unmatched not in ("error", "skip"):
            raise InputError(f"unmatched={unmatched}: give error or skip")
        if pred_root is None:
            raise InputError("pred_root: give the folder of detected masks (detect.py: DeSRA-Mask)")
        if gt_root is None:
            raise InputError("gt_root: give the folder of labels, mask images or LabelMe's JSON")
        pictures = {"lr": lr_root, "mse_sr": mse_root, "gan_sr": gan_root}
        super().__init__({"mask": pred_root}, pictures, num_workers)
        labels = find_gt_masks(gt_root)
        if Path(pred_root).is_file():  # only that one is asked for
            (key,) = (match.key for match in self.matches)
            labels = {key: [Path(gt_root)] if Path(gt_root).is_file() else labels.get(key, [])}
        found = {match.key: match for match in self.matches}
        if not any(labels.get(key) for key in found):
            raise InputError(
                f"{gt_root}: no label has the relative path of a mask in {pred_root}; "
                "give the folders that hold both under the same names"
            )
        keys = sorted(found.keys() | labels.keys())
        if unmatched == "skip":
            keys = [key for key in keys if key in found and labels.get(key)]
        self.matches = [_pair(key, found, labels, pred_root, gt_root) for key in keys]


def _pair(
    key: str,
    found: Mapping[str, Match],
    labels: Mapping[str, Sequence[Path]],
    pred_root: str | Path,
    gt_root: str | Path,
) -> Match:
    mask, label = found.get(key, Match(key, {})), labels.get(key, [])
    errors = [mask.error] if mask.error else []
    if key not in found:
        errors.append(f"no detected mask in {pred_root}; detect this image too")
    if not label:
        errors.append(f"no label in {gt_root}; label this image too, with no shape if it is clean")
    if len(label) > 1:
        names = " and ".join(path.name for path in label)
        errors.append(f"{names} share one name in {label[0].parent}; keep one of them")
    hint = "; unmatched=skip leaves such images out" if key not in found or not label else ""
    paths = {**mask.paths, "gt_mask": label[0]} if label else mask.paths
    return Match(key, paths, "; ".join(errors) + hint if errors else None)
