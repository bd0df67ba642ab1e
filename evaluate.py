"""Score detected artifacts against labels: IoU, precision, recall, F1. See ``--help``."""

import hydra
from omegaconf import DictConfig

from cli.run import entry_point, launch, run_over_images


@hydra.main(version_base=None, config_path="conf", config_name="evaluate")
@entry_point
def main(config: DictConfig) -> float | None:
    """Returns the figure that a sweep optimises, named by ``objective``."""
    task = run_over_images(config)
    return task.summary.get(config.objective)


if __name__ == "__main__":
    launch(main)
