"""Export a generator to ONNX, ncnn, TorchScript or weights, and prove each file. See ``--help``."""

import hydra
from omegaconf import DictConfig

from cli.run import entry_point, launch, run_task


@hydra.main(version_base=None, config_path="conf", config_name="export")
@entry_point
def main(config: DictConfig) -> None:
    """Returns nothing that a sweep could optimise."""
    run_task(config)


if __name__ == "__main__":
    launch(main)
