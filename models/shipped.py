"""What belongs to the sample."""

from __future__ import annotations

from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[1] / "samples"


def is_shipped(weights: str | Path | None) -> bool:
    """Whether weights are one of the sample's networks, and not a name or a file of the user's."""
    return weights is not None and SAMPLES in Path(weights).resolve().parents
