"""Patches of enhanced photos that are worth annotating, cut from all versions alike."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from desra.errors import InputError, describe
from desra.files import write_text
from desra.hggt_labels import ORIGINAL
from desra.hggt_sets import GroundTruthSet, find_sets
from desra.images import orientation, read_rgb, write_png
from desra.ledger import Ledger, Row
from desra.patch_selection import PatchRule
from tasks.manifest import Manifest

INFO = "crop_area_info.txt"
_TURNED = "; was one of them turned by its EXIF orientation? prepare.py task=enhance turns both"


class Select:
    """Cut patches from sets of photos, in HGGT's layout (Chen et al., CVPR 2023).

    Writes ``original/NAME-ROW-COL.png``, ``01/NAME-ROW-COL_01.png``, …, and of all patches a line
    in ``crop_area_info.txt``, those of a photo with the most enhanced first. The release's rules;
    but photos are in order of their names, and each has random numbers of its own, so that others
    neither change its patches nor need be done again.

    Args:
        input: a folder that holds ``original/`` and a folder a version.
        output_dir: gets the patches.
        seed: another seed, other positions.
        crop: see `PatchRule`, and so are the others.

    Raises:
        InputError: a setting out of its range.
    """

    def __init__(
        self,
        input: str | Path,
        output_dir: str | Path,
        seed: int = 0,
        crop: int = 512,
        step: int = 288,
        jitter: int = 16,
        least_deviation: float = 30.0,
        least_laplacian: float = 30.0,
        difference: Literal["mean", "absolute"] = "mean",
        least_difference: float = 0.0,
    ) -> None:
        self.input, self.output_dir, self.seed = Path(input), Path(output_dir), seed
        self.rule = PatchRule(
            crop, step, jitter, least_deviation, least_laplacian, difference, least_difference
        )

    def run(self) -> list[str]:
        """Select from all photos that are not done yet; what could not be done, a line each."""
        sets, problems = find_sets(self.input)
        settings = {"seed": self.seed, **self.rule.settings}
        manifest = Manifest(self.output_dir, "select", settings, self.input)
        ledger = Ledger(self.output_dir, "select", settings)
        done = []
        for photo in track(sets, "selecting"):
            try:
                mark = ledger.fingerprint(photo.key, (photo.original, *photo.versions.values()))
                row = ledger.finished(photo.key, mark)
                if row is None:
                    row, outputs = self._select(photo, ledger)
                    ledger.record(photo.key, mark, row, outputs)
                done.append(row)
            except (InputError, OSError) as error:
                problems.append(describe(error, photo.key))
        self._write_info(done)
        counts = {"photos": len(done), "patches": sum(len(row["patches"]) for row in done)}
        manifest.write(**counts)
        print(f"{counts['patches']} patches of {counts['photos']} photos")
        return problems

    def _select(self, photo: GroundTruthSet, ledger: Ledger) -> tuple[Row, list[Path]]:
        original = _upright_pixels(photo.original)
        versions = {version: _upright_pixels(path) for version, path in photo.versions.items()}
        for version, pixels in versions.items():
            if pixels.shape != original.shape:
                sizes = [f"{each.shape[1]}x{each.shape[0]}" for each in (pixels, original)]
                turned = pixels.shape[:2] == original.shape[1::-1]
                raise InputError(
                    f"{photo.versions[version]}: {sizes[0]}, but its original has {sizes[1]}"
                    + (_TURNED if turned else "")
                )
        ledger.clear(photo.key)  # patches of another state of this photo
        patches = self.rule.select(original, versions, f"{self.seed}/{photo.key}")
        outputs = []
        for top, left, _ in patches:
            window = slice(top, top + self.rule.crop), slice(left, left + self.rule.crop)
            for version, pixels in {ORIGINAL: original, **versions}.items():
                suffix = "" if version == ORIGINAL else f"_{version}"
                path = self.output_dir / version / f"{photo.key}-{top}-{left}{suffix}.png"
                write_png(path, np.ascontiguousarray(pixels[window]))
                outputs.append(path)
        return {"image": photo.key, "patches": patches}, outputs

    def _write_info(self, rows: list[Row]) -> None:
        """``NAME-ROW-COL-DISTANCE-NUMBER.png``, numbered over all photos, as the release has it."""
        named = [(row["image"], *patch) for row in rows for patch in row["patches"]]
        lines = [
            f"{key}-{top}-{left}-{distance:.4f}-{number}.png\n"
            for number, (key, top, left, distance) in enumerate(named, start=1)
        ]
        write_text(self.output_dir / INFO, "".join(lines))


def _upright_pixels(path: Path) -> NDArray[np.uint8]:
    """A picture that nobody sees turned otherwise than it lies in its file.

    Raises:
        InputError: its EXIF orientation would turn it, for some of those who read it.
    """
    if orientation(path) != 1:
        raise InputError(
            f"{path}: turned by its EXIF orientation; prepare.py task=enhance mends it"
        )
    return read_rgb(path)
