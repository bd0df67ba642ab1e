"""The mask of a work as it is now: what it began with, and all pixels that were turned over."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from annotator.journal import Journal, Work
from annotator.pictures import Recent
from annotator.runs import decode_runs


class PresentMasks:
    """Masks made from the journal; those of the last works are at hand. Safe in threads.

    Args:
        journal: has the works and what was done to them.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._recent: Recent[tuple[int, NDArray[np.bool_]]] = Recent(64)
        self._lock = threading.RLock()

    def of(self, work: Work) -> NDArray[np.bool_]:
        """The mask of a work, ``(H, W)`` bool."""
        with self._lock:
            version = self.journal.works("id = ?", work.id)[0].version
            kept = self._recent.get(work.id, lambda: (-1, np.zeros((0, 0), bool)))
            if kept[0] == version:
                return kept[1]
            assert work.base is not None
            mask = decode_runs(work.base, tuple(work.start["size"]))
            for action in self.journal.actions(work):
                if action.state == "done" and action.pixels is not None:
                    mask = mask ^ decode_runs(action.pixels, mask.shape)
            self._recent.put(work.id, (version, mask))
            return mask

    def turned(
        self, work: Work, version: int, before: NDArray[np.bool_], pixels: bytes | None
    ) -> None:
        """Keep the mask of a new version, which is the one before with some pixels turned over.

        Args:
            work: whose.
            version: the new one.
            before: the mask of the version before.
            pixels: `annotator.runs` of what was turned over, or None.
        """
        mask = before if pixels is None else before ^ decode_runs(pixels, before.shape)
        self._recent.put(work.id, (version, mask))
