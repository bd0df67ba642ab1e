"""Repair over folders: pictures in, larger pictures without the generator's artifacts out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desra.detectors import Detector
from desra.errors import InputError
from desra.image_writing import to_8_bit
from desra.images import Picture, write_png
from desra.ledger import Row
from desra.regions import region_areas
from desra.repair import repair
from desra.segmenters import Segmenter
from models.upscaler import Upscaler
from tasks.upscale import Upscaling

MASKS = "DeSRA-Mask"


class Repairing(Upscaling):
    """Upscale every image with the GAN generator and with its MSE network, find the artifacts of
    the first, and put the second's pixels there (`desra.repair`); an `ImageTask`.

    Both networks work tile by tile; of an image its two upscalings are held, and the distance
    between them.

    Args:
        mse_upscaler: the MSE network's.
        detector: finds the artifacts.
        segmenter: labels the pixels of GAN-SR.
        feather: pixels over which the one fades into the other.
        options: of `Upscaling`.

    Raises:
        InputError: settings that cannot be used.
    """

    name = "repair"
    columns = (*Upscaling.columns[:-2], "artifact_share", "regions", "seconds", "error")

    def __init__(
        self,
        *,
        mse_upscaler: Upscaler | None,
        detector: Detector,
        segmenter: Segmenter,
        feather: int = 8,
        **options: Any,
    ) -> None:
        if mse_upscaler is None:
            raise InputError(
                "repair needs mse_weights=NAME_OR_FILE, the generator's MSE network; where there "
                "is none, python train.py experiment=mse_partner makes one"
            )
        if feather < 0:
            raise InputError(f"feather={feather}: give a width in pixels, 0 for a hard switch")
        super().__init__(**options)
        self.mse_upscaler = mse_upscaler
        if mse_upscaler.scale != self.upscaler.scale:
            raise InputError(
                f"mse_weights upscale ×{mse_upscaler.scale}, weights ×{self.upscaler.scale}; give "
                "two of one scale"
            )
        self.detector, self.segmenter, self.feather = detector, segmenter, feather
        self.settings |= {
            "mse_upscaler": self.mse_upscaler.settings,
            "detector": detector.settings,
            "segmenter": segmenter.settings,
            "feather": feather,
        }

    def setup(self, stage: str) -> None:
        """Fetch and load what detector and segmenter need before the first image."""
        super().setup(stage)
        self.mse_upscaler.memory_share = self.upscaler.memory_share
        self.detector.prepare()
        self.segmenter.prepare()

    def enlarge(self, key: str, picture: Picture, row: Row) -> tuple[NDArray, dict[Path, NDArray]]:
        """The repaired upscaling, and its mask as a further file."""
        gan_sr, _ = super().enlarge(key, picture, row)
        opaque = picture.pixels.shape[2] in (1, 3)
        colours = picture.pixels if opaque else picture.pixels[..., :-1]
        mse_sr = self.mse_upscaler.upscale_image(np.ascontiguousarray(colours))
        channels = mse_sr.shape[2]
        images = [self._batch(pixels[..., :channels]) for pixels in (mse_sr, gan_sr)]
        labels = self.segmenter(images[1], [key])
        found = self.detector(*images, labels).mask
        mask = found[0, 0].cpu().numpy()
        gan_sr[..., :channels] = repair(mse_sr, gan_sr[..., :channels], mask, self.feather)
        row |= {
            "artifact_share": round(float(mask.mean()), 6),
            "regions": len(region_areas(found)),
        }
        return gan_sr, {self.output_dir / MASKS / f"{key}.png": mask}

    def _batch(self, pixels: NDArray) -> Tensor:
        """``(H, W, 1 or 3)`` of 8 or 16 bits to ``(1, 3, H, W)`` uint8 on the device."""
        levels = torch.from_numpy(to_8_bit(pixels).transpose(2, 0, 1).copy())
        return levels[None].expand(1, 3, -1, -1).contiguous().to(self.device)

    def write_more(self, files: dict[Path, NDArray]) -> Sequence[Path]:
        """Write the mask."""
        for path, mask in files.items():
            write_png(path, mask)
        return list(files)
