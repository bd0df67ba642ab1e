"""What evaluates against labels: masks made before, or a detector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import LightningModule

from desra.detectors import Detector
from desra.errors import InputError
from desra.metrics import BORDER, MIN_SHARE
from desra.segmenters import Segmenter
from tasks.detector import DetectorEvaluation
from tasks.masks import MaskEvaluation
from tasks.prominent_regions import ProminenceEvaluation


def evaluation(
    detector: Detector | Mapping[str, Any] | None = None,
    segmenter: Segmenter | None = None,
    output_dir: str | Path = ".",
    title: str | None = None,
    border: int = BORDER,
    min_share: float = MIN_SHARE,
    page: bool = True,
    prominence: ProminenceEvaluation | None = None,
    **curves: Any,
) -> LightningModule:
    """The task of an evaluation: of a detector, or where there is none of masks made before.

    Args:
        detector: see `DetectorEvaluation`, as the others; for `MaskEvaluation` None, or settings
            that all are None.
        segmenter: what says which pixels show what.
        output_dir: gets the results.
        title: of the detector.
        border: see `MaskEvaluation`, too.
        min_share: likewise.
        page: likewise.
        prominence: likewise, scores of labelled regions.
        curves: ``steps``, ``tune_for``, ``seed``, ``replicates`` of `DetectorEvaluation`.

    Raises:
        InputError: settings of a detector, but no detector.
    """
    shared: dict[str, Any] = {
        "border": border, "min_share": min_share, "page": page, "prominence": prominence
    }  # fmt: skip
    if not isinstance(detector, Detector):
        given = [name for name, value in (detector or {}).items() if value is not None]
        if given:
            raise InputError(f"detector.{given[0]} without a detector; add detector=desra")
        return MaskEvaluation(output_dir, **shared)
    assert segmenter is not None
    return DetectorEvaluation(detector, segmenter, output_dir, title, **shared, **curves)
