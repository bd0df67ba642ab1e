"""Finetuning on what was labelled, started from the page: a run of train.py in its own process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse, Response
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from annotator.access import manager
from desra.errors import InputError

FOLDER = "finetuned"
_CONFIGS = ("config", "hydra")
_TRAIN = Path(__file__).resolve().parents[1] / "train.py"

routes = APIRouter(dependencies=[Depends(manager)])


class Finetuning:
    """Runs of ``train.py data.root=ROOT data.mask_source=labelled``, one at a time.

    Args:
        root: the artifact set that is being labelled.
        output_dir: gets a folder for each run.
        overrides: further ones of train.py, as ``model=ldl generator_weights=FILE``. Without
            ``generator_weights`` it is the GAN network that detect.py upscaled with, if it did.
    """

    def __init__(self, root: Path, output_dir: Path, overrides: Sequence[str]) -> None:
        self.root, self.folder, self.overrides = root, output_dir / FOLDER, list(overrides)
        if not any(override.startswith("generator_weights=") for override in overrides):
            self.overrides += _weights_of(root)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        done = sorted(page.parent.name for page in self.folder.glob("*/index.html"))
        self.run: str | None = done[-1] if done else None

    def start(self) -> None:
        """Start a run.

        Raises:
            InputError: one is running, or nothing is labelled yet.
        """
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                raise InputError("a run is going on; its page is shown when it is done")
            if not any((self.root / "GT-Mask").rglob("*.png")):
                raise InputError("nothing is labelled yet; label some images first")
            self.run = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
            output = self.folder / self.run
            output.mkdir(parents=True, exist_ok=True)
            command = [
                *(sys.executable, str(_TRAIN), f"data.root={self.root.resolve()}"),
                *("data.mask_source=labelled", f"output_dir={output.resolve()}"),
                *self.overrides,
            ]
            with (output / "train.log").open("wb") as log:
                self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def state(self) -> dict[str, Any]:
        """``idle``, ``running``, ``done`` or ``failed``; the run's page, or its last line."""
        if self.run is None:
            return {"state": "idle"}
        code = 0 if self._process is None else self._process.poll()  # 0: of an earlier session
        log = self.folder / self.run / "train.log"
        lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
        line = next((line for line in reversed(lines) if line.strip()), "")
        state = "running" if code is None else "done" if code == 0 else "failed"
        return {"state": state, "line": line, "page": f"runs/{self.run}/index.html"}

    def stop(self) -> None:
        """End a run that is going on, as Ctrl+C would."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


def _weights_of(root: Path) -> list[str]:
    """The override with the GAN network of detect.py's run, where ``root`` is its folder."""
    try:
        config, hydra = (OmegaConf.load(root / ".hydra" / f"{name}.yaml") for name in _CONFIGS)
        weights, start = config.gan_weights, hydra.hydra.runtime.cwd
    except (OSError, OmegaConfBaseException, YAMLError, UnicodeDecodeError, AttributeError):
        return []
    if not isinstance(weights, str):
        return []
    beside = Path(start, weights)
    return [f"generator_weights={beside if beside.is_file() else weights}"]


def _of(request: Request) -> Finetuning:
    finetuning: Finetuning = request.app.state.task.finetuning
    return finetuning


@routes.post("/api/finetune")
def start(request: Request) -> dict[str, Any]:
    """Start a run."""
    _of(request).start()
    return _of(request).state()


@routes.get("/api/finetune")
def state(request: Request) -> dict[str, Any]:
    """How the run goes."""
    return _of(request).state()


@routes.get("/runs/{path:path}")
def run_file(request: Request, path: str) -> Response:
    """A file of a run, for its page."""
    folder = _of(request).folder.resolve()
    file = (folder / path).resolve()
    if not file.is_relative_to(folder) or not file.is_file():
        raise HTTPException(404, "There is no such file.")
    # The page of a run is one file with its script in it, written by this program.
    policy = "default-src 'self' 'unsafe-inline' data:"
    return FileResponse(file, headers={"content-security-policy": policy})
