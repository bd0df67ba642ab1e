"""Mixed weights are between the two, and only of one network."""

import pytest
import torch
from torch import nn

from desra.errors import InputError
from models.weight_mixing import interpolate, load_mixed


def network(seed: int, width: int = 4) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))


@pytest.mark.parametrize("mix", [0, 0.25, 1, 1.5])
def test_mix_is_the_share_of_the_second(mix):
    loaded = load_mixed(["1", "2"], mix, lambda name: network(int(name)))
    first, second = network(1).state_dict(), network(2).state_dict()
    for key, tensor in loaded.state_dict().items():
        expected = (1 - mix) * first[key] + mix * second[key]
        torch.testing.assert_close(tensor, expected.to(tensor.dtype))


def test_one_weight_is_itself():
    for weights in ("3", ["3"]):
        loaded = load_mixed(weights, None, lambda name: network(int(name)))
        torch.testing.assert_close(loaded[0].weight, network(3)[0].weight)


@pytest.mark.parametrize(
    ("weights", "mix"),
    [(["1", "2"], None), (["1", "2"], 2.5), ("1", 0.5), (["1", "2", "3"], 0.5), ([], None)],
)
def test_other_numbers_of_weights_are_refused(weights, mix):
    with pytest.raises(InputError, match="mix"):
        load_mixed(weights, mix, lambda name: network(int(name)))


def test_other_networks_are_refused():
    with pytest.raises(InputError, match="same architecture"):
        interpolate(network(1), network(2, width=5), 0.5)
    with pytest.raises(InputError, match="same architecture"):
        interpolate(network(1), nn.Linear(3, 4), 0.5)
