import pytest
import torch

from desra.errors import InputError
from models.generators import RRDBNet
from models.generators.rrdbnet_keys import from_basicsr, key_style, to_basicsr
from tests.models.networks import noise, peer, ramp, randomise, wave

# Spandrel's RRDBNet always grows by 32.
SCALES = [
    (RRDBNet(4, features=16, blocks=2), (13, 21)),
    (RRDBNet(2, features=16, blocks=1), (13, 22)),
    (RRDBNet(1, features=16, blocks=1), (11, 18)),
    (RRDBNet(8, features=16, blocks=1), (5, 7)),
]


@pytest.mark.parametrize(("network", "size"), SCALES)
def test_same_output_as_an_independent_implementation(network, size):
    randomise(network)
    lr = noise(3, *size, batch=2)
    with torch.inference_mode():
        output, expected = network(lr), peer(network.state_dict())(lr)
    assert output.shape == (2, 3, size[0] * network.scale, size[1] * network.scale)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)


def test_half_precision_is_as_close_as_the_independent_implementation():
    network = randomise(RRDBNet(features=16, blocks=2))
    lr = noise(3, 16, 19)
    with torch.inference_mode():
        exact = network(lr)
        theirs = peer(network.state_dict()).bfloat16()(lr.bfloat16()).float()
        ours = network.bfloat16()(lr.bfloat16()).float()
    assert (ours - exact).abs().max() <= 2 * (theirs - exact).abs().max()


@pytest.mark.parametrize("style", ["basicsr", "bsrgan", "esrgan"])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_keys_of_every_release(style, scale):
    network = randomise(RRDBNet(scale, features=16, blocks=2))
    state = from_basicsr(network.state_dict(), style)
    assert key_style(state) == style
    assert to_basicsr(state).keys() == network.state_dict().keys()
    assert RRDBNet.recognises(state)
    again = RRDBNet.from_state(state).eval()
    lr = noise(3, 9, 12)
    with torch.inference_mode():
        assert torch.equal(again(lr), network(lr))
        torch.testing.assert_close(peer(state)(lr), network(lr), atol=1e-5, rtol=0)
    assert again.scale == scale


def test_sizes_are_read_from_the_state():
    network = RRDBNet(2, in_channels=1, out_channels=1, features=24, blocks=3, growth=12)
    again = RRDBNet.from_state(network.state_dict())
    assert repr(again) == repr(network)
    assert (again.scale, again.multiple) == (2, 2)


def test_an_image_smaller_than_its_padding():
    network = randomise(RRDBNet(1, features=16, blocks=1))
    with torch.inference_mode():
        assert network(noise(3, 1, 2)).shape == (1, 3, 1, 2)


def test_gradients_reach_every_parameter():
    network = randomise(RRDBNet(features=16, blocks=1)).train()
    network(noise(3, 8, 8)).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


def test_scales_that_doubling_cannot_reach():
    with pytest.raises(ValueError, match="power of two"):
        RRDBNet(3)
    state = {
        key: tensor
        for key, tensor in RRDBNet(1, features=16, blocks=1).state_dict().items()
        if "conv_up" not in key
    }
    with pytest.raises(InputError, match="×1 and up"):
        RRDBNet.from_state(state)


def test_another_network_is_not_recognised():
    state = RRDBNet(features=16, blocks=1).state_dict()
    assert not RRDBNet.recognises({**state, "body.0.rdb1.conv1x1.weight": torch.ones(1)})
    assert not RRDBNet.recognises({"conv_first.weight": state["conv_first.weight"]})


def test_output_on_a_fixed_input():
    network = wave(RRDBNet(features=16, blocks=1, growth=8))
    with torch.inference_mode():
        output = network(ramp(3, 6, 5))
    expected = torch.tensor(SNAPSHOT)
    torch.testing.assert_close(output[0, :, 3, ::6], expected, atol=1e-5, rtol=0)


SNAPSHOT = [
    [-0.482640, -2.228998, -2.314924, 0.348924],
    [-0.884294, -2.888499, -2.842643, 0.066542],
    [-1.186372, -3.304234, -3.129895, -0.184673],
]
