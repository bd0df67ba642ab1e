"""Resolvers of the configs: ``${shipped:PATH}``, ``${sweep_group:}``, ``${better:…}``, …."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from omegaconf import OmegaConf

from cli.help import command_groups_text


def sweep_folder() -> Path | None:
    """The folder over all jobs of a sweep; None outside of one."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    return Path(hydra.sweep.dir).absolute() if hydra.mode == RunMode.MULTIRUN else None


OmegaConf.register_new_resolver(
    "sweep_group", lambda: (folder := sweep_folder()) and folder.name, replace=True
)


OmegaConf.register_new_resolver(
    "shipped", lambda path: str(Path(__file__).parents[1] / path), replace=True
)


def better(objective: str) -> str:
    """``${better:OBJECTIVE}``: whether less or more of a metric is better, in a sweeper's words.

    What artifacts leave (their share, regions added, losses, LPIPS, and after finetuning all scores
    against their labels) shall be small; scores of a detector, rates of removal and PSNR large.
    """
    small = ("artifact_share", "regions", "addition_rate", "loss/", "lpips/", "residual/")
    return "minimize" if objective.startswith(small) else "maximize"


OmegaConf.register_new_resolver("better", better, replace=True)

LONGEST_NAME = 200
"""Characters of a folder's name, of the 255 bytes that file systems allow."""


def folder_name(overrides: str) -> str:
    """``${folder_name:OVERRIDES}``: one folder's name, not too long, whatever the values are.

    >>> folder_name("data.root=sets/small,iterations=100")
    'data.root=sets_small,iterations=100'
    """
    name = re.sub(r"[\\/:]", "_", overrides)
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.blake2b(overrides.encode(), digest_size=4).hexdigest()
    return f"{name[:LONGEST_NAME]}_{digest}"


OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)

OmegaConf.register_new_resolver("command_groups", command_groups_text, replace=True)
