"""Networks of mmsegmentation, by config and checkpoint, and the logits that they give images."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from desra.download import cache_dir, fetch
from desra.errors import InputError
from desra.files import file_digest
from desra.segmenters.openmmlab import (
    Recipe,
    Weights,
    checksum_in_name,
    find_config,
    official_checkpoint,
    read_weights,
)

logger = logging.getLogger(__name__)

Precision = Literal["auto", "fp32", "bf16", "fp16"]

_SMALLEST_SIDE = 32  # pixels that the last stage of the usual backbones makes one of


class _Files(NamedTuple):
    config: Path
    checkpoint: Path


class MMSegNetwork(nn.Module):
    """Any network of mmsegmentation. Nothing is imported, fetched or read before it is needed: see
    `prepare`.

    Args:
        config: path of a config of mmsegmentation 1.x, or the name of one that comes with it. A
            config is a Python program: use one that you trust.
        checkpoint: path of the weights; None for the official ones of a config that comes with
            mmsegmentation, which are fetched into the cache (`desra.download.cache_dir`) once.
        precision: of the network on a GPU; ``"auto"`` is ``"fp16"``. What overflows is done again
            in float32. The CPU always computes in float32.
        batch_size: images that a GPU takes at once. Smaller batches are filled up to this size, so
            that results do not depend on which images come together, down to the last bit. The CPU
            takes one at a time.

    Attributes:
        node: the configuration's node, which messages name.
        alternatives: what a message advises where weights cannot be had.

    Raises:
        InputError: an unknown precision, or a batch size below 1.
    """

    node = "segmenter"
    alternatives = "choose segmenter=labels segmenter.root=DIR or segmenter=none"

    def __init__(
        self,
        config: str | Path,
        checkpoint: str | Path | None = None,
        precision: Precision = "auto",
        batch_size: int = 4,
    ) -> None:
        super().__init__()
        if precision not in get_args(Precision):
            raise InputError(
                f"{self.node}.precision={precision} is none of {', '.join(get_args(Precision))}"
            )
        if batch_size < 1:
            raise InputError(f"{self.node}.batch_size={batch_size} must be at least 1")
        self.config, self.checkpoint = config, checkpoint
        self.precision, self.batch_size = precision, batch_size
        self._network: Any = None
        self._pipeline: Any = None

    @cached_property
    def _files(self) -> _Files:
        config = find_config(self.config, self.node)
        if self.checkpoint is not None:
            checkpoint = Path(self.checkpoint).expanduser()
            if not checkpoint.is_file():
                raise InputError(
                    f"{self.node}.checkpoint={checkpoint}: no such file; give another path, or "
                    "leave it out to have the official weights fetched"
                )
            return _Files(config, checkpoint)
        url = official_checkpoint(config)
        if url is None:
            raise InputError(
                f"segmenter.config={config}: no official weights are known for it; give "
                f"{self.node}.checkpoint=PATH"
            )
        path = cache_dir() / url.rpartition("/")[2]
        try:
            return _Files(config, fetch(url, path, sha256=checksum_in_name(url)))
        except InputError as error:
            raise InputError(
                f"{error}; or give {self.node}.checkpoint=PATH, or {self.alternatives}"
            ) from error

    @cached_property
    def _recipe(self) -> Recipe:
        return Recipe(self._files.config)

    @cached_property
    def network_settings(self) -> dict[str, Any]:
        """Digests of config and weights, and the precision. Fetches the weights if need be.

        Raises:
            InputError: config or weights are missing and cannot be had.
        """
        return {
            "config": self._recipe.digest,
            "checkpoint": file_digest(self._files.checkpoint),
            "precision": self.precision,
        }

    @torch.inference_mode(False)  # parameters made in inference mode could not be moved out of it
    def prepare(self) -> None:
        """Fetch the weights, build the network and load them.

        Raises:
            InputError: mmsegmentation, config or weights are missing, do not belong together, or
                cannot be used.
        """
        if self._network is not None:
            return
        weights = read_weights(self._files.checkpoint)
        network, self._pipeline = self._recipe.build(weights)
        self.check_classes(weights, network.decode_head.num_classes)
        self._network = network

    def check_classes(self, weights: Weights, num_classes: int) -> None:
        """Called with what was loaded, before it is used.

        Raises:
            InputError: the network's classes are not what is needed.
        """

    def train(self, mode: bool = True) -> MMSegNetwork:
        """Stays in evaluation mode: results come from a frozen network."""
        return super().train(False)

    @torch.inference_mode()
    def logits(
        self, images: NDArray[np.uint8], keys: Sequence[str], device: torch.device
    ) -> Iterator[Tensor]:
        """Finite logits of images of one size, in the order of the images.

        Args:
            images: ``(B, H, W, 3)`` RGB.
            keys: of the images, for messages.
            device: where to compute.

        Yields:
            ``(b, C, h, w)`` float32 on ``device``, one channel for each class, for the next b
            images; to be enlarged to ``(H, W)`` by bilinear interpolation.

        Raises:
            InputError: as `prepare`; an image too narrow for the network, or NaN in its answer.
        """
        self.prepare()
        self._move(device)
        at_once = self.batch_size if self._batches(device) else 1
        for start in range(0, len(images), at_once):
            stop = start + at_once
            yield self._group_logits(images[start:stop], keys[start:stop], at_once)

    @property
    def align_corners(self) -> bool:
        """How logits are enlarged; see `torch.nn.functional.interpolate`."""
        return self._network.align_corners

    @torch.inference_mode(False)
    def _move(self, device: torch.device) -> None:
        # By mmengine's own `to`: its data preprocessor keeps its device for itself.
        if self._network.data_preprocessor.device != device:
            self._network.to(device)

    @staticmethod
    def _batches(device: torch.device) -> bool:
        """Whether the device gains by batches and half precision."""
        return device.type != "cpu"

    def _group_logits(self, images: NDArray[np.uint8], keys: Sequence[str], at_once: int) -> Tensor:
        """Logits by one pass of the network."""
        height, width = images.shape[1:3]
        # mmsegmentation reads images as BGR, and its networks turn them round.
        samples = [self._pipeline({"img": np.ascontiguousarray(rgb[..., ::-1])}) for rgb in images]
        if min(samples[0]["inputs"].shape[1:]) < _SMALLEST_SIDE:
            raise InputError(
                f"{keys[0]}: {width}x{height} is too narrow for the network; leave it out, or "
                f"{self.alternatives}"
            )
        filled = [samples[index % len(samples)] for index in range(at_once)]
        data = {name: [sample[name] for sample in filled] for name in ("inputs", "data_samples")}
        data = self._network.data_preprocessor(data, False)
        metas = [sample.metainfo for sample in data["data_samples"]]
        logits = self._finite_logits(data["inputs"], metas, keys)[: len(images)]
        return _unpadded(logits, metas[0])

    def _finite_logits(self, inputs: Tensor, metas: list[dict], keys: Sequence[str]) -> Tensor:
        """``(B, C, h, w)`` float32 logits, one channel for each class."""
        half = {"auto": torch.float16, "fp16": torch.float16, "bf16": torch.bfloat16}
        dtype = half.get(self.precision) if self._batches(inputs.device) else None
        logits = self._logits(inputs, metas, dtype)
        finite = _finite(logits)
        if dtype is not None and not finite.all():
            logger.warning("the network overflows in %s near %s, done in float32", dtype, keys[0])
            logits = torch.where(finite, logits, self._logits(inputs, metas, None))
            finite = _finite(logits)
        if not finite.all():
            raise InputError(
                f"{', '.join(keys)}: the network answers with NaN; check {self.node}.checkpoint"
            )
        if logits.shape[1] > 1:
            return logits
        # A single channel tells the second of two classes, above a threshold of its probability.
        threshold = torch.tensor(self._network.decode_head.threshold).logit()
        return torch.cat([torch.full_like(logits, threshold.item()), logits], dim=1)

    def _logits(self, inputs: Tensor, metas: list[dict], dtype: torch.dtype | None) -> Tensor:
        with torch.autocast(inputs.device.type, dtype, enabled=dtype is not None):
            return self._network.inference(inputs, metas).float()


def _finite(logits: Tensor) -> Tensor:
    """``(B, 1, 1, 1)`` bool: whether all logits of an image are finite."""
    return torch.isfinite(logits).all(dim=(1, 2, 3), keepdim=True)


def _unpadded(logits: Tensor, meta: dict) -> Tensor:
    """Without what the data preprocessor padded the image with."""
    padding = meta.get("img_padding_size", meta.get("padding_size", (0, 0, 0, 0)))
    left, right, top, bottom = padding
    height, width = logits.shape[-2:]
    return logits[..., top : height - bottom, left : width - right]
