"""Networks out of the graphs of other runtimes, whose files other programs wrote."""

import logging

import onnx
import pnnx
import pytest
import torch

from desra.errors import InputError
from models.generators import RRDBNet, SRVGGNetCompact, SwinIR, load_generator, write_generator
from models.generators.ncnn import parse_param
from tests.models.networks import noise, randomise

NETWORKS = {
    "rrdbnet": lambda: RRDBNet(4, features=8, blocks=2, growth=4),
    "rrdbnet-x1": lambda: RRDBNet(1, features=8, blocks=1, growth=4),
    "rrdbnet-x2": lambda: RRDBNet(2, features=8, blocks=1, growth=4),
    "rrdbnet-x8": lambda: RRDBNet(8, features=8, blocks=1, growth=4),
    "compact": lambda: SRVGGNetCompact(4, features=8, depth=3),
    "compact-x1": lambda: SRVGGNetCompact(1, features=8, depth=2),
    "compact-x3-relu": lambda: SRVGGNetCompact(3, features=8, depth=2, activation="relu"),
    "compact-x2-leaky": lambda: SRVGGNetCompact(2, features=8, depth=2, activation="leakyrelu"),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return randomise(NETWORKS[request.param]())


def write_ncnn(network, folder, *, fp16):
    images = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 24, 32)
    pnnx.export(network, str(folder / "model.pt"), images[0], images[1], fp16=fp16)
    return folder / "model.ncnn.param"


def write_onnx(network, path, *, dynamo):
    image = torch.rand(1, 3, 16, 20, dtype=next(network.parameters()).dtype)
    names = {"input_names": ["input"], "output_names": ["output"], "verbose": False}
    torch.onnx.export(network, (image,), path, dynamo=dynamo, external_data=False, **names)
    return path


def halved(state):
    """As pnnx does it: rounded, and what float16 has only as a subnormal number becomes zero."""
    half = {key: tensor.half().float() for key, tensor in state.items() if tensor.ndim > 1}
    return {
        key: half[key].where(half[key].abs() >= 2**-14, 0.0) if key in half else tensor
        for key, tensor in state.items()
    }


def assert_same_network(found, network, state):
    assert type(found) is type(network)
    assert found.scale == network.scale
    assert found.state_dict().keys() == state.keys()
    for key, tensor in found.state_dict().items():
        assert torch.equal(tensor, state[key]), key
    network.load_state_dict(state)
    with torch.inference_mode():
        lr = noise(3, 12, 16)
        assert torch.equal(found(lr), network(lr))


@pytest.mark.parametrize("fp16", [True, False])
def test_a_pair_of_ncnn_gives_the_network_it_was_made_from(network, tmp_path, fp16):
    text = write_ncnn(network, tmp_path, fp16=fp16)
    state = halved(network.state_dict()) if fp16 else network.state_dict()
    assert_same_network(load_generator(text), network, state)
    assert_same_network(load_generator(text.with_suffix(".bin")), network, state)


@pytest.mark.parametrize("dynamo", [True, False])
def test_an_onnx_file_gives_the_network_it_was_made_from(network, tmp_path, dynamo):
    if network.multiple > 1:
        pytest.skip("pixel unshuffling comes out as five operations, and is not recognised")
    path = write_onnx(network, tmp_path / "model.onnx", dynamo=dynamo)
    assert_same_network(load_generator(path), network, network.state_dict())


def test_it_is_written_as_its_release_does(tmp_path):
    network = randomise(RRDBNet(4, features=8, blocks=1))
    generator = load_generator(write_ncnn(network, tmp_path, fp16=False))
    write_generator(tmp_path / "again.pth", generator)
    content = torch.load(tmp_path / "again.pth", weights_only=True)
    assert content["params_ema"].keys() == network.state_dict().keys()


RELEASED = """\
7767517
9 10
Input                    input.1                  0 1 data
Split                    splitncnn_input0         1 2 data one two
Convolution              Conv_0                   1 1 one 54 0=8 1=3 4=1 5=1 6=216
PReLU                    PRelu_1                  1 1 54 56 0=8
Convolution              Conv_2                   1 1 56 57 0=48 1=3 4=1 5=1 6=3456
PixelShuffle             DepthToSpace_35          1 1 57 106 0=4
Interp                   Resize_37                1 1 two 111 0=1 1=4.000000e+00 2=4.000000e+00
BinaryOp                 Add_38                   2 1 106 111 112
Interp                   Resize_40                1 1 112 output 0=3 1=5.000000e-01 2=5.000000e-01
"""


