"""Groups and options that a command takes, as its ``--help`` lists them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

CONF = Path(__file__).resolve().parents[1] / "conf"


def command_groups(command: str) -> dict[str, list[str]]:
    """Each group that a command takes, as overrides name it, and its options.

    Hydra would list every group of ``conf``, whichever command it belongs to.

    Args:
        command: the name of a root file of ``conf``, without suffix.
    """
    names = set(groups_of(CONF / f"{command}.yaml"))
    for task in options("task", command) if "task" in names else []:
        names |= set(groups_of(CONF / "task" / f"{task}.yaml"))
    return {name: options(name, command) for name in sorted(names)}


def command_groups_text(command: str) -> str:
    """``${command_groups:COMMAND}``: a line a group that offers a choice, for ``--help``."""
    groups = command_groups(command)
    shown = (name for name in groups if "@" not in name or name.partition("@")[0] not in groups)
    lines = (f"{name}: {', '.join(groups[name])}" for name in shown if len(groups[name]) > 1)
    return "\n".join(lines)


def options(group: str, command: str) -> list[str]:
    """The options of a group that belong to a command.

    Those of ``task`` and ``experiment`` say so at their head (``# python prepare.py task=select``);
    an experiment that names no command is train.py's.

    >>> "masks" in options("task", "evaluate"), "masks" in options("task", "prepare")
    (True, False)
    """
    files = sorted((CONF / group.partition("@")[0]).glob("*.yaml"))
    if group not in ("task", "experiment"):
        return [file.stem for file in files]
    return [file.stem for file in files if command in (_commands(file, group) or {"train"})]


def groups_of(path: Path, package: str = "") -> Iterator[str]:
    """The groups in the defaults list of a config, and in those of the options that it takes.

    Args:
        path: the config's file.
        package: where its settings go; "" for the root.
    """
    if "@package _global_" in path.read_text():
        package = ""
    for entry in _defaults(path):
        if isinstance(entry, str):
            if entry != "_self_":
                yield from groups_of(path.with_name(f"{entry}.yaml"), package)
            continue
        ((key, option),) = entry.items()
        *words, name = str(key).split()
        group, _, of_group = name.partition("@")
        folder = CONF / group[1:] if group.startswith("/") else path.parent / group
        relative = folder.relative_to(CONF).as_posix()
        if relative.startswith("hydra"):
            continue
        target = ".".join(filter(None, (package, of_group or relative)))
        if "override" not in words:
            yield relative if target == relative else f"{relative}@{target}"
        if option is not None and relative != "task":
            yield from groups_of(folder / f"{option}.yaml", target)


def _defaults(path: Path) -> list[Any]:
    config: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return (config or {}).get("defaults", [])


def _commands(file: Path, group: str) -> set[str]:
    head = " ".join(line for line in file.read_text().splitlines() if line.startswith("#"))
    return set(re.findall(rf"python (\w+)\.py [^.]*?\b{group}={file.stem}\b", head))
