"""What a detection run comes to, over all its images, from the rows of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from desra.ledger import Row
from desra.metrics import ArtifactMetrics, OverlapCounts, align_masks, overlap_counts


def score_image(mask: Tensor, gt_mask: NDArray, rim: int) -> Row:
    """Counts of one image against its labels, as columns of its row.

    Args:
        mask: detected artifacts, bool ``(1, 1, H, W)``.
        gt_mask: labelled artifacts, bool ``(H, W)`` or cropped by the rim.
        rim: width of the rim in which nothing can be detected; left out of the comparison.

    Raises:
        InputError: sizes that do not fit.
    """
    detected, labelled = align_masks(mask[0, 0].numpy(), gt_mask, rim)
    pair = [torch.from_numpy(plane.copy())[None, None] for plane in (detected, labelled)]
    return {name: int(count) for name, count in overlap_counts(*pair)._asdict().items()}


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Figures of the whole set; where images are labelled also IoU, precision, recall and F1.

    Undefined figures (0/0) are None.
    """
    done = [row for row in rows if not row.get("error")]
    shares = [row["artifact_share"] for row in done]
    summary: dict[str, Any] = {
        "images": len(done),
        "images_with_artifacts": sum(row["regions"] > 0 for row in done),
        "images_not_done": len(rows) - len(done),
        "regions": sum(row["regions"] for row in done),
        "artifact_share": sum(shares) / len(shares) if shares else None,
    }
    labelled = [row for row in done if "union" in row]
    return summary | (_scores(labelled) if labelled else {})


def _scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    metrics = ArtifactMetrics()
    for row in rows:
        metrics.add_counts(
            OverlapCounts(*(torch.tensor([row[name]]) for name in OverlapCounts._fields))
        )
    scores = {name: value.item() for name, value in metrics.compute().items()}
    scores["labelled_images"] = scores.pop("images")
    return {name: None if value != value else value for name, value in scores.items()}  # NaN
