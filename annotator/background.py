"""Low priority for what nobody waits for: people draw in a browser on the same processors."""

from __future__ import annotations

import os
import sys

NICENESS = 10
"""A tenth of what the browser gets where both want a processor, all of it where only this does."""


def step_back() -> None:
    """Lower the priority of this thread for good, and of those that it starts, as OpenMP's.

    On Linux alone: elsewhere it is the whole process that is nice, and the server answers late.
    """
    if sys.platform == "linux":
        os.nice(NICENESS)
