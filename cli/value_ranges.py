"""Ranges of settings, by the names that settings of one kind have in common."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from desra.errors import InputError


@dataclass(frozen=True)
class Range:
    """Numbers that a setting may have.

    Args:
        least: the smallest of them.
        most: the largest of them.
        whole: without a fraction.
        open: ``least`` itself is left out.
        words: what may stand in the place of a number.
    """

    least: float = -math.inf
    most: float = math.inf
    whole: bool = False
    open: bool = False
    words: tuple[str, ...] = ()

    def __contains__(self, value: float | str) -> bool:
        if isinstance(value, str):
            return value in self.words
        if self.whole and not isinstance(value, int):  # 1e3 is no size of a batch to PyTorch
            return False
        if not math.isfinite(value):
            return False
        return self.least <= value <= self.most and not (self.open and value == self.least)

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        lower = "above" if self.open else "of at least" if self.most == math.inf else "from"
        upper = f" {'and at most' if self.open else 'to'} {self.most:g}"
        limits = f" {lower} {self.least:g}{'' if self.most == math.inf else upper}"
        if self.least == -math.inf:
            limits = ", neither NaN nor infinite"
        return " or ".join([f"{kind}{limits}", *self.words])


_FINITE = Range()
_SIZE = Range(1, 65536, whole=True)
_SIZE_OR_NONE = Range(0, 65536, whole=True)
_COUNT = Range(1, whole=True)
_COUNT_OR_NONE = Range(0, whole=True)
_SHARE = Range(0, 1)
_POSITIVE = Range(0, open=True)
_NOT_NEGATIVE = Range(0)

_RANGES: dict[str, Range] = {
    r"outscale": Range(0, 100, open=True),
    r"quality": Range(1, 100, whole=True),
    r"percentile": Range(0, 100),
    r"port": Range(0, 65535, whole=True),
    r"seed": Range(0, 2**32 - 1, whole=True),
    r"folds": Range(2, whole=True),
    r"batch(_size)?|(gt_|hr_)?crop|patch_size|pool_size|group_size|window_size|stride": _SIZE,
    r"iterations|validate_every|epoch_steps|accumulate|log_every_n_steps|num_nodes": _COUNT,
    r"blocks|growth|features|groups|expand|squeeze|embed_dim|depths?|num_heads|width": _SIZE,
    r"scale|pool": _SIZE,
    r"copies|steps|splits|replicates|patience|probes|val_batches": _COUNT,
    r"tile": Range(0, whole=True, words=("auto",)),
    r"num_workers|overlap|border|feather|jitter": _SIZE_OR_NONE,
    r"discriminator_warmup": _COUNT_OR_NONE,
    r"controls|num_sanity_val_steps|regions": _COUNT_OR_NONE,
    r"\w+_(share|probability)|ema_decay|removal_goal|false_alarms|drop_path|betas": _SHARE,
    r"confidence": _SHARE,
    r"learning_rate|lease_minutes": _POSITIVE,
    r"sigma|probabilities|beta_\w+|limits|gaussian|poisson|jpeg": _NOT_NEGATIVE,
    r"threshold|weight|weight_decay|min_area|tolerance|cache_gb|min_pixels": _NOT_NEGATIVE,
}
"""Of a setting's last name, whichever node it is in; what is not here has to be finite."""


def range_of(name: str) -> Range:
    """The numbers that a setting may have, by its full name.

    >>> str(range_of("data.batch_size")), str(range_of("callbacks.choice.some_new_number"))
    ('a whole number from 1 to 65536', 'a number, neither NaN nor infinite')
    """
    last = name.rpartition(".")[2]
    return next((range_ for words, range_ in _RANGES.items() if re.fullmatch(words, last)), _FINITE)


def check_ranges(config: DictConfig) -> None:
    """Name the first number of a configuration that its setting cannot have.

    Raises:
        InputError: such a number; the message begins with the setting as the command line has it.
    """
    for name, value in leaves(config):
        allowed = range_of(name)
        if value is None or isinstance(value, bool):
            continue
        if isinstance(value, str) and allowed is _FINITE:
            continue  # a setting of which it is not known that it is a number
        if value not in allowed:
            raise InputError(f"{name}={value}: give {allowed}")


def leaves(node: DictConfig | ListConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Plain values at any depth by full name, those of a list under the list's name.

    What is taken from another setting is left out: it is looked at where it stands.
    """
    names: Any = node if isinstance(node, DictConfig) else range(len(node))
    for name in names:
        if OmegaConf.is_interpolation(node, name) or OmegaConf.is_missing(node, name):
            continue
        value = node[name]
        full = prefix.rstrip(".") if isinstance(node, ListConfig) else f"{prefix}{name}"
        if isinstance(value, DictConfig | ListConfig):
            yield from leaves(value, f"{full}.")
        else:
            yield full, value
