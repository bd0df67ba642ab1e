"""The detector of SR Flaw Scry, WASD, by its own package and weights."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from desra.checkpoints import read_checkpoint
from desra.detectors.base import Detector
from desra.errors import InputError
from desra.files import file_digest
from desra.images import quantize
from desra.texture import check_pair

PACKAGE = "srflawscry"
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


class FlawScryDetector(Detector):
    """WASD (SR Flaw Scry, MSU 2026): blocks of 100 pixels are compared in a learned embedding, and
    a U-Net refines the map, seeing GAN-SR and the reference. Trained with the bicubic enlargement
    of LR as the reference, which a benchmark calls ``bicubic``; here it is whatever is in MSE-SR's
    place.

    The network is built by its own package, which is installed apart; its weights are read from
    files, without running anything in them. The distance is 1 − confidence.

    Args:
        folder: of the released model: ``config.json`` and ``model.safetensors``.
        threshold: a pixel of a higher confidence is a candidate.
        min_area: see `Detector`.

    Raises:
        InputError: the package, the folder or a file in it is missing.
    """

    def __init__(
        self, folder: str | Path | None, threshold: float = 0.92, min_area: float = 4000
    ) -> None:
        super().__init__(threshold, min_area)
        if folder is None:
            raise InputError(
                "detector=srflawscry needs the released model; give folder=DIR of this detector, "
                "with config.json and model.safetensors of "
                "huggingface.co/egorchistov/sr-artifact-detection-wasd"
            )
        self.folder = Path(folder)
        for path in (self.config, self.weights):
            if not path.is_file():
                raise InputError(f"{path}: no such file; fetch the whole model")
        if find_spec(PACKAGE) is None:
            raise InputError(
                f"detector=srflawscry: {PACKAGE} is not installed; "
                "pip install git+https://github.com/msu-video-group/srflawscry"
            )
        self.network: Any = nn.Module()
        self._is_ready = False

    @property
    def config(self) -> Path:
        """What the network is built by."""
        return self.folder / "config.json"

    @property
    def weights(self) -> Path:
        """Its parameters."""
        return self.folder / "model.safetensors"

    @property
    def settings(self) -> dict[str, Any]:
        """Settings, and digests of config and weights; JSON-able."""
        digests = {"config": file_digest(self.config), "weights": file_digest(self.weights)}
        return {**super().settings, **digests}

    @property
    def cutoff(self) -> float:
        """Distance of a confidence equal to the threshold."""
        return 1 - self.threshold

    def threshold_at(self, cutoff: float) -> float:
        """The confidence whose distance is ``cutoff``."""
        return 1 - cutoff

    @torch.inference_mode(False)
    def prepare(self) -> None:
        """Build the network and load its weights.

        Raises:
            InputError: damaged, or of another network than the installed package builds.
        """
        if self._is_ready:
            return
        try:
            arguments = json.loads(self.config.read_text("utf-8"))
            model = import_module(PACKAGE).WASD(**{**arguments, "pretrained": False})
            model.load_state_dict(read_checkpoint(self.weights).states()[0].tensors)
        except (ImportError, TypeError, ValueError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{self.folder}: {PACKAGE} cannot build this model ({reason}); install the "
                "version that it was released with"
            ) from error
        self.network, self.crop_size = model.model.eval().requires_grad_(False), model.crop_size
        self._is_ready = True

    def train(self, mode: bool = True) -> FlawScryDetector:
        """Stays in evaluation mode."""
        return super().train(False)

    def distance(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """1 − confidence, in [0, 1]."""
        check_pair(mse_sr, gan_sr)
        self.prepare()
        self.network.to(gan_sr.device)
        planes = []
        for pair in zip(quantize(mse_sr), quantize(gan_sr), strict=True):
            reference, image = (_normalised(one[None]) for one in pair)
            options = {"reference": reference, "artifact_crop_size": self.crop_size}
            confidence = self.network(image, **options)[0]
            planes.append(confidence.reshape(1, 1, *image.shape[-2:]))
        return 1 - torch.cat(planes).double().clamp(0, 1)


def _normalised(images: Tensor) -> Tensor:
    mean, deviation = (images.new_tensor(values, dtype=torch.float32) for values in
                       (_MEAN, _DEVIATION))  # fmt: skip
    return (images.float() / 255 - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)
