"""The terminal, to which names of files and people are shown as they are."""

from __future__ import annotations

from rich.console import Console


def terminal(stderr: bool = False) -> Console:
    """Where tables and lines go; rich would take ``[b]`` and ``:a:`` in a name for its own.

    Args:
        stderr: not to stdout.

    >>> terminal().print("out[b]/:a:.csv")
    out[b]/:a:.csv
    """
    return Console(stderr=stderr, markup=False, emoji=False)
