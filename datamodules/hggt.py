"""Sets of several ground truths as training data, with what people prefer among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_only
from rich.table import Table

from datamodules.cache import Size
from datamodules.crop_batches import CropMaker, CropPlan
from datamodules.crops import CropRule, Rounds, draws_of
from datamodules.degradations import BatchDegradation, OneStageDegradation
from datamodules.hr_images import HRImages
from datamodules.image_pairs import ImagePair
from datamodules.problems import collect
from datamodules.randomness import Purpose, generator_of
from desra.errors import InputError
from desra.hggt_labels import LABELS, ORIGINAL, Ties
from desra.hggt_sets import GroundTruthSet, find_sets
from desra.images import image_size
from desra.terminal import terminal

Target = Literal["original", "positive"]


@dataclass(frozen=True)
class SetPlan(CropPlan):
    """A sample's plan with the shares of annotators behind its negative and its positive."""

    shares: tuple[float, float] = (0.0, 0.0)


class SetPlanner:
    """Plans of samples: which version is the target, which the negative, and where to cut.

    Sample i depends on seed and i alone. Only the pictures that it needs are in its plan.

    Args:
        sets: each visited once a round.
        sizes: of the originals, by key.
        rule: how windows are chosen.
        scale: of LR against HR.
        target: see `HGGTSets`; so are ``negatives`` and ``seed``.
    """

    version = 0

    def __init__(
        self,
        sets: Sequence[GroundTruthSet],
        sizes: Mapping[str, Size],
        rule: CropRule,
        scale: int,
        target: Target,
        negatives: bool,
        seed: int,
    ) -> None:
        self.sets, self.sizes, self.rule, self.scale = sets, sizes, rule, scale
        self.target, self.negatives, self.seed = target, negatives, seed
        self._rounds = Rounds(len(sets), seed)

    def plan(self, index: int) -> SetPlan:
        """What sample ``index`` consists of."""
        chosen = self.sets[self._rounds[index]]
        height, width = self.sizes[chosen.key]
        size = height // self.scale, width // self.scale
        window = self.rule.window(draws_of(self.seed, index), size, self.scale)
        # Always the same many numbers, so that labels that change move no other sample's.
        draws = generator_of(self.seed, Purpose.TARGET, index).random(3)
        positives, negatives = chosen.voted("Positive"), chosen.voted("Negative")
        paths = {"original": chosen.original, "gt": chosen.original}
        if self.target == "positive" and positives:
            paths["gt"] = chosen.versions[_pick(positives, draws[0])]
        shares = (0.0, 0.0)
        if self.negatives and negatives:
            negative = _pick(negatives, draws[1])
            # Drawn anew, as in the release: not the target.
            positive = _pick(positives, draws[2]) if positives else None
            paths["negative"] = chosen.versions[negative]
            paths["positive"] = chosen.versions[positive] if positive else chosen.original
            shares = chosen.share(negative), chosen.share(positive) if positive else 1.0
        return SetPlan(index, chosen.key, paths, window, shares=shares)


def _pick(names: Sequence[str], draw: float) -> str:
    return names[int(draw * len(names))]


class SetMaker(CropMaker):
    """Batches of crops with ``negative_share`` and ``positive_share``, both ``(B,)`` float32."""

    def __call__(self, plans: Sequence[Any]) -> dict[str, Any]:
        """As `CropMaker`; a picture that a plan has no file for is 0, and so is its share."""
        batch = super().__call__(list(plans))
        if "negative" in self.scales:
            shares = torch.tensor([plan.shares for plan in plans], dtype=torch.float32)
            batch["negative_share"], batch["positive_share"] = shares.unbind(1)
        return batch


