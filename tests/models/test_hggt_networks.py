import copy

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.generators import (
    ELAN,
    RCAN,
    RRDBNet,
    RRDBPSNet,
    load_generator,
    prepare_for_inference,
    write_generator,
)
from models.generators.loading import ARCHITECTURES
from models.upscaler import Upscaler
from tests.models.networks import noise, randomise
from tests.reference import enhancement_networks as reference


def with_statistics(network):
    """Running statistics as training leaves them: neither 0 nor 1."""
    randomise(network)
    generator = torch.Generator().manual_seed(3)
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.add_(torch.rand(buffer.shape, generator=generator), alpha=0.5)
    return network


SMALL = {
    "RCAN": (RCAN(features=16, groups=2, blocks=2, squeeze=4), reference.rcan),
    "ELAN": (ELAN(features=30, blocks=3), reference.elan),
    "RRDBPSNet": (RRDBPSNet(features=8, blocks=2, growth=6), reference.rrdb_pixel_shuffle),
}


@pytest.fixture(params=SMALL)
def pair(request):
    network, plain = SMALL[request.param]
    return with_statistics(network), plain


@pytest.mark.parametrize("size", [(32, 48), (21, 37)])
def test_same_output_as_an_independent_implementation(pair, size):
    # In double precision, since softmax makes much of float32's rounding where logits are large.
    network, plain = copy.deepcopy(pair[0]).double(), pair[1]
    lr = noise(3, *size, batch=2).double()
    with torch.inference_mode():
        output, expected = network(lr), plain(network.state_dict(), lr)
    assert output.shape == (2, 3, size[0] * network.scale, size[1] * network.scale)
    assert expected.std() > 0.01
    torch.testing.assert_close(output, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("network", "parameters", "fixed", "tensors"),
    [
        (RCAN, 15_296_931, 0, 1626),
        (ELAN, 8_239_503, 174_960, 544),
        (RRDBPSNet, 16_919_555, 0, 702),
    ],
)
def test_sizes_of_the_release(network, parameters, fixed, tensors):
    with torch.device("meta"):
        network = network()
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    shifts = [t for key, t in network.state_dict().items() if key.endswith("shift_conv.weight")]
    assert sum(shift.numel() for shift in shifts) == fixed
    assert len(network.state_dict()) == tensors


def test_keys_of_the_release():
    rcan = RCAN(features=16, groups=1, blocks=1).state_dict()
    assert {key.rpartition(".")[0] for key in rcan} == {
        "conv_first",
        "body.0.residual_group.0.rcab.0",
        "body.0.residual_group.0.rcab.2",
        "body.0.residual_group.0.rcab.3.attention.1",
        "body.0.residual_group.0.rcab.3.attention.3",
        "body.0.conv",
        "conv_after_body",
        "conv_last",
    }
    elan = ELAN(features=15, blocks=1).state_dict()
    block = "body.0.modules_lfe.lfe_0.conv{}.shift_conv"
    assert {key.rpartition(".")[0] for key in elan} == {
        "head.0",
        block.format(0),
        block.format(0) + ".conv1x1",
        block.format(1),
        block.format(1) + ".conv1x1",
        "body.0.modules_gmsa.gmsa_0.project_inp.0",
        "body.0.modules_gmsa.gmsa_0.project_inp.1",
        "body.0.modules_gmsa.gmsa_0.project_out",
        "tail.0",
    }
    assert elan[block.format(1) + ".weight"].shape == (30, 1, 3, 3)


def test_each_state_is_recognised_by_its_own_network_alone(pair):
    network, _ = pair
    state = network.state_dict()
    assert [known for known in ARCHITECTURES if known.recognises(state)] == [type(network)]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_are_read_without_sizes_being_said(tmp_path, pair, suffix):
    network, _ = pair
    path = tmp_path / f"weights{suffix}"
    write_generator(path, network)
    again = load_generator(path)
    assert type(again) is type(network)
    assert again.state_dict().keys() == network.state_dict().keys()
    lr = noise(3, 20, 24)
    with torch.inference_mode():
        assert torch.equal(again(lr), network(lr))


@pytest.mark.parametrize("container", ["params", "params_ema"])
def test_both_rrdbnets_of_one_folder_are_told_apart(tmp_path, container):
    networks = {
        "nearest": randomise(RRDBNet(features=8, blocks=1)),
        "shuffle": randomise(RRDBPSNet(features=8, blocks=1)),
    }
    for name, network in networks.items():
        torch.save({container: network.state_dict()}, tmp_path / f"{name}.pth")
    for name, network in networks.items():
        again = load_generator(tmp_path / f"{name}.pth")
        assert type(again) is type(network)
        assert again.scale == 4


def test_elan_in_training_average_and_export(tmp_path):
    network = with_statistics(SMALL["ELAN"][0])
    # what the finetuner does to a network that was loaded
    network.requires_grad_(True).train()
    shifts = {k: v.clone() for k, v in network.state_dict().items() if "shift_conv.weight" in k}
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    average.n_averaged.fill_(1)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-5)
    network(noise(3, 32, 32, batch=2)).square().mean().backward()
    optimizer.step()
    average.update_parameters(network)
    state = network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in shifts.items())
    name = "body.0.modules_gmsa.gmsa_0.project_inp.1.running_mean"
    averaged = average.module.state_dict()
    assert torch.equal(averaged[name], state[name])
    assert not torch.equal(averaged["head.0.weight"], state["head.0.weight"])
    write_generator(tmp_path / "elan.pth", network, ema=average)
    exported = torch.load(tmp_path / "elan.pth", weights_only=True)
    for container, expected in (("params", state), ("params_ema", averaged)):
        assert exported[container].keys() == state.keys()
        assert all(torch.equal(exported[container][key], expected[key]) for key in state)


def test_inference_is_the_network(pair):
    network, _ = pair
    lr = noise(3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(prepare_for_inference(network)(lr), network(lr))


def test_tiles_of_rcan_are_not_the_whole_image():
    """Channel attention sees the whole tile: documented, and not hidden by a tolerance."""
    network = with_statistics(SMALL["RCAN"][0])
    image = noise(3, 64, 96)
    image[..., 48:] *= 0.2
    whole, tiled = (Upscaler(network, tile=tile, overlap=32)(image) for tile in (0, 48))
    assert (whole - tiled).abs().max() > 1e-3
