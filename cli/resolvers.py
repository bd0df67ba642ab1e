"""Resolvers of the configs: ``${folder_name:…}``, ``${better:…}``, ``${sweep_group:}``."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

if TYPE_CHECKING:
    from omegaconf import DictConfig


def sweep_folder() -> Path | None:
    """The folder over all jobs of a sweep; None outside of one."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    return Path(hydra.sweep.dir).absolute() if hydra.mode == RunMode.MULTIRUN else None


OmegaConf.register_new_resolver(
    "sweep_group", lambda: (folder := sweep_folder()) and folder.name, replace=True
)


def _on_sample(sample: Any, other: Any, *, _root_: DictConfig) -> Any:
    """``${on_sample:A,B}``: A where ``data.root`` is the shipped sample, whose images are small."""
    root = OmegaConf.select(_root_, "data.root")
    shipped = Path(__file__).parents[1] / "samples" / "artifacts"
    return sample if root is not None and Path(root).resolve() == shipped.resolve() else other


OmegaConf.register_new_resolver("on_sample", _on_sample, replace=True)


def _with_shipped(shipped: Any, other: Any, *, _root_: DictConfig) -> Any:
    """``${with_shipped:A,B}``: A where ``generator_weights`` is one of the sample's networks."""
    from models.shipped import is_shipped

    return shipped if is_shipped(OmegaConf.select(_root_, "generator_weights")) else other


OmegaConf.register_new_resolver("with_shipped", _with_shipped, replace=True)


def better(objective: str) -> str:
    """``${better:OBJECTIVE}``: whether less or more of a figure is better, in a sweeper's words.

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
