"""Low-resolution images of clean ones, by the degradations that networks are trained with."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

from rich.progress import track

from datamodules.degradations import Degradation, OneStageDegradation
from desra.errors import InputError, describe
from desra.files import link_or_copy, match_folders
from desra.images import orientation, read_rgb, to_tensor, to_uint8, write_png
from desra.ledger import Ledger
from tasks.manifest import Manifest


class Degrade:
    """Write ``LR/KEY.png`` of each clean image, and ``HR/KEY.png`` that it is of.

    HR is cropped at the right and at the bottom, to twice the scale: LR of odd size would have half
    a pixel of chroma in JPEG. An image's random numbers depend on the seed and its name alone.

    Args:
        input: clean images: a folder of any depth, or one image.
        output_dir: gets the folders.
        degradation: what is done to them.
        each: degradations of an image; several are ``KEY_0.png``, ``KEY_1.png``, …
        seed: another seed, other degradations.

    Raises:
        InputError: a setting out of its range.
    """

    def __init__(
        self,
        input: str | Path,
        output_dir: str | Path,
        degradation: Degradation | OneStageDegradation,
        each: int = 1,
        seed: int = 0,
    ) -> None:
        if each < 1:
            raise InputError(f"each={each}: give at least 1")
        self.input, self.output_dir = Path(input), Path(output_dir)
        self.degradation, self.each, self.seed = degradation, each, seed

    def run(self) -> list[str]:
        """Degrade all images that are not done yet; what could not be done, a line each."""
        problems: list[str] = []
        settings = {"degradation": asdict(self.degradation), "each": self.each, "seed": self.seed}
        matches = match_folders({"hr": self.input})
        manifest = Manifest(self.output_dir, "degrade", settings, self.input)
        ledger = Ledger(self.output_dir, "degrade", settings)
        for match in track(matches, "degrading"):
            try:
                if match.error:
                    raise InputError(f"{match.key}: {match.error}")
                mark = ledger.fingerprint(match.key, match.paths.values())
                if ledger.finished(match.key, mark) is None:
                    outputs = self._degrade(match.key, match.paths["hr"])
                    ledger.record(match.key, mark, {"image": match.key}, outputs)
            except (InputError, OSError) as error:
                problems.append(describe(error, match.key))
        manifest.write(images=len(matches) - len(problems))
        return problems

    def _degrade(self, key: str, path: Path) -> list[Path]:
        pixels = read_rgb(path)
        unit = 2 * self.degradation.scale
        height, width = (side // unit * unit for side in pixels.shape[:2])
        if not height or not width:
            raise InputError(f"{path}: smaller than {unit} pixels; give larger images")
        whole = pixels.shape[:2] == (height, width) and path.suffix.lower() == ".png"
        clean = to_tensor(pixels[:height, :width])
        outputs = []
        for copy in range(self.each):
            name = f"{key}_{copy}" if self.each > 1 else key
            number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
            lr = to_uint8(self.degradation(clean, self.seed, number, [number]))
            low, high = (self.output_dir / role / f"{name}.png" for role in ("LR", "HR"))
            write_png(low, lr)
            if whole and orientation(path) == 1:
                high.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(path, high)
            else:
                write_png(high, pixels[:height, :width])
            outputs += [low, high]
        return outputs
