"""The published user study, set up from a finetuning run's folder.

Xie et al., "DeSRA", ICML 2023: 82.23 % saw fewer artifacts in the finetuned output than in GAN-SR,
93 % more detail than in MSE-SR.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from annotator.study import StudyTask
from datamodules.roles import FOLDER_NAMES
from desra.errors import InputError
from desra.files import find_images

ROWS = "per_image.csv"
_UNREADABLE = (
    OSError,
    OmegaConfBaseException,
    YAMLError,
    UnicodeDecodeError,
    AttributeError,
    TypeError,
)


def desra_study(run: str | Path, output_dir: str | Path, **settings: Any) -> StudyTask:
    """Finetuned against GAN-SR (fewer artifacts?) and against MSE-SR (more detail?).

    Shown are the images that the run held out for validation, those of its ``per_image.csv``; what
    the finetuned generator makes of them is upscaled once.

    Args:
        run: folder of a run of train.py.
        output_dir: see `StudyTask`.
        settings: others of `StudyTask`.

    Paths of the run's settings that are relative are so to the folder that it was started in.

    Raises:
        InputError: no finished run is there, or its images are gone.
    """
    run = Path(run)
    config = run / ".hydra" / "config.yaml"
    if not config.is_file():
        raise InputError(f"{run}: no run of train.py; give run=OUTPUT_DIR of one")
    weights = sorted((run / "weights").glob("*.safetensors"))
    if not weights:
        raise InputError(f"{run}: no weights/*.safetensors; let the run end (ckpt_path=… goes on)")
    try:
        data = OmegaConf.load(config).data
        start = OmegaConf.load(config.with_name("hydra.yaml")).hydra.runtime.cwd
        base = Path(start, data.get("val_root") or data.root, data.get("method") or "")
        names = {**FOLDER_NAMES, **(data.get("folder_names") or {})}
    except _UNREADABLE as error:
        raise InputError(f"{config}: no data.root of an artifact set in it") from error
    folders = {role: base / names[role] for role in ("lr", "mse_sr", "gan_sr")}
    for folder in folders.values():
        if not folder.is_dir():
            raise InputError(f"{folder}: gone, and {run} was trained on it; bring it back there")
    keys = _held_out(run)
    lr = folders["lr"]
    wanted = set(find_images(lr)) if keys is None else set(keys)
    if settings.get("images") is None:
        settings["images"] = sorted(wanted)
    for decided in ("questions", "lr"):
        settings.pop(decided, None)
    questions = [
        {
            "text": "Which has fewer artifacts?",
            "methods": {"Finetuned": weights[0], "GAN-SR": folders["gan_sr"]},
            "control": "artifacts",
        },
        {
            "text": "Which has more detail?",
            "methods": {"Finetuned": weights[0], "MSE-SR": folders["mse_sr"]},
            "control": "detail",
        },
    ]
    return StudyTask(output_dir, questions, lr=lr, **settings)


def _held_out(run: Path) -> list[str] | None:
    path = run / ROWS
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        return [row["image"] for row in csv.DictReader(file) if not row.get("error")]
