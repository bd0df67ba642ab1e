"""Finetune a GAN generator until its artifacts are gone. See ``--help``."""

import hydra
from omegaconf import DictConfig

from cli.run import entry_point, launch, on_sample_without_data


@hydra.main(version_base=None, config_path="conf", config_name="train")
@entry_point
def main(config: DictConfig) -> float:
    """Returns the logged figure that a sweep optimises, named by ``objective``."""
    from cli.training import train

    return train(config)


if __name__ == "__main__":
    launch(main, on_sample_without_data)
