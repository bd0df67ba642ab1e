"""Annotate in the browser: masks, ground truths, studies with people. See ``--help``."""

import hydra
from omegaconf import DictConfig

from cli.annotate import annotate, name_group
from cli.run import entry_point, launch


@hydra.main(version_base=None, config_path="conf", config_name="annotate")
@entry_point
def main(config: DictConfig) -> None:
    """Serves until it is interrupted."""
    annotate(config)


if __name__ == "__main__":
    name_group()
    launch(main)
