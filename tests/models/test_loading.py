import json
import sys

import pytest
import torch
from spandrel import ModelLoader
from torch.optim.swa_utils import AveragedModel

from desra.checkpoints import read_checkpoint
from desra.errors import InputError
from models.generators import (
    RRDBNet,
    SRVGGNetCompact,
    SwinIR,
    load_generator,
    write_generator,
)
from models.generators.rrdbnet_keys import from_basicsr
from tests.models.networks import noise, randomise

NETWORKS = {
    "RRDBNet": RRDBNet(features=16, blocks=1),
    "SRVGGNetCompact": SRVGGNetCompact(2, features=8, depth=2),
    "SwinIR": SwinIR(2, embed_dim=12, depths=(2,), num_heads=(2,)),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return randomise(NETWORKS[request.param])


def output(network, lr=None):
    with torch.inference_mode():
        return network(noise(3, 16, 18) if lr is None else lr)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_written_is_read_here_and_elsewhere(tmp_path, network, suffix):
    path = tmp_path / f"weights{suffix}"
    write_generator(path, network, metadata={"iterations": 5, "config": {"lr": 1e-4}})
    again = load_generator(path)
    assert type(again) is type(network)
    assert not again.training
    assert torch.equal(output(again), output(network))
    elsewhere = ModelLoader("cpu").load_from_file(path)
    assert elsewhere.scale == network.scale
    torch.testing.assert_close(output(elsewhere.model.eval()), output(network))
    metadata = read_checkpoint(path).metadata
    assert metadata["architecture"] == type(network).__name__
    assert metadata["scale"] == str(network.scale)
    assert metadata["iterations"] == "5"
    assert json.loads(metadata["config"]) == {"lr": 1e-4}
    assert metadata["desra_version"]


def test_what_another_program_writes_is_read(tmp_path, network):
    other = ModelLoader("cpu").load_from_state_dict(dict(network.state_dict())).model.eval()
    for container in ("params", "params_ema", "state_dict", "model"):
        torch.save({container: other.state_dict()}, tmp_path / "weights.pth")
        again = load_generator(tmp_path / "weights.pth")
        torch.testing.assert_close(output(again), output(other))
        assert again.source_layout.container == container


def test_averaged_weights_are_written_beside_the_others(tmp_path, network):
    average = AveragedModel(network)
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.mul_(0.9)
    write_generator(tmp_path / "weights.pth", network, ema=average)
    content = torch.load(tmp_path / "weights.pth", weights_only=True)
    assert content["params"].keys() == content["params_ema"].keys() == network.state_dict().keys()
    assert torch.equal(output(load_generator(tmp_path / "weights.pth")), output(average))
    unaveraged = load_generator(tmp_path / "weights.pth", key="params")
    assert torch.equal(output(unaveraged), output(network))
    write_generator(tmp_path / "weights.safetensors", network, ema=average)
    assert torch.equal(output(load_generator(tmp_path / "weights.safetensors")), output(average))


def test_a_checkpoint_of_finetuning(tmp_path, network):
    average = AveragedModel(network)
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.mul_(0.9)
    state = {
        **{f"generator.{key}": tensor for key, tensor in network.state_dict().items()},
        **{f"ema.{key}": tensor for key, tensor in average.state_dict().items()},
    }
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "last.ckpt")
    again = load_generator(tmp_path / "last.ckpt")
    assert torch.equal(output(again), output(average))
    unaveraged = load_generator(tmp_path / "last.ckpt", key="generator")
    assert torch.equal(output(unaveraged), output(network))
    write_generator(tmp_path / "weights.pth", again)
    content = torch.load(tmp_path / "weights.pth", weights_only=True)
    assert content.keys() == {network.CONTAINER, "metadata"}


