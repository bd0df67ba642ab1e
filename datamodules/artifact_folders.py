"""Tuples of an artifact set, found in its folders, and everything wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.cache import Size
from datamodules.roles import FOLDER_NAMES, Role, locate_roles, match_roles
from desra.errors import InputError
from desra.files import Match
from desra.images import image_size
from desra.labelme import find_gt_masks

IMAGE_ROLES = ("lr", "mse_sr", "gan_sr")
_ROLES = {
    **dict.fromkeys(IMAGE_ROLES, Role()),
    "mask": Role(kind="mask", required=False),
    "gt_mask": Role(kind="label", required=False),
    "hr": Role(required=False),
    "weight": Role(required=False),
}


@dataclass(frozen=True)
class ArtifactTuple:
    """One low-resolution image with its two upscalings and masks.

    Attributes:
        key: relative path without suffix.
        paths: the files of ``lr``, ``mse_sr``, ``gan_sr`` and, where there, ``mask``, ``gt_mask``,
            ``hr`` (the true image, which only validation and evaluation compare with), ``weight``
            (how much MSE-SR counts on a region, which only training asks).
        lr_size: height and width of LR; those of the upscalings are ``scale`` times as large.
        scale: the upscaling factor.
    """

    key: str
    paths: Mapping[str, Path]
    lr_size: Size
    scale: int

    @property
    def sr_size(self) -> Size:
        """Height and width of MSE-SR, GAN-SR and the masks."""
        return self.lr_size[0] * self.scale, self.lr_size[1] * self.scale


@dataclass
class ArtifactSet:
    """What was found under one root.

    Attributes:
        tuples: complete ones, sorted by key.
        left_out: images without their partners, and why, one line each.
        errors: what has to be mended before these images can be used, one line each.
    """

    root: Path
    tuples: list[ArtifactTuple] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def find_artifact_set(
    root: str | Path,
    method: str | None = None,
    folder_names: Mapping[str, str] = FOLDER_NAMES,
    weight_root: str | Path | None = None,
) -> ArtifactSet:
    """Match the folders of an artifact set and check the sizes of what they hold (headers only).

    Args:
        root: holds the folders ``LR``, ``MSE-SR``, ``GAN-SR`` and perhaps ``DeSRA-Mask``,
            ``GT-Mask`` and ``HR``, or one folder a method that holds them.
        method: which method's, where ``root`` holds several.
        folder_names: role to folder name.
        weight_root: weights that do not lie in the set's ``Weight``.

    Raises:
        InputError: no such folders, no images, several methods and none chosen, or weights of no
            image.
    """
    given = {**_ROLES, "weight": Role(weight_root, required=False)}
    roles = locate_roles(given, root, method, folder_names)
    found = ArtifactSet(Path(root))
    matches = match_roles(roles)
    for match in matches:
        if match.error:
            lines = found.left_out if match.missing else found.errors
            lines.append(f"{match.key}: {match.error}")
            continue
        try:
            found.tuples.append(_read_tuple(match))
        except InputError as error:
            found.errors.append(str(error))
    _check_scales(found)
    if weight_root is not None and not any("weight" in item.paths for item in found.tuples):
        raise InputError(
            f"{weight_root}: no weight has the relative path of an image in {root}; give the "
            "folder Weight that task=weight_masks makes of this set"
        )
    if labels := roles.get("gt_mask"):
        stray = sorted(find_gt_masks(labels.folder).keys() - {match.key for match in matches})
        found.left_out += [f"{key}: labelled, but not upscaled" for key in stray]
    return found


def _read_tuple(match: Match) -> ArtifactTuple:
    paths = match.paths
    lr, mse_sr, gan_sr = (image_size(paths[role]) for role in IMAGE_ROLES)
    scale = gan_sr[0] // lr[0]
    if mse_sr != gan_sr or scale < 1 or gan_sr != (lr[0] * scale, lr[1] * scale):
        raise InputError(
            f"{match.key}: LR is {_text(lr)}, MSE-SR {_text(mse_sr)}, GAN-SR {_text(gan_sr)}; the "
            "upscalings must be of one size, a whole multiple of LR's"
        )
    for role in {"hr", "weight"} & paths.keys():
        if (size := image_size(paths[role])) != gan_sr:
            raise InputError(
                f"{match.key}: {FOLDER_NAMES[role]} is {_text(size)}, GAN-SR {_text(gan_sr)}; it "
                "must be of the upscalings' size"
            )
    return ArtifactTuple(match.key, paths, lr, scale)


def _check_scales(found: ArtifactSet) -> None:
    scales = Counter(item.scale for item in found.tuples)
    if len(scales) > 1:
        usual = scales.most_common(1)[0][0]
        found.errors += [
            f"{item.key}: upscaled ×{item.scale} where the other images are upscaled ×{usual}"
            for item in found.tuples
            if item.scale != usual
        ]


def _text(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]}"
