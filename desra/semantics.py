"""Semantic adjustment of the texture distance (DeSRA, ICML 2023, equations 8 and 9).

``data/ade20k_intervals.csv`` holds the constants of the DeSRA release for the 150 classes of ADE20K
(``SSIM_MSE_GAN_threshold.txt`` of https://github.com/TencentARC/DeSRA), in the order in which
networks of mmsegmentation number the classes. [0, 1] is split in 20 intervals; n_k is the interval
up to which 85 % of a class's pixels have their texture distance, on the authors' training images,
counted from D = 1 downwards: interval 0 is [0.95, 1]. `desra.calibration` makes such tables.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from desra.errors import InputError

INTERVALS = 20
MOST_INTERVALS = 1000
NO_CLASS = 255
"""Label of a pixel whose class is not known; it keeps its distance."""

_CSV_HEADER = ["index", "name", "interval"]
_RELEASED = files("desra") / "data" / "ade20k_intervals.csv"


@dataclass(frozen=True)
class TextureInterval:
    """The row of a table for one class.

    Attributes:
        index: number of the class in a label map, 0 to 254.
        name: of the class.
        interval: n_k, 0 to ``intervals`` − 1.
        intervals: how many [0, 1] was split into.
    """

    index: int
    name: str
    interval: int
    intervals: int = INTERVALS

    @property
    def weight(self) -> float:
        """A_k = N / (N − n_k) for N intervals (equation 8); it moves 1 − n_k / N to 1."""
        return self.intervals / (self.intervals - self.interval)


def texture_intervals(path: str | Path | None = None) -> tuple[TextureInterval, ...]:
    """Read a table of texture intervals.

    Args:
        path: a CSV file ``index,name,interval`` for classes of any kind, or a text file of lines
            ``name--interval`` for classes of ADE20K, as in the release; None for the release's. Of
            further columns of a CSV, ``intervals`` says how many there are (20 without it), and
            others are passed over.

    Raises:
        InputError: the file cannot be read, or a line is not understood; names file and line.

    Example:
        >>> row = texture_intervals()[4]
        >>> row.name, row.interval, row.weight
        ('tree', 5, 1.3333333333333333)
    """
    if path is None:
        return _parse(str(_RELEASED), _RELEASED.read_text("utf-8"))
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; give a table of texture intervals") from error
    return _parse(str(path), text)


def _parse(source: str, text: str) -> tuple[TextureInterval, ...]:
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise InputError(f"{source}: the table is empty; give lines of {','.join(_CSV_HEADER)}")
    header = [field.strip().lower() for field in next(csv.reader([lines[0][1]]))]
    is_csv = header[: len(_CSV_HEADER)] == _CSV_HEADER
    rows = _csv_fields(header, lines[1:]) if is_csv else _released_fields(source, lines)
    table: dict[int, TextureInterval] = {}
    for number, (index, name, interval, intervals) in rows:
        place = f"{source}, line {number}"
        of = _integer(place, "number of intervals", intervals, MOST_INTERVALS, least=1)
        row = TextureInterval(
            _integer(place, "class index", index, NO_CLASS - 1),
            name.strip(),
            _integer(place, "interval", interval, of - 1),
            of,
        )
        if row.index in table:
            raise InputError(f"{place}: class {row.index} is there twice; keep one of the lines")
        table[row.index] = row
    return tuple(table[index] for index in sorted(table))


_Fields = tuple[str, str, str, str]
"""Index, name, interval, number of intervals."""


def _csv_fields(header: list[str], lines: list[tuple[int, str]]) -> Iterator[tuple[int, _Fields]]:
    for number, line in lines:
        values = dict(zip(header, next(csv.reader([line])), strict=False))
        index, name, interval = (values.get(column, "") for column in _CSV_HEADER)
        yield number, (index, name, interval, values.get("intervals", str(INTERVALS)))


def _released_fields(source: str, lines: list[tuple[int, str]]) -> Iterator[tuple[int, _Fields]]:
    for number, line in lines:
        name, separator, interval = line.strip().rpartition("--")
        if not separator:
            raise InputError(
                f"{source}, line {number}: {line.strip()!r} is not understood; begin a CSV with "
                f"{','.join(_CSV_HEADER)}, or give lines name--interval"
            )
        if name not in ADE20K_CLASSES:
            raise InputError(f"{source}, line {number}: ADE20K has no class {name!r}")
        yield number, (str(ADE20K_CLASSES.index(name)), name, interval, str(INTERVALS))


def _integer(place: str, what: str, text: str, largest: int, least: int = 0) -> int:
    if not text.strip().isdecimal() or not least <= int(text) <= largest:
        raise InputError(
            f"{place}: {what} {text.strip()!r}; give an integer from {least} to {largest}"
        )
    return int(text)


ADE20K_CLASSES: tuple[str, ...] = tuple(row.name for row in texture_intervals())
"""Names of the 150 classes, by their index in a label map."""


def adjustment_weights(path: str | Path | None = None) -> Tensor:
    """Weight A_k = 20 / (20 − n_k) of every label (equation 8), see `TextureInterval.weight`.

    Args:
        path: table of intervals, see `texture_intervals`.

    Returns:
        ``(256,)`` float64, at least 1; 1 for labels without a row in the table, 255 among them.

    Raises:
        InputError: as `texture_intervals`; n_k = 20 would divide by zero.

    Example:
        >>> weights = adjustment_weights()
        >>> weights.shape, weights[4].item(), weights[NO_CLASS].item()
        (torch.Size([256]), 1.3333333333333333, 1.0)
    """
    weights = torch.ones(256, dtype=torch.float64, device="cpu")
    for row in texture_intervals(path):
        weights[row.index] = row.weight
    return weights


def weights_digest(weights: Tensor) -> str:
    """Hexadecimal digest of the weights: equal tables have it in common, whatever their form."""
    return hashlib.blake2b(weights.cpu().numpy().tobytes(), digest_size=8).hexdigest()


def adjust_distance(distance: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Adjusted distance D' = clip(A_k · D, 0, 1) for each pixel of class k (equation 9).

    Args:
        distance: ``(B, 1, H, W)`` float64 in [0, 1].
        labels: ``(B, 1, H, W)`` uint8 classes.
        weights: ``(256,)`` float64, not negative.

    Returns:
        ``(B, 1, H, W)`` float64 on the device of ``distance``.

    Raises:
        InputError: the label map is of another size or type.

    Example:
        >>> distance = torch.full((1, 1, 1, 2), 0.6, dtype=torch.float64)
        >>> labels = torch.tensor([4, NO_CLASS], dtype=torch.uint8).view(1, 1, 1, 2)
        >>> adjust_distance(distance, labels, adjustment_weights())
        tensor([[[[0.8000, 0.6000]]]], dtype=torch.float64)
    """
    if labels.shape != distance.shape or labels.dtype != torch.uint8:
        shape, wanted = tuple(labels.shape), tuple(distance.shape)
        raise InputError(
            f"label map of shape {shape} and type {labels.dtype} for images of shape {wanted}; "
            "give one uint8 class for each pixel of GAN-SR"
        )
    if distance.device.type == "cpu":
        from desra.kernels.texture_distance import adjust_distances  # Numba takes long to import

        arrays = (x.contiguous().numpy() for x in (distance, labels.cpu(), weights.cpu()))
        return torch.from_numpy(adjust_distances(*arrays))
    weights = weights.to(distance.device)
    flat = labels.to(distance.device).flatten().int()
    return weights.index_select(0, flat).view_as(distance).mul_(distance).clamp_(0, 1)