class HGGTSets(HRImages):
    """Training pairs of human-guided ground truth (Chen et al., CVPR 2023).

    LR is always made of the original, whatever the target is: that is the method. Batches hold
    ``lr`` and ``gt`` as those of `HRImages`, and with ``negatives`` also ``original``,
    ``negative`` and ``positive`` (B, 3, H, W), ``negative_share`` and ``positive_share`` (B,), as
    `models.losses.NegativeLoss` takes them.

    Sets that have nothing to learn from are left out: with ``target="positive"`` those without a
    Positive, with ``negatives`` those whose versions are all Similar. What cannot be used, such as
    a version of another size than its original, is left out with a line, and the rest is used.

    Args:
        root: holds ``original/`` and a folder a version.
        labels: one folder an annotator.
        target: ``"original"``, or ``"positive"``: one that people prefer, drawn for each sample;
            the original where ``negatives`` keeps a set without any.
        negatives: whether batches hold negatives.
        ties: of votes: ``"similar"`` or ``"drop"``.
        degradation: what LR is made by; its scale is the data's.
        options: of `HRImages`.

    Attributes:
        sets: what can be trained on, by key; known after `setup`.
        problems: what is wrong with labels and pictures, a line each.

    Raises:
        InputError: a setting that cannot be used; in `setup`, no set that can be.
    """

    def __init__(
        self,
        root: str,
        labels: str,
        target: Target = "positive",
        negatives: bool = False,
        ties: Ties = "similar",
        degradation: BatchDegradation | None = None,
        **options: Any,
    ) -> None:
        if target not in ("original", "positive"):
            raise InputError(f"data.target={target}: give original or positive")
        if ties not in ("similar", "drop"):
            raise InputError(f"data.ties={ties}: give similar or drop")
        degradation = degradation or OneStageDegradation()
        super().__init__(str(Path(root, ORIGINAL)), degradation=degradation, **options)
        self.sets_root, self.labels = root, labels
        self.target, self.negatives, self.ties = target, negatives, ties
        self.sets: dict[str, GroundTruthSet] = {}
        self.problems: list[str] = []
        self.image_roles = (
            "lr",
            "gt",
            *(("original", "negative", "positive") if negatives else ()),
        )

    def find(self) -> tuple[list[ImagePair], list[str]]:
        """The originals whose sets can be trained on, and what was left out."""
        sets, self.problems = find_sets(self.sets_root, self.labels, self.ties)
        wanted = [chosen for chosen in sets if self._teaches(chosen)]
        pairs: list[ImagePair] = []
        for checked in collect(self._checked, wanted, self.problems):
            chosen, size, lines = checked
            self.problems += lines
            if self._teaches(chosen):
                self.sets[chosen.key] = chosen
                small = size[0] // self.scale, size[1] // self.scale
                pairs.append(ImagePair(chosen.key, chosen.original, None, small, size))
        if not pairs:
            raise InputError(
                f"{self.sets_root}: none of its {len(sets)} sets teaches anything with "
                f"data.target={self.target} data.negatives={str(self.negatives).lower()}"
            )
        return pairs, [*self.problems, *self._unused(len(sets))]

    def _teaches(self, chosen: GroundTruthSet) -> bool:
        positive, negative = chosen.voted("Positive"), chosen.voted("Negative")
        if self.negatives:
            return bool(positive or negative)
        return self.target == "original" or bool(positive)

    def _checked(self, chosen: GroundTruthSet) -> tuple[GroundTruthSet, Size, list[str]]:
        """The set without the versions that do not fit its original, its size, and the reasons."""
        size = image_size(chosen.original)
        if min(size) < self.scale:
            raise InputError(f"{chosen.original}: smaller than a pixel of LR; leave it out")
        used = {
            version
            for label in LABELS
            for version in chosen.voted(label)
            if label == "Positive" or (label == "Negative" and self.negatives)
        }
        lines, versions = [], {}
        for version, path in chosen.versions.items():
            if version not in used:
                continue
            try:
                other = image_size(path)
            except InputError as error:
                lines.append(str(error))
                continue
            if other == size:
                versions[version] = path
            else:
                turned = "; was one of them turned by its EXIF orientation?"
                lines.append(
                    f"{path}: {other[1]}x{other[0]}, but its original has {size[1]}x{size[0]}"
                    + (turned if other == size[::-1] else "")
                )
        return GroundTruthSet(chosen.key, chosen.original, versions, chosen.votes), size, lines

    def _unused(self, found: int) -> list[str]:
        unused = found - len(self.sets)
        return [f"{unused} of {found} sets, from which this has nothing to learn"] if unused else []

    def sized_paths(self, pair: ImagePair) -> list[tuple[Path, Size]]:
        """The original and the versions that may be drawn."""
        chosen = self.sets.get(pair.key)  # validation images of another root are in no set
        versions = chosen.versions.values() if chosen else ()
        return [(path, pair.hr_size) for path in (pair.hr, *versions)]

    def planner(self) -> SetPlanner:
        """Plans of the training sets alone."""
        return SetPlanner(
            [self.sets[pair.key] for pair in self.train_pairs],
            {pair.key: pair.hr_size for pair in self.train_pairs},
            *(self.crop_rule, self.scale, self.target, self.negatives, self.seed),
        )

    def maker(self) -> SetMaker:
        """Crops of the original, the target and, with negatives, those."""
        roles = ("original", *self.image_roles[1:])
        scales = dict.fromkeys(roles, self.scale)
        return SetMaker(self.images, self.crop_rule.size(self.scale), scales)

    @torch.no_grad()
    def make_pairs(self, batch: dict[str, Any], group: int) -> dict[str, torch.Tensor]:
        """Degrade the originals of one group on the device and cut pairs from them.

        Args:
            batch: of `SetMaker`.
            group: its number, which decides what its samples share.

        Returns:
            the roles of a batch, uint8, and the shares, on the device.
        """
        numbers = batch["index"].tolist()
        lr = self.degrade(batch["original"], group, numbers)
        images = {role: batch[role] for role in self.image_roles if role != "lr"}
        shares = {
            name: batch[name].to(self.device)
            for name in ("negative_share", "positive_share")
            if self.negatives
        }
        return {**self.cut(lr, images, numbers), **shares}

    @rank_zero_only
    def _say(self, left_out: Sequence[str]) -> None:
        super()._say(left_out)
        table = Table("", "training sets", title=f"labels {self.labels}")
        sets = [self.sets[pair.key] for pair in self.train_pairs]
        table.add_row("all", str(len(sets)))
        for label in ("Positive", "Negative") if self.negatives else ("Positive",):
            table.add_row(f"with a {label}", str(sum(bool(one.voted(label)) for one in sets)))
        terminal(stderr=True).print(table)
