"""Score masks or a detector against labels, or what finetuning changed. See ``--help``."""

import hydra
from omegaconf import DictConfig

from cli.run import entry_point, launch, run_over_images, run_task


@hydra.main(version_base=None, config_path="conf", config_name="evaluate")
@entry_point
def main(config: DictConfig) -> float | None:
    """Returns the figure that a sweep optimises, named by ``objective``."""
    run = run_over_images if "data" in config else run_task
    return run(config).summary.get(config.objective)


if __name__ == "__main__":
    launch(main)
