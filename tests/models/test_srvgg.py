import pytest
import torch

from desra.errors import InputError
from models.generators import SRVGGNetCompact
from tests.models.networks import noise, peer, ramp, randomise, wave


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_same_output_as_an_independent_implementation(scale):
    network = randomise(SRVGGNetCompact(scale, features=16, depth=3))
    lr = noise(3, 11, 17, batch=2)
    with torch.inference_mode():
        output, expected = network(lr), peer(network.state_dict())(lr)
    assert output.shape == (2, 3, 11 * scale, 17 * scale)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)


def test_half_precision_is_as_close_as_the_independent_implementation():
    network = randomise(SRVGGNetCompact(features=16, depth=4))
    lr = noise(3, 16, 19)
    with torch.inference_mode():
        exact = network(lr)
        theirs = peer(network.state_dict()).bfloat16()(lr.bfloat16()).float()
        ours = network.bfloat16()(lr.bfloat16()).float()
    assert (ours - exact).abs().max() <= 2 * (theirs - exact).abs().max()


@pytest.mark.parametrize("activation", ["prelu", "leakyrelu", "relu"])
def test_sizes_are_read_from_the_state(activation):
    network = randomise(SRVGGNetCompact(2, channels=1, features=24, depth=5, activation=activation))
    state = network.state_dict()
    assert SRVGGNetCompact.recognises(state)
    again = SRVGGNetCompact.from_state(state, activation=activation)
    assert repr(again) == repr(network)
    assert (again.scale, again.multiple) == (2, 1)
    lr = noise(1, 5, 6)
    with torch.inference_mode():
        assert torch.equal(again(lr), network(lr))


def test_activations_without_slopes_look_alike():
    state = SRVGGNetCompact(features=8, depth=1, activation="relu").state_dict()
    assert SRVGGNetCompact.from_state(state).activation == "leakyrelu"
    slopes = SRVGGNetCompact(features=8, depth=1).state_dict()
    assert SRVGGNetCompact.from_state(slopes).activation == "prelu"
    with pytest.raises(InputError, match="slopes of PReLU"):
        SRVGGNetCompact.from_state(slopes, activation="relu")


def test_channels_that_no_scale_explains():
    state = SRVGGNetCompact(features=8, depth=1).state_dict()
    state["body.4.weight"], state["body.4.bias"] = torch.zeros(7, 8, 3, 3), torch.zeros(7)
    with pytest.raises(InputError, match="no scale"):
        SRVGGNetCompact.from_state(state)


def test_unknown_activation():
    with pytest.raises(ValueError, match="activation must be"):
        SRVGGNetCompact(activation="gelu")


def test_gradients_reach_every_parameter():
    network = randomise(SRVGGNetCompact(features=8, depth=2)).train()
    network(noise(3, 8, 8)).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


def test_output_on_a_fixed_input():
    network = wave(SRVGGNetCompact(features=8, depth=2))
    with torch.inference_mode():
        output = network(ramp(3, 6, 5))
    torch.testing.assert_close(output[0, :, 3, ::6], torch.tensor(SNAPSHOT), atol=1e-5, rtol=0)


SNAPSHOT = [
    [1.046734, 0.634563, -0.105699, -0.163401],
    [0.584872, 0.300773, 0.632995, 0.931464],
    [-0.065437, 0.385732, 1.072063, 0.906365],
]
