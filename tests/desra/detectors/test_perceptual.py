"""LPIPS and DISTS with backbones of random weights: what is tested is how they are used."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchmetrics.functional.image.dists import deep_image_structure_and_texture_similarity
from torchmetrics.image import LearnedPerceptualImagePatchSimilarity
from torchvision.models import (
    AlexNet_Weights,
    SqueezeNet1_1_Weights,
    VGG16_Weights,
    alexnet,
    vgg,
)

from desra.detectors import DISTSDetector, LPIPSDetector, perceptual
from desra.errors import InputError
from desra.metrics import detail

from .pairs import pair, planes


@pytest.fixture(scope="module")
def backbones():
    torch.manual_seed(0)
    networks = nn.Module(), nn.Module()  # without the classifiers, which hold most of the weights
    networks[0].features = alexnet(num_classes=1).features
    networks[1].features = vgg.make_layers(vgg.cfgs["D"])
    for layer in networks[1].features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return networks


@pytest.fixture(autouse=True)
def _random_backbones(backbones, monkeypatch):
    network, truncated = backbones
    monkeypatch.setattr(perceptual, "fetch_backbone", lambda *_: Path())
    monkeypatch.setattr("torchvision.models.alexnet", lambda **_: network)
    monkeypatch.setattr(
        "torchmetrics.functional.image.dists.vgg16", lambda **_: truncated, raising=True
    )


def batch(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    mse_sr, gan_sr, _ = pair(height, width, seed)
    return planes(mse_sr), planes(gan_sr)


def test_lpips_map_is_made_of_the_layers_distances():
    mse_sr, gan_sr = batch(96, 112)
    detector = LPIPSDetector()
    found = detector.score(mse_sr, gan_sr)
    network = LearnedPerceptualImagePatchSimilarity("alex").net
    expected = torch.zeros(1, 1, 96, 112)
    features = [network.net(network.scaling_layer(image / 127.5 - 1)) for image in (mse_sr, gan_sr)]
    for layer, (x, y) in enumerate(zip(*features, strict=True)):
        x, y = (z / (z.square().sum(1, keepdim=True) + 1e-8).sqrt() for z in (x, y))
        weights = network.lins[layer].model[-1].weight
        plane = (weights * (x - y) ** 2).sum(1, keepdim=True)
        expected += F.interpolate(plane, (96, 112), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-6)
    assert found[..., 24:72, 28:84].mean() > 2 * found[..., :10, :].mean()


def test_dists_in_a_window_larger_than_the_image_is_dists():
    mse_sr, gan_sr = batch(96, 128)
    found = DISTSDetector(window_size=16 * 17).score(mse_sr, gan_sr)
    expected = deep_image_structure_and_texture_similarity(gan_sr / 255, mse_sr / 255)
    assert found.std() == pytest.approx(0, abs=1e-9)
    assert found.mean().item() == pytest.approx(expected.item(), rel=1e-4)


def test_dists_is_local():
    mse_sr, gan_sr = batch(130, 150)  # sides that are no multiples of its cells
    score = DISTSDetector(window_size=16).score(mse_sr, gan_sr)
    assert score.shape == (1, 1, 130, 150)
    assert score[..., 50:80, 60:90].mean() > 3 * score[..., :8, :8].mean()
    assert DISTSDetector().score(mse_sr, mse_sr).max() < 1e-9


@pytest.mark.parametrize("detector", [LPIPSDetector(min_area=50), DISTSDetector(min_area=50)])
def test_found_where_features_differ(detector):
    mse_sr, gan_sr = batch(96, 112)
    score = detector.score(mse_sr, gan_sr)
    middle = float(score.min() + score.max()) / 2
    chosen = type(detector)(threshold=middle, min_area=50)
    found = chosen(torch.cat([mse_sr, mse_sr]), torch.cat([gan_sr, mse_sr]))
    torch.testing.assert_close(found.adjusted[0] < chosen.cutoff, score[0] > middle)
    assert found.mask[0].any()
    assert not found.mask[1].any()
    assert found.distance.dtype == torch.float64
    assert 0 < found.distance.min() <= found.distance.max() <= 1


def test_networks_are_built_once_when_they_are_needed():
    detector = LPIPSDetector()
    assert not list(detector.parameters())
    with torch.inference_mode():
        detector.prepare()
    first = detector.network
    detector(*batch(64, 64))
    assert detector.network is first
    detector.train()
    assert not any(module.training for module in detector.modules())
    assert not any(parameter.is_inference() for parameter in detector.parameters())


def test_what_cannot_be_used_is_refused(monkeypatch):
    with pytest.raises(InputError, match="backbone=resnet"):
        LPIPSDetector(backbone="resnet")
    for size in (0, 32, 40):
        with pytest.raises(InputError, match=f"window_size={size}"):
            DISTSDetector(window_size=size)
    with pytest.raises(InputError, match="50x63; DISTSDetector needs 64 pixels"):
        DISTSDetector()(*(image[..., :63, :50] for image in batch(64, 64)))

    def refuse(*_: str | None) -> Path:
        raise InputError("alexnet.pth cannot be downloaded; put it at there")

    monkeypatch.setattr(perceptual, "fetch_backbone", refuse)
    with pytest.raises(InputError, match=r"detector=lpips: alexnet.*or choose another detector"):
        LPIPSDetector().prepare()


def test_backbones_are_torchvisions():
    assert {
        "alex": AlexNet_Weights.IMAGENET1K_V1.url,
        "squeeze": SqueezeNet1_1_Weights.IMAGENET1K_V1.url,
        "vgg": VGG16_Weights.IMAGENET1K_V1.url,
    } == detail.BACKBONES


def test_a_backbone_comes_from_a_file_where_there_is_no_network(tmp_path, monkeypatch):
    weights = tmp_path / "mine.pth"
    weights.write_bytes(b"weights of AlexNet")
    digits = hashlib.sha256(b"weights of AlexNet").hexdigest()[:8]
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    known = f"https://elsewhere/alexnet-{digits}.pth"
    monkeypatch.setitem(detail.BACKBONES, "alex", known)
    path = detail.fetch_backbone("alex", weights)
    assert path == tmp_path / "hub" / "checkpoints" / f"alexnet-{digits}.pth"
    assert path.read_bytes() == weights.read_bytes()
    weights.write_bytes(b"something else")
    with pytest.raises(InputError, match=f"does not begin with {digits}; give alexnet-{digits}"):
        detail.fetch_backbone("alex", weights)
    with pytest.raises(InputError, match="No such file or directory; give torchvision's"):
        detail.fetch_backbone("alex", tmp_path / "nowhere.pth")
