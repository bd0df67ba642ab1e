"""Metrics of finetuning, image by image and over a set: artifacts removed and added, detail kept.

An image's known artifacts are what the detector finds in the original GAN-SR, and what is labelled.
Inside them the finetuned image is compared with MSE-SR, which the pseudo ground truth has there;
outside them with the original GAN-SR, of which nothing should be lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from desra.metrics.detail import RegionLPIPS, region_psnr
from desra.metrics.detection import OverlapCounts, harmonic_mean, overlap_counts
from desra.metrics.removal import added_regions, removed_regions
from desra.metrics.rows import SCORES
from desra.metrics.sums import SumMetric, ratio
from desra.regions import count_regions
from desra.rim import inside

Row = dict[str, Any]

DETAIL = ("inside", "outside", "mse_sr_outside")
MEANS = {
    "artifact_share_before": "artifact_share/before",
    "artifact_share_after": "artifact_share/after",
    **{f"psnr_{part}": f"psnr/{part}" for part in DETAIL},
    **{f"lpips_{part}": f"lpips/{part}" for part in DETAIL},
}
"""Columns of a row that are averaged over the images that have them, with the figures' names."""

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
    """

    mse_sr: Tensor
    gan_sr: Tensor
    finetuned: Tensor
    before: Tensor
    after: Tensor
    gt_mask: Tensor | None = None
    rim: int = 0


def compare(
    images: Comparison, lpips: RegionLPIPS | None = None, with_mse_sr: bool = False
) -> list[Row]:
    """The figures and counts of each image, as rows of a table.

    Args:
        images: a batch.
        lpips: measures perceptual distance too.
        with_mse_sr: also measure how far MSE-SR is from GAN-SR outside the artifacts: what would be
            lost by taking MSE-SR for everything.

    Returns:
        a row an image, JSON-able; None where a figure is undefined (no such pixels).
    """
    columns = _artifact_columns(images) | _detail_columns(images, lpips, with_mse_sr)
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
    known = images.before if images.gt_mask is None else images.before | images.gt_mask
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
    """Figures of a set from the rows of `compare`.

    ``removal_rate`` (share of originally detected labelled regions no longer detected; of all
    originally detected ones where an image has no labels), ``addition_rate`` (share of images with
    a region where nothing was before), ``detection/…`` and ``residual/…`` (IoU, precision, recall
    and F1 against the labels, before and after), and the means of shares, PSNR and LPIPS. A figure
    is NaN where it is 0/0, and absent where no image has what it is made of: labels, LPIPS.

    Args:
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

    def __init__(self, **kwargs: Any) -> None:
        counts = ["images", "images_with_added", "removable", "removed"]
        counts += [f"{name}_images" for name in (*MEANS, *OVERLAPS)]
        counts += [f"{name}_{count}" for name in OVERLAPS for count in _REGION_COUNTS]
        counts += [f"{name}_without_artifacts" for name in OVERLAPS]
        totals = [f"{name}_sum" for name in MEANS] + [f"{name}_iou_sum" for name in OVERLAPS]
        super().__init__(counts, totals, **kwargs)

    def update(self, row: Mapping[str, Any]) -> None:
        """Add an image."""
        self.add(
            images=1,
            images_with_added=int(row["added"] > 0),
            removable=row["removable"],
            removed=row["removed"],
        )
        for name in MEANS:
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
            "addition_rate": ratio(state["images_with_added"], state["images"]),
        }
        for name, title in MEANS.items():
            if state[f"{name}_images"]:
                figures[title] = ratio(state[f"{name}_sum"], state[f"{name}_images"])
        for name in OVERLAPS:
            if state[f"{name}_images"]:
                figures |= {f"{name}/{score}": v for score, v in _scores(name, state).items()}
        return figures


_REGION_COUNTS = OverlapCounts._fields[2:]


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


def score_finetuning(rows: list[Row]) -> dict[str, float | None]:
    """The figures of `FinetuningScores` over all rows, as Python numbers; None where undefined."""
    scores = FinetuningScores(sync_on_compute=False)
    for row in rows:
        scores.update(row)
    if not rows:
        return {}
    return {name: _defined(value.item()) for name, value in scores.compute().items()}
