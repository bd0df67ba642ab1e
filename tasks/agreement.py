"""Agreement of annotators on ground truths: kappas, ties, bias and seconds."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.table import Table

from desra.files import write_table, write_text
from desra.hggt_labels import LABELS, Ties, read_labels
from desra.metrics.agreement import (
    MISSING,
    annotator_bias,
    fleiss_kappa,
    observed_agreement,
    pairwise_kappa,
    rating_counts,
)
from desra.terminal import terminal
from tasks.agreement_plots import plot_agreement

_VALUES = np.array([1.0, 0.0, -1.0])  # of Positive, Similar, Negative


class Agreement:
    """How far annotators agree. An item is one version of one set.

    Args:
        labels: one folder an annotator.
        output_dir: gets ``metrics.json``, ``annotators.csv``, ``kappa.csv`` and ``agreement.png``.
        ties: of votes: ``"similar"`` or ``"drop"``.
    """

    def __init__(self, labels: str | Path, output_dir: str | Path, ties: Ties = "similar") -> None:
        self.labels, self.output_dir, self.ties = Path(labels), Path(output_dir), ties
        self.summary: dict[str, Any] = {}

    def run(self) -> list[str]:
        """Count, write and print; what could not be used, a line each."""
        folder = read_labels(self.labels)
        numbers: dict[str | None, int] = {label: place for place, label in enumerate(LABELS)}
        ratings = np.array(
            [
                [
                    numbers.get(by[name].labels.get(version), MISSING) if name in by else MISSING
                    for name in folder.annotators
                ]
                for by in folder.taggings.values()
                for version in folder.versions
            ]
        )
        votes = [vote for row in folder.votes(self.ties).values() for vote in row.values()]
        counts = Counter(vote.label for vote in votes if vote.label)
        kappas = pairwise_kappa(ratings, len(LABELS))
        self.summary = {
            "fleiss_kappa": _known(fleiss_kappa(rating_counts(ratings, len(LABELS)))),
            "observed_agreement": _known(observed_agreement(ratings, len(LABELS))),
            "sets": len(folder.taggings),
            "items": len(ratings),
            "ties": sum(vote.tie for vote in votes),
            **{label.lower(): counts[label] for label in LABELS},
            "problems": len(folder.problems),
        }
        bias = annotator_bias(ratings, _VALUES)
        rows, times = [], []
        for place, name in enumerate(folder.annotators):
            own = ratings[:, place]
            given = own[own != MISSING]
            said = [by[name].seconds for by in folder.taggings.values() if name in by]
            seconds = [value for value in said if value is not None]
            times.append(seconds)
            shares = {label.lower(): _known((given == number).mean() if len(given) else math.nan)
                      for number, label in enumerate(LABELS)}  # fmt: skip
            rows.append(
                {
                    "annotator": name,
                    "items": len(given),
                    "bias": _known(bias[place]),
                    "median_seconds": median(seconds) if seconds else None,
                    **shares,
                }
            )
        self._write(rows, kappas, folder.annotators)
        kappa = self.summary["fleiss_kappa"]
        title = f"{len(folder.taggings)} sets, {len(ratings)} versions; Fleiss' kappa " + (
            "unknown" if kappa is None else f"{kappa:.3f}"
        )
        plot_agreement(self.output_dir / "agreement.png", rows, kappas, times, title)
        return folder.problems

    def _write(self, rows: list[dict[str, Any]], kappas: Any, names: tuple[str, ...]) -> None:
        text = json.dumps(self.summary, indent=2)
        write_text(self.output_dir / "metrics.json", text + "\n")
        write_table(self.output_dir / "annotators.csv", rows, list(rows[0]))
        pairs = [
            {"annotator": name, **{other: _known(kappas[i, j]) for j, other in enumerate(names)}}
            for i, name in enumerate(names)
        ]
        write_table(self.output_dir / "kappa.csv", pairs, ["annotator", *names])
        table = Table(*rows[0], title="Annotators; bias: how much higher than the others, -2 to 2")
        for row in rows:
            table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
        terminal().print(table)
        for name, value in self.summary.items():
            terminal().print(
                f"{name}: {value if not isinstance(value, float) else round(value, 4)}"
            )


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
