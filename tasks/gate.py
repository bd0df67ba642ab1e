"""The gate before a release: may a new generator take the old one's place?"""

from __future__ import annotations

import json
import logging
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_only
from rich.table import Table
from torch import Tensor, nn

from desra import report
from desra.detectors import Detector
from desra.errors import InputError
from desra.files import write_text
from desra.image_task import Result
from desra.ledger import Row
from desra.metrics.detail import region_psnr
from desra.metrics.paired import lower_bound
from desra.metrics.removal import added_regions, removed_regions
from desra.segmenters import Segmenter
from desra.terminal import terminal
from models.generators import load_generator
from models.upscaler import Upscaler
from tasks.versions import Versions, VersionsTask, plane

log = logging.getLogger(__name__)

CONVICTED = 3
"""The exit code of a gate that stays closed."""

TITLE = "Gate: the new generator beside the old"
_MAIN = 0.8
"""Of the chance of a false alarm, what the artifact share's test has: it is what a gate is for, and
the others mostly follow it. They share the rest."""

_FEWEST = 5  # images; below it no bound says anything
_SHOWN = 5  # images that the terminal names


@dataclass(frozen=True)
class Limits:
    """How much worse is too much; each is judged on its mean over the images.

    Attributes:
        artifact_share: more pixels in artifacts than this, as a share.
        regions_added: more regions an image that came than that went.
        psnr_outside: least PSNR of new against old outside the artifacts of both, in dB; what only
            removes artifacts changes little there. None: any change is welcome.
    """

    artifact_share: float = 0.0
    regions_added: float = 0.0
    psnr_outside: float | None = None


class Gate(VersionsTask):
    """Compare a new generator with the old one, and convict it where it is worse.

    It is worse where the lower confidence bound (`desra.metrics.paired`) of a mean lies above its
    limit. The chance of convicting one that is not is divided among the tests, so that it is at
    most ``false_alarms`` for all of them; most of it has the artifact share.

    Args:
        old: weights, or a folder of its images.
        new: likewise.
        limits: how much worse is too much.
        false_alarms: chance of convicting a generator that is as good.
        seed: of the bootstrap.
        others: see `VersionsTask`.

    Raises:
        InputError: as `VersionsTask`; or a chance out of its range.
    """

    name = "evaluate-gate"
    table_name = "per_image.csv"
    columns = (
        *("image", "worsening", "artifact_share_old", "artifact_share_new", "added", "removed"),
        *("net_added", "psnr_outside", "seconds", "error"),
    )

    def __init__(
        self,
        old: str,
        new: str,
        detector: Detector,
        segmenter: Segmenter,
        output_dir: str | Path,
        limits: Limits | None = None,
        false_alarms: float = 0.05,
        seed: int = 0,
        mse: Upscaler | None = None,
        load: Callable[[str], nn.Module] = load_generator,
        **upscaler: Any,
    ) -> None:
        if not 0 < false_alarms < 0.5:
            raise InputError(f"false_alarms={false_alarms}: above 0 and below 0.5")
        super().__init__(
            [old, new], detector, segmenter, output_dir, mse, load, ["old", "new"], **upscaler
        )
        self.limits = limits or Limits()
        self.false_alarms, self.seed = false_alarms, seed
        self.given = {"old": Path(old).name, "new": Path(new).name}
        self.exit_code = 0

    def examine(self, result: Result, versions: Versions) -> None:
        """The figures of an image, and its page."""
        before, after = (found.mask for found in versions.found)
        old, new = map(self.batch, versions.images)
        psnr = region_psnr(new, old, ~(before | after)).item()
        result.row = {
            **changes(before, after, self.detector.rim),
            "psnr_outside": None if np.isnan(psnr) else psnr,
        }
        result.write = partial(self._write, versions)

    def _write(self, versions: Versions) -> list[Path]:
        names = ("Old", "New")
        found = dict(zip(names, versions.found, strict=True))
        return report.write_entry(
            self.output_dir,
            versions.key,
            images={
                "LR": versions.lr,
                "MSE-SR": versions.mse_sr,
                **dict(zip(names, versions.images, strict=True)),
            },
            heatmaps={
                f"Difference {name}": 1 - plane(item.distance) for name, item in found.items()
            },
            outlines={name: plane(item.mask) for name, item in found.items()},
        )

    def finish(self, rows: Sequence[Row]) -> None:
        """Judge, and write ``gate.json``, ``junit.xml`` and the page.

        Raises:
            InputError: too few images.
        """
        done = [row for row in rows if not row.get("error")]
        if len(done) < _FEWEST:
            raise InputError(f"{len(done)} images; the gate needs {_FEWEST} or more, better 25")
        verdicts = judge(done, self.limits, self.false_alarms, self.seed)
        passed = all(verdict["passed"] for verdict in verdicts.values())
        self.exit_code = 0 if passed else CONVICTED
        self.summary = {"images": len(done), "passed": passed}
        for name, said in verdicts.items():
            self.summary |= {f"{name}/{key}": value for key, value in said.items()}
        write_text(self.output_dir / "gate.json", json.dumps(self.summary, indent=2) + "\n")
        write_text(self.output_dir / "junit.xml", junit(verdicts, done, self.given))
        self._write_page(rows, verdicts)

    def _write_page(self, rows: Sequence[Row], verdicts: dict[str, dict[str, Any]]) -> None:
        scale = report.Scale(0, 1, 1 - self.detector.cutoff)
        report.write_page(
            self.output_dir,
            rows,
            title=TITLE,
            subtitle=f"{self.given['old']} and {self.given['new']}",
            columns=(
                report.Column("image", kind="text", descending=False),
                report.Column(
                    "worsening", "more artifacts", "share", "pixels in artifacts: new minus old"
                ),
                report.Column("artifact_share_old", "old", "share", "pixels in artifacts of old"),
                report.Column("artifact_share_new", "new", "share", "pixels in artifacts of new"),
                report.Column("added", "regions added", "integer", "where old has none"),
                report.Column("removed", "regions removed", "integer", "where new has none"),
                report.Column(
                    "psnr_outside", "PSNR outside, dB", hint="new against old outside artifacts"
                ),
            ),
            settings=self.detector.shown_settings,
            summary={name: _in_words(said) for name, said in verdicts.items()},
            share="artifact_share_new",
            sort="worsening",
            scales=dict.fromkeys(map(_heat, ("Old", "New")), scale),
            outlines=("Old", "New"),
        )

    def teardown(self, stage: str) -> None:
        """Print the verdict, and which pictures convict; only now is the progress bar gone."""
        if not self.summary:  # another rank has it
            return
        self.say_reference()
        table = Table("test", "mean", "bound", "limit", "verdict", title=TITLE)
        for name in (key.partition("/")[0] for key in self.summary if key.endswith("/passed")):
            said = {key: self.summary[f"{name}/{key}"] for key in ("mean", "bound", "limit")}
            passed = "passed" if self.summary[f"{name}/passed"] else "worse"
            table.add_row(name, *(f"{value:.4g}" for value in said.values()), passed)
        terminal().print(table)
        if self.exit_code:
            rank_zero_only(log.warning)(
                "%s may not take %s's place; the pictures that say so come first in %s",
                *(self.given["new"], self.given["old"], self.output_dir / "index.html"),
            )