@pytest.mark.parametrize("style", ["basicsr", "bsrgan", "esrgan"])
@pytest.mark.parametrize("container", ["params", "params_ema", ""])
def test_the_layout_of_the_source_is_kept(tmp_path, style, container):
    state = from_basicsr(randomise(NETWORKS["RRDBNet"]).state_dict(), style)
    torch.save({container: state} if container else state, tmp_path / "source.pth")
    network = load_generator(tmp_path / "source.pth")
    write_generator(tmp_path / "copy.pth", network)
    copied = torch.load(tmp_path / "copy.pth", weights_only=True)
    copied = copied[container] if container else copied
    assert copied.keys() == state.keys()
    assert all(torch.equal(copied[key], state[key]) for key in state)
    write_generator(tmp_path / "averaged.pth", network, ema=AveragedModel(network))
    averaged = torch.load(tmp_path / "averaged.pth", weights_only=True)
    assert averaged.keys() >= ({"params", "params_ema"} if container else state.keys())
    assert read_checkpoint(tmp_path / "averaged.pth").metadata.get("source") == (
        "source.pth" if container else None
    )


def test_what_no_key_tells_is_in_the_metadata(tmp_path):
    relu = randomise(SRVGGNetCompact(2, features=8, depth=2, activation="relu"))
    write_generator(tmp_path / "relu.pth", relu)
    assert torch.equal(output(load_generator(tmp_path / "relu.pth")), output(relu))
    torch.save(relu.state_dict(), tmp_path / "bare.pth")
    assert load_generator(tmp_path / "bare.pth").activation == "leakyrelu"
    assert load_generator(tmp_path / "bare.pth", activation="relu").activation == "relu"
    with pytest.raises(InputError, match="img_range: not an option of SRVGGNetCompact"):
        load_generator(tmp_path / "bare.pth", img_range=255)


def test_half_precision_files(tmp_path, network):
    state = {
        key: tensor.half() if tensor.is_floating_point() else tensor
        for key, tensor in network.state_dict().items()
    }
    torch.save(state, tmp_path / "half.pth")
    again = load_generator(tmp_path / "half.pth")
    assert all(parameter.dtype == torch.float32 for parameter in again.parameters())
    torch.testing.assert_close(output(again), output(network), atol=0.02, rtol=0.02)


def test_networks_that_are_not_known(tmp_path):
    torch.save({f"layer{i}.weight": torch.ones(1) for i in range(6)}, tmp_path / "other.pth")
    with pytest.raises(InputError) as error:
        load_generator(tmp_path / "other.pth")
    message = str(error.value)
    assert "layer0.weight, layer1.weight, layer2.weight, layer3.weight and 2 more" in message
    assert "not a network that spandrel" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "key", "change"),
    [
        ("RRDBNet", "body.0.rdb2.conv3.bias", None),
        ("RRDBNet", "conv_up1.weight", torch.zeros(3, 16, 3, 3)),
        ("SRVGGNetCompact", "body.2.weight", torch.zeros(8, 9, 3, 3)),
        ("SRVGGNetCompact", "body.7.extra", torch.zeros(1)),
        ("SwinIR", "layers.0.residual_group.blocks.1.norm2.bias", None),
        ("SwinIR", "layers.0.residual_group.blocks.0.attn.qkv.weight", torch.zeros(5, 12)),
        ("SwinIR", "norm.extra", torch.zeros(1)),
    ],
)
def test_states_that_do_not_fit_are_an_error_of_one_line(tmp_path, name, key, change):
    state = dict(NETWORKS[name].state_dict())
    state[key] = change
    torch.save({k: v for k, v in state.items() if v is not None}, tmp_path / "broken.pth")
    with pytest.raises(InputError, match=f"incomplete or altered {name}") as error:
        load_generator(tmp_path / "broken.pth")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_weights_that_are_no_real_numbers_are_refused(tmp_path, dtype):
    state = {key: (9 * part).to(dtype) for key, part in NETWORKS["RRDBNet"].state_dict().items()}
    torch.save(state, tmp_path / "quantized.pth")
    with pytest.raises(InputError, match=r"quantized\.pth: conv_first.* give weights in floating"):
        load_generator(tmp_path / "quantized.pth")


def test_wrapped_networks_are_written_without_the_wrapper(tmp_path):
    network = NETWORKS["SRVGGNetCompact"]
    write_generator(tmp_path / "weights.pth", torch.nn.DataParallel(network))
    assert (
        torch.load(tmp_path / "weights.pth", weights_only=True)["params"].keys()
        == network.state_dict().keys()
    )


