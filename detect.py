"""Detect the artifacts of a GAN upscaling: masks, a table and a page. See ``--help``."""

import hydra
from omegaconf import DictConfig

from cli.resolvers import sweep_folder
from cli.run import entry_point, launch, run_over_images


@hydra.main(version_base=None, config_path="conf", config_name="detect")
@entry_point
def main(config: DictConfig) -> float | None:
    """Returns the figure that a sweep optimises, named by ``objective``."""
    sweep = sweep_folder()
    task = run_over_images(config, cache_dir=sweep and sweep / ".cache")
    return task.summary.get(config.objective)


if __name__ == "__main__":
    launch(main)
