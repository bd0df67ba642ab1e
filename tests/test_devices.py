"""Constants lie where the images are: PyTorch's fake tensors on a GPU that is not there.

Fake tensors have a device and no values. An operation on two devices is an error, as on a real GPU,
so this finds forgotten constants on a machine without one; `tests/test_cuda.py` compares values.
Everything runs on the processor first, since what it keeps for later must not be fake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves

from callbacks.texture_settling import local_deviation
from datamodules.degradations import Degradation, Round
from datamodules.degradations.draws import NoiseSource
from desra.detectors import ArtifactDetector, Detector, LDLDetector
from desra.metrics.detail import region_psnr
from desra.morphology import dilate, erode
from desra.pseudo_gt import compose
from desra.segmenters import TextureSegmenter
from models.discriminators import UNetDiscriminator
from models.generators import RRDBNet, SRVGGNetCompact
from models.losses import AdversarialLoss, ArtifactLoss, NegativeLoss, PixelLoss

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the real one will do")

Case = Callable[[str], Any]


def images(device: str, count: int = 1) -> list[Tensor]:
    return [torch.rand(2, 3, 96, 96, device=device) for _ in range(count)]


def levels(device: str) -> Tensor:
    return torch.zeros(2, 3, 96, 96, device=device, dtype=torch.uint8)


def mask(device: str) -> Tensor:
    return torch.zeros(2, 1, 96, 96, device=device, dtype=torch.bool)


def negative(device: str) -> Tensor:
    output, mse_sr, gan_sr = images(device, 3)
    batch = {"mse_sr": mse_sr, "gan_sr": gan_sr, "mask": mask(device)}
    return NegativeLoss()(output, batch)


def adversarial(device: str) -> Tensor:
    with torch.device(device):
        discriminator = UNetDiscriminator(features=4)
    return AdversarialLoss()(discriminator(images(device)[0]))


def generated(build: Callable[[], torch.nn.Module]) -> Case:
    def run(device: str) -> list[Tensor]:
        with torch.device(device):
            network = build()
        lr = torch.rand(2, 3, 24, 24, device=device)
        return [network.train()(lr), network.eval()(lr)]

    return run


def found_by(detector: Detector) -> Case:
    def run(device: str) -> Tensor:
        distance = detector.distance(levels(device), levels(device))
        return detector.adjust(distance, levels(device)[:, :1])

    return run


def degraded(device: str) -> Tensor:
    plain = Round(jpeg=None)  # files' JPEG has tables of numbers, which fakes have not
    return Degradation(scale=4, first=plain, second=plain)(images(device)[0], 0, 0, [0, 1])


CASES: dict[str, Case] = {
    "pixel": lambda device: PixelLoss(pool=2)(*images(device, 2)),
    "artifact": lambda device: ArtifactLoss()(*images(device, 3)),
    "negative": negative,
    "adversarial": adversarial,
    "compact": generated(lambda: SRVGGNetCompact(features=8, depth=2)),
    "rrdbnet": generated(lambda: RRDBNet(features=8, blocks=1, growth=8)),
    "desra": found_by(ArtifactDetector()),
    "ldl": found_by(LDLDetector()),
    "classes of texture": lambda device: TextureSegmenter()(levels(device), ["a", "b"]),
    "psnr": lambda device: region_psnr(levels(device), levels(device), mask(device)),
    "pseudo ground truth": lambda device: compose(*images(device, 2), mask(device), feather=4),
    "morphology": lambda device: dilate(erode(mask(device), 7), 7),
    "texture of a partner": lambda device: local_deviation(levels(device)),
    "degradation": degraded,
}


@pytest.mark.parametrize("name", CASES)
def test_everything_is_on_the_device_of_its_input(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A generator of random numbers is real, and would need the real device.
    monkeypatch.setattr(NoiseSource, "__init__", lambda *_: None)
    monkeypatch.setattr(NoiseSource, "of", lambda *_: None)
    expected = tree_leaves(CASES[name]("cpu"))
    with FakeTensorMode(allow_non_fake_inputs=True):
        found = tree_leaves(CASES[name]("cuda"))
    for fake, real in zip(found, expected, strict=True):
        assert (fake.device.type, fake.shape, fake.dtype) == ("cuda", real.shape, real.dtype)


def test_a_constant_that_was_forgotten_is_found() -> None:
    constant = torch.ones(96)
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        pytest.raises(RuntimeError, match="at least two devices"),
    ):
        images("cuda")[0] + constant
