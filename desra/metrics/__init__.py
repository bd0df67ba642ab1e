"""Metrics of detection, of finetuning, and of annotators' agreement.

Each metric's state is a few sums over images, so it is right under any number of ranks.
"""

from desra.metrics.detection import (
    MIN_SHARE,
    ArtifactIoU,
    ArtifactMetrics,
    OverlapCounts,
    OverlapScores,
    RegionF1,
    RegionPrecision,
    RegionRecall,
    artifact_iou,
    harmonic_mean,
    overlap_counts,
    region_hits,
)
from desra.metrics.removal import AdditionRate, RemovalRate, added_regions, removed_regions
from desra.metrics.rows import SCORES, count_row, score_rows, score_text, split_regions
from desra.rim import BORDER

__all__ = [
    "BORDER",
    "MIN_SHARE",
    "SCORES",
    "AdditionRate",
    "ArtifactIoU",
    "ArtifactMetrics",
    "OverlapCounts",
    "OverlapScores",
    "RegionF1",
    "RegionPrecision",
    "RegionRecall",
    "RemovalRate",
    "added_regions",
    "artifact_iou",
    "count_row",
    "harmonic_mean",
    "overlap_counts",
    "region_hits",
    "removed_regions",
    "score_rows",
    "score_text",
    "split_regions",
]
