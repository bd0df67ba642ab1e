"""``agreement.csv``: how far several annotators agree on the masks of each image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desra.files import write_table
from desra.metrics.agreement import fleiss_kappa, rating_counts
from desra.metrics.mask_agreement import pairwise_iou, region_ratings
from desra.rim import read_mask_of

NAME = "agreement.csv"
COLUMNS = ("image", "annotators", "iou", "kappa")


class AgreementTable:
    """The table in a folder; a row an image that all have done."""

    def __init__(self, folder: Path) -> None:
        self.path, self._rows = folder / NAME, dict[str, dict[str, Any]]()

    def add(self, key: str, masks: NDArray[np.bool_], detected: Path | None) -> None:
        """Mean pixel IoU of each two ``(annotators, H, W)``, and Fleiss' kappa on regions.

        Regions are those that anyone marked or that were ``detected``.
        """
        height, width = masks.shape[1:]
        offered = None if detected is None else read_mask_of(detected, (height, width))
        iou = pairwise_iou(masks)[np.triu_indices(len(masks), 1)]
        known = iou[~np.isnan(iou)]
        kappa = fleiss_kappa(rating_counts(region_ratings(masks, offered), 2))
        self._rows[key] = {
            "image": key,
            "annotators": len(masks),
            "iou": round(float(known.mean()), 6) if len(known) else None,
            "kappa": None if np.isnan(kappa) else round(kappa, 6),
        }
        write_table(self.path, (self._rows[name] for name in sorted(self._rows)), COLUMNS)
