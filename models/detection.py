"""Detection over folders: two upscalings in, masks, facts and pictures out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch
from lightning import LightningModule
from numpy.typing import NDArray
from torch import Tensor, nn

from desra.detector import Detector
from desra.errors import InputError, describe
from desra.files import Match
from desra.image_task import Result, Sample
from desra.images import read_rgb
from desra.labelme import find_gt_masks, read_gt_mask
from desra.ledger import Ledger, Row
from desra.metrics import count_row
from desra.regions import region_areas
from desra.segmenters import Segmenter
from desra.stage_cache import Stage, StageCache
from models.detection_summary import summarise
from models.detection_writer import DetectionWriter, Found
from models.generators import load_generator
from models.upscaler import Precision, Upscaler
from models.weight_mixing import load_mixed


@dataclass
class Pictures:
    """What was read of one image, ``(H, W, 3)`` uint8 RGB each, or what the cache knows of it.

    Attributes:
        cached: fingerprint of a stage that is in the cache; the upscalings are then not read.
        gt_mask: labelled artifacts, ``(H, W)`` bool.
    """

    lr: NDArray | None = None
    mse_sr: NDArray | None = None
    gan_sr: NDArray | None = None
    gt_mask: NDArray | None = None
    cached: str | None = None
    stage_fingerprint: str = ""


class ArtifactDetection(LightningModule):
    """Detect the artifacts of every image of a folder; an `ImageTask`.

    Args:
        detector: what compares the two upscalings.
        segmenter: what says which pixels show what.
        output_dir: gets ``DeSRA-Mask/``, ``artifacts.csv``, ``summary.json`` and ``index.html``.
        gt_root: labelled masks (PNG or LabelMe JSON) to score against, or None.
        mse_weights: upscale LR to MSE-SR with these (file or name); None where MSE-SR is given.
        gan_weights: likewise to GAN-SR.
        tile: LR pixels a side of what is upscaled at once; ``"auto"`` fits the memory at hand.
        precision: of the generators.
        load: reads a file of weights.
        save_intermediates: also write labels, distances and the stages between.
        inputs: how LR, MSE-SR and GAN-SR get their place in ``output_dir``, for train.py to read.
        page: whether to make the page of pictures.
        cache_dir: where the jobs of a sweep share distances, labels and pictures; None for none.

    Raises:
        InputError: weights, labels or settings that cannot be used.
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
        gt_root: str | Path | None = None,
        mse_weights: str | None = None,
        gan_weights: str | None = None,
        tile: int | Literal["auto"] | None = "auto",
        precision: Precision = "auto",
        load: Callable[[str], nn.Module] = load_generator,
        save_intermediates: bool = False,
        inputs: Literal["link", "copy", "leave"] = "link",
        page: bool = True,
        cache_dir: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.detector, self.segmenter = detector, segmenter
        self.upscalers = torch.nn.ModuleDict()
        for role, weights in {"mse_sr": mse_weights, "gan_sr": gan_weights}.items():
            if weights is not None:
                network = load_mixed(weights, None, load)
                self.upscalers[role] = Upscaler(network, tile=tile, precision=precision)
        self.gt_masks = find_gt_masks(gt_root) if gt_root is not None else {}
        of_mask_alone = ("threshold", "min_area")
        self.stage_settings = {
            "distance": {k: v for k, v in detector.settings.items() if k not in of_mask_alone},
            "segmenter": segmenter.settings,
            "upscalers": {role: net.settings for role, net in self.upscalers.items()},
        }
        self.settings = {
            "stage": self.stage_settings,
            "detector": detector.settings,
            "save_intermediates": save_intermediates,
            "inputs": inputs,
            "page": page,
        }
        self.summary: dict[str, Any] = {}
        self.output_dir = Path(output_dir)
        self.cache = StageCache(cache_dir) if cache_dir is not None else None
        self._stages = Ledger(self.output_dir, "stages", self.stage_settings)
        self._writer = DetectionWriter(
            self.output_dir, detector, segmenter.classes, inputs, page, save_intermediates
        )

    def setup(self, stage: str) -> None:
        """Fetch and load what the segmenter needs before the first image."""
        self.segmenter.prepare()

    def inputs(self, match: Match) -> Sequence[Path]:
        """The upscalings, LR, the labels, and whatever the segmenter reads for this image."""
        return [*self._stage_inputs(match), *self.gt_masks.get(match.key, [])]

    def _stage_inputs(self, match: Match) -> list[Path]:
        return [*match.paths.values(), *self.segmenter.inputs(match.key)]

    def load(self, match: Match) -> Pictures:
        """Read the images of a match, or find their distance in the cache."""
        pictures = Pictures(gt_mask=self._read_gt_mask(match.key))
        if self.cache is not None:
            fingerprint = self._stages.fingerprint(match.key, self._stage_inputs(match))
            pictures.stage_fingerprint = fingerprint
            if self.cache.contains(match.key, fingerprint):
                pictures.cached = fingerprint
                return pictures
        for role, path in match.paths.items():
            setattr(pictures, role, read_rgb(path))
        if pictures.mse_sr is not None and pictures.gan_sr is not None:
            self._check_sizes(match, pictures)
        return pictures

    def _check_sizes(self, match: Match, pictures: Pictures) -> None:
        assert pictures.mse_sr is not None
        assert pictures.gan_sr is not None
        (mh, mw), (gh, gw) = pictures.mse_sr.shape[:2], pictures.gan_sr.shape[:2]
        if (mh, mw) != (gh, gw):
            raise InputError(
                f"{match.key}: MSE-SR is {mw}x{mh} but GAN-SR is {gw}x{gh}; "
                "upscale the same image to the same size with both"
            )

    def _read_gt_mask(self, key: str) -> NDArray | None:
        paths = self.gt_masks.get(key, [])
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            raise InputError(f"{key}: {names} are labels of one image; keep one of them")
        return read_gt_mask(paths[0]) if paths else None

    @torch.inference_mode()
    def predict_step(self, batch: list[Sample], *_: Any) -> list[Result]:
        """Detect in a list of samples; those of one size go through the detector together."""
        results = [self._try(self._upscale, sample) for sample in batch]
        fresh = [result for result in results if result.error is None and result.sample.payload]
        for _size, group in groupby(fresh, key=lambda result: _shape(result.sample.payload)):
            self._detect(list(group))
        return results

    def _try(self, step: Callable[[Sample], None], sample: Sample) -> Result:
        result = Result(sample)
        if sample.payload is None:
            return result
        try:
            start = perf_counter()
            step(sample)
            sample.seconds += perf_counter() - start
        except InputError as error:
            result.error = describe(error, sample.match.key)
        return result

    def _upscale(self, sample: Sample) -> None:
        pictures: Pictures = sample.payload
        if pictures.cached is not None:
            return
        for role, upscaler in self.upscalers.items():
            assert isinstance(upscaler, Upscaler)
            assert pictures.lr is not None
            setattr(pictures, role, upscaler.upscale_image(pictures.lr))
        self._check_sizes(sample.match, pictures)

    def _detect(self, results: Sequence[Result]) -> None:
        start = perf_counter()
        try:
            stage = self._stage([result.sample for result in results])
            distance, adjusted, mask = self.detector.from_distance(*stage)
        except InputError as error:
            if len(results) > 1:  # find out which image it was
                for result in results:
                    self._detect([result])
                return
            results[0].error = f"{results[0].sample.match.key}: {error}"
            return
        share = (perf_counter() - start) / len(results)
        for index, result in enumerate(results):
            result.sample.seconds += share
            one = slice(index, index + 1)
            labels = None if stage.labels is None else stage.labels[one]
            found = Found(distance[one], adjusted[one], mask[one], labels)
            try:
                result.row = self._row(result.sample, found)
                result.write = partial(self._write, result.sample, found)
            except InputError as error:  # labels of another size
                result.error = f"{result.sample.match.key}: {error}"

    def _stage(self, samples: Sequence[Sample]) -> Stage:
        """Distance and labels of samples of one size, from the cache or computed."""
        pictures = [sample.payload for sample in samples]
        if self.cache is not None and pictures[0].cached is not None:
            stages = [self.cache.load(s.match.key, s.payload.cached) for s in samples]
            distance = torch.cat([stage.distance for stage in stages]).to(self.device)
            labels = [stage.labels for stage in stages if stage.labels is not None]
            return Stage(distance, torch.cat(labels).to(self.device) if labels else None)
        mse_sr = self._batch([picture.mse_sr for picture in pictures])
        gan_sr = self._batch([picture.gan_sr for picture in pictures])
        labels = self.segmenter(gan_sr, [sample.match.key for sample in samples])
        return Stage(self.detector.distance(mse_sr, gan_sr), labels)

    def _batch(self, pixels: Sequence[NDArray]) -> Tensor:
        """uint8 HWC images of one size to uint8 ``(B, 3, H, W)`` on the device."""
        stacked = torch.stack([torch.from_numpy(image) for image in pixels])
        return stacked.to(self.device, non_blocking=True).permute(0, 3, 1, 2)

    def _row(self, sample: Sample, found: Found) -> Row:
        height, width = found.mask.shape[-2:]
        rim = self.detector.rim
        areas = region_areas(found.mask)
        row: Row = {
            "width": width,
            "height": height,
            "artifact_share": round(float(found.mask.double().mean()), 6),
            "regions": len(areas),
            "largest_region": int(areas.max()) if len(areas) else 0,
            "mean_distance": round(
                float(found.distance[..., rim : height - rim, rim : width - rim].mean()), 6
            ),
            "seconds": round(sample.seconds, 4),
        }
        gt_mask = sample.payload.gt_mask
        if gt_mask is not None:
            row |= count_row(found.mask[0, 0].cpu().numpy(), gt_mask, rim)
        return row

    def _write(self, sample: Sample, found: Found) -> list[Path]:
        shared = self.output_dir
        if self.cache is not None:
            fingerprint = sample.payload.stage_fingerprint
            shared = self.cache.folder / fingerprint
            if sample.payload.cached is None:
                self._writer.write_shared(shared, sample, found)
                self.cache.store(sample.match.key, fingerprint, Stage(found.distance, found.labels))
        else:
            self._writer.write_shared(shared, sample, found)
        return self._writer.write(shared, sample, found)

    def finish(self, rows: Sequence[Row]) -> None:
        """Write ``summary.json`` and the page over all images."""
        self.summary = summarise(rows)
        self._writer.finish(rows, self.summary)


def _shape(pictures: Pictures) -> tuple[int, ...]:
    """What pictures of one batch have in common; those from the cache go one by one."""
    return (id(pictures),) if pictures.gan_sr is None else pictures.gan_sr.shape
