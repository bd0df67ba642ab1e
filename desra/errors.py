"""Errors of what a user gave, as opposed to errors of the program."""

from __future__ import annotations

import errno
from pathlib import Path


class InputError(ValueError):
    """Input that cannot be used. Its text is one line: what, where, and what to do about it.

    The entry points print that line without a traceback and exit with 2; a task over many images
    catches it for each image, writes it into the table and goes on.

    Example:
        >>> raise InputError("threshold=2; give a number from 0 to 1")
        Traceback (most recent call last):
            ...
        desra.errors.InputError: threshold=2; give a number from 0 to 1
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class DiskError(Exception):
    """A file that the disk does not take: an end of the run, since the next will fare no better.

    No OSError, so that what goes on after an image that failed does not go on after this. Its text
    is one line, and the entry points exit with 1: what is done stays done.

    Args:
        path: the file that was to be written.
        reason: why it was not, a failure of the disk.
    """

    def __init__(self, path: str | Path, reason: OSError) -> None:
        mend = _MENDS[reason.errno or 0]
        super().__init__(
            f"{path}: {reason.strerror}; {mend} and start again, what is done stays done"
        )


_MENDS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room"),
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EIO: "see to the disk",
}
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a writer alone can run into, and every further file will."""


def describe(error: InputError | OSError, where: str) -> str:
    """One line that says why ``where`` (a file or key) could not be done."""
    if isinstance(error, InputError):
        return str(error)
    return f"{error.filename or where}: {error.strerror or error}"
