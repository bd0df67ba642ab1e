"""Several detectors as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from desra.detectors.base import Detector
from desra.errors import InputError

Vote = Literal["union", "intersection", "majority", "mean"]


class Ensemble(Detector):
    """Combines the maps of several detectors, pixel by pixel, before regions are formed.

    A member's map is first stretched so that its own cutoff is at one half, linearly below and
    above: the members' thresholds keep their meaning. Then the ``vote`` makes one map of them,
    which is held against the ensemble's threshold:

    - ``"union"``: the lowest; a candidate of any member is one.
    - ``"intersection"``: the highest; only candidates of all members are.
    - ``"majority"``: that of the member which completes a majority, more than half.
    - ``"mean"``: the mean; members may make up for one another.

    Args:
        members: the detectors, by name. Their minimum areas are not used.
        vote: how they are combined.
        threshold: of the combined map, in [0, 1]; a half stands for the members' own thresholds,
            more finds more.
        min_area: see `Detector`.

    Raises:
        InputError: no members, or a setting that cannot be used.

    Example:
        >>> import torch
        >>> from desra.detectors import ArtifactDetector, SSIMDetector
        >>> detector = Ensemble({"desra": ArtifactDetector(), "ssim": SSIMDetector()}, min_area=100)
        >>> smooth = torch.full((1, 3, 64, 64), 0.5)
        >>> textured = smooth.clone()
        >>> textured[..., 16:48, 16:48] += torch.rand(32, 32).sub(0.5)
        >>> detector(smooth, textured).mask[..., 32, 32].item()
        True
    """

    def __init__(
        self,
        members: Mapping[str, Detector],
        vote: Vote = "mean",
        threshold: float = 0.5,
        min_area: float = 4000,
    ) -> None:
        super().__init__(threshold, min_area)
        members = {name: member for name, member in members.items() if member is not None}
        if not members:
            raise InputError("an ensemble needs members; add +detector@detector.members.NAME=NAME")
        if vote not in get_args(Vote):
            raise InputError(f"vote={vote}; give one of {', '.join(get_args(Vote))}")
        self.vote: Vote = vote
        self.members = nn.ModuleDict(dict(members))
        self.rim = max(member.rim for member in members.values())

    def _detectors(self) -> list[tuple[str, Detector]]:
        return [(name, cast(Detector, member)) for name, member in self.members.items()]

    @property
    def settings(self) -> dict[str, Any]:
        """The ensemble's and its members'; JSON-able."""
        members = {name: member.settings for name, member in self._detectors()}
        return {**super().settings, "vote": self.vote, "members": members}

    @property
    def shown_settings(self) -> dict[str, Any]:
        """`settings` with the names of the members alone."""
        return {**self.settings, "members": ", ".join(self.members)}

    def prepare(self) -> None:
        """Prepare all members."""
        for _, member in self._detectors():
            member.prepare()

    def distance(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """Distances of the members, ``(B, N, H, W)`` in their order."""
        return torch.cat([member.distance(mse_sr, gan_sr) for _, member in self._detectors()], 1)

    def combined(self, distance: Tensor) -> Tensor:
        """The vote without labels."""
        return self.adjust(distance, None)

    def adjust(self, distance: Tensor, labels: Tensor | None) -> Tensor:
        """The vote ``(B, 1, H, W)``, each member's distance adjusted for the labels."""
        members = [member for _, member in self._detectors()]
        planes = [
            _centred(member.adjust(plane, labels), member.cutoff)
            for member, plane in zip(members, distance.split(1, 1), strict=True)
        ]
        stacked = torch.cat(planes, 1)
        if self.vote == "mean":
            return stacked.mean(1, keepdim=True)
        count = len(members)
        needed = {"union": 1, "intersection": count, "majority": count // 2 + 1}[self.vote]
        return stacked.kthvalue(needed, 1, keepdim=True).values


def _centred(distance: Tensor, cutoff: float) -> Tensor:
    """Linear below and above the cutoff, which becomes a half; 0 and 1 stay."""
    below = distance * (0.5 / cutoff) if cutoff > 0 else torch.full_like(distance, 0.5)
    above = 1 - (1 - distance) * (0.5 / (1 - cutoff)) if cutoff < 1 else distance
    return torch.where(distance < cutoff, below, above)
