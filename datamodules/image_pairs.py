"""Clean images, with or without low-resolution partners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules import splits
from datamodules.cache import Size
from datamodules.problems import collect, raise_all, some
from datamodules.splits import SplitRule
from desra.errors import InputError
from desra.files import Match, match_folders
from desra.images import image_size


@dataclass(frozen=True)
class ImagePair:
    """A high-resolution image, with its low-resolution partner if it has one.

    Attributes:
        key: relative path without suffix.
        hr: the file.
        lr: its partner's, or None where LR is made by degradations.
        lr_size: height and width of LR; without a partner HR may be up to a scale larger.
        hr_size: height and width of HR.
    """

    key: str
    hr: Path
    lr: Path | None
    lr_size: Size
    hr_size: Size

    @property
    def sized_paths(self) -> list[tuple[Path, Size]]:
        """The files with their heights and widths."""
        files = [(self.hr, self.hr_size)]
        return files if self.lr is None else [(self.lr, self.lr_size), *files]


def find_pairs(
    hr_root: str, lr_root: str | None, scale: int | None
) -> tuple[list[ImagePair], list[str]]:
    """Find clean images and match them with their low-resolution partners.

    Args:
        hr_root: the clean images.
        lr_root: their partners, or None where LR is made by degradations.
        scale: of LR against HR; None takes that of the first pair.

    Returns:
        pairs sorted by key, and what was left out, one line each.

    Raises:
        InputError: sizes that do not fit, no pair at all, or a root without images.
    """
    roots = {"hr": hr_root} if lr_root is None else {"hr": hr_root, "lr": lr_root}
    matches = match_folders(roots)
    left_out = [f"{match.key}: {match.error}" for match in matches if match.error]
    whole = [match for match in matches if not match.error]
    problems: list[str] = []
    pairs = collect(lambda match: _read_pair(match, scale), whole, problems)
    raise_all(problems, hr_root)
    if not pairs:
        raise InputError(f"{hr_root}: no image has a partner in {lr_root}: {some(left_out)}")
    first = pairs[0].hr_size[0] // pairs[0].lr_size[0]
    raise_all(
        [
            f"{pair.hr}: ×{pair.hr_size[0] // pair.lr_size[0]} of its partner, but {pairs[0].hr} is"
            f" ×{first} of its own; give pairs of one scale"
            for pair in pairs
            if lr_root is not None and pair.hr_size[0] // pair.lr_size[0] != first
        ],
        hr_root,
    )
    return pairs, left_out


def _read_pair(match: Match, scale: int | None) -> ImagePair:
    hr, lr = match.paths["hr"], match.paths.get("lr")
    height, width = image_size(hr)
    if lr is None:
        lr_size = height // (scale or 1), width // (scale or 1)
        if not all(lr_size):
            raise InputError(f"{hr}: {width}x{height} is smaller than a pixel of LR; leave it out")
        return ImagePair(match.key, hr, None, lr_size, (height, width))
    lr_size = image_size(lr)
    factor = scale or max(height // lr_size[0], 1)
    if (height, width) != (lr_size[0] * factor, lr_size[1] * factor):
        raise InputError(
            f"{hr}: {width}x{height} is not {factor} times its partner's {lr_size[1]}x{lr_size[0]};"
            " crop one of them"
        )
    return ImagePair(match.key, hr, lr, lr_size, (height, width))


def split_pairs(
    pairs: Sequence[ImagePair], rule: SplitRule, val_pairs: Sequence[ImagePair] = ()
) -> tuple[list[ImagePair], list[ImagePair]]:
    """Training and validation pairs.

    Args:
        pairs: of the training root.
        rule: how to split them, where validation has no root of its own.
        val_pairs: of the validation root, where ``rule`` names one.

    Raises:
        InputError: see `SplitRule.held_out`, or groups on both sides.
    """
    if rule.val_root:
        keys, val_keys = ([pair.key for pair in side] for side in (pairs, val_pairs))
        splits.refuse_straddling(keys, val_keys, rule.group_pattern)
        return list(pairs), list(val_pairs)
    held = rule.held_out([pair.key for pair in pairs])
    train = [pair for pair in pairs if pair.key not in held]
    return train, [pair for pair in pairs if pair.key in held]
