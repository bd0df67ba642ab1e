"""Prepare images: enhanced versions, patches, groups, low resolution. See ``--help``."""

import hydra
from omegaconf import DictConfig

from cli.failures import report_failures
from cli.run import entry_point, launch


@hydra.main(version_base=None, config_path="conf", config_name="prepare")
@entry_point
def main(config: DictConfig) -> None:
    """Returns nothing that a sweep could optimise."""
    report_failures(hydra.utils.instantiate(config.task).run())


if __name__ == "__main__":
    launch(main)
