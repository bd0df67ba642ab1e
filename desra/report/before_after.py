"""The page and the table of images before and after finetuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desra import report
from desra.detectors import Detector

TABLE = "per_image.csv"
TITLE = "Artifacts before and after finetuning"
LAYERS = ("LR", "MSE-SR", "GAN-SR", "Finetuned")
OUTLINES = ("Before", "After", "Labelled")
DIFFERENCES = {"before": "Difference before", "after": "Difference after"}
"""Heat maps, 1 − D: bright where the textures are far from those of MSE-SR."""

COLUMNS = (
    "image",
    "artifact_share_before",
    "artifact_share_after",
    "regions_before",
    "regions_after",
    "removable",
    "removed",
    "added",
    "pixels_before",
    "pixels_removed",
    "psnr_inside",
    "psnr_outside",
    "lpips_inside",
    "lpips_outside",
)
"""Of the table; a run over labelled images, or with MSE-SR compared, has more."""

_PAGE_COLUMNS = (
    report.Column("image", kind="text", descending=False),
    report.Column(
        "removal",
        "removed",
        "share",
        "share of the marked pixels no longer marked; a dash where no region counts",
    ),
    report.Column(
        "artifact_share_before", "before", "share", "pixels in artifacts of the original GAN-SR"
    ),
    report.Column(
        "artifact_share_after", "after", "share", "pixels in artifacts of the finetuned image"
    ),
    report.Column(
        "regions_before", "regions before", "integer", "detected in GAN-SR, outlined as Before"
    ),
    report.Column(
        "removable",
        "regions counted",
        "integer",
        "by the removal rate: those before; in a labelled image the labelled ones, of which half "
        "was detected",
    ),
    report.Column(
        "removed", "regions removed", "integer", "of the counted ones, those no longer detected"
    ),
    report.Column("added", "regions added", "integer", "regions where nothing was detected before"),
    report.Column(
        "psnr_outside", "PSNR outside, dB", hint="finetuned against GAN-SR outside the artifacts"
    ),
    report.Column(
        "lpips_outside",
        "LPIPS outside",
        hint="finetuned against GAN-SR outside the artifacts; 0 is alike",
        descending=False,
    ),
)
_TITLES = {
    "removal_rate": "removal rate",
    "pixel_removal_rate": "marked pixels removed",
    "addition_rate": "addition rate",
    "artifact_share/before": "artifact share before",
    "artifact_share/after": "artifact share after",
    "detection/iou": "IoU before",
    "residual/iou": "IoU after",
    "psnr/outside": "PSNR outside the artifacts",
    "psnr/mse_sr_outside": "… PSNR of MSE-SR",
    "lpips/outside": "LPIPS outside the artifacts",
    "lpips/mse_sr_outside": "… LPIPS of MSE-SR",
    "structural_share/before": "structure lost before",
    "structural_share/after": "structure lost after",
    "truth/psnr_inside/gan_sr": "PSNR to the truth inside, GAN-SR",
    "truth/psnr_inside/finetuned": "… inside, finetuned",
    "truth/psnr_inside/mse_sr": "… inside, MSE-SR",
    "truth/psnr_inside/repaired": "… inside, repaired",
    "truth/psnr_outside/gan_sr": "PSNR to the truth outside, GAN-SR",
    "truth/psnr_outside/finetuned": "… outside, finetuned",
}


def write_images(
    output_dir: Path,
    key: str,
    *,
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[NDArray[np.bool_] | None],
    distances: Sequence[NDArray],
    labels: NDArray[np.uint8] | None = None,
) -> list[Path]:
    """Write the page's files of one image; they are returned.

    Args:
        output_dir: where the page will be.
        key: of the image.
        images: those of `LAYERS`, ``(H, W, 3)`` uint8.
        masks: those of `OUTLINES`, ``(H, W)``; None for none.
        distances: before and after, ``(H, W)`` in [0, 1].
        labels: semantic classes, ``(H, W)`` uint8.
    """
    outlines = zip(OUTLINES, masks, strict=True)
    heatmaps = zip(DIFFERENCES.values(), distances, strict=True)
    return report.write_entry(
        output_dir,
        key,
        images=dict(zip(LAYERS, images, strict=True)),
        heatmaps={title: 1 - distance for title, distance in heatmaps},
        outlines={title: mask for title, mask in outlines if mask is not None},
        labels=labels,
    )


def write_page(
    output_dir: Path,
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, float | None],
    detector: Detector,
    classes: Sequence[str] = (),
) -> Path:
    """Write ``index.html``, sorted by how much of an image's artifacts was removed.

    Args:
        output_dir: where `write_images` wrote to.
        rows: of `desra.metrics.finetuning.compare`, with ``image``; or with ``error``.
        figures: of the set.
        detector: whose settings are named, and whose threshold is marked in the heat maps' scale.
        classes: names of the semantic classes.
    """
    scale = report.Scale(0, 1, 1 - detector.cutoff)
    return report.write_page(
        output_dir,
        [{**row, "removal": removal(row)} for row in rows],
        title=TITLE,
        subtitle="outlined in the original GAN-SR and in the finetuned image",
        columns=_PAGE_COLUMNS,
        settings=detector.shown_settings,
        summary={
            _TITLES[name]: figure_text(name, figures[name]) + _counts(name, rows)
            for name in _TITLES
            if name in figures
        },
        share="artifact_share_after",
        sort="removal",
        scales=dict.fromkeys(DIFFERENCES.values(), scale),
        outlines=OUTLINES,
        classes=classes,
    )


def _counts(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """What a rate was counted over."""
    done = [row for row in rows if row.get("removable") is not None]
    if name == "removal_rate":
        part, whole, what = "removed", "removable", "regions"
    elif name == "pixel_removal_rate":
        part, whole, what = "pixels_removed", "pixels_before", "pixels"
    elif name == "addition_rate":
        return f" ({sum(row['added'] > 0 for row in done)} of {len(done)} images)"
    else:
        return ""
    return f" ({sum(row[part] for row in done):,} of {sum(row[whole] for row in done):,} {what})"


def removal(row: Mapping[str, Any]) -> float | None:
    """Share of an image's artifact pixels that are gone; negative where they became more.

    None where no region counts: nothing was detected, or nothing of it is labelled.
    """
    before, after = (row.get(f"artifact_share_{when}") for when in ("before", "after"))
    if not before or after is None or row.get("removable") == 0:
        return None
    return 1 - after / before


def table_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """`COLUMNS`, what else the rows have, and ``error`` if there is one."""
    names = dict.fromkeys(name for row in rows for name in row)
    last = ["error"] if names.pop("error", 1) is None else []
    return [*COLUMNS, *(name for name in names if name not in COLUMNS), *last]


_PLAIN = ("lpips", "dists", "/ssim_")
"""Measures that are read as they are; all else is dB or a share."""


def figure_text(name: str, value: float | None) -> str:
    """A metric as it is read by people."""
    if value is None:
        return "–"
    if "psnr" in name:
        return f"{value:.2f} dB"
    return f"{value:.4f}" if any(m in name for m in _PLAIN) else f"{100 * value:.2f} %"
