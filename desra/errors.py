"""Errors of what a user gave, as opposed to errors of the program."""

from __future__ import annotations


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


def describe(error: InputError | OSError, where: str) -> str:
    """One line that says why ``where`` (a file or key) could not be done."""
    if isinstance(error, InputError):
        return str(error)
    return f"{error.filename or where}: {error.strerror or error}"
