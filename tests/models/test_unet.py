import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm

from desra.checkpoints import write_state
from desra.errors import InputError
from models.discriminators import UNetDiscriminator, load_discriminator
from models.generators import SRVGGNetCompact, write_generator
from tests.models.networks import noise


class Reference(nn.Module):
    """The network of the paper on PyTorch's own spectral norm."""

    def __init__(self, features: int, skip: bool = True) -> None:
        super().__init__()
        self.skip = skip
        self.conv0 = nn.Conv2d(3, features, 3, 1, 1)
        widths = [1, 2, 4, 8, 4, 2, 1, 1, 1]
        for number, (before, after) in enumerate(itertools.pairwise(widths), start=1):
            kernel, stride = (4, 2) if number <= 3 else (3, 1)
            conv = nn.Conv2d(features * before, features * after, kernel, stride, 1, bias=False)
            self.add_module(f"conv{number}", spectral_norm(conv))
        self.conv9 = nn.Conv2d(features, 1, 3, 1, 1)

    def forward(self, x):
        def conv(number, x):
            return F.leaky_relu(self.get_submodule(f"conv{number}")(x), 0.2)

        x0 = conv(0, x)
        x1 = conv(1, x0)
        x2 = conv(2, x1)
        y = conv(3, x2)
        for number, skipped in ((4, x2), (5, x1), (6, x0)):
            y = conv(number, F.interpolate(y, scale_factor=2, mode="bilinear"))
            y = y + skipped if self.skip else y
        return self.conv9(conv(8, conv(7, y)))


def pair(skip=True):
    torch.manual_seed(0)
    reference = Reference(8, skip)
    network = UNetDiscriminator(3, 8, skip_connection=skip)
    network.load_state_dict(reference.state_dict(), strict=True)
    return network, reference


@pytest.mark.parametrize("skip", [True, False])
def test_outputs_gradients_and_buffers_of_the_reference(skip):
    network, reference = pair(skip)
    image = noise(3, 24, 32, batch=2)
    # Power iterations of earlier passes are seen in later ones, and none is made in evaluation.
    for training in (False, True, True, False):
        network.train(training)
        reference.train(training)
        ours, theirs = network(image), reference(image)
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
        network.zero_grad()
        reference.zero_grad()
        ours.square().mean().backward()
        theirs.square().mean().backward()
        expected = dict(reference.named_parameters())
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(parameter.grad, expected[name].grad)
    for name, buffer in reference.named_buffers():
        torch.testing.assert_close(network.get_buffer(name), buffer)
    reference.load_state_dict(network.state_dict(), strict=True)


def test_two_passes_before_one_backward():
    network, reference = pair()
    for discriminator in (network, reference):
        loss = discriminator(noise(3, 16, 16)) - discriminator(noise(3, 16, 16) / 2)
        loss.mean().backward()
    torch.testing.assert_close(network.conv3.weight_orig.grad, reference.conv3.weight_orig.grad)


def test_weights_get_a_largest_singular_value_of_one():
    torch.manual_seed(0)
    network = UNetDiscriminator(features=8)
    with torch.no_grad():
        for _ in range(200):
            network.conv4.weight()
        network.eval()
        singular = torch.linalg.svdvals(network.conv4.weight().flatten(1))
    assert singular.max() == pytest.approx(1, abs=1e-3)


def test_any_size_gets_a_score_per_pixel():
    network = UNetDiscriminator(features=8).eval()
    with torch.no_grad():
        for size in ((16, 24), (13, 21), (3, 1)):
            assert network(noise(3, *size)).shape == (1, 1, *size)
        whole = network(noise(3, 16, 24))
        torch.testing.assert_close(whole, pair_like(network)(noise(3, 16, 24)))


def pair_like(network):
    reference = Reference(8).eval()
    reference.load_state_dict(network.state_dict())
    return reference


def test_copies_can_be_made_in_the_middle_of_training():
    network = UNetDiscriminator(features=8)
    network(noise(3, 16, 16)).mean().backward()
    copied = copy.deepcopy(network)
    with torch.no_grad():
        torch.testing.assert_close(copied.eval()(noise(3, 8, 8)), network.eval()(noise(3, 8, 8)))


def test_loading_released_files_and_checkpoints(tmp_path):
    _, reference = pair()
    write_state(tmp_path / "netD.pth", {"params": reference.state_dict()})
    network = load_discriminator(tmp_path / "netD.pth")
    assert network.training
    assert network.state_dict().keys() == reference.state_dict().keys()
    generator = SRVGGNetCompact(features=8, depth=1).state_dict()
    state = {
        **{f"discriminator.{key}": tensor for key, tensor in reference.state_dict().items()},
        **{f"generator.{key}": tensor for key, tensor in generator.items()},
    }
    write_state(tmp_path / "last.ckpt", {"state_dict": state})
    again = load_discriminator(tmp_path / "last.ckpt")
    assert torch.equal(again.conv9.weight, reference.conv9.weight)


def test_files_without_a_discriminator(tmp_path):
    write_generator(tmp_path / "generator.pth", SRVGGNetCompact(features=8, depth=1))
    with pytest.raises(InputError, match=r"no U-Net discriminator.*body\.0\.weight"):
        load_discriminator(tmp_path / "generator.pth")
    state = UNetDiscriminator(features=8).state_dict()
    state.pop("conv5.weight_v")
    write_state(tmp_path / "broken.pth", {"params": state})
    with pytest.raises(InputError, match=r"incomplete or altered.*conv5\.weight_v"):
        load_discriminator(tmp_path / "broken.pth")
