"""The proof that an exported model is the network it came from: on photos, by its own runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from desra.detectors import Detector
from desra.errors import InputError
from desra.images import to_tensor
from desra.resampling import resize_lanczos
from models.exporting.runtimes import Array, Runtime

ODD_SIZES = ((33, 47), (64, 19))
"""Height and width of what is cut out of the first photo besides: one odd, one narrow."""


@dataclass(frozen=True)
class Tolerance:
    """What is still the same.

    Attributes:
        difference: largest, of pixels in [0, 1].
        iou: least, of the detector's masks.
    """

    difference: float
    iou: float = 0.999


@dataclass(frozen=True)
class Proof:
    """What was measured, the network in PyTorch and float32 being the reference.

    Attributes:
        program: what ran the exported model.
        images: number of photos and cut-outs.
        difference: largest difference of any pixel, in [0, 1].
        psnr: in dB, over all pixels of all images; infinite where all are equal.
        iou: of the masks that the detector finds in both outputs, over all images; NaN where it
            finds nothing in either.
        detected: share of pixels in the reference's masks.
    """

    program: str
    images: int
    difference: float
    psnr: float
    iou: float
    detected: float

    def as_json(self) -> dict[str, str | float | None]:
        """Its metrics; what is not finite is None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in vars(self).items()
        }

    def failure(self, tolerance: Tolerance) -> str | None:
        """Why it is not the same; None if it is."""
        if not self.difference <= tolerance.difference:
            return f"differs by {self.difference:.2g}, and {tolerance.difference:.2g} is allowed"
        if self.iou < tolerance.iou:
            return (
                f"the detector's masks agree to {self.iou:.5f} (intersection over union), and "
                f"{tolerance.iou} is asked for"
            )
        return None


def prove(
    network: nn.Module,
    runtime: Runtime,
    photos: Sequence[Array],
    detector: Detector,
    tolerance: Tolerance,
) -> Proof:
    """Run a network and its exported model on the same images.

    The detector compares each output with the image enlarged by Lanczos, which needs no second
    network and is as smooth as one trained with a pixel loss.

    Args:
        network: in PyTorch, float32, on the processor.
        runtime: of the exported model.
        photos: ``(3, H, W)`` in [0, 1], contiguous; odd sizes are cut out of the first.
        detector: finds the masks.
        tolerance: what is still the same.

    Raises:
        InputError: it is not the same, with the layer where that begins; or cannot be run.
    """
    first = photos[0]
    cut_out = [np.ascontiguousarray(first[:, :rows, :columns]) for rows, columns in ODD_SIZES]
    largest = squares = pixels = shared = either = found = 0.0
    worst, images = first, [*photos, *cut_out]
    for lr in images:
        reference = _reference(network, lr)
        try:
            output = runtime(lr)
        except InputError as error:
            size = f"{lr.shape[2]}x{lr.shape[1]}"
            raise InputError(f"{size} pixels: {error}{_where(network, runtime, lr)}") from error
        if output.shape != reference.shape:
            raise InputError(
                f"makes {output.shape[2]}x{output.shape[1]} of {lr.shape[2]}x{lr.shape[1]} pixels, "
                f"and not {reference.shape[2]}x{reference.shape[1]}"
            )
        difference = np.abs(output.astype(np.float64) - reference)
        if not difference.max() <= largest:  # NaN is the worst
            largest, worst = float(difference.max()), lr
        squares, pixels = squares + (difference**2).sum(), pixels + difference.size
        masks = [_mask(detector, lr, image) for image in (reference, output)]
        shared, either = shared + (masks[0] & masks[1]).sum(), either + (masks[0] | masks[1]).sum()
        found += masks[0].mean() / len(images)
    proof = Proof(
        program=runtime.program,
        images=len(images),
        difference=largest,
        psnr=float(10 * np.log10(pixels / squares)) if squares else float("inf"),
        iou=float(shared / either) if either else float("nan"),
        detected=float(found),
    )
    if (failure := proof.failure(tolerance)) is not None:
        raise InputError(f"{failure}{_where(network, runtime, worst)}")
    return proof


@torch.inference_mode()
def _reference(network: nn.Module, lr: Array) -> Array:
    return network(torch.from_numpy(lr)[None])[0].numpy()


def _mask(detector: Detector, lr: Array, output: Array) -> np.ndarray:
    pixels = np.rint(lr.transpose(1, 2, 0) * 255).astype(np.uint8)
    smooth = to_tensor(resize_lanczos(pixels, *output.shape[1:]))
    image = torch.from_numpy(np.nan_to_num(output))[None].clamp(0, 1)
    return detector(smooth, image).mask[0, 0].numpy()


def _where(network: nn.Module, runtime: Runtime, lr: Array) -> str:
    """The layer where a difference begins, as the end of a sentence; empty if none can be told."""
    try:
        theirs = runtime.layers(lr)
    except (InputError, RuntimeError, ValueError):
        theirs = []
    ours = _layers(network, lr)
    if len(theirs) != len(ours):
        return ""
    before = 0.0
    for (name, expected), (_, output, slope) in zip(ours, theirs, strict=True):
        if slope is not None:
            expected = F.leaky_relu(torch.from_numpy(expected), slope).numpy()
        if output.size != expected.size:
            return f"; it begins at {name}, whose sizes differ"
        size = np.abs(expected).max() + 1e-12
        error = float(np.abs(output.reshape(expected.shape) - expected).max() / size)
        # Rounding grows slowly from layer to layer; what is wrong jumps.
        if not error <= max(1e-3, 30 * before):
            return f"; it begins at {name}"
        before = max(before, error)
    return "; no layer stands out: it is rounding, which grows from layer to layer"


def _layers(network: nn.Module, lr: Array) -> list[tuple[str, Array]]:
    """What the convolutions and linear layers of a network in PyTorch give, in order."""
    outputs: list[tuple[str, Array]] = []
    hooks = [
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: outputs.append(
                (name, output[0].numpy().copy())
            )
        )
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        with torch.inference_mode():
            network(torch.from_numpy(lr)[None])
    finally:
        for hook in hooks:
            hook.remove()
    return outputs
