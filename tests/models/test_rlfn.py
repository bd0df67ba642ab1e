"""RLFN against a plain function of its state, by the release's keys."""

import pytest
import torch
from torch.nn import functional as F

from models.generators import RLFN, load_generator, write_generator
from models.generators.loading import ARCHITECTURES
from tests.models.networks import noise, randomise
from tests.reference.enhancement_networks import conv


def plain(state, image, blocks, scale):
    first = x = conv(state, "conv_1", image)
    for number in range(1, blocks + 1):
        name, y = f"block_{number}.", x
        for part in ("c1_r", "c2_r", "c3_r"):
            y = conv(state, name + part, y)
            y = torch.where(y > 0, y, 0.05 * y)
        y = conv(state, f"{name}c5", x + y)
        fine = conv(state, f"{name}esa.conv1", y)
        coarse = F.conv2d(fine, *(state[f"{name}esa.conv2.{k}"] for k in ("weight", "bias")), 2)
        coarse = conv(state, f"{name}esa.conv3", F.max_pool2d(coarse, 7, 3))
        coarse = F.interpolate(coarse, y.shape[2:], mode="bilinear")
        gate = conv(state, f"{name}esa.conv4", coarse + conv(state, f"{name}esa.conv_f", fine))
        x = y * torch.sigmoid(gate)
    return F.pixel_shuffle(conv(state, "upsampler.0", conv(state, "conv_2", x) + first), scale)


@pytest.mark.parametrize("size", [(15, 24), (37, 21)])
def test_same_output_as_a_plain_function(size):
    network = randomise(RLFN(2, features=12, blocks=2, middle=10, attention=4)).double()
    lr = noise(3, *size, batch=2).double()
    with torch.inference_mode():
        torch.testing.assert_close(network(lr), plain(network.state_dict(), lr, 2, 2))
        assert network(lr[..., :3, :1]).shape == (2, 3, 6, 2)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_is_recognised_and_written_alike(tmp_path, suffix):
    network = randomise(RLFN(features=12, blocks=2, middle=10, attention=4))
    state = network.state_dict()
    assert [known for known in ARCHITECTURES if known.recognises(state)] == [RLFN]
    write_generator(tmp_path / f"rlfn{suffix}", network)
    again = load_generator(tmp_path / f"rlfn{suffix}")
    with torch.inference_mode():
        assert torch.equal(again(noise(3, 16, 20)), network(noise(3, 16, 20)))
    if suffix == ".pth":
        assert torch.load(tmp_path / "rlfn.pth").keys() == state.keys()


def test_sizes_of_the_release():
    with torch.device("meta"):
        network = RLFN()
    assert {key.rpartition(".")[0] for key in network.state_dict() if "block" not in key} == {
        "conv_1", "conv_2", "upsampler.0",
    }  # fmt: skip
    assert {key.split(".", 1)[1] for key in network.state_dict() if "block_6" in key} == {
        f"{name}.{kind}" for kind in ("weight", "bias")
        for name in ("c1_r", "c2_r", "c3_r", "c5",
                     *(f"esa.conv{part}" for part in ("1", "_f", "2", "3", "4")))
    }  # fmt: skip
    assert sum(parameter.numel() for parameter in network.parameters()) == 543_740  # "543K"
