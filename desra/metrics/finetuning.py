"""Metrics of finetuning by image and over a set: artifacts removed and added, detail, the truth.

An image's known artifacts are what the detector finds in the original GAN-SR, and what is labelled.
Inside them the finetuned image is compared with MSE-SR, which the pseudo ground truth has there;
outside them with the original GAN-SR, of which nothing should be lost. Where the true image is
known, all candidates are compared with that, inside and outside (`desra.metrics.truth`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from desra.metrics.detail import RegionDISTS, RegionLPIPS, region_psnr
from desra.metrics.detection import OverlapCounts, harmonic_mean, overlap_counts
from desra.metrics.removal import added_regions, removed_regions
from desra.metrics.rows import SCORES
from desra.metrics.sums import SumMetric, ratio
from desra.metrics.truth import TRUTH_COLUMNS, truth_columns
from desra.regions import count_regions
from desra.rim import inside

Row = dict[str, Any]

DETAIL = ("inside", "outside", "mse_sr_outside")
MEANS = {
    "artifact_share_before": "artifact_share/before",
    "artifact_share_after": "artifact_share/after",
    **{f"psnr_{part}": f"psnr/{part}" for part in DETAIL},
    **{f"lpips_{part}": f"lpips/{part}" for part in DETAIL},
    **TRUTH_COLUMNS,
}
"""Columns of a row that are averaged over the images that have them, with the metrics' names."""

OVERLAPS = {"detection": "before", "residual": "after"}
"""What is scored against the labels: the detector on GAN-SR, and what it finds after finetuning."""


class Comparison(NamedTuple):
    """One batch of images before and after finetuning; images uint8 ``(B, 3, H, W)``.

    Attributes:
        mse_sr: the pixel-loss network's upscaling.
        gan_sr: the original generator's.
        finetuned: the finetuned generator's.
        before: detected in ``gan_sr``, bool ``(B, 1, H, W)``.
        after: detected in ``finetuned``.
        gt_mask: labelled artifacts of ``gan_sr``, or None.
        rim: pixels at each side where nothing can be detected; labels there do not count.
        truth: the true images, or None.
    """

    mse_sr: Tensor
    gan_sr: Tensor
    finetuned: Tensor
    before: Tensor
    after: Tensor
    gt_mask: Tensor | None = None
    rim: int = 0
    truth: Tensor | None = None

    @property
    def known(self) -> Tensor:
        """Artifacts detected in GAN-SR, or labelled."""
        return self.before if self.gt_mask is None else self.before | self.gt_mask


def compare(
    images: Comparison,
    lpips: RegionLPIPS | None = None,
    with_mse_sr: bool = False,
    dists: RegionDISTS | None = None,
) -> list[Row]:
    """The metrics and counts of each image, as rows of a table.

    Args:
        images: a batch.
        lpips: measures perceptual distance too.
        with_mse_sr: also measure how far MSE-SR is from GAN-SR outside the artifacts: what would be
            lost by taking MSE-SR for everything.
        dists: compares with the truth too.

    Returns:
        a row an image, JSON-able; None where a metric is undefined (no such pixels).
    """
    columns = _artifact_columns(images) | _detail_columns(images, lpips, with_mse_sr)
    if images.truth is not None:
        upscalings = (images.mse_sr, images.gan_sr, images.finetuned)
        parts = (images.before, images.known)
        columns |= truth_columns(images.truth, *upscalings, *parts, lpips, dists)
    values = {name: column.tolist() for name, column in columns.items()}
    return [
        {name: _defined(column[index]) for name, column in values.items()}
        for index in range(len(images.gan_sr))
    ]


def _artifact_columns(images: Comparison) -> dict[str, Tensor]:
    before, after, gt_mask = (
        None if mask is None else inside(mask, images.rim)
        for mask in (images.before, images.after, images.gt_mask)
    )
    assert before is not None
    assert after is not None
    removed, removable = removed_regions(before, after, gt_mask)
    added, regions_after = added_regions(before, after, gt_mask)
    columns = {
        "artifact_share_before": images.before.flatten(1).double().mean(1),
        "artifact_share_after": images.after.flatten(1).double().mean(1),
        "pixels_before": before.flatten(1).sum(1),
        "pixels_removed": (before & ~after).flatten(1).sum(1),
        "regions_before": count_regions(before).flatten(),
        "regions_after": regions_after,
        "removable": removable,
        "removed": removed,
        "added": added,
    }
    if gt_mask is not None:
        for name, mask in (("detection", before), ("residual", after)):
            counts = overlap_counts(mask, gt_mask)._asdict()
            columns |= {f"{name}_{count}": values for count, values in counts.items()}
    return columns


