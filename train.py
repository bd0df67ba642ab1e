"""Finetune a GAN generator until its artifacts are gone. See ``--help``."""

import os

import hydra
from omegaconf import DictConfig

from entry import entry_point, launch

# PyTorch asks for large pages where the system offers them. A step allocates gigabytes anew, which
# in pages of 4 KB costs up to a tenth of it. It reads this when it is imported.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


@hydra.main(version_base=None, config_path="conf", config_name="train")
@entry_point
def main(config: DictConfig) -> float:
    """Returns the logged figure that a sweep optimises, named by ``objective``."""
    from models.training import train

    return train(config)


if __name__ == "__main__":
    launch(main)
