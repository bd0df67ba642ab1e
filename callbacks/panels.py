"""Panels of a few validation images during training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray

from callbacks.ranks import gather_rows
from desra.images import to_plane, write_png
from desra.judge import Judged
from desra.pseudo_gt import compose
from desra.regions import label_regions
from desra.report.style import colourise, outline_style
from models.finetuner import GANFinetuner

COLUMNS = 3
_CAPTION, _GAP, _GREY = 22, 4, 24


class _Chosen(NamedTuple):
    area: int
    key: str
    panel: NDArray[np.uint8]


class PicturePanels:
    """A panel for each of the validation images with the most artifacts, at each validation.

    A panel shows, around the image's largest artifact and pixel by pixel: LR, MSE-SR, GAN-SR with
    the regions found before, pseudo ground truth; and the finetuned image, the same with the
    regions found now, and the texture differences (1 − D) of GAN-SR and of the finetuned image.

    Panels are written as ``<folder>/<key>/<iteration>.png``, and go to W&B and TensorBoard, W&B
    also gets a table with a row an image. Of several ranks the first one's share is looked at.

    Args:
        folder: gets the pictures.
        images: how many.
        side: largest width and height of what is shown of an image, in pixels.
    """

    def __init__(self, folder: str | Path, images: int = 4, side: int = 320) -> None:
        self.folder, self.images, self.side = Path(folder), images, side
        self._chosen: list[_Chosen] = []
        self._known: set[str] | None = None  # after the first validation, which images those are
        self._rows: list[dict[str, Any]] = []

    def begin(self, trainer: Trainer) -> None:
        """Begin anew."""
        self._chosen, self._rows = [], []

    def add(self, trainer: Trainer, judged: Judged) -> None:
        """Make the panels of those images of a batch that have more artifacts than others had."""
        self._rows += judged.rows
        if not trainer.is_global_zero or self.images < 1:
            return
        areas = judged.images.before.flatten(1).sum(1).tolist()
        distance = None
        for index, (key, area) in enumerate(zip(judged.keys, areas, strict=True)):
            if not self._wanted(key, area):
                continue
            distance = judged.distance_before() if distance is None else distance
            panel = make_panel(judged, distance, index, self.side)
            self._chosen.append(_Chosen(area, key, panel))
            self._chosen.sort(key=lambda chosen: (-chosen.area, chosen.key))
            del self._chosen[self.images :]

    def _wanted(self, key: str, area: int) -> bool:
        if self._known is not None:
            return key in self._known
        return len(self._chosen) < self.images or area > self._chosen[-1].area

    def finish(self, trainer: Trainer, module: GANFinetuner) -> None:
        """Write the panels and give them to the loggers."""
        rows = gather_rows(self._rows)
        self._known = {chosen.key for chosen in self._chosen} if self._chosen else self._known
        if not trainer.is_global_zero:
            return
        for chosen in self._chosen:
            name = f"{trainer.global_step:06d}.png"
            write_png(self.folder / chosen.key / name, chosen.panel)
        step = module.batches_seen  # the step of Lightning's own metrics
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for _, key, panel in self._chosen:
                    logger.experiment.add_image(f"panels/{key}", panel, step, dataformats="HWC")
            elif isinstance(logger, WandbLogger):
                self._log_to_wandb(logger, rows, step)
        self._chosen, self._rows = [], []

    def _log_to_wandb(self, logger: WandbLogger, rows: list[dict[str, Any]], step: int) -> None:
        import wandb

        panels = {chosen.key: chosen.panel for chosen in self._chosen}
        if panels:
            logger.log_image("panels", list(panels.values()), step, caption=list(panels))
        columns = list(dict.fromkeys(name for row in rows for name in row))
        if columns:
            table = [
                [wandb.Image(panels[row["image"]]) if row["image"] in panels else None]
                + [row.get(name) for name in columns]
                for row in rows
            ]
            logger.log_table("images", ["panel", *columns], table, step=step)


def make_panel(
    judged: Judged, distance_before: torch.Tensor, index: int, side: int
) -> NDArray[np.uint8]:
    """The panel of one image of a batch, ``(H, W, 3)`` uint8 RGB.

    Args:
        judged: the batch.
        distance_before: texture distance of GAN-SR, ``(B, 1, H, W)``.
        index: of the image in it.
        side: see `PicturePanels`.
    """
    images = judged.images
    one = slice(index, index + 1)
    pseudo_gt = compose(images.mse_sr[one], images.gan_sr[one], images.before[one])
    before, after = (to_plane(mask[one]) for mask in (images.before, images.after))
    lr = _pixels(judged.lr[one])
    height, width = before.shape
    window = _window(images.before[index, 0], side)
    gan_sr, finetuned = _pixels(images.gan_sr[one]), _pixels(images.finetuned[one])
    tiles: dict[str, NDArray[Any]] = {
        "LR": cv2.resize(lr, (width, height), interpolation=cv2.INTER_NEAREST_EXACT),
        "MSE-SR": _pixels(images.mse_sr[one]),
        "GAN-SR": gan_sr,
        "GAN-SR, artifacts": _outlined(gan_sr, before, "Before"),
        "pseudo ground truth": _pixels(pseudo_gt),
        "finetuned": finetuned,
        "finetuned, artifacts": _outlined(finetuned, after, "After"),
        "difference before": _heat(distance_before[one]),
        "difference after": _heat(judged.after.distance[one]),
    }
    return _grid({name: pixels[window] for name, pixels in tiles.items()})


def _window(mask: torch.Tensor, side: int) -> tuple[slice, slice]:
    """The part of an image to show: around its largest region, or its middle if it has none."""
    labels, _ = label_regions(mask)
    sizes = torch.bincount(labels.flatten().long())
    sizes[0] = 0
    inside = labels == sizes.argmax() if sizes.max() > 0 else torch.ones_like(mask)
    rows, columns = torch.nonzero(inside, as_tuple=True)
    return (
        _around(rows, mask.shape[-2], side),
        _around(columns, mask.shape[-1], side),
    )


def _around(places: torch.Tensor, length: int, side: int) -> slice:
    middle = int(places.min() + places.max()) // 2
    start = max(0, min(middle - side // 2, length - side))
    return slice(start, min(start + side, length))


def _outlined(pixels: NDArray[np.uint8], mask: NDArray[np.bool_], name: str) -> NDArray[np.uint8]:
    """A copy with the outlines of a mask, in the colour that the page gives them."""
    drawn = np.ascontiguousarray(pixels).copy()
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    code = outline_style(name, 0).colour.lstrip("#")
    colour = [int(code[place : place + 2], 16) for place in (0, 2, 4)]
    cv2.drawContours(drawn, contours, -1, (0, 0, 0), 3)
    cv2.drawContours(drawn, contours, -1, colour, 1)
    return drawn


def _heat(distance: torch.Tensor) -> NDArray[np.uint8]:
    return colourise(np.rint((1 - to_plane(distance)).clip(0, 1) * 255).astype(np.uint8))


def _grid(tiles: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """Tiles of one size in rows, each below its name."""
    height, width = next(iter(tiles.values())).shape[:2]
    rows = -(-len(tiles) // COLUMNS)
    step_y, step_x = height + _CAPTION + _GAP, width + _GAP
    grid = np.full((rows * step_y, COLUMNS * step_x, 3), _GREY, np.uint8)
    for place, (name, pixels) in enumerate(tiles.items()):
        top, left = place // COLUMNS * step_y, place % COLUMNS * step_x
        size = min(0.5, 0.5 * width / (9 * len(name)))  # a letter is 9 pixels wide at 0.5
        corner = (left + 3, top + _CAPTION - 7)
        cv2.putText(grid, name, corner, cv2.FONT_HERSHEY_SIMPLEX, size, (230,) * 3, 1, cv2.LINE_AA)
        top += _CAPTION
        grid[top : top + height, left : left + width] = pixels
    return grid


def _pixels(image: torch.Tensor) -> NDArray[np.uint8]:
    """``(1, 3, H, W)`` uint8 to ``(H, W, 3)``."""
    return image[0].permute(1, 2, 0).cpu().numpy()
