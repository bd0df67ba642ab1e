"""Each term against an independent computation of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torchvision.models import vgg19

from desra.errors import InputError
from desra.ldl import artifact_map, local_variance
from models.losses import AdversarialLoss, ArtifactLoss, PerceptualLoss, PixelLoss


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(2, 3, 33, 29, generator=generator) for _ in range(3))


# LDL's map


def unfolded_variance(plane: torch.Tensor, size: int) -> torch.Tensor:
    padded = F.pad(plane.double(), [size // 2] * 4, mode="reflect")
    return padded.unfold(2, size, 1).unfold(3, size, 1).var(dim=(-1, -2), unbiased=True)


def released_map(
    gt: torch.Tensor, output: torch.Tensor, stable: torch.Tensor, size: int = 7
) -> torch.Tensor:
    """The map as its paper writes it, in float64 and window by window."""
    difference = (gt.double() - output.double()).abs().sum(1, keepdim=True)
    stable_difference = (gt.double() - stable.double()).abs().sum(1, keepdim=True)
    spread = torch.stack([image.var() for image in difference]).view(-1, 1, 1, 1)
    weight = spread ** (1 / 5) * unfolded_variance(difference, size)
    return torch.where(difference < stable_difference, 0.0, weight)


@settings(deadline=None, max_examples=25)
@given(
    height=st.integers(4, 40),
    width=st.integers(4, 40),
    size=st.sampled_from([3, 5, 7]),
    level=st.sampled_from([0.0, 1.0, 3.0]),
    spread=st.sampled_from([1e-3, 0.1, 1.0]),
    seed=st.integers(0, 99),
)
def test_local_variance_equals_windows(
    height: int, width: int, size: int, level: float, spread: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    plane = level + spread * torch.rand(2, 1, height, width, generator=generator)
    expected = unfolded_variance(plane, size)
    torch.testing.assert_close(local_variance(plane, size), expected, rtol=1e-6, atol=1e-12)


def test_local_variance_of_strided_input(images: tuple[torch.Tensor, ...]) -> None:
    plane = images[0].transpose(2, 3)[:, :1]
    torch.testing.assert_close(local_variance(plane), unfolded_variance(plane, 7))


def test_local_variance_refuses_images_smaller_than_its_reflection() -> None:
    with pytest.raises(InputError, match="too small"):
        local_variance(torch.zeros(1, 1, 3, 50))


def test_artifact_map_equals_definition(images: tuple[torch.Tensor, ...]) -> None:
    found, expected = artifact_map(*images), released_map(*images)
    assert (found == 0).any()
    assert (found > 0).any()
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-9)


def test_artifact_map_without_average_masks_nothing(images: tuple[torch.Tensor, ...]) -> None:
    assert (artifact_map(*images[:2]) > 0).all()


def test_artifact_loss_and_its_gradient_equal_definition(images: tuple[torch.Tensor, ...]) -> None:
    gt, output, stable = images
    output = output.double().requires_grad_()
    weight = released_map(gt, output, stable)
    expected = 0.7 * F.l1_loss(weight * output, weight * gt.double())
    (gradient,) = torch.autograd.grad(expected, output)

    ours = images[1].clone().requires_grad_()
    value = ArtifactLoss(0.7)(ours, gt, stable)
    value.backward()
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(ours.grad.double(), gradient, rtol=1e-5, atol=1e-11)


def test_artifact_loss_of_perfect_output_has_no_gradient(images: tuple[torch.Tensor, ...]) -> None:
    output = images[0].clone().requires_grad_()
    value = ArtifactLoss()(output, images[0], images[1])
    value.backward()
    assert value.item() == 0
    assert torch.equal(output.grad, torch.zeros_like(output))


# Pixels


@pytest.mark.parametrize(
    ("distance", "reference"),
    [("l1", lambda d: np.abs(d).mean()), ("l2", lambda d: (d**2).mean())],
)
def test_pixel_loss_equals_numpy(images: tuple, distance: str, reference) -> None:
    expected = 0.3 * reference(images[0].double().numpy() - images[1].double().numpy())
    assert PixelLoss(0.3, distance)(*images[:2]).item() == pytest.approx(expected, rel=1e-6)


def test_pixel_loss_of_averaged_squares_sees_no_texture() -> None:
    flat = torch.full((1, 3, 8, 8), 0.5)
    checks = flat.clone()
    checks[..., ::2, ::2] += 0.25
    checks[..., 1::2, 1::2] += 0.25
    checks[..., ::2, 1::2] -= 0.25
    checks[..., 1::2, ::2] -= 0.25
    assert PixelLoss(pool=4)(checks, flat).item() == 0
    assert PixelLoss(pool=1)(checks, flat).item() == pytest.approx(0.25)


# Adversarial


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


REFERENCES = {
    "vanilla": (lambda x: -np.log(sigmoid(x)), lambda x: -np.log(1 - sigmoid(x))),
    "lsgan": (lambda x: (x - 1) ** 2, lambda x: x**2),
    "hinge": (lambda x: np.maximum(0, 1 - x), lambda x: np.maximum(0, 1 + x)),
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_adversarial_loss_equals_definition(kind: str) -> None:
    logits = torch.linspace(-6, 6, 25).view(1, 1, 5, 5)
    x = logits.double().numpy()
    loss = AdversarialLoss(0.1, kind)
    real, fake = REFERENCES[kind]
    assert loss.discriminator(logits, True).item() == pytest.approx(real(x).mean(), rel=1e-6)
    assert loss.discriminator(logits, False).item() == pytest.approx(fake(x).mean(), rel=1e-6)
    generator = (-x).mean() if kind == "hinge" else real(x).mean()
    assert loss(logits).item() == pytest.approx(0.1 * generator, rel=1e-6, abs=1e-9)


def test_vanilla_loss_is_finite_for_any_logit() -> None:
    logits = torch.tensor([-1e4, 1e4])
    assert AdversarialLoss().discriminator(logits, real=True).isfinite()


# Perceptual

NAMES = {"conv1_2": 2, "conv2_2": 7, "conv3_4": 16, "conv4_4": 25, "conv5_4": 34}


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Sequential]:
    """VGG19 with random weights, small ones kept from vanishing on the way down."""
    torch.manual_seed(0)
    with torch.device("meta"):
        features = vgg19().features[:35]
    features = features.to_empty(device="cpu")
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=0.1)
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save({f"features.{key}": value for key, value in features.state_dict().items()}, path)
    return path, features.eval()


def test_perceptual_loss_equals_hooked_features(vgg: tuple[Path, nn.Sequential]) -> None:
    path, features = vgg
    images = [torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(i)) for i in (1, 2)]
    seen: dict[int, list[torch.Tensor]] = {index: [] for index in NAMES.values()}
    for index, outputs in seen.items():
        # cloned: torchvision's ReLUs overwrite their input
        features[index].register_forward_hook(
            lambda _, __, out, outputs=outputs: outputs.append(out.clone())
        )
    reference = images[0].clone().requires_grad_()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for image in (reference, images[1]):
        features((image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
    weights = {2: 0.1, 7: 0.1, 16: 1.0, 25: 1.0, 34: 1.0}
    expected = sum(w * (seen[i][0] - seen[i][1]).abs().mean() for i, w in weights.items())
    expected.backward()

    loss = PerceptualLoss(0.5, weights=path)
    loss.load()
    output = images[0].clone().requires_grad_()
    value = loss(output, images[1])
    value.backward()
    assert value.item() == pytest.approx(0.5 * expected.item(), rel=1e-6)
    torch.testing.assert_close(output.grad, 0.5 * reference.grad, rtol=1e-4, atol=1e-8)


def test_perceptual_network_is_in_no_checkpoint(vgg: tuple[Path, nn.Sequential]) -> None:
    loss = PerceptualLoss(weights=vgg[0], layers={"conv1_1": 1.0})
    loss.load()
    assert loss.state_dict() == {}
    assert not [p for p in loss.parameters() if p.requires_grad]
    kept = {key: value.clone() for key, value in loss.features.state_dict().items()}
    module = nn.ModuleDict({"other": nn.Linear(1, 1), "perceptual": loss})
    missing = module.load_state_dict({}, strict=False).missing_keys
    assert missing == ["other.weight", "other.bias"]
    assert all(torch.equal(loss.features.state_dict()[key], value) for key, value in kept.items())


def test_perceptual_loss_says_what_is_wrong_with_its_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        PerceptualLoss(weights=tmp_path / "missing.pth").load()
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="not torchvision's VGG19"):
        PerceptualLoss(weights=tmp_path / "other.pth").load()
    with pytest.raises(InputError, match="conv1_1 to conv5_4"):
        PerceptualLoss(layers={"conv3_5": 1.0})


def test_perceptual_weights_of_the_cache_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESRA_CACHE", str(tmp_path))
    (tmp_path / "vgg19-dcbb9e9d.pth").write_bytes(b"not the weights")
    with pytest.raises(InputError, match="SHA-256"):
        PerceptualLoss().load()
