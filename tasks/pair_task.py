"""Base of the tasks over two upscalings of each image: reads or makes them, and their labels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from lightning import LightningModule
from numpy.typing import NDArray
from torch import Tensor, nn

from desra.detectors import Detector
from desra.errors import InputError, describe
from desra.files import Match
from desra.image_task import Result, Sample
from desra.images import read_rgb
from desra.labelme import read_label
from desra.rim import BORDER, full_size
from desra.segmenters import Segmenter
from desra.stage_cache import Stage
from models.upscaler import Upscaler

Found = TypeVar("Found")


@dataclass
class Pictures:
    """What was read of one image, ``(H, W, 3)`` uint8 RGB each, or what the cache knows of it.

    Attributes:
        cached: fingerprint of a stage that is in the cache; the upscalings are then not read.
        gt_mask: labelled artifacts, bool; of full size once that is known.
        gt_rim: pixels on each side that the label lacked.
    """

    lr: NDArray | None = None
    mse_sr: NDArray | None = None
    gan_sr: NDArray | None = None
    gt_mask: NDArray | None = None
    gt_rim: int = 0
    cached: str | None = None
    stage_fingerprint: str = ""


class PairTask(LightningModule, Generic[Found]):
    """Base of the tasks over two upscalings of each image: reads or makes them, and computes
    distance and labels; images of one size go through together.

    A subclass gives the attributes and `finish` of an `ImageTask`, with `examine` what it finds in
    a batch, and with `conclude` what of it goes to an image's row and files.

    Args:
        detector: what compares the two upscalings.
        segmenter: what says which pixels show what.
        output_dir: gets what the task writes.
        mse: makes MSE-SR of LR; None where MSE-SR is read.
        gan: makes GAN-SR of LR, likewise.

    Attributes:
        stage_settings: what decides distance and labels besides the files; JSON-able.
        rim: pixels on each side in which nothing is compared; the detector's.

    Raises:
        InputError: settings that cannot be used.
    """

    def __init__(
        self,
        detector: Detector,
        segmenter: Segmenter,
        output_dir: str | Path,
        mse: Upscaler | None = None,
        gan: Upscaler | None = None,
    ) -> None:
        super().__init__()
        if mse is not None and gan is not None and mse.scale != gan.scale:
            raise InputError(
                f"mse_weights upscale ×{mse.scale}, gan_weights ×{gan.scale}: upscalings of one "
                "size are compared; give networks of one scale"
            )
        self.detector, self.segmenter, self.rim = detector, segmenter, detector.rim
        made = {"mse_sr": mse, "gan_sr": gan}
        self.upscalers = nn.ModuleDict({role: net for role, net in made.items() if net is not None})
        self.stage_settings = {
            "distance": detector.distance_settings,
            "segmenter": segmenter.settings,
            "upscalers": {role: net.settings for role, net in self.upscalers.items()},
        }
        self.summary: dict[str, Any] = {}
        self.output_dir = Path(output_dir)

    @abstractmethod
    def examine(self, stage: Stage) -> Sequence[Found]:
        """What there is to find in a batch; one item an image.

        Args:
            stage: distance float64 and labels uint8 (or None), ``(B, 1, H, W)``, on the device.
        """

    @abstractmethod
    def conclude(self, result: Result, found: Found) -> None:
        """Give a result its row and what writes its files.

        Raises:
            InputError: what was read of the image does not fit together.
        """

    def setup(self, stage: str) -> None:
        """Fetch and load what detector and segmenter need before the first image."""
        self.detector.prepare()
        self.segmenter.prepare()

    def inputs(self, match: Match) -> Sequence[Path]:
        """The upscalings, LR, the labels, and whatever the segmenter reads for this image."""
        labels = [match.paths["gt_mask"]] if "gt_mask" in match.paths else []
        return [*self.stage_inputs(match), *labels]

    def stage_inputs(self, match: Match) -> list[Path]:
        """The files that decide distance and labels of ``match``."""
        images = [path for role, path in match.paths.items() if role != "gt_mask"]
        return [*images, *self.segmenter.inputs(match.key)]

    def load(self, match: Match) -> Pictures:
        """Read the images of a match, and its labelled mask."""
        pictures = Pictures()
        for role, path in match.paths.items():
            setattr(
                pictures, role, read_label(match.paths) if role == "gt_mask" else read_rgb(path)
            )
        if pictures.mse_sr is not None and pictures.gan_sr is not None:
            _check_sizes(match, pictures)
        return pictures

    @torch.inference_mode()
    def predict_step(self, batch: list[Sample], *_: Any) -> list[Result]:
        """Work on a list of samples; neighbours of one size go through the detector together."""
        results = [self._try(self._upscale, sample) for sample in batch]
        fresh = [result for result in results if result.error is None and result.sample.payload]
        for _size, group in groupby(fresh, key=lambda result: _shape(result.sample.payload)):
            self._work(list(group))
        return results

    def _try(self, step: Callable[[Sample], None], sample: Sample) -> Result:
        result = Result(sample)
        if sample.payload is None:
            return result
        try:
            start = perf_counter()
            step(sample)
            sample.seconds += perf_counter() - start
        except InputError as error:
            result.error = describe(error, sample.match.key)
        return result

    def _upscale(self, sample: Sample) -> None:
        pictures: Pictures = sample.payload
        if pictures.cached is not None:
            return
        for role, upscaler in self.upscalers.items():
            assert isinstance(upscaler, Upscaler)
            assert pictures.lr is not None
            setattr(pictures, role, upscaler.upscale_image(pictures.lr))
        _check_sizes(sample.match, pictures)

    def _work(self, results: Sequence[Result]) -> None:
        start = perf_counter()
        try:
            stage = self.stage([result.sample for result in results])
            found = self.examine(stage)
        except InputError as error:
            if len(results) > 1:  # find out which image it was
                for result in results:
                    self._work([result])
                return
            results[0].error = f"{results[0].sample.match.key}: {error}"
            return
        share = (perf_counter() - start) / len(results)
        for result, item in zip(results, found, strict=True):
            result.sample.seconds += share
            try:
                self._complete_label(result.sample.payload, stage.distance.shape[-2:])
                self.conclude(result, item)
            except InputError as error:  # labels of another size
                result.error = f"{result.sample.match.key}: {error}"

    def _complete_label(self, pictures: Pictures, size: tuple[int, ...]) -> None:
        if pictures.gt_mask is not None:
            read = pictures.gt_mask
            pictures.gt_mask = full_size(read, size, self.rim or BORDER, "labelled mask")
            pictures.gt_rim = (size[0] - read.shape[0]) // 2

    def stage(self, samples: Sequence[Sample]) -> Stage:
        """Distance and labels of samples of one size."""
        pictures = [sample.payload for sample in samples]
        mse_sr = self._batch([picture.mse_sr for picture in pictures])
        gan_sr = self._batch([picture.gan_sr for picture in pictures])
        labels = self.segmenter(gan_sr, [sample.match.key for sample in samples])
        return Stage(self.detector.distance(mse_sr, gan_sr), labels)

    def _batch(self, pixels: Sequence[NDArray]) -> Tensor:
        """uint8 HWC images of one size to uint8 ``(B, 3, H, W)`` on the device."""
        stacked = torch.from_numpy(np.stack(pixels))
        return stacked.to(self.device, non_blocking=True).permute(0, 3, 1, 2)


def _check_sizes(match: Match, pictures: Pictures) -> None:
    assert pictures.mse_sr is not None
    assert pictures.gan_sr is not None
    (mh, mw), (gh, gw) = pictures.mse_sr.shape[:2], pictures.gan_sr.shape[:2]
    if (mh, mw) != (gh, gw):
        raise InputError(
            f"{match.key}: MSE-SR is {mw}x{mh} but GAN-SR is {gw}x{gh}; "
            "upscale the same image to the same size with both"
        )


def _shape(pictures: Pictures) -> tuple[int, ...]:
    """What pictures of one batch have in common; those from the cache go one by one."""
    return (id(pictures),) if pictures.gan_sr is None else pictures.gan_sr.shape
