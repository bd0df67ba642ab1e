"""Upscaler of images of any size: reflected borders, tiles, precision."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from desra.errors import InputError
from desra.images import check_range, to_tensor
from desra.memory import available_memory, is_out_of_memory, peak_on
from desra.one_image import as_array
from desra.resampling import resize_lanczos
from desra.tile_planner import EXACT_OVERLAP, TilePlanner
from desra.tiling import Grid, Patch, join_tiles, measure_reach, read_tile
from models.generators import load_generator, prepare_for_inference
from models.generators.inference import Acceleration
from models.weight_mixing import load_mixed

log = logging.getLogger(__name__)

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Alpha = Literal["network", "lanczos"]

LARGEST_BATCH = 8
"""Tiles that a GPU gets at once, if they fit; more gain nothing."""
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_PROBE = 64  # side of the image that memory is measured on
_SCRATCH = 1.5  # copies inside oneDNN's kernels, measured: 770 bytes where tensors have 512
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def load_upscaler(
    weights: str | Sequence[str] | None,
    load: Callable[[str], nn.Module] = load_generator,
    mix: float | None = None,
    **settings: Any,
) -> Upscaler | None:
    """An upscaler with the generator of a file of weights.

    Args:
        weights: a file or a name; or two of one architecture, to be mixed; None gives None.
        load: makes a generator of a file or name.
        mix: share of the second of two weights, see `load_mixed`.
        settings: of `Upscaler`.

    Raises:
        InputError: weights or settings that cannot be used.

    Example:
        >>> from models.generators import SRVGGNetCompact, write_generator
        >>> write_generator("tiny.pth", SRVGGNetCompact(features=8, depth=2))
        >>> load_upscaler("tiny.pth", tile=64)(torch.rand(1, 3, 24, 40)).shape
        torch.Size([1, 3, 96, 160])
    """
    return None if weights is None else Upscaler(load_mixed(weights, mix, load), **settings)


class Upscaler(nn.Module):
    """A generator for images of any size.

    Args:
        generator: a file of weights or a name of released ones; or a network ``(B, 3, h, w)`` in
            [0, 1] to ``(B, 3, h * scale, w * scale)``, with ``.scale`` and, where it works in
            windows or unshuffles pixels, ``.multiple``. Put into evaluation mode; its weights are
            those it has when the first image comes, or the first one after `renew`.
        tile: side of a tile in low-resolution pixels, its context not counted; None or 0 for the
            whole image at once; ``"auto"`` for what fits the memory at hand without costing time.
        overlap: context around a tile. None: as far as the network sees where that is at most
            `EXACT_OVERLAP` pixels (tiles then equal the whole image), else less, and tiles fade
            into each other.
        border: reflected pixels around the image. Networks pad with zeros, which shows there.
        precision: ``"auto"`` is fp16 on a GPU and fp32 elsewhere. A tile that comes out with NaN or
            infinity in half precision is done again in float32.
        batch: tiles at once; None for one on the CPU and as many as fit, up to `LARGEST_BATCH`, on
            a GPU.
        acceleration: of a GPU, see `models.generators.prepare_for_inference`; worth its time where
            images are many and of one size.
        memory_share: the part of the available memory that may be used.

    Attributes:
        scale: output pixels per input pixel.
        redone_tiles: tiles done again in float32 so far.

    Raises:
        InputError: a setting out of its range.

    Example:
        >>> from models.generators import SRVGGNetCompact
        >>> upscaler = Upscaler(SRVGGNetCompact(features=8, depth=2), tile=16)
        >>> upscaler(torch.rand(1, 3, 24, 40)).shape
        torch.Size([1, 3, 96, 160])
        >>> upscaler.upscale_image(np.zeros((24, 40, 3), np.uint8)).shape
        (96, 160, 3)
    """

    def __init__(
        self,
        generator: nn.Module | str | Path,
        *,
        tile: int | Literal["auto"] | None = "auto",
        overlap: int | None = None,
        border: int = 16,
        precision: Precision = "auto",
        batch: int | None = None,
        acceleration: Acceleration = "none",
        memory_share: float = 0.5,
    ) -> None:
        super().__init__()
        _check(tile, overlap, border, batch)
        check_choice("precision", precision, get_args(Precision))
        check_choice("acceleration", acceleration, get_args(Acceleration))
        if isinstance(generator, str | Path):
            generator = load_generator(generator)
        self.generator = generator.eval()
        self.scale = int(generator.scale)  # type: ignore[arg-type]
        self.multiple = int(getattr(generator, "multiple", 1))
        self.tile, self.overlap, self.border = tile or None, overlap, border
        self.precision, self.batch = precision, batch
        self.acceleration, self.memory_share = acceleration, memory_share
        self.redone_tiles = 0
        self._networks: dict[tuple[torch.dtype, torch.device], nn.Module] = {}
        self._fitting_batch: int | None = None  # after memory ran out

    def renew(self, generator: nn.Module | None = None) -> Upscaler:
        """Take the generator's weights as they are now, and free the copies of those before.

        What was measured of the network (how far it sees, the memory it takes) is not measured
        again: that costs more than some small images.

        Args:
            generator: another one of the same architecture, to go on with.
        """
        if generator is not None:
            self.generator = generator.eval()
        self._networks.clear()
        self.__dict__.pop("_digest", None)
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the output besides the image; JSON-able."""
        names = ("tile", "overlap", "border", "precision")
        return {name: getattr(self, name) for name in names} | {"generator": self._digest}

    @cached_property
    def _digest(self) -> str:
        """Of the generator's structure and weights, whatever file they came from."""
        digest = hashlib.blake2b(repr(self.generator).encode(), digest_size=16)
        for name, tensor in self.generator.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def __call__(self, lr: Any) -> Any:
        """Upscale an image as users have it, or a batch.

        Args:
            lr: an array or an image of Pillow, ``(h, w[, C])`` or ``(3, h, w)``, uint8, uint16 or
                floats in [0, 1]; a tensor ``(3, h, w)``; or a batch.

        Returns:
            likewise; an array of integers for such, else float32 that is not clamped.
        """
        lr = as_array(lr)
        if lr.ndim not in (2, 3, 4) or 0 in lr.shape or (lr.ndim == 2 and isinstance(lr, Tensor)):
            raise InputError(f"an image of shape {tuple(lr.shape)}; give (3, h, w) or (h, w, 3)")
        if isinstance(lr, Tensor):
            lr = lr / 255 if lr.dtype == torch.uint8 else lr
            return super().__call__(lr) if lr.ndim == 4 else super().__call__(lr[None])[0]
        if lr.ndim == 4:
            return np.stack([self(image) for image in lr])
        if lr.ndim == 2:
            return self(lr[..., None])[..., 0]
        first = lr.shape[0] == 3 != lr.shape[2]
        pixels = lr.transpose(1, 2, 0) if first else lr
        if lr.dtype in (np.uint8, np.uint16):
            result = self.upscale_image(pixels)
        else:
            planes = torch.tensor(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
            result = super().__call__(planes[None])[0].permute(1, 2, 0).numpy()
        return result.transpose(2, 0, 1) if first else result

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale a batch.

        Args:
            lr: ``(B, 3, h, w)`` float in [0, 1].

        Returns:
            ``(B, 3, h * scale, w * scale)`` float32, not clamped.

        Raises:
            InputError: NaN in the input, or from the network even in float32; or no memory for the
                smallest tile.
        """
        shape = (*lr.shape[:2], *(side * self.scale for side in lr.shape[2:]))
        result: Tensor | None = None
        for top, left, pixels in self.patches(lr):
            if pixels.shape == shape:
                return pixels.to(lr.device)
            if result is None:
                result = lr.new_empty(shape, dtype=torch.float32)
            height, width = pixels.shape[2:]
            result[..., top : top + height, left : left + width] = pixels
        assert result is not None
        return result

    def upscale_image(self, pixels: NDArray, alpha: Alpha = "network") -> NDArray:
        """Upscale one image of 8 or 16 bits; its float version is never held as a whole.

        Args:
            pixels: ``(h, w, C)`` uint8 or uint16; C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4
                (RGB, alpha). Grey goes through the network as RGB, and its luma is kept.
            alpha: how to enlarge it. An alpha that is the same everywhere stays as it is.

        Returns:
            ``(h * scale, w * scale, C)`` of the same type.

        Raises:
            InputError: as `forward`.
        """
        height, width, channels = pixels.shape
        colours = channels if channels in (1, 3) else channels - 1
        result = np.empty((height * self.scale, width * self.scale, channels), pixels.dtype)
        self._fill(result[..., :colours], pixels[..., :colours])
        if colours < channels:
            opacity, place = pixels[..., colours:], result[..., colours:]
            if opacity.min() == opacity.max():
                place[:] = opacity.flat[0]
            elif alpha == "network":
                self._fill(place, opacity)
            else:
                place[:] = resize_lanczos(opacity, *place.shape[:2])
        return result

    def _fill(self, result: NDArray, pixels: NDArray) -> None:
        most = np.iinfo(pixels.dtype).max
        for top, left, patch in self.patches(to_tensor(pixels)):
            if pixels.shape[2] == 1:
                patch = torch.tensordot(patch, patch.new_tensor(_LUMA), ([1], [0])).unsqueeze(1)
            levels = patch[0].clamp_(0, 1).mul_(most).round_()
            levels = levels.to(torch.uint8 if most == 255 else torch.int32).permute(1, 2, 0)
            height, width = levels.shape[:2]
            result[top : top + height, left : left + width] = levels.cpu().numpy()
            del patch, levels  # the next patch is made before these names are given to it

    def patches(self, images: Tensor) -> Iterator[Patch]:
        """Upscale patch by patch, so that the caller decides what is kept of it.

        Args:
            images: ``(B, 1 or 3, h, w)`` float in [0, 1], on any device.

        Yields:
            patches ``(B, 3, rows, columns)`` of the output, on the generator's device. After memory
            ran out they begin again with the first.

        Raises:
            InputError: as `forward`.
        """
        if not torch.isfinite(images).all():
            raise InputError("the low-resolution image has NaN or infinite values")
        check_range(images)
        images = images.expand(-1, 3, -1, -1)
        while True:
            height, width = images.shape[-2:]
            grid = self._planner.plan(height, width, self._budget(images) // len(images))
            try:
                yield from join_tiles(grid, self.scale, self._outputs(images, grid))
                return
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self._free_cache()
            log.warning("out of memory: tiles of %d pixels from now on", self._planner.shrink(grid))

    def _outputs(self, images: Tensor, grid: Grid) -> Iterator[Tensor]:
        """The network's output for each tile, ``(B, 3, H, W)``."""
        tiles = list(grid)
        step = self._tiles_at_once(images, grid)
        for begin in range(0, len(tiles), step):
            chosen = tiles[begin : begin + step]
            batch = torch.cat([read_tile(images.detach(), *tile) for tile in chosen])
            yield from self._run(batch.to(self.device, torch.float32)).split(len(images))

    def _run(self, tiles: Tensor) -> Tensor:
        """Run the network on tiles, fewer at once where memory runs out."""
        limit = self._fitting_batch or len(tiles)
        if len(tiles) > limit:
            return torch.cat([self._run(part) for part in tiles.split(limit)])
        try:
            return self._finite(tiles)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(tiles) == 1:
                raise
        self._free_cache()
        self._fitting_batch = len(tiles) // 2
        return self._run(tiles)

    @torch.no_grad()
    def _finite(self, tiles: Tensor) -> Tensor:
        """Run the network on tiles, again in float32 where the result is not finite."""
        dtype = self._dtype
        output = self._network(dtype)(tiles)
        if output.is_inference() and not torch.is_inference_mode_enabled():
            output = output.clone()  # what leaves here may be changed in place, and trained on
        bad = _not_finite(output)
        if dtype != torch.float32 and bad.any():
            self.redone_tiles += int(bad.sum())
            output = output.float()
            output[bad] = self._network(torch.float32)(tiles[bad])
            bad = _not_finite(output)
        if bad.any():
            raise InputError("the network gives NaN or infinity for it, in float32 too")
        return output

    def _network(self, dtype: torch.dtype) -> nn.Module:
        """The generator made ready for its device and ``dtype``, once."""
        key = (dtype, self.device)
        if key not in self._networks:
            self._networks[key] = prepare_for_inference(
                self.generator, self.device, dtype, self.acceleration
            )
        return self._networks[key]

    @cached_property
    def _planner(self) -> TilePlanner:
        limit = max(EXACT_OVERLAP, self.overlap or 0)
        reach = measure_reach(self.generator, self.scale, limit, self.multiple)
        return TilePlanner(
            *(self.tile, self.overlap, self.border, reach, self.multiple),
            bytes_per_pixel=self._measure_bytes_per_pixel(),
        )

    @torch.no_grad()
    def _measure_bytes_per_pixel(self) -> float:
        """Memory that the network takes for each pixel it reads, measured on a small image."""
        side = -(-_PROBE // self.multiple) * self.multiple
        probe = torch.zeros(1, 3, side, side, device=self.device)
        network = self._network(self._dtype)
        network(probe)  # the first run also allocates what stays
        peak = peak_on(self.device, lambda: network(probe)) / side**2
        return peak if self.device.type == "cuda" else _SCRATCH * peak

    def _budget(self, images: Tensor) -> int:
        """Bytes that the network may take."""
        room = int(available_memory(self.device) * self.memory_share)
        if self.device.type == "cpu":
            room -= images.numel() * self.scale**2  # the result, at 8 bits
        return room

    def _tiles_at_once(self, images: Tensor, grid: Grid) -> int:
        if self.batch is not None:
            return self.batch
        if self.device.type == "cpu":
            return 1
        fitting = self._budget(images) // self._planner.bytes(grid)
        return max(min(fitting, LARGEST_BATCH) // len(images), 1)

    def _free_cache(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def device(self) -> torch.device:
        """Where the generator is, and computes."""
        return next(self.generator.parameters()).device

    @property
    def _dtype(self) -> torch.dtype:
        if self.precision == "auto":
            return torch.float16 if self.device.type == "cuda" else torch.float32
        return _DTYPES[self.precision]


def _not_finite(images: Tensor) -> Tensor:
    """``(B,)`` bool: which images hold NaN or infinity. A sum of their pixels shows it."""
    return ~torch.isfinite(images.flatten(1).sum(1, dtype=torch.float32))


def _check(tile: int | str | None, overlap: int | None, border: int, batch: int | None) -> None:
    if tile != "auto" and not (tile is None or (isinstance(tile, int) and tile >= 0)):
        raise InputError(f"tile={tile}: give auto, or a side in pixels (0: the whole image)")
    for name, value, least in (("overlap", overlap, 0), ("border", border, 0), ("batch", batch, 1)):
        if value is not None and value < least:
            raise InputError(f"{name}={value}: at least {least}")


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Raise InputError where ``value`` is not one of ``known``."""
    if value not in known:
        raise InputError(f"{name}={value}: give one of {', '.join(known)}")
