"""What evaluation scores: masks made before, or two upscalings to detect in, with their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from datamodules.artifact_folders import FOLDER_NAMES, resolve_folders
from datamodules.image_folders import ImageFolders
from datamodules.mask_pairs import MaskPairs
from desra.errors import InputError
from desra.files import Match
from desra.labelme import find_gt_masks

Unmatched = Literal["error", "skip"]


class DetectorImages(ImageFolders):
    """MSE-SR and GAN-SR with labelled artifacts, matched by relative path.

    Args:
        mse_root: folder of MSE-SR, or one image.
        gan_root: folder of GAN-SR.
        gt_root: folder of labels (mask images, or LabelMe JSON), or one label.
        lr_root: LR images to show beside them, or None.
        unmatched: what becomes of an image without a label: ``"error"`` lists it as not done,
            ``"skip"`` leaves it out.
        num_workers: see `ImageFolders`.

    Raises:
        InputError: a root does not exist or holds nothing of its kind, or nothing is labelled.
    """

    def __init__(
        self,
        mse_root: str | Path,
        gan_root: str | Path,
        gt_root: str | Path,
        lr_root: str | Path | None = None,
        unmatched: Unmatched = "error",
        num_workers: int | None = None,
    ) -> None:
        if unmatched not in ("error", "skip"):
            raise InputError(f"unmatched={unmatched}: give error or skip")
        super().__init__({"mse_sr": mse_root, "gan_sr": gan_root}, {"lr": lr_root}, num_workers)
        labels = find_gt_masks(gt_root)
        if Path(gan_root).is_file() and Path(gt_root).is_file():
            labels = {match.key: [Path(gt_root)] for match in self.matches}
        if not any(labels.get(match.key) for match in self.matches):
            raise InputError(
                f"{gt_root}: no label has the relative path of an image in {gan_root}; "
                "give the folders that hold both under the same names"
            )
        if unmatched == "skip":
            self.matches = [match for match in self.matches if labels.get(match.key)]
        self.matches = [
            _labelled(match, labels.get(match.key, []), gt_root) for match in self.matches
        ]


def masks_or_images(
    pred_root: str | Path | None = None,
    gt_root: str | Path | None = None,
    mse_root: str | Path | None = None,
    gan_root: str | Path | None = None,
    lr_root: str | Path | None = None,
    root: str | Path | None = None,
    method: str | None = None,
    detector: str | None = None,
    unmatched: Unmatched = "error",
    num_workers: int | None = None,
) -> ImageFolders:
    """The data of an evaluation: `MaskPairs`, or where a detector is evaluated `DetectorImages`.

    Args:
        pred_root: detected masks.
        gt_root: labels.
        mse_root: MSE-SR.
        gan_root: GAN-SR.
        lr_root: LR, for the page.
        root: an artifact set in the release's layout, in the place of the other folders.
        method: which method's folder, where ``root`` has several.
        detector: name of what makes the masks; None where they were made before.
        unmatched: see `MaskPairs` and `DetectorImages`.
        num_workers: see `ImageFolders`.

    Raises:
        InputError: folders are missing, or given twice.
    """
    folders: Mapping[str, Any] = {
        "gt_mask": gt_root, "mse_sr": mse_root, "gan_sr": gan_root, "lr": lr_root, "mask": pred_root
    }  # fmt: skip
    if root is not None:
        given = [name for name in folders if folders[name] is not None]
        if given:
            raise InputError(f"data.root={root} is a whole artifact set; give no other folders")
        folders = resolve_folders(root, method, FOLDER_NAMES)
        if "gt_mask" not in folders:
            raise InputError(f"{root}: it has no {FOLDER_NAMES['gt_mask']}; label its images first")
    gt_mask, lr = folders.get("gt_mask"), folders.get("lr")
    mse_sr, gan_sr = folders.get("mse_sr"), folders.get("gan_sr")
    if detector is None:
        pictures = {"gan_root": gan_sr, "mse_root": mse_sr, "lr_root": lr}
        mask = folders.get("mask")
        return MaskPairs(mask, gt_mask, unmatched, **pictures, num_workers=num_workers)
    if pred_root is not None:
        raise InputError("pred_root and detector both make masks; give one of them")
    if mse_sr is None or gan_sr is None or gt_mask is None:
        raise InputError(
            "a detector is evaluated on mse_root=DIR gan_root=DIR gt_root=DIR (labels), or on "
            "data.root=DIR, an artifact set that has them"
        )
    return DetectorImages(mse_sr, gan_sr, gt_mask, lr, unmatched, num_workers)


def _labelled(match: Match, labels: Sequence[Path], gt_root: str | Path) -> Match:
    if match.error:
        return match
    if not labels:
        hint = "label this image too, with no shape if it is clean; unmatched=skip leaves it out"
        return replace(match, error=f"no label in {gt_root}; {hint}")
    if len(labels) > 1:
        names = " and ".join(path.name for path in labels)
        return replace(match, error=f"{names} are labels of one image; keep one of them")
    return replace(match, paths={**match.paths, "gt_mask": labels[0]})
