"""Base of the tasks over several versions of each image: reading or making them, and detecting in
each."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch import Tensor, nn

from desra.detectors import Detection, Detector
from desra.errors import InputError, describe
from desra.files import Match, find_images
from desra.image_task import Result, Sample
from desra.images import read_rgb
from desra.resampling import resize_lanczos
from desra.segmenters import Segmenter
from models.generators import load_generator
from models.upscaler import Upscaler, load_upscaler

log = logging.getLogger(__name__)

Image = NDArray[np.uint8]
"""``(H, W, 3)`` RGB."""


@dataclass
class Versions:
    """One image, its versions, and what was found in them.

    Attributes:
        key: of the image.
        lr: what they were made of.
        mse_sr: what the detector compares them with.
        images: the versions, all of one size.
        found: what the detector found in each, ``(1, 1, H, W)`` tensors.
        hr: the true image, where there is one.
    """

    key: str
    lr: Image
    mse_sr: Image
    images: list[Image]
    found: list[Detection]
    hr: Image | None = None


class VersionsTask(LightningModule):
    """Base of the tasks over versions of images; an `ImageTask`.

    A version is a generator, which upscales LR, or a folder with upscaled images of the same
    relative paths. The detector compares each with MSE-SR: that of a folder or of ``mse``, or else
    LR enlarged by Lanczos, which is as smooth, but not as near.

    A subclass gives the attributes of an `ImageTask`, `examine` and `finish`.

    Args:
        versions: weights (files or names) or folders.
        detector: finds the artifacts of each version.
        segmenter: labels the pixels of the first version, for all.
        output_dir: gets what the task writes.
        mse: makes MSE-SR where no folder has it.
        load: makes a generator of a file or name.
        names: of the versions; None for those of the files.
        upscaler: settings of `models.upscaler.Upscaler`.

    Raises:
        InputError: weights, folders or settings that cannot be used.
    """

    def __init__(
        self,
        versions: Sequence[str],
        detector: Detector,
        segmenter: Segmenter,
        output_dir: str | Path,
        mse: Upscaler | None = None,
        load: Callable[[str], nn.Module] = load_generator,
        names: Sequence[str] | None = None,
        **upscaler: Any,
    ) -> None:
        super().__init__()
        if names is not None and len(set(names)) != len(versions):
            raise InputError(f"names: {len(versions)} different ones are needed")
        self.names = list(names) if names is not None else version_names(versions)
        self.folders = {
            name: find_images(given)
            for name, given in zip(self.names, versions, strict=True)
            if Path(given).is_dir()
        }
        made = {
            name: load_upscaler(given, load, **upscaler)
            for name, given in zip(self.names, versions, strict=True)
            if name not in self.folders
        }
        self.upscalers = nn.ModuleList(module for module in made.values() if module is not None)
        self._upscaler_of = made  # the same modules by name
        scales = {name: module.scale for name, module in made.items() if module is not None}
        if len(set(scales.values())) > 1:
            said = ", ".join(f"{name} ×{scale}" for name, scale in scales.items())
            raise InputError(f"versions of different scales: {said}; give those of one scale")
        self.detector, self.segmenter, self.mse = detector, segmenter, mse
        self.output_dir = Path(output_dir)
        self.settings: dict[str, Any] = {
            "versions": {
                name: module.settings if module is not None else str(versions[index])
                for index, (name, module) in enumerate(
                    (name, made.get(name)) for name in self.names
                )
            },
            "detector": detector.settings,
            "segmenter": segmenter.settings,
            "mse": mse and mse.settings,
        }
        self.summary: dict[str, Any] = {}
        self._enlarged = False  # whether MSE-SR is LR enlarged by Lanczos

    @abstractmethod
    def examine(self, result: Result, versions: Versions) -> None:
        """Give a result its row, and what writes its files."""

    def setup(self, stage: str) -> None:
        """Fetch and load what detector and segmenter need before the first image."""
        self.detector.prepare()
        self.segmenter.prepare()

    def inputs(self, match: Match) -> Sequence[Path]:
        """LR, MSE-SR and HR, the versions that lie in folders, and what the segmenter reads."""
        paths = [path for folder in self.folders.values() for path in folder.get(match.key, [])]
        return [*match.paths.values(), *paths, *self.segmenter.inputs(match.key)]

    def load(self, match: Match) -> dict[str, Image]:
        """Read what there is of an image.

        Raises:
            InputError: a file that cannot be read, or a version that has not got the image.
        """
        images = {role: read_rgb(path) for role, path in match.paths.items()}
        for name, folder in self.folders.items():
            paths = folder.get(match.key, [])
            if len(paths) != 1:
                raise InputError(f"{match.key}: {len(paths)} images of it in {name}; one is needed")
            images[f"version {name}"] = read_rgb(paths[0])
        return images

    @torch.inference_mode()
    def predict_step(self, batch: list[Sample], *_: Any) -> list[Result]:
        """Make and compare the versions of each sample."""
        return [self._work(sample) for sample in batch]

    def _work(self, sample: Sample) -> Result:
        result = Result(sample)
        if sample.payload is None:
            return result
        start = perf_counter()
        try:
            self.examine(result, self._versions(sample.match.key, sample.payload))
        except InputError as error:
            result.error = f"{sample.match.key}: {describe(error, sample.match.key)}"
            return result
        result.row["seconds"] = round(sample.seconds + perf_counter() - start, 4)
        return result

    def _versions(self, key: str, read: dict[str, Image]) -> Versions:
        lr = read["lr"]
        images = []
        for name in self.names:
            made = self._upscaler_of.get(name)
            images.append(made.upscale_image(lr) if made else read[f"version {name}"])
        height, width = images[0].shape[:2]
        mse_sr = read.get("mse_sr")
        if mse_sr is None and isinstance(self.mse, Upscaler):
            mse_sr = self.mse.upscale_image(lr)
        if mse_sr is None:
            mse_sr, self._enlarged = resize_lanczos(lr, height, width), True
        checked = {**dict(zip(self.names, images, strict=True)), "MSE-SR": mse_sr}
        hr = read.get("hr")
        if hr is not None:
            checked["HR"] = hr
        for name, image in checked.items():
            if image.shape[:2] != (height, width):
                raise InputError(
                    f"{key}: {name} is {image.shape[1]}x{image.shape[0]}, but {self.names[0]} is "
                    f"{width}x{height}; versions of one size are compared"
                )
        labels = self.segmenter(self.batch(images[0]), [key])
        smooth = self.batch(mse_sr)
        found = [self.detector(smooth, self.batch(image), labels) for image in images]
        return Versions(key, lr, mse_sr, images, found, hr)

    def batch(self, pixels: Image) -> Tensor:
        """``(H, W, 3)`` uint8 to ``(1, 3, H, W)`` uint8 on the device."""
        return torch.from_numpy(pixels)[None].to(self.device).permute(0, 3, 1, 2)

    def say_reference(self) -> None:
        """Say what the versions were compared with, where the user did not choose it."""
        if self._enlarged:
            rank_zero_only(log.info)(
                "artifacts are what differs from LR enlarged by Lanczos; with mse_weights=W or "
                "mse_root=DIR they are what differs from a network that was trained with a pixel "
                "loss, as DeSRA has it"
            )


def version_names(versions: Sequence[str]) -> list[str]:
    """A short name of each, none twice.

    >>> version_names(["a/net.pth", "b/net.pth", "realesrgan-x4plus"])
    ['net', 'net (2)', 'realesrgan-x4plus']
    """
    names: list[str] = []
    for given in versions:
        path = Path(given)
        stem = path.stem if path.suffix and len(path.suffix) < 13 else path.name
        name = next(
            name
            for number in count(1)
            if (name := stem if number == 1 else f"{stem} ({number})") not in names
        )
        names.append(name)
    return names


def plane(values: Tensor) -> NDArray[Any]:
    """The one plane of ``(1, 1, H, W)``."""
    return values[0, 0].cpu().numpy()
