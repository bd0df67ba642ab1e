"""Labels from a folder, made by hand or by any other program."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from desra.errors import InputError
from desra.files import find_images
from desra.segmenters.base import Segmenter
from desra.semantics import ADE20K_CLASSES, NO_CLASS

_INDEX_MODES = ("L", "P", "I;16", "I;16B", "I")  # one channel: grey or palette, 8 or 16 bit


class LabelFolder(Segmenter):
    """Reads label maps: PNG images of one channel whose values are ADE20K indices, 0 to 149.

    The value 255 stands for "no class". Of palette images the indices count, not the colours.

    Args:
        root: folder of any depth with a label map for each image, matched by relative path; or one
            label map, for a run over one image.

    Raises:
        InputError: ``root`` does not exist or holds no PNG.

    Example:
        >>> import torch
        >>> from desra.images import write_png
        >>> write_png("labels/sky/1.png", np.full((4, 6), 2, np.uint8))
        >>> LabelFolder("labels")(torch.zeros(1, 3, 4, 6), ["sky/1"]).unique()
        tensor([2], dtype=torch.uint8)
    """

    classes = ADE20K_CLASSES

    def __init__(self, root: str | Path) -> None:
        super().__init__()
        self.root = Path(root).expanduser()
        if not self.root.exists():
            raise InputError(
                f"segmenter.root={self.root}: no such folder; give a folder of label maps, or "
                "choose segmenter=mmseg or segmenter=none"
            )

    @cached_property
    def _maps(self) -> dict[str, list[Path]]:
        return find_images(self.root, frozenset({".png"}))

    def _find(self, key: str) -> list[Path]:
        return [self.root] if self.root.is_file() else self._maps.get(key, [])

    def forward(self, gan_sr: Tensor, keys: Sequence[str]) -> Tensor:
        """Read the labels of a batch; see `Segmenter.forward`.

        Raises:
            InputError: a label map is missing, damaged, of another size than its image, or holds
                other values.
        """
        height, width = gan_sr.shape[-2:]
        planes = [_read_labels(self._path(key), height, width) for key in keys]
        return torch.from_numpy(np.stack(planes)).unsqueeze(1).to(gan_sr.device)

    def _path(self, key: str) -> Path:
        paths = self._find(key)
        if not paths:
            raise InputError(f"{key}: no label map {self.root / key}.png; add it there")
        if len(paths) > 1:
            raise InputError(
                f"{' and '.join(map(str, paths))} are label maps of one image; keep one"
            )
        return paths[0]

    @property
    def settings(self) -> dict[str, Any]:
        """The name alone; the label maps are `inputs`."""
        return {"segmenter": "labels"}

    def inputs(self, key: str) -> list[Path]:
        """The label map of ``key``, if there is one."""
        return self._find(key)

    def prepare(self) -> None:
        """Look through the folder.

        Raises:
            InputError: it holds no PNG.
        """
        if not self.root.is_file():
            _ = self._maps


def _read_labels(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    indices = _read_indices(path, height, width)
    wrong = (indices >= len(ADE20K_CLASSES)) & (indices != NO_CLASS)
    if wrong.any():
        y, x = np.unravel_index(wrong.argmax(), wrong.shape)
        raise InputError(
            f"{path}: value {indices[y, x]} at x={x}, y={y} is no ADE20K class; write indices from "
            f"0 to {len(ADE20K_CLASSES) - 1}, and {NO_CLASS} for no class (subtract 1 from "
            "annotations in which 0 means no class)"
        )
    return indices.astype(np.uint8)


def _read_indices(path: Path, height: int, width: int) -> NDArray[np.integer]:
    """``(H, W)`` values as stored. Nothing is decoded before the size is known to be right."""
    try:
        with Image.open(path) as image:
            if image.mode not in _INDEX_MODES:
                raise InputError(
                    f"{path}: a label map has one channel of class indices, this is {image.mode}; "
                    "save indices, not colours"
                )
            if image.size != (width, height):
                raise InputError(
                    f"{path}: {image.width}x{image.height}, but the image is {width}x{height}; "
                    "label the GAN-SR image itself"
                )
            return np.array(image)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not an image; write the label map again") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{path}: damaged label map ({error}); write it again") from error
