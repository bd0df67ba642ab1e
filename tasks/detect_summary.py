"""Summary of a detection run, from the rows of its table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from desra.ledger import Row
from desra.metrics import score_rows


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Metrics of the whole set; where images are labelled also IoU, precision, recall and F1.

    Undefined metrics (0/0) are None.
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
    if labelled:
        scores = score_rows(labelled)
        summary |= {"labelled_images": scores.pop("images"), **scores}
    return summary
