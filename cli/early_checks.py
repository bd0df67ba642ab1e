"""Checks of a composed configuration that take no time, before what takes seconds is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from desra.errors import InputError


def check_config(config: DictConfig) -> None:
    """Name what the command must give, and not where in the configuration it would be used.

    Raises:
        InputError: a setting has no value, folders that a task needs are not given, or an input
            is not there.
    """
    missing = [str(name) for name in config if OmegaConf.is_missing(config, name)]
    missing = missing or list(_missing_below(config))
    if missing:
        overrides = " ".join(f"{name}=VALUE" for name in missing)
        raise InputError(f"{', '.join(missing)}: no value given; add {overrides} to the command")
    data = config.get("data")
    for name, value in _settings(config):
        _check_place(name, value)
    for name, value in _settings(data):
        _check_place(f"data.{name}", value)
    if data is not None and data.get("roles") is not None and data.get("root") is None:
        from datamodules.roles import locate_roles

        roles: Any = OmegaConf.to_container(data.roles, resolve=True)
        locate_roles(roles)


def check_choices(choices: Mapping[str, str | None]) -> None:
    """Name options that do not go together; ``choices`` are those of all groups.

    Raises:
        InputError: a detector is named to a task that has none.

    >>> check_choices({"task": "detector", "detector": "ssim"})
    """
    detector = choices.get("detector")
    if choices.get("task") == "masks" and detector is not None:
        raise InputError(
            f"detector={detector}: masks made before are scored without one; to score what it "
            f"detects give task=detector detector={detector}"
        )


def _missing_below(node: Any, prefix: str = "") -> Iterator[str]:
    if not isinstance(node, DictConfig):
        return
    for name in map(str, node):
        child = node._get_node(name)
        if OmegaConf.is_interpolation(node, name):
            continue  # of a setting that is looked at where it stands
        if OmegaConf.is_missing(node, name):
            yield f"{prefix}{name}"
        else:
            yield from _missing_below(child, f"{prefix}{name}.")


def _settings(node: Any) -> Iterator[tuple[str, Any]]:
    """Plain values at the top of a node."""
    if isinstance(node, DictConfig):
        for name in map(str, node):
            if not OmegaConf.is_missing(node, name):
                yield name, node[name]


def _check_place(name: str, value: Any) -> None:
    if not isinstance(value, str):
        return
    last = name.rpartition(".")[2]
    there = os.path.lexists(os.path.expanduser(value))
    if (last == "input" or last.endswith("root")) and not there:
        what = "an image or a folder of images" if last != "root" else f"{name}=DIR"
        raise InputError(f"{value}: no such file or folder; give {what}")
    if (last.endswith("weights") or last == "finetuned") and os.sep in value and not there:
        raise InputError(f"{value}: no such file; give a file of weights, or a name of some")