WRAPPINGS = {
    "Lightning's net.": lambda state: {"state_dict": prefixed(state, "net.")},
    "Lightning's model.": lambda state: {"state_dict": prefixed(state, "model.")},
    "DDP in Lightning": lambda state: {"state_dict": prefixed(state, "model.module.")},
    "AveragedModel": lambda state: {**prefixed(state, "module."), "n_averaged": torch.tensor(3)},
    "compiled": lambda state: prefixed(state, "_orig_mod."),
    "ema_pytorch": lambda state: {
        **{key: torch.zeros_like(value) for key, value in prefixed(state, "online_model.").items()},
        **prefixed(state, "ema_model."),
        "initted": torch.tensor(True),
        "step": torch.tensor(9),
    },
    "ema_pytorch in Lightning": lambda state: {
        "state_dict": {
            **prefixed(state, "ema.ema_model."),
            **{key: torch.zeros_like(value) for key, value in prefixed(state, "net.").items()},
        }
    },
    "a step counter": lambda state: {
        **prefixed(state, "generator."),
        "step_counter": torch.tensor(1),
    },
    "a loss beside it": lambda state: {
        "state_dict": {**prefixed(state, "net."), **prefixed({"a": torch.ones(1)}, "loss.")}
    },
}


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappings_of_the_wild(tmp_path, network, wrapping):
    torch.save(WRAPPINGS[wrapping](dict(network.state_dict())), tmp_path / "w.ckpt")
    assert torch.equal(output(load_generator(tmp_path / "w.ckpt")), output(network))


BUFFERS = ("attn_mask", "relative_position_index")


@pytest.mark.parametrize("missing", [BUFFERS[:1], BUFFERS[1:], BUFFERS])
def test_buffers_of_swinir_that_its_sizes_tell_are_computed(tmp_path, missing):
    network = randomise(NETWORKS["SwinIR"])
    state = {k: v for k, v in network.state_dict().items() if not k.endswith(missing)}
    torch.save(state, tmp_path / "w.pth")
    assert torch.equal(output(load_generator(tmp_path / "w.pth")), output(network))


def test_what_changes_swinir_is_refused(tmp_path):
    state = dict(randomise(NETWORKS["SwinIR"]).state_dict())
    (key, *_) = (key for key in state if key.endswith("relative_position_index"))
    state[key] = state[key].flip(0)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match="its positions are not those of SwinIR"):
        load_generator(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "change",
    [
        {"body.999999999.rdb1.conv1.weight": torch.zeros(1)},
        {"body.99999999999999999999.weight": torch.zeros(1)},
        {"conv_first.weight": torch.zeros(1, 1, 1, 1).expand(30_000, 30, 3, 3)},
        {"conv_first.weight": torch.zeros(())},
        {"conv_first.weight": torch.zeros(0, 3, 3, 3)},
        {"conv_last.weight": torch.zeros(2**21, 1, 1, 1)},
    ],
)
def test_sizes_that_the_file_does_not_bear_out_take_no_memory(tmp_path, change):
    torch.save({**NETWORKS["RRDBNet"].state_dict(), **change}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth: "):
        load_generator(tmp_path / "w.pth")


def behind(prefix, network):
    return {f"{prefix}{key}": tensor for key, tensor in network.state_dict().items()}


@pytest.mark.parametrize(
    "beside",
    [
        lambda network: {"foo.bar.steps": torch.tensor(3), **behind("foo.bar.", network)},
        lambda network: {"a": {"state_dict": behind("module.sr_net.trunk.core.", network)}},
        lambda network: {
            **behind("gan.gen.", network),
            **{f"gan.disc.conv{n}.weight": torch.ones(2) for n in range(3)},
        },
        lambda network: {
            **{key: tensor + 1 for key, tensor in behind("gen.", network).items()},
            **behind("genEMA.", network),
        },
    ],
)
def test_a_network_behind_names_that_nobody_told_of(tmp_path, network, beside, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)  # which takes seconds to be asked
    torch.save(beside(network), tmp_path / "w.pth")
    again = load_generator(tmp_path / "w.pth")
    assert torch.equal(output(again), output(network))
    assert again.source_layout.container == type(network).CONTAINER


def test_two_networks_behind_unknown_names_are_told(tmp_path, network):
    torch.save(behind("first.", network) | behind("second.", network), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"several networks, first\., second\.; save"):
        load_generator(tmp_path / "w.pth")
