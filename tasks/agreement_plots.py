"""Picture of annotators: what each says, whom each agrees with, who is kind, who is quick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from desra.files import atomic_path
from desra.hggt_labels import LABELS

_COLOURS = dict(zip(LABELS, ("#2a9d5c", "#b9bec5", "#c8483d"), strict=True))
_FEW = 12  # annotators up to whom each kappa is written into its cell


def plot_agreement(
    path: str | Path,
    rows: Sequence[Mapping[str, Any]],
    kappas: NDArray[np.floating],
    seconds: Sequence[Sequence[float]],
    title: str,
) -> None:
    """Draw shares of labels, pairwise kappa, bias, and the time that sets took.

    Args:
        path: picture to write; its suffix says the format.
        rows: an annotator each: ``annotator``, ``bias`` (None: unknown), share of each label.
        kappas: ``(annotators, annotators)``, NaN where unknown.
        seconds: of each annotator's sets, as many as are known.
        title: of the picture.
    """
    names, places = [str(row["annotator"]) for row in rows], np.arange(len(rows))
    figure = Figure(figsize=(11, 2.6 + 0.5 * max(len(rows), 4)), layout="constrained")
    figure.suptitle(title)
    (shares, table), (biases, times) = figure.subplots(2, 2)

    left = np.zeros(len(rows))
    for label in LABELS:
        widths = np.array([row[label.lower()] or 0.0 for row in rows])
        shares.barh(places, widths, 0.7, left, color=_COLOURS[label], label=label)
        left += widths
    shares.set(title="Labels given", xlim=(0, 1))
    shares.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, frameon=False)

    shown = table.imshow(kappas, vmin=-1, vmax=1, cmap="RdYlGn", aspect="auto")
    table.set(title="Cohen's kappa of each two", xticks=places, xticklabels=names)
    table.tick_params("x", rotation=0 if len(rows) <= _FEW else 90)
    figure.colorbar(shown, ax=table)
    if len(rows) <= _FEW:
        for row, column in np.argwhere(np.isfinite(kappas)):
            table.text(column, row, f"{kappas[row, column]:.2f}", ha="center", va="center")

    bias = [row["bias"] or 0.0 for row in rows]
    biases.barh(
        places, bias, 0.7, color=[_COLOURS["Positive" if b > 0 else "Negative"] for b in bias]
    )
    biases.axvline(0, color="k", lw=0.8)
    reach = max(0.1, *(1.15 * abs(b) for b in bias))
    biases.set(title="Bias", xlim=(-reach, reach), xlabel="mean label above the others' (−2 to 2)")

    biases.locator_params("x", nbins=5)

    known = [place for place, each in enumerate(seconds) if len(each)]
    if known:
        times.boxplot(
            [seconds[p] for p in known], positions=known, orientation="horizontal", widths=0.5
        )
    else:
        times.text(0.5, 0.5, "no times in the labels", ha="center", transform=times.transAxes)
    times.set(title="Time", xlabel="seconds a set", xlim=(0, None))
    for axes in (shares, table, biases, times):
        axes.set(ylim=(len(rows) - 0.5, -0.5), yticks=places, yticklabels=names)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