def released_pair(folder, network, text=RELEASED):
    """As the converter of 2021 wrote Real-ESRGAN's models for video, in full precision."""
    (folder / "model.param").write_text(text)
    with open(folder / "model.bin", "wb") as file:
        for tensor in network.state_dict().values():
            file.write(b"\0" * 4 * (tensor.ndim == 4) + tensor.numpy().tobytes())
    return folder / "model.param"


def test_a_step_after_the_network_is_named_and_left_out(tmp_path, caplog):
    network = randomise(SRVGGNetCompact(4, features=8, depth=0))
    with caplog.at_level(logging.WARNING):
        found = load_generator(released_pair(tmp_path, network))
    assert_same_network(found, network, network.state_dict())
    assert "resized by 0.5" in caplog.text


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("7767517", "7767518", "does not begin with 7767517"),
        ("9 10", "11 10", "9 layers where 11 are announced"),
        ("PixelShuffle    ", "Softmax         ", "DepthToSpace_35 is a Softmax"),
        ("0=1 1=4.0", "0=1 1=3.0", "scales by 3.0 down and 4.0 across"),
        ("0=1 1=4.000000e+00 2=4.000000e+00", "0=1 1=2.0 2=2.0", "joined neither as"),
        ("6=216", "6=215", "no 3×3 convolution"),
        ("6=216", "6=9e999", "Conv_0: setting 6 is no finite number"),
        ("0=8 1=3 4=1", "0=8! 1=3 4=1", "Conv_0: could not convert string to float: '8!'"),
        ("0=8 1=3 4=1", "0=8 1=5 4=1", "no 3×3 convolution"),
        ("106 111 112", "106 missing 112", "reads 'missing'"),
        ("6=3456", "6=3888", "model.bin ends in the weights of Conv_2"),
        ("0=48 1=3 4=1 5=1 6=3456", "0=24 1=3 4=1 5=1 6=1728", "more than its .param file asks"),
    ],
)
def test_what_is_wrong_with_a_pair_is_said(tmp_path, before, after, message):
    assert before in RELEASED
    network = randomise(SRVGGNetCompact(4, features=8, depth=0))
    path = released_pair(tmp_path, network, RELEASED.replace(before, after, 1))
    with pytest.raises(InputError, match=message) as caught:
        load_generator(path)
    assert "\n" not in str(caught.value)


def test_weights_of_8_bits_are_refused(tmp_path):
    path = released_pair(tmp_path, SRVGGNetCompact(4, features=8, depth=0))
    data = path.with_suffix(".bin").read_bytes()
    path.with_suffix(".bin").write_bytes(b"\x38\x4b\x0d\x00" + data[4:])
    with pytest.raises(InputError, match="8 bits"):
        load_generator(path)


def test_half_a_pair(tmp_path):
    path = released_pair(tmp_path, SRVGGNetCompact(4, features=8, depth=0))
    path.with_suffix(".bin").unlink()
    with pytest.raises(InputError, match=r"model\.bin: missing"):
        load_generator(path)


def test_a_bin_file_of_another_program_is_read_as_ever(tmp_path):
    network = randomise(SRVGGNetCompact(2, features=8, depth=2))
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    assert torch.equal(
        load_generator(tmp_path / "pytorch_model.bin").state_dict()["body.0.weight"],
        network.state_dict()["body.0.weight"],
    )


def test_onnx_files_that_are_none_or_of_other_networks(tmp_path):
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(InputError, match="damaged, or not an ONNX file"):
        load_generator(tmp_path / "text.onnx")
    network = SwinIR(2, embed_dim=12, depths=(2,), num_heads=(2,))
    path = write_onnx(network.eval(), tmp_path / "swinir.onnx", dynamo=False)
    with pytest.raises(InputError, match="which neither RRDBNet nor SRVGGNetCompact has") as caught:
        load_generator(path)
    assert "\n" not in str(caught.value)


def test_onnx_in_half_precision(tmp_path):
    network = randomise(SRVGGNetCompact(2, features=8, depth=2)).half().float()
    path = write_onnx(network.half(), tmp_path / "model.onnx", dynamo=True)
    model = onnx.load(path)
    assert {item.data_type for item in model.graph.initializer} >= {onnx.TensorProto.FLOAT16}
    found = load_generator(path).state_dict()
    for key, tensor in network.state_dict().items():
        assert torch.equal(found[key], tensor.float())


def test_arrays_and_numbers_of_a_layer():
    text = "7767517\n1 1\nEltwise add 2 1 a b c 0=1 -23301=2,2.0e-01,1.0\n"
    (layer,) = parse_param(text)
    assert (layer.kind, layer.inputs, layer.outputs) == ("Eltwise", ["a", "b"], ["c"])
    assert (layer.number(0), layer.numbers(1)) == (1, [0.2, 1.0])
