"""Kinds of artifacts: regions whose texture is alike, found by clustering and kept in a file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist, pdist, squareform

from desra.errors import InputError
from desra.files import write_text
from desra.region_features import FEATURES

USED = FEATURES[1:]
"""What kinds are told apart by: all but the area."""
WEIGHTS = {"contrast": 0.5, "strength": 0.7, "brightness": 0.7}
"""How much a feature counts, where not 1: a kind may be strong here and weak there."""
_SCALES = {
    "contrast": 0.5,
    "strength": 0.5,
    "fineness": 0.25,
    "directedness": 0.25,
    "direction_cos": 0.35,
    "direction_sin": 0.35,
    "colour": 0.2,
    "brightness": 0.4,
}
"""Differences of a feature that are told apart easily, so that no set of regions decides."""


@dataclass
class Kinds:
    """Kinds of artifacts.

    Attributes:
        names: of kind 0, 1, …
        centres: ``(K, len(USED))``, in the features' units.
    """

    names: list[str]
    centres: NDArray[np.float64]

    def of(self, features: NDArray[np.float64]) -> NDArray[np.int64]:
        """The kind whose centre is nearest to each region.

        Args:
            features: ``(N, len(FEATURES))``.

        Returns:
            ``(N,)`` numbers of kinds.
        """
        if not len(features):
            return np.zeros(0, np.int64)
        return np.asarray(cdist(_scaled(features[:, 1:]), _scaled(self.centres)).argmin(1))

    def save(self, path: str | Path) -> None:
        """Write as JSON; the names may be edited."""
        kinds = [
            {"name": name, **dict(zip(USED, map(float, centre), strict=True))}
            for name, centre in zip(self.names, self.centres, strict=True)
        ]
        write_text(path, json.dumps({"kinds": kinds}, indent=2) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> Kinds:
        """Read what `save` wrote.

        Raises:
            InputError: unreadable, or not a file of kinds.
        """
        try:
            kinds = json.loads(Path(path).read_text("utf-8"))["kinds"]
            centres = [[float(kind[name]) for name in USED] for kind in kinds]
            names = [str(kind["name"]) for kind in kinds]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: not a file of kinds ({error}); give kinds.json of task=kinds"
            ) from error
        if not names or not np.isfinite(centres).all():
            raise InputError(f"{path}: no kinds in it; give kinds.json of task=kinds")
        return cls(names, np.array(centres))

    def renamed(self, names: Mapping[int | str, str]) -> Kinds:
        """With other names, by number or by present name.

        Raises:
            InputError: no such kind.
        """
        renamed = list(self.names)
        for old, new in names.items():
            place = int(old) if str(old).isdecimal() else -1
            if old in self.names:
                place = self.names.index(str(old))
            if not 0 <= place < len(renamed):
                raise InputError(f"names.{old}: no such kind; there are {', '.join(self.names)}")
            renamed[place] = new
        return Kinds(renamed, self.centres)


def find_kinds(features: NDArray[np.float64], count: int | None = None, most: int = 8) -> Kinds:
    """Cluster regions by Ward's method.

    Args:
        features: ``(N, len(FEATURES))``, of at least two regions.
        count: of kinds; None for the number with the best mean silhouette (Rousseeuw, 1987).
        most: kinds where the number is chosen.

    Raises:
        InputError: fewer regions than kinds, or less than two.
    """
    used = np.asarray(features, np.float64)[:, 1:]
    if len(used) < max(2, count or 0):
        raise InputError(f"{len(used)} regions make no {count or 2} kinds; give more images")
    scaled = _scaled(used)
    tree = linkage(scaled, "ward")
    if count is None:
        tried = range(2, min(most, len(used) - 1) + 1)
        cuts = {number: fcluster(tree, number, "maxclust") for number in tried}
        distances = squareform(pdist(scaled))
        scores = {number: silhouette(distances, cut) for number, cut in cuts.items()}
        count = max(scores, key=lambda number: scores[number]) if scores else 1
    numbers = fcluster(tree, count, "maxclust")
    sizes = {number: int((numbers == number).sum()) for number in np.unique(numbers)}
    order = sorted(sizes, key=lambda number: -sizes[number])
    centres = np.stack([used[numbers == number].mean(0) for number in order])
    return Kinds([describe(centre) for centre in _numbered(centres)], centres)


def kinds_by_name(features: NDArray[np.float64], names: Sequence[str | None]) -> Kinds:
    """The kinds that people gave to some of the regions, the most frequent first.

    Args:
        features: ``(N, len(FEATURES))``.
        names: of each region's kind; None where it has none.

    Raises:
        InputError: no region has one.

    Example:
        >>> features = np.arange(27.0).reshape(3, 9)
        >>> kinds_by_name(features, ["grid", None, "grid"]).centres[0, :3]
        array([10., 11., 12.])
    """
    counts = Counter(name for name in names if name is not None)
    if not counts:
        raise InputError("no region of these images has a kind; give kinds in annotate.py, by c")
    order = sorted(counts, key=lambda name: (-counts[name], name))
    own = np.array([name or "" for name in names])
    return Kinds(order, np.stack([features[own == name, 1:].mean(0) for name in order]))


def _numbered(centres: NDArray[np.float64]) -> Sequence[tuple[int, NDArray[np.float64]]]:
    return list(enumerate(centres, 1))


def describe(kind: tuple[int, NDArray[np.float64]]) -> str:
    """A name for a kind until somebody gives it one: its number and what is striking of it."""
    number, centre = kind
    values = dict(zip(USED, centre, strict=True))
    fine = "fine" if values["fineness"] > np.log(2 * np.pi / 6) else "coarse"
    direction = "waves" if values["directedness"] > 0.5 else "texture"
    if values["strength"] < np.log(2.5):
        direction = "shift"
    hue = "coloured " if values["colour"] > 0.5 else ""
    lost = "lost " if values["contrast"] < -0.3 else ""
    return f"{number} {lost}{hue}{fine} {direction}"


def _scaled(used: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.array([WEIGHTS.get(name, 1.0) / _SCALES[name] for name in USED])
    return np.asarray(used * weights)


def silhouette(distances: NDArray[np.float64], numbers: NDArray[np.int64]) -> float:
    """Mean silhouette of a clustering, −1 to 1; a cluster of one counts as 0.

    Args:
        distances: ``(N, N)``.
        numbers: ``(N,)`` of clusters.
    """
    clusters = np.unique(numbers)
    if len(clusters) < 2:
        return -1.0
    sums = np.stack([distances[:, numbers == cluster].sum(1) for cluster in clusters], 1)
    sizes = np.array([(numbers == cluster).sum() for cluster in clusters])
    own = np.searchsorted(clusters, numbers)
    rows = np.arange(len(numbers))
    inside = sums[rows, own] / np.maximum(sizes[own] - 1, 1)
    others = sums / sizes
    others[rows, own] = np.inf
    nearest = others.min(1)
    value = (nearest - inside) / np.maximum(np.maximum(nearest, inside), 1e-12)
    return float(np.where(sizes[own] > 1, value, 0).mean())
