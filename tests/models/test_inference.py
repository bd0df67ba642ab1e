import copy

import pytest
import torch
from torch import nn

from desra.memory import peak_bytes
from models.generators import RRDBNet, SRVGGNetCompact, SwinIR, prepare_for_inference
from models.generators.inference import fill_up_heads
from tests.models.networks import noise, randomise

SMALL = {"embed_dim": 20, "depths": (2, 3), "num_heads": (2, 1)}
NETWORKS = {
    "RRDBNet": (RRDBNet(features=12, blocks=2, growth=10), (13, 18)),
    "RRDBNet, a strip and more": (RRDBNet(features=8, blocks=1, growth=8), (33, 9)),
    "RRDBNet x2": (RRDBNet(2, features=16, blocks=1, growth=8), (7, 9)),
    "RRDBNet x1": (RRDBNet(1, features=16, blocks=1, growth=8), (9, 6)),
    "RRDBNet x8": (RRDBNet(8, features=8, blocks=1, growth=8), (5, 3)),
    "RRDBNet without upsampling": (
        RRDBNet(1, features=8, blocks=1, growth=8, unshuffle=1),
        (70, 5),
    ),
    "SRVGGNetCompact": (SRVGGNetCompact(features=16, depth=3), (11, 14)),
    "SRVGGNetCompact x1, grey": (SRVGGNetCompact(1, channels=1, features=9, depth=1), (3, 5)),
    "SRVGGNetCompact, LeakyReLU": (
        SRVGGNetCompact(3, features=8, depth=2, activation="leakyrelu"),
        (6, 7),
    ),
    "SRVGGNetCompact, ReLU": (SRVGGNetCompact(2, features=8, depth=2, activation="relu"), (6, 7)),
    "SwinIR": (SwinIR(4, **SMALL), (19, 26)),
    "SwinIR, large": (SwinIR(2, **SMALL, resi_connection="3conv"), (16, 8)),
    "SwinIR, classical x3": (SwinIR(3, **SMALL, upsampler="pixelshuffle"), (5, 9)),
    "SwinIR, lightweight": (SwinIR(2, **SMALL, upsampler="pixelshuffledirect"), (9, 17)),
    "SwinIR, JPEG": (
        SwinIR(1, **SMALL, upsampler="", channels=1, img_size=126, window_size=7, img_range=255.0),
        (20, 29),
    ),
    "SwinIR, not shifted": (
        SwinIR(2, **SMALL, img_size=8, patch_norm=False, qkv_bias=False),
        (9, 25),
    ),
}


@pytest.fixture
def memory_full_of_nan():
    """What `torch.empty` gives is NaN, so that a value read before it is written shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(1).isnan()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("memory_full_of_nan")
@pytest.mark.parametrize("name", NETWORKS)
def test_prepared_generators_give_the_same(name):
    network, size = NETWORKS[name]
    randomise(network)
    prepared = prepare_for_inference(network)
    lr = noise(3 if "grey" not in name and "JPEG" not in name else 1, *size, batch=2)
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(lr.double())
        plain = network(lr)
    output = prepared(lr)
    assert output.shape == exact.shape
    scale = exact.abs().max()
    assert (output - exact).abs().max() <= max(3 * (plain - exact).abs().max(), 1e-6 * scale)
    assert (prepared.scale, prepared.multiple) == (network.scale, network.multiple)


def test_the_generator_stays_as_it_is_and_later_changes_are_not_seen():
    for network, size in (NETWORKS["RRDBNet x2"], NETWORKS["SwinIR, classical x3"]):
        randomise(network)
        state = {key: value.clone() for key, value in network.state_dict().items()}
        prepared = prepare_for_inference(network)
        before = prepared(noise(3, *size))
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
        assert all(parameter.requires_grad for parameter in network.parameters())
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
        assert torch.equal(prepared(noise(3, *size)), before)


@pytest.mark.parametrize("name", ["RRDBNet", "SRVGGNetCompact", "SwinIR"])
def test_half_precision(name):
    network, size = NETWORKS[name]
    randomise(network)
    prepared = prepare_for_inference(network, dtype=torch.bfloat16)
    lr = noise(3, *size)
    output = prepared(lr)
    assert output.dtype == torch.bfloat16
    with torch.inference_mode():
        exact = network(lr)
        plain = copy.deepcopy(network).bfloat16()(lr.bfloat16()).float()
    assert (output.float() - exact).abs().max() <= 2 * (plain - exact).abs().max()


def test_input_of_another_type():
    network, _ = NETWORKS["SRVGGNetCompact"]
    prepared = prepare_for_inference(randomise(network))
    lr = noise(3, 6, 8)
    torch.testing.assert_close(prepared(lr.double()), prepared(lr))


def test_other_networks_run_on_pytorch():
    class Doubled(nn.Module):
        scale = 2

        def forward(self, x):
            return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    prepared = prepare_for_inference(Doubled())
    assert (prepared.scale, prepared.multiple) == (2, 1)
    assert prepared(noise(3, 4, 5)).shape == (1, 3, 8, 10)


def test_heads_filled_up_with_zeros_change_nothing():
    network = randomise(SwinIR(2, embed_dim=30, depths=(2,), num_heads=(3,)))
    filled = copy.deepcopy(network)
    fill_up_heads(filled)
    attention = filled.groups[0].blocks[0].attn
    assert attention.qkv.weight.shape == (3 * 3 * 16, 30)
    assert (attention.qkv.out_features, attention.proj.in_features) == (144, 48)
    with torch.inference_mode():
        lr = noise(3, 16, 24)
        torch.testing.assert_close(filled(lr), network(lr), atol=1e-6, rtol=1e-5)


def test_less_memory_than_the_plain_network():
    network = randomise(RRDBNet(blocks=1))
    prepared = prepare_for_inference(network)
    lr = noise(3, 64, 64)
    with torch.inference_mode():
        plain = peak_bytes(lambda: network(lr))
    assert peak_bytes(lambda: prepared(lr)) < plain / 2


def test_unknown_acceleration():
    with pytest.raises(ValueError, match="acceleration must be"):
        prepare_for_inference(NETWORKS["SRVGGNetCompact"][0], acceleration="magic")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["RRDBNet", "SRVGGNetCompact", "SwinIR"])
@pytest.mark.parametrize("acceleration", ["none", "compile"])
def test_on_a_gpu(name, acceleration):
    network, size = NETWORKS[name]
    randomise(network)
    prepared = prepare_for_inference(network, "cuda", torch.float32, acceleration)
    lrs = [noise(3, *size), 1 - noise(3, *size), noise(3, 8, 16)]
    outputs = [prepared(lr) for lr in lrs]
    with torch.inference_mode():
        for lr, output in zip(lrs, outputs, strict=True):
            torch.testing.assert_close(output.cpu(), network(lr), atol=1e-2, rtol=1e-2)