def _detail_columns(
    images: Comparison, lpips: RegionLPIPS | None, with_mse_sr: bool
) -> dict[str, Tensor]:
    known = images.known
    compared = {
        "inside": (images.finetuned, images.mse_sr, known),
        "outside": (images.finetuned, images.gan_sr, ~known),
    }
    if with_mse_sr:
        compared["mse_sr_outside"] = (images.mse_sr, images.gan_sr, ~known)
    columns = {f"psnr_{part}": region_psnr(*given) for part, given in compared.items()}
    if lpips is not None:
        columns |= {f"lpips_{part}": lpips(*given) for part, given in compared.items()}
    return columns


def _defined(value: float) -> float | None:
    return None if value != value else value  # NaN


class FinetuningScores(SumMetric):
    """Metrics of a set from the rows of `compare`.

    ``removal_rate`` (share of originally detected labelled regions no longer detected; of all
    originally detected ones where an image has no labels), ``pixel_removal_rate`` (share of the
    pixels marked before that are marked no more: regions count as removed with half of their pixels
    still marked), ``addition_rate`` (share of images with a region where nothing was before),
    ``detection/…`` and ``residual/…`` (IoU, precision, recall and F1 against the labels, before and
    after), the means of shares, PSNR and LPIPS, and ``truth/…`` and ``structural_share/…`` where
    the true image is known. A metric is NaN where it is 0/0, and absent where no image has what it
    is made of: labels, LPIPS, truth.

    Args:
        others: names of further detectors, whose shares ``NAME_share_{before,after}`` rows may
            have.
        kwargs: of `torchmetrics.Metric`.

    Example:
        >>> row = dict(artifact_share_before=0.5, artifact_share_after=0.0, removable=2, removed=1)
        >>> scores = FinetuningScores()
        >>> scores.update({**row, "added": 0})
        >>> figures = scores.compute()
        >>> float(figures["removal_rate"]), float(figures["addition_rate"])
        (0.5, 0.0)
        >>> "residual/iou" in figures
        False
    """

    def __init__(self, others: Sequence[str] = (), **kwargs: Any) -> None:
        shares = [f"{name}_share" for name in others]
        self.means = MEANS | {
            f"{share}_{when}": f"{share}/{when}" for share in shares for when in ("before", "after")
        }
        counts = ["images", "images_with_added", *_RATE_COUNTS]
        counts += [f"{name}_images" for name in (*self.means, *OVERLAPS)]
        counts += [f"{name}_{count}" for name in OVERLAPS for count in _REGION_COUNTS]
        counts += [f"{name}_without_artifacts" for name in OVERLAPS]
        totals = [f"{name}_sum" for name in self.means] + [f"{name}_iou_sum" for name in OVERLAPS]
        super().__init__(counts, totals, **kwargs)

    def update(self, row: Mapping[str, Any]) -> None:
        """Add an image."""
        self.add(
            images=1,
            images_with_added=int(row["added"] > 0),
            **{name: row[name] for name in _RATE_COUNTS if row.get(name) is not None},
        )
        for name in self.means:
            if row.get(name) is not None:
                self.add(**{f"{name}_sum": row[name], f"{name}_images": 1})
        for name in OVERLAPS:
            if row.get(f"{name}_union") is not None:
                self._add_overlap(name, row)

    def _add_overlap(self, name: str, row: Mapping[str, Any]) -> None:
        union = row[f"{name}_union"]
        self.add(
            **{f"{name}_{count}": row[f"{name}_{count}"] for count in _REGION_COUNTS},
            **{
                f"{name}_images": 1,
                f"{name}_without_artifacts": int(union == 0),
                f"{name}_iou_sum": row[f"{name}_intersection"] / union if union else 0,
            },
        )

    def compute(self) -> dict[str, Tensor]:
        """Name to float64 scalar."""
        state = {name: getattr(self, name) for name in self._defaults}
        figures = {
            "removal_rate": ratio(state["removed"], state["removable"]),
            "pixel_removal_rate": ratio(state["pixels_removed"], state["pixels_before"]),
            "addition_rate": ratio(state["images_with_added"], state["images"]),
        }
        for name, title in self.means.items():
            if state[f"{name}_images"]:
                figures[title] = ratio(state[f"{name}_sum"], state[f"{name}_images"])
        for name in OVERLAPS:
            if state[f"{name}_images"]:
                figures |= {f"{name}/{score}": v for score, v in _scores(name, state).items()}
        return figures


