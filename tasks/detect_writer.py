"""The files that detection leaves for each image, and the page over all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desra import report
from desra.detectors import Detector
from desra.files import link_or_copy, write_text
from desra.image_task import Sample
from desra.images import to_plane, write_png
from desra.ledger import Row
from desra.region_reasons import region_reasons
from desra.stage_cache import Stage

FOLDERS = {"lr": "LR", "mse_sr": "MSE-SR", "gan_sr": "GAN-SR"}
MASK_FOLDER = "DeSRA-Mask"
"""The layout of the released dataset, which train.py reads."""

DIFFERENCE = "Difference"
"""The page's heat map: 1 − D, bright where an artifact is likely."""

PAGE_COLUMNS = (
    report.Column("artifact_share", kind="share", hint="Share of the image's pixels in the mask."),
    report.Column("regions", kind="integer", hint="8-connected regions of the mask."),
    report.Column("largest_region", kind="integer", hint="Pixels of the largest region."),
    report.Column("mean_distance", hint="Mean of the map; low where artifacts are likely."),
)
SCORE_TITLES = {"iou": "IoU", "precision": "Precision", "recall": "Recall", "f1": "F1"}


class Found(NamedTuple):
    """What was detected in one image; tensors ``(1, 1, H, W)``, any device.

    Attributes:
        distance: float64.
        adjusted: float64.
        mask: bool.
        stage: what it was detected from; its distance has a channel for each member of an ensemble.
    """

    distance: Tensor
    adjusted: Tensor
    mask: Tensor
    stage: Stage

    @property
    def labels(self) -> Tensor | None:
        """Semantic labels, uint8, or None without a segmenter."""
        return self.stage.labels


class DetectionWriter:
    """Writes an image's files under ``output_dir``.

    What depends on the image alone (pictures, upscalings) goes to a ``shared`` folder, which in a
    sweep serves all jobs, and is linked from there.

    Args:
        output_dir: the run's folder.
        detector: gives the stages between distance and mask, and the settings the page names.
        classes: names of the semantic classes, by label.
        inputs: whether LR, MSE-SR and GAN-SR are linked, copied or left where they are.
        page: whether the page is made.
        save_intermediates: whether labels, distances and stages are written.
    """

    def __init__(
        self,
        output_dir: Path,
        detector: Detector,
        classes: Sequence[str],
        inputs: Literal["link", "copy", "leave"],
        page: bool,
        save_intermediates: bool,
    ) -> None:
        self.output_dir, self.detector, self.classes = output_dir, detector, classes
        self.inputs, self.page, self.save_intermediates = inputs, page, save_intermediates

    def write_shared(self, shared: Path, sample: Sample, found: Found) -> None:
        """Write what every job over this image shares: made upscalings, and the page's pictures."""
        key, pictures = sample.match.key, sample.payload
        for role in ("mse_sr", "gan_sr"):
            if role not in sample.match.paths:
                write_png(shared / FOLDERS[role] / f"{key}.png", getattr(pictures, role))
        if self.page:
            images = {FOLDERS[role]: getattr(pictures, role) for role in FOLDERS}
            report.write_views(
                shared,
                key,
                images={name: image for name, image in images.items() if image is not None},
                heatmaps={DIFFERENCE: 1 - to_plane(found.distance)},
                labels=_labels(found),
            )

    def write(
        self, shared: Path, sample: Sample, found: Found, rougher: NDArray[np.bool_] | None
    ) -> list[Path]:
        """Write what this run's settings decide, link the rest; returns the paths of all."""
        key = sample.match.key
        mask = to_plane(found.mask)
        outputs = [self.output_dir / MASK_FOLDER / f"{key}.png"]
        write_png(outputs[0], mask)
        outputs += self._place_inputs(shared, sample)
        if self.save_intermediates:
            outputs += self._write_intermediates(key, found)
        if self.page:
            if shared != self.output_dir:
                report.link_views(shared, self.output_dir, key)
            outlines = {"Detected": mask}
            if sample.payload.gt_mask is not None:
                outlines["Labelled"] = sample.payload.gt_mask
            report.write_regions(
                self.output_dir,
                key,
                outlines=outlines,
                labels=_labels(found),
                facts={"Detected": self._reasons(mask, found, rougher)},
            )
        return outputs

    def _reasons(
        self, mask: NDArray[np.bool_], found: Found, rougher: NDArray[np.bool_] | None
    ) -> dict[int, dict[str, Any]]:
        if not mask.any():
            return {}
        distance = to_plane(found.distance)
        same = torch.equal(found.adjusted, found.distance)
        return region_reasons(
            report.number_regions(mask),
            distance,
            distance if same else to_plane(found.adjusted),
            self.detector.cutoff,
            self.detector.threshold,
            rougher,
            getattr(self.detector, "direction", None),
        )

    def _place_inputs(self, shared: Path, sample: Sample) -> list[Path]:
        """Give LR, MSE-SR and GAN-SR their place in the output, if they are not there already."""
        placed = []
        for role, folder in FOLDERS.items():
            made = shared / folder / f"{sample.match.key}.png"
            source = sample.match.paths.get(role, made)
            if not source.is_file() or (self.inputs == "leave" and source != made):
                continue
            target = (self.output_dir / folder / sample.match.key).with_name(
                Path(sample.match.key).name + source.suffix
            )
            link_or_copy(source, target, copy=self.inputs == "copy")
            placed.append(target)
        return placed

    def _write_intermediates(self, key: str, found: Found) -> list[Path]:
        """Stages as pictures: maps in [0, 1] in 16 bits, masks as 0/255, labels as they are."""
        planes: dict[str, NDArray] = {
            "Distance": _sixteen_bit(found.distance),
            "Adjusted": _sixteen_bit(found.adjusted),
        }
        if found.labels is not None:
            planes["Labels"] = to_plane(found.labels)
        stages = self.detector.stages(*found.stage)
        planes |= {name.capitalize(): to_plane(stage) for name, stage in stages.items()}
        paths = []
        for name, plane in planes.items():
            paths.append(self.output_dir / "Intermediates" / name / f"{key}.png")
            write_png(paths[-1], plane)
        return paths

    def finish(self, rows: Sequence[Row], summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``, and the page over all images."""
        write_text(self.output_dir / "summary.json", json.dumps(summary, indent=2) + "\n")
        if not self.page:
            return
        report.write_page(
            self.output_dir,
            rows,
            title="Artifacts",
            subtitle="where GAN-SR has texture that MSE-SR does not support, without ground truth",
            columns=PAGE_COLUMNS,
            settings=self.detector.shown_settings,
            summary={
                SCORE_TITLES[name]: f"{100 * value:.1f} %"
                for name, value in summary.items()
                if name in SCORE_TITLES and value is not None
            },
            scales={DIFFERENCE: report.Scale(0, 1, 1 - self.detector.cutoff)},
            classes=self.classes,
            files={"Mask": f"{MASK_FOLDER}/{{key}}.png"},
        )


def _labels(found: Found) -> NDArray[np.uint8] | None:
    return None if found.labels is None else to_plane(found.labels)


def _sixteen_bit(values: Tensor) -> NDArray[np.uint16]:
    return np.round(to_plane(values).clip(0, 1) * 65535).astype(np.uint16)
