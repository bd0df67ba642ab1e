"""Detection over folders: two upscalings in, masks, facts and pictures out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from desra.detectors import Detector
from desra.files import Match
from desra.image_task import Result, Sample
from desra.labelme import read_label
from desra.ledger import Ledger, Row
from desra.metrics import count_row, score_rows
from desra.region_reasons import rougher_pixels
from desra.regions import region_areas
from desra.rim import inside
from desra.segmenters import Segmenter
from desra.stage_cache import Stage, StageCache
from models.upscaler import Upscaler
from tasks.detect_writer import DetectionWriter, Found
from tasks.pair_task import PairTask, Pictures


class ArtifactDetection(PairTask[Found]):
    """Detect the artifacts of every image of a folder; an `ImageTask`.

    Args:
        detector: what compares the two upscalings.
        segmenter: what says which pixels show what.
        output_dir: gets ``DeSRA-Mask/``, ``artifacts.csv``, ``summary.json`` and ``index.html``.
        mse: makes MSE-SR of LR; None where MSE-SR is read.
        gan: makes GAN-SR of LR, likewise.
        save_intermediates: also write labels, distances and the stages between.
        inputs: how LR, MSE-SR and GAN-SR get their place in ``output_dir``, for train.py to read.
        page: whether to make the page of pictures.
        cache_dir: where the jobs of a sweep share distances, labels and pictures; None for none.

    Raises:
        InputError: settings that cannot be used.
    """

    name = "detect"
    table_name = "artifacts.csv"
    columns = (
        "image",
        "width",
        "height",
        "artifact_share",
        "regions",
        "largest_region",
        "mean_distance",
        "seconds",
        "error",
    )

    def __init__(
        self,
        detector: Detector,
        segmenter: Segmenter,
        output_dir: str | Path,
        mse: Upscaler | None = None,
        gan: Upscaler | None = None,
        save_intermediates: bool = False,
        inputs: Literal["link", "copy", "leave"] = "link",
        page: bool = True,
        cache_dir: str | Path | None = None,
    ) -> None:
        super().__init__(detector, segmenter, output_dir, mse, gan)
        self.settings: dict[str, Any] = {
            "stage": self.stage_settings,
            "detector": detector.settings,
            "save_intermediates": save_intermediates,
            "inputs": inputs,
            "page": page,
        }
        self.cache = StageCache(cache_dir) if cache_dir is not None else None
        self._stages = Ledger(self.output_dir, "stages", self.stage_settings)
        self._writer = DetectionWriter(
            self.output_dir, detector, segmenter.classes, inputs, page, save_intermediates
        )

    def load(self, match: Match) -> Pictures:
        """Read the images of a match, or find their distance in the cache."""
        if self.cache is None:
            return super().load(match)
        fingerprint = self._stages.fingerprint(match.key, self.stage_inputs(match))
        if self.cache.contains(match.key, fingerprint):
            gt_mask = read_label(match.paths) if "gt_mask" in match.paths else None
            pictures = Pictures(gt_mask=gt_mask, cached=fingerprint)
        else:
            pictures = super().load(match)
        pictures.stage_fingerprint = fingerprint
        return pictures

    def stage(self, samples: Sequence[Sample]) -> Stage:
        """Distance and labels of samples of one size, from the cache or computed."""
        if self.cache is None or samples[0].payload.cached is None:
            return super().stage(samples)
        stages = [self.cache.load(s.match.key, s.payload.cached) for s in samples]
        distance = torch.cat([stage.distance for stage in stages]).to(self.device)
        labels = [stage.labels for stage in stages if stage.labels is not None]
        return Stage(distance, torch.cat(labels).to(self.device) if labels else None)

    def examine(self, stage: Stage) -> list[Found]:
        """Detect in a batch."""
        distance, adjusted, mask = self.detector.from_distance(*stage)
        found = []
        for index in range(len(mask)):
            one = slice(index, index + 1)
            labels = None if stage.labels is None else stage.labels[one]
            of_image = Stage(stage.distance[one], labels)
            found.append(Found(distance[one], adjusted[one], mask[one], of_image))
        return found

    def conclude(self, result: Result, found: Found) -> None:
        """Metrics of the image and, where it is labelled, what the mask has in common with it."""
        result.row = self._row(result.sample, found)
        result.write = partial(self._write, result.sample, found)

    def _row(self, sample: Sample, found: Found) -> Row:
        height, width = found.mask.shape[-2:]
        areas = region_areas(found.mask)
        row: Row = {
            "width": width,
            "height": height,
            "artifact_share": round(float(found.mask.double().mean()), 6),
            "regions": len(areas),
            "largest_region": int(areas.max()) if len(areas) else 0,
            "mean_distance": round(float(inside(found.distance, self.rim).mean()), 6),
            "seconds": round(sample.seconds, 4),
        }
        gt_mask = sample.payload.gt_mask
        if gt_mask is not None:
            row |= count_row(found.mask[0, 0].cpu().numpy(), gt_mask, self.rim)
        return row

    def _write(self, sample: Sample, found: Found) -> list[Path]:
        shared, key = self.output_dir, sample.match.key
        if self.cache is not None:
            fingerprint = sample.payload.stage_fingerprint
            shared = self.cache.folder / fingerprint
            if sample.payload.cached is None:
                rougher = self._rougher(sample)
                self._writer.write_shared(shared, sample, found)
                self.cache.store(key, fingerprint, found.stage, rougher)
            else:
                rougher = self.cache.rougher(key, fingerprint)
        else:
            rougher = self._rougher(sample)
            self._writer.write_shared(shared, sample, found)
        return self._writer.write(shared, sample, found, rougher)

    def _rougher(self, sample: Sample) -> NDArray[np.bool_] | None:
        """For the page, where the detector compares textures."""
        if not (self.settings["page"] and self.detector.uses_reference):
            return None
        return rougher_pixels(sample.payload.mse_sr, sample.payload.gan_sr)

    def finish(self, rows: Sequence[Row]) -> None:
        """Write ``summary.json`` and the page over all images."""
        done = [row for row in rows if not row.get("error")]
        shares = [row["artifact_share"] for row in done]
        self.summary = {
            "images": len(done),
            "images_with_artifacts": sum(row["regions"] > 0 for row in done),
            "images_not_done": len(rows) - len(done),
            "regions": sum(row["regions"] for row in done),
            "artifact_share": sum(shares) / len(shares) if shares else None,
        }
        labelled = [row for row in done if "union" in row]
        if labelled:
            scores = score_rows(labelled)
            self.summary |= {"labelled_images": scores.pop("images"), **scores}
        self._writer.finish(rows, self.summary)
