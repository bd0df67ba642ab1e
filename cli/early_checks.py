"""Checks of a composed configuration that take no time, before what takes seconds is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cli.arguments import is_path_setting
from cli.value_ranges import check_ranges, leaves
from desra.errors import InputError

_READ = ("input", "restored", "hr", "labels", "old", "new")
"""Settings of folders that are read at any depth, beside those called ``…_root``."""


def check_config(config: DictConfig) -> None:
    """Name what the command must give, and not where in the configuration it would be used.

    Raises:
        InputError: a setting has no value, or a number that it cannot have; folders that a task
            needs are not given, an input is not there, the output lies in one, or weights are given
            to a new generator.
    """
    missing = [str(name) for name in config if OmegaConf.is_missing(config, name)]
    missing = missing or list(_missing_below(config))
    if missing:
        overrides = " ".join(f"{name}=VALUE" for name in missing)
        raise InputError(f"{', '.join(missing)}: no value given; add {overrides} to the command")
    check_ranges(config)
    for name, value in leaves(config):
        if isinstance(value, str) and not value.strip() and is_path_setting(name):
            raise InputError(f"{name}: is empty; give {name}=PATH, or leave it out")
    _check_generator(config)
    data = config.get("data")
    for name, value in _settings(config):
        _check_place(name, value)
    for name, value in _settings(data):
        _check_place(f"data.{name}", value)
    if isinstance(config.get("output_dir"), str):
        for name, root in _inputs(config):
            refuse_output_in_input(Path(config.output_dir), {name: root})
    if data is not None and data.get("roles") is not None and data.get("root") is None:
        from datamodules.roles import locate_roles

        roles: Any = OmegaConf.to_container(data.roles, resolve=True)
        locate_roles(roles)


def refuse_output_in_input(output_dir: Path, roots: Mapping[str, Path]) -> None:
    """Raise InputError where the next run would take this one's output for its input."""
    for name, root in roots.items():
        if root.is_dir() and output_dir.resolve().is_relative_to(root.resolve()):
            raise InputError(
                f"output_dir={output_dir} is in {root}, where {name} is read: the next run would "
                "take its images for input; choose another folder"
            )


def _inputs(config: DictConfig) -> Iterator[tuple[str, Path]]:
    """Folders that are read at any depth; of an artifact set those that it consists of."""
    from datamodules.roles import FOLDER_NAMES

    for place, node in (("", config), ("data.", config.get("data"))):
        for name, value in _settings(node):
            if not isinstance(value, str):
                continue
            path = Path(os.path.expanduser(value))
            if name.endswith("_root") or name in _READ:
                yield f"{place}{name}", path
            elif name == "root":
                parts = [path / folder for folder in FOLDER_NAMES.values()]
                parts = [part for part in parts if part.is_dir()]
                # Of another root the annotator's own folder is a part.
                for part in parts or ([path] if place else []):
                    yield f"{place}{name}", part


def check_choices(choices: Mapping[str, str | None], config: DictConfig) -> None:
    """Name options that do not go together, or were chosen as a setting is; of all groups.

    Raises:
        InputError: a detector is named to a task that has none, or a word stands where the settings
            of an option should.

    >>> check_choices({"task": "detector", "detector": "ssim"}, OmegaConf.create())
    """
    for group in choices:
        place = group.partition("@")[2] or group.replace("/", ".")
        given = None if place.startswith("hydra") else OmegaConf.select(config, place)
        if isinstance(given, str | int | float):
            raise InputError(f"{place}={given}: is a choice; give {group}={given}")
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


def _check_generator(config: DictConfig) -> None:
    """A new network takes no weights, and what runs over images needs some."""
    node = OmegaConf.select(config, "model.generator" if "model" in config else "generator")
    if not isinstance(node, DictConfig) or node.get("_partial_", False):
        return
    kind = str(node.get("_target_", "a network")).rpartition(".")[2]
    if "model" not in config:
        raise InputError(
            f"generator: a new {kind}, without weights, is for train.py; leave generator=… out, "
            "the architecture is read from the weights"
        )
    weights = config.get("generator_weights")
    if weights is not None:
        raise InputError(
            f"generator_weights={weights}: a new {kind} takes no weights; give "
            "generator_weights=null, or leave generator=… out to go on from these weights"
        )


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
