"""Writing of what PyTorch pickles: checkpoints and weights."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from desra.files import atomic_path


def write_pickle(path: str | Path, value: Any) -> None:
    """`torch.save`, whole or not at all.

    Raises:
        OSError, DiskError: why it cannot be written, of which PyTorch says "unexpected pos".
    """
    with atomic_path(path) as temporary:
        raw = _File(temporary, "wb")
        try:
            with io.BufferedWriter(raw) as file:
                torch.save(value, file)
        except RuntimeError as error:
            raise raw.error or error from None


class _File(io.FileIO):
    """Remembers why it could not be written."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise
