"""Judgement of a generator before and after finetuning, batch by batch of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from desra.detectors import Detection, Detector
from desra.errors import InputError
from desra.metrics.detail import BACKBONES, Backbone, RegionDISTS, RegionLPIPS
from desra.metrics.finetuning import Comparison, Row, compare
from desra.segmenters import Segmenter


@dataclass
class Judged:
    """A batch of images before and after finetuning, and what was found.

    Attributes:
        keys: of the images.
        lr: uint8 ``(B, 3, h, w)``.
        images: upscalings, masks, labels and truth.
        after: what the detector found in the finetuned images.
        labels: semantic classes of GAN-SR, uint8 ``(B, 1, H, W)``, or None.
        detector: found it.
        classes: names of the semantic classes by label.
        rows: of `desra.metrics.finetuning.compare`, with ``image``.
    """

    keys: Sequence[str]
    lr: Tensor
    images: Comparison
    after: Detection
    labels: Tensor | None
    detector: Detector
    classes: Sequence[str] = ()
    rows: list[Row] = field(default_factory=list)

    def distance_before(self) -> Tensor:
        """The distance of GAN-SR, computed when asked for: only pictures need it."""
        distance = self.detector.distance(self.images.mse_sr, self.images.gan_sr)
        return self.detector.combined(distance)


class Judge(nn.Module):
    """Detects in the original and in the finetuned image, and compares the two.

    Validation, the choice of a run's result and ``evaluate.py`` call this one object; panels and
    the page get what it returns.

    Args:
        detector: compares each upscaling with MSE-SR.
        segmenter: labels the pixels of the original GAN-SR, for both.
        lpips: backbone of LPIPS, or None to leave it out. Where its weights cannot be had it is
            left out, and ``missing`` says so.
        others: further detectors, by name. They say what they find before and after, since the
            detector that chose the targets cannot be the only judge.
        lpips_weights: torchvision's file of the backbone; None to download it.
        dists: torchvision's file of VGG16, or ``"vgg16"`` to download it, to compare with the truth
            by DISTS, too; None: not.

    Attributes:
        missing: why LPIPS is left out, or None.

    Raises:
        InputError: a backbone that is not known.
    """

    def __init__(
        self,
        detector: Detector,
        segmenter: Segmenter,
        lpips: Backbone | None = "alex",
        others: Mapping[str, Detector] | None = None,
        lpips_weights: str | Path | None = None,
        dists: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.files = {"lpips": lpips_weights, "dists": dists}
        if lpips is not None and lpips not in BACKBONES:
            raise InputError(f"lpips={lpips}: give {', '.join(BACKBONES)} or null")
        self.detector, self.segmenter, self.backbone = detector, segmenter, lpips
        self.others = nn.ModuleDict(dict(others or {}))
        self.lpips: RegionLPIPS | None = None
        self.dists: RegionDISTS | None = None
        self.missing: str | None = None
        self._prepared = False

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the metrics besides the images; JSON-able."""
        return {
            "detector": self.detector.settings,
            "segmenter": self.segmenter.settings,
            "lpips": self.lpips and self.lpips.backbone,
            "dists": self.dists is not None,
            "others": {name: other.settings for name, other in self._others()},
        }

    def prepare(self) -> None:
        """Fetch and load what detectors, segmenter and LPIPS need; once.

        Raises:
            InputError: what a detector or the segmenter needs cannot be had; or weights of LPIPS
                or DISTS that were given.
        """
        if self._prepared:
            return
        self.detector.prepare()
        self.segmenter.prepare()
        for _, other in self._others():
            other.prepare()
        if self.backbone is not None:
            try:
                self.lpips = RegionLPIPS(self.backbone, self.files["lpips"])
            except InputError as error:
                if self.files["lpips"] is not None:
                    raise
                self.missing = str(error)
        if self.files["dists"] is not None:
            self.dists = RegionDISTS(self.files["dists"])
        self._prepared = True

    @torch.no_grad()
    def forward(
        self,
        keys: Sequence[str],
        lr: Tensor,
        mse_sr: Tensor,
        gan_sr: Tensor,
        finetuned: Tensor,
        *,
        gt_mask: Tensor | None = None,
        truth: Tensor | None = None,
        labels: Tensor | None = None,
        before: Tensor | None = None,
        brief: bool = False,
    ) -> Judged:
        """Judge a batch; images are uint8 on one device.

        Args:
            keys: of the images.
            lr: ``(B, 3, h, w)``.
            mse_sr: ``(B, 3, H, W)``, as the next two.
            gan_sr: the original generator's.
            finetuned: the finetuned generator's.
            gt_mask: labelled artifacts of ``gan_sr``, bool ``(B, 1, H, W)``, or None.
            truth: the true images, ``(B, 3, H, W)``, or None.
            labels: semantic classes of ``gan_sr``; None: the segmenter is asked.
            before: mask of ``gan_sr``, if known already.
            brief: leave out the truth, MSE-SR beside it, and the other detectors.
        """
        labels = self.segmenter(gan_sr, keys) if labels is None else labels
        before = self.detector(mse_sr, gan_sr, labels).mask if before is None else before
        after = self.detector(mse_sr, finetuned, labels)
        images = Comparison(
            *(mse_sr, gan_sr, finetuned, before, after.mask, gt_mask, self.detector.rim),
            None if brief else truth,
        )
        rows = compare(images, self.lpips, with_mse_sr=not brief, dists=self.dists)
        for name, other in () if brief else self._others():
            pair = {"before": gan_sr, "after": finetuned}
            for when, image in pair.items():
                shares = other(mse_sr, image, labels).mask.flatten(1).double().mean(1).tolist()
                for row, share in zip(rows, shares, strict=True):
                    row[f"{name}_share_{when}"] = share
        rows = [{"image": key, **row} for key, row in zip(keys, rows, strict=True)]
        classes = self.segmenter.classes
        return Judged(keys, lr, images, after, labels, self.detector, classes, rows)

    def _others(self) -> list[tuple[str, Detector]]:
        return [(name, other) for name, other in self.others.items() if isinstance(other, Detector)]
