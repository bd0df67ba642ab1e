"""List of everything that is wrong with a data set, raised at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lightning.pytorch.utilities import rank_zero_only

from desra.errors import InputError

log = logging.getLogger(__name__)
UNALIGNED_HINT = (
    "upscale the image as it lies in the file, without turning it by EXIF; "
    "data.check_alignment=false goes on all the same"
)
"""What to do about pictures that do not lie on each other."""

T = TypeVar("T")
R = TypeVar("R")


def collect(read: Callable[[T], R], items: Sequence[T], problems: list[str]) -> list[R]:
    """Read items in threads, in order; what cannot be read is left out and said in ``problems``."""

    def attempt(item: T) -> R | InputError:
        try:
            return read(item)
        except InputError as error:
            return error

    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        results = list(pool.map(attempt, items))
    problems += [str(result) for result in results if isinstance(result, InputError)]
    return [result for result in results if not isinstance(result, InputError)]


def raise_all(problems: Sequence[str], where: str | os.PathLike[str]) -> None:
    """Raise if there are problems: one as it is; several are logged, a line each, and counted.

    Raises:
        InputError: there is at least one problem.
    """
    if not problems:
        return
    if len(problems) == 1:
        raise InputError(problems[0])
    _log_lines(problems)
    raise InputError(
        f"{where}: {len(problems)} problems, listed above; mend these images or take them out. "
        f"The first: {problems[0]}"
    )


@rank_zero_only
def _log_lines(lines: Sequence[str]) -> None:
    for line in lines:
        log.error("%s", line)


def some(lines: Sequence[str], count: int = 3) -> str:
    """The first lines, and how many more there are."""
    more = f"; … {len(lines) - count} more" if len(lines) > count else ""
    return "; ".join(lines[:count]) + more
