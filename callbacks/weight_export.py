"""The finetuned generator as the files that other tools load."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from desra.detectors import Detector
from models.finetuner import GANFinetuner
from models.generators import write_generator

log = logging.getLogger(__name__)

TERMS = ("pixel", "low_frequency", "perceptual", "adversarial", "artifact", "negative", "keep")
JUDGED_BY = ("threshold", "min_area", "window_size", "direction")
"""Settings of the detector that the files carry."""
SUFFIXES = (".pth", ".safetensors")
MUCH_LEFT = 0.05
"""Share of untrained weights in the average that is worth a warning."""


class WeightExport(Callback):
    """Writes the run's result at the end of training, as ``.pth`` and as ``.safetensors``: the
    weights that `callbacks.result_choice` chose, or else the EMA generator.

    The ``.pth`` has the layout of the file that the generator came from, so that whatever loads
    that loads this. Both say in their metadata what they were finetuned from and how. A W&B logger
    gets both as an artifact of the type ``model``.

    Args:
        folder: gets the files.
        name: without suffix; None: that of the weights that were finetuned, and ``ending``.
        ending: see ``name``.
    """

    def __init__(self, folder: str | Path, name: str | None = None, ending: str = "_desra") -> None:
        self.folder, self.name, self.ending = Path(folder), name, ending

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files, on rank zero."""
        if not trainer.is_global_zero:
            return
        module = cast(GANFinetuner, pl_module)
        left = module.hparams["ema_decay"] ** trainer.global_step
        if module.hparams["generator_weights"] is None and left > MUCH_LEFT:
            log.warning(
                "the average that is written still has %.0f %% of the random weights that the "
                "generator began with; give a smaller model.ema_decay or more iterations",
                100 * left,
            )
        source = _source_name(module)
        name = self.name or f"{source}{self.ending}"
        paths = [self.folder / f"{name}{suffix}" for suffix in SUFFIXES]
        for path in paths:
            write_generator(
                path,
                module.plain_generator,
                ema=module.result,
                metadata=_metadata(module, trainer, source),
            )
        log.info("finetuned weights: %s", " and ".join(str(path) for path in paths))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _log_artifact(logger, name, paths)


def _source_name(module: GANFinetuner) -> str:
    weights = module.hparams["generator_weights"]
    return Path(weights).stem if weights else "generator"


def _metadata(module: GANFinetuner, trainer: Trainer, source: str) -> dict[str, Any]:
    """How the weights were made; names of files without their folders, which are private."""
    settings = {name: module.hparams[name] for name in TERMS if module.hparams.get(name)}
    return {
        "finetuned_from": source,
        "iterations": trainer.global_step,
        "losses": settings,
        "learning_rate": module.hparams["learning_rate"],
        "ema_decay": module.hparams["ema_decay"],
        **_judged_by(trainer),
        **({"result": module.result_record} if module.result_record else {}),
    }


def _judged_by(trainer: Trainer) -> dict[str, Any]:
    """The detector's settings that evaluating the weights takes over, unless told otherwise."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        detector = getattr(getattr(callback, "judge", callback), "detector", None)
        if isinstance(detector, Detector):
            # Of files there are digests alone, which no setting can be made of.
            settings = {
                key: detector.settings[key] for key in JUDGED_BY if key in detector.settings
            }
            return {"detector": {"name": type(detector).__name__, **settings}}
    return {}


def _log_artifact(logger: WandbLogger, name: str, paths: list[Path]) -> None:
    import wandb

    artifact = wandb.Artifact(name, type="model")
    for path in paths:
        artifact.add_file(str(path))
    logger.experiment.log_artifact(artifact)
