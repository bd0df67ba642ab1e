"""Upscale images with a generator: any folder, any size. See ``--help``."""

import hydra
from omegaconf import DictConfig

from cli.run import entry_point, launch, run_over_images


@hydra.main(version_base=None, config_path="conf", config_name="upscale")
@entry_point
def main(config: DictConfig) -> None:
    """Returns nothing that a sweep could optimise: there is no ground truth."""
    run_over_images(config)


if __name__ == "__main__":
    launch(main)