_REGION_COUNTS = OverlapCounts._fields[2:]
_RATE_COUNTS = ("removable", "removed", "pixels_before", "pixels_removed")


def _scores(name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """IoU, precision, recall and F1, as `desra.metrics.OverlapScores` defines them."""
    detected, detected_hits, labelled, labelled_hits = (
        state[f"{name}_{count}"] for count in _REGION_COUNTS
    )
    with_artifacts = state[f"{name}_images"] - state[f"{name}_without_artifacts"]
    precision, recall = ratio(detected_hits, detected), ratio(labelled_hits, labelled)
    iou = ratio(state[f"{name}_iou_sum"], with_artifacts)
    values = (iou, precision, recall, harmonic_mean(precision, recall))
    return dict(zip(SCORES, values, strict=True))


def _other_detectors(rows: list[Row]) -> list[str]:
    ending = "_share_before"
    names = dict.fromkeys(name for row in rows for name in row if name.endswith(ending))
    return [name.removesuffix(ending) for name in names if name not in MEANS]


def score_finetuning(rows: list[Row]) -> dict[str, float | None]:
    """The metrics of `FinetuningScores` over all rows, as Python numbers; None where undefined."""
    scores = FinetuningScores(_other_detectors(rows), sync_on_compute=False)
    for row in rows:
        scores.update(row)
    if not rows:
        return {}
    return {name: _defined(value.item()) for name, value in scores.compute().items()}


SATISFIED = 0.9
"""Share of the marked pixels that is removed when the detector counts as satisfied."""


def doubt(figures: Mapping[str, float | None]) -> str | None:
    """What speaks against a detector that finds next to nothing any more, in one line; or None.

    Args:
        figures: of `FinetuningScores`, and shares before and after of other detectors
            (``NAME_share/before``, ``NAME_share/after``).

    Example:
        >>> figures = {"pixel_removal_rate": 0.99, "structural_share/before": 0.2}
        >>> doubt({**figures, "structural_share/after": 0.15})
        'the detector is satisfied (99 % of the marked pixels removed), but structural share fell \
only from 20.0 to 15.0 %'
        >>> doubt({**figures, "structural_share/after": 0.02}) is None
        True
    """
    known = {name: value for name, value in figures.items() if value is not None and value == value}
    removed = known.get("pixel_removal_rate", 0.0)
    if removed < SATISFIED:
        return None
    against = []
    for part, wanted in (("inside", 0.0), ("outside", -0.1)):
        pair = [known.get(f"truth/psnr_{part}/{name}") for name in ("gan_sr", "finetuned")]
        if None not in pair and pair[1] - pair[0] < wanted:  # type: ignore[operator]
            against.append(
                f"{part} the masks the images are farther from the truth ({pair[0]:.1f} to "
                f"{pair[1]:.1f} dB)"
            )
        for measure in ("lpips", "dists"):
            pair = [known.get(f"truth/{measure}_{part}/{name}") for name in ("gan_sr", "finetuned")]
            if None not in pair and pair[1] > pair[0] + 0.01:  # type: ignore[operator]
                against.append(
                    f"{part} the masks {measure.upper()} to the truth rose from {pair[0]:.3f} to "
                    f"{pair[1]:.3f}"
                )
    for name, before in known.items():
        kind, _, when = name.rpartition("/")
        after = known.get(f"{kind}/after")
        if when != "before" or not kind.endswith("_share") or kind == "artifact_share":
            continue
        if after is not None and before > 0.001 and after > before / 2:
            against.append(
                f"{kind.replace('_', ' ')} fell only from {100 * before:.1f} to {100 * after:.1f} %"
                if after < before
                else f"{kind.replace('_', ' ')} rose from {100 * before:.1f} to {100 * after:.1f} %"
            )
    if not against:
        return None
    return (
        f"the detector is satisfied ({100 * removed:.0f} % of the marked pixels removed), but "
        + "; ".join(against)
    )
