"""A training run of a composed configuration."""

from __future__ import annotations

from hydra.utils import instantiate
from lightning import seed_everything
from omegaconf import DictConfig

from desra.errors import InputError
from entry import progress_bar


def train(config: DictConfig) -> float:
    """Fit ``config.model`` to ``config.data`` on ``config.trainer``; the value of its objective.

    Raises:
        InputError: no figure of that name was logged, or whatever else a user can put right.
    """
    seed_everything(config.seed, workers=True, verbose=False)
    data = instantiate(config.data)
    model = instantiate(config.model)
    callbacks = [instantiate(node) for node in config.callbacks.values()]
    trainer = instantiate(
        config.trainer,
        callbacks=[*callbacks, *progress_bar()],
        logger=[instantiate(node) for node in config.logger.values()],
    )
    trainer.fit(model, data, ckpt_path=config.ckpt_path)
    figures = {name: value.item() for name, value in trainer.callback_metrics.items()}
    if config.objective not in figures:
        raise InputError(f"objective={config.objective}: not logged; give {', '.join(figures)}")
    return figures[config.objective]