def changes(before: Tensor, after: Tensor, rim: int) -> Row:
    """What became of an image's artifacts: shares of pixels, and regions.

    Args:
        before: the old generator's mask, bool ``(1, 1, H, W)``.
        after: the new one's.
        rim: pixels on each side in which nothing is detected, and no region compared.
    """
    shares = [mask.double().mean().item() for mask in (before, after)]
    inside = slice(rim, -rim or None)
    old, new = (mask[..., inside, inside] for mask in (before, after))
    added, removed = (int(count(old, new)[0].sum()) for count in (added_regions, removed_regions))
    return {
        "worsening": shares[1] - shares[0],
        "artifact_share_old": shares[0],
        "artifact_share_new": shares[1],
        "added": added,
        "removed": removed,
        "net_added": added - removed,
    }


def judge(
    rows: Sequence[Row], limits: Limits, false_alarms: float = 0.05, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """What each test says.

    Args:
        rows: of images, with ``worsening``, ``net_added`` and ``psnr_outside``.
        limits: how much worse is too much.
        false_alarms: chance for all tests together.
        seed: of the bootstrap.

    Returns:
        name of a test to its ``mean``, one-sided ``bound``, ``limit`` and whether it ``passed``.
    """
    values = {
        "artifact share": ([row["worsening"] for row in rows], limits.artifact_share),
        "regions added": ([row["net_added"] for row in rows], limits.regions_added),
    }
    if limits.psnr_outside is not None:
        known = [-row["psnr_outside"] for row in rows if row.get("psnr_outside") is not None]
        if known:
            values["PSNR outside"] = known, -limits.psnr_outside
    verdicts = {}
    for name, (differences, limit) in values.items():
        share = _MAIN if name == "artifact share" else (1 - _MAIN) / (len(values) - 1)
        level = 1 - false_alarms * share
        bound = lower_bound(differences, level, seed=seed)
        sign = -1 if name.startswith("PSNR") else 1
        verdicts[name] = {
            "mean": sign * bound.mean,
            "bound": sign * bound.lower,
            "limit": sign * limit,
            "passed": bound.lower <= limit,
        }
    return verdicts


def junit(verdicts: dict[str, dict[str, Any]], rows: Sequence[Row], given: dict[str, str]) -> str:
    """The verdict as JUnit XML, which continuous integration shows as tests."""
    failed = sum(not said["passed"] for said in verdicts.values())
    suite = ET.Element(
        "testsuite", name="desra gate", tests=str(len(verdicts)), failures=str(failed), errors="0"
    )
    worst = sorted(rows, key=lambda row: -row["worsening"])[:_SHOWN]
    images = ", ".join(f"{row['image']} ({row['worsening']:+.2%})" for row in worst)
    for name, said in verdicts.items():
        case = ET.SubElement(suite, "testcase", classname="desra.gate", name=name)
        if not said["passed"]:
            message = f"{given['new']} beside {given['old']}: {_in_words(said)}"
            failure = ET.SubElement(case, "failure", message=message, type="worse")
            failure.text = f"images that worsened most: {images}"
    ET.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, "unicode") + "\n"


def _heat(name: str) -> str:
    return f"Difference {name}"


def _in_words(said: dict[str, Any]) -> str:
    verdict = "passed" if said["passed"] else "worse"
    return f"{verdict}: {said['mean']:.4g}, bound {said['bound']:.4g}, limit {said['limit']:.4g}"
