"""Enhanced versions of photos by several networks, in HGGT's layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from torch import nn

from desra.device import chosen_device
from desra.errors import InputError, describe
from desra.files import Match, link_or_copy, match_folders
from desra.hggt_labels import ORIGINAL
from desra.images import orientation, read_rgb, write_png
from desra.ledger import Ledger
from models.upscaler import Precision, Upscaler

# EXIF orientation to whether it is mirrored left to right, and the counter-clockwise quarter turns
# that follow.
_UPRIGHT = {
    1: (False, 0), 2: (True, 0), 3: (False, 2), 4: (True, 2),
    5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1),
}  # fmt: skip


class Enhance:
    """Write ``original/``, ``01/``, ``02/``, …: each photo, and what each network makes of it.

    Photos that a camera turned by an EXIF orientation are turned upright in all folders, so that
    whoever reads them, with or without a look at EXIF, sees pictures that match.

    Args:
        input: a folder of any depth, or one image.
        weights: a file or a name for each version, of networks at the scale of their input.
        output_dir: gets the folders.
        load: reads a file of weights.
        tile: see `Upscaler`; so are ``overlap`` and ``precision``.
        device: ``"auto"`` for a GPU where there is one.

    Raises:
        InputError: no weights, or a network of another scale.
    """

    def __init__(
        self,
        input: str | Path,
        weights: str | Path | Sequence[str | Path],
        output_dir: str | Path,
        load: Callable[[str | Path], nn.Module],
        tile: int | Literal["auto"] = "auto",
        overlap: int | None = None,
        precision: Precision = "auto",
        device: str = "auto",
    ) -> None:
        self.input, self.output_dir = Path(input), Path(output_dir)
        names = [weights] if isinstance(weights, str | Path) else list(weights)
        if not names:
            raise InputError("weights=[]: give a file or a name for each version")
        self.upscalers: dict[str, Upscaler] = {}
        for number, name in enumerate(names, start=1):
            network = load(name).to(chosen_device(device))
            if network.scale != 1:
                raise InputError(f"{name}: a network of scale ×{network.scale}; versions keep size")
            self.upscalers[f"{number:02d}"] = Upscaler(
                network, tile=tile, overlap=overlap, precision=precision
            )

    def run(self) -> list[str]:
        """Enhance all photos that are not done yet; what could not be done, a line each."""
        problems: list[str] = []
        settings = {version: net.settings for version, net in self.upscalers.items()}
        ledger = Ledger(self.output_dir, "enhance", settings)
        for match in track(match_folders({"photo": self.input}), "enhancing"):
            try:
                if match.error:
                    raise InputError(f"{match.key}: {match.error}")
                mark = ledger.fingerprint(match.key, match.paths.values())
                if ledger.finished(match.key, mark) is None:
                    outputs = self._enhance(match)
                    ledger.record(match.key, mark, {"image": match.key}, outputs)
            except (InputError, OSError) as error:
                problems.append(describe(error, match.key))
        return problems

    def _enhance(self, match: Match) -> list[Path]:
        photo = match.paths["photo"]
        turned = orientation(photo) != 1
        pixels = upright(read_rgb(photo), orientation(photo))
        suffix = ".png" if turned else photo.suffix
        original = self.output_dir / ORIGINAL / f"{match.key}{suffix}"
        if turned:
            write_png(original, pixels)
        else:
            original.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(photo, original, copy=True)
        outputs = [original]
        for version, upscaler in self.upscalers.items():
            path = self.output_dir / version / f"{match.key}_{version}.png"
            write_png(path, upscaler.upscale_image(pixels))
            outputs.append(path)
        return outputs


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """``(H, W, C)`` pixels turned as an EXIF orientation of 1 to 8 says.

    >>> upright(np.arange(6).reshape(2, 3, 1), 6)[..., 0].tolist()
    [[3, 0], [4, 1], [5, 2]]
    """
    flip, turns = _UPRIGHT[orientation]
    if flip:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(np.rot90(pixels, turns))
