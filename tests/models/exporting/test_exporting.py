"""Exported models run by their own programs, against the network in PyTorch."""

import re
import shutil

import numpy as np
import onnx
import pytest
import torch
from spandrel.architectures.DAT import DAT
from spandrel.architectures.OmniSR import OmniSR
from spandrel.architectures.PLKSR import RealPLKSR
from spandrel.architectures.SPAN import SPAN

from desra.detectors import ArtifactDetector
from desra.errors import InputError
from models.exporting import RUNTIMES, Tolerance, export_name, prove, write
from models.generators import RRDBNet, SRVGGNetCompact, SwinIR, load_generator
from tests.conftest import smooth_photo
from tests.models.networks import noise, randomise

SMALL = {"features": 8, "blocks": 1, "growth": 4}
NETWORKS = {
    "rrdbnet": lambda: RRDBNet(4, **SMALL),
    "rrdbnet-x2": lambda: RRDBNet(2, **SMALL),
    "rrdbnet-x1": lambda: RRDBNet(1, **SMALL),
    "compact": lambda: SRVGGNetCompact(3, features=8, depth=2),
    "swinir": lambda: SwinIR(2, embed_dim=12, depths=(2,), num_heads=(2,)),
}
OTHERS = {
    ("span", "ncnn"): lambda: SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2),
    ("realplksr", "ncnn"): lambda: RealPLKSR(dim=16, n_blocks=1, upscaling_factor=4),
    ("dysample", "onnx"): lambda: RealPLKSR(
        dim=16, n_blocks=1, upscaling_factor=2, layer_norm=True, dysample=True
    ),
    ("dat", "torchscript"): lambda: DAT(
        embed_dim=32, depth=[3], num_heads=[2], split_size=[8, 16], upsampler="pixelshuffledirect"
    ),
    ("omnisr", "torchscript"): lambda: OmniSR(num_feat=16, res_num=1, up_scale=2, window_size=8),
}
DETECTOR = ArtifactDetector(min_area=50)


def photos():
    pixels = smooth_photo(0, 64, 64).transpose(2, 0, 1)
    return [np.ascontiguousarray(pixels, np.float32) / np.float32(255)]


def small_output(network):
    """With an output in [0, 1], as trained networks have."""
    network = randomise(network)
    with torch.no_grad():
        for parameter in list(network.parameters())[-2:]:
            parameter.mul_(0.2)
    return network


def proven(network, path, form, precision="fp32", tolerance=1e-4, iou=0.999):
    write(network, path / "model", form, precision)
    runtime = RUNTIMES[form](path / "model", network.scale)
    return prove(network, runtime, photos(), DETECTOR, Tolerance(tolerance, iou))


@pytest.mark.parametrize("form", RUNTIMES)
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_exported_is_the_same_network(name, form, tmp_path):
    network = small_output(NETWORKS[name]())
    if (name, form) == ("swinir", "ncnn"):
        with pytest.raises(InputError, match="ncnn"):
            proven(network, tmp_path, form)
        return
    proof = proven(network, tmp_path, form)
    assert proof.images == 3
    assert proof.psnr > 90
    assert proof.detected > 0  # else the masks would say nothing
    assert proof.iou >= 0.999


@pytest.mark.parametrize(("name", "form"), OTHERS)
def test_networks_of_2024_and_later_at_any_size(name, form, tmp_path):
    """What tracing alone gets wrong or cannot hold; in ONNX all: `test_community_networks`."""
    torch.manual_seed(0)
    torch.save(OTHERS[name, form]().state_dict(), tmp_path / "source.pth")
    proven(load_generator(tmp_path / "source.pth"), tmp_path, form)


def test_what_a_runtime_has_no_layer_for_is_a_line(tmp_path):
    torch.save(OTHERS["omnisr", "torchscript"]().state_dict(), tmp_path / "source.pth")
    with pytest.raises(InputError, match=r"^ncnn has no layer [^\n]*$"):
        write(load_generator(tmp_path / "source.pth"), tmp_path / "model", "ncnn")


@pytest.mark.parametrize("form", RUNTIMES)
def test_half_precision_is_half_the_size_and_nearly_the_same(form, tmp_path):
    network = small_output(SRVGGNetCompact(4, features=16, depth=2))
    write(network, tmp_path / "full", form)
    proof = proven(network, tmp_path, form, "fp16", 2 / 255, iou=0.99)
    assert proof.difference > 0
    sizes = [
        sum(path.stat().st_size for path in tmp_path.glob(f"{stem}.*"))
        for stem in ("full", "model")
    ]
    assert sizes[1] < 0.8 * sizes[0]
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


@pytest.mark.parametrize("form", ["onnx", "ncnn"])
def test_a_file_that_is_not_the_same_is_refused_with_the_layer_where_it_begins(form, tmp_path):
    network = small_output(RRDBNet(4, **SMALL))
    write(network, tmp_path / "model", form)
    if form == "onnx":
        model = onnx.load(tmp_path / "model.onnx")
        (wrong,) = (t for t in model.graph.initializer if t.name == "body.0.rdb2.conv3.weight")
        wrong.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(wrong), wrong.name))
        onnx.save(model, tmp_path / "model.onnx")
    else:
        wrong = network.body[0].rdb2.conv3.weight.detach().numpy().tobytes()
        data = (tmp_path / "model.bin").read_bytes()
        assert data.count(wrong) == 1
        turned = (-np.frombuffer(wrong, np.float32)).tobytes()
        (tmp_path / "model.bin").write_bytes(data.replace(wrong, turned))
    with pytest.raises(InputError, match=r"differs by .*begins at body\.0\.rdb2\.conv3$"):
        prove(network, RUNTIMES[form](tmp_path / "model", 4), photos(), DETECTOR, Tolerance(1e-4))


def test_masks_that_differ_are_refused_though_pixels_hardly_do(tmp_path):
    network = small_output(SRVGGNetCompact(2, features=8, depth=1))
    write(network, tmp_path / "model", "pth")
    runtime = RUNTIMES["pth"](tmp_path / "model", 2)
    bias = network.body[-1].bias
    with torch.no_grad():
        bias.add_(0.05 * torch.linspace(-1, 1, len(bias)))
    with pytest.raises(InputError, match="masks agree to"):
        prove(network, runtime, photos(), DETECTOR, Tolerance(1.0, 1.0))


def test_an_ncnn_pair_has_the_names_that_upscayl_asks_for(tmp_path):
    write(randomise(RRDBNet(4, **SMALL)), tmp_path / "model", "ncnn", "fp16")
    lines = (tmp_path / "model.param").read_text().splitlines()
    assert re.fullmatch(r"Input +data +0 1 data", lines[2])
    assert lines[-1].split("=")[0].split()[-2] == "output" or " output " in lines[-1]
    assert sum(line.split().count("output") for line in lines) == 1


def test_an_exported_pair_comes_back_with_its_weights(tmp_path):
    network = randomise(RRDBNet(4, **SMALL))
    write(network, tmp_path / "model", "ncnn")
    again = load_generator(tmp_path / "model.param").state_dict()
    for key, tensor in network.state_dict().items():
        assert torch.equal(again[key], tensor)


def test_names_tell_upscayl_the_scale():
    assert export_name("tuned", 4, "onnx") == "tuned"
    for stem, scale in (("tuned", 4), ("x2", 4), ("a_4x_b", 2), ("RealESRGAN_x2plus", 2)):
        name = export_name(stem, scale, "ncnn")
        guess = 2 if re.search("x2|2x", name) else 3 if re.search("x3|3x", name) else 4
        assert guess == scale, name


def test_the_network_stays_as_it_is(tmp_path):
    network = SwinIR(2, embed_dim=12, depths=(2,), num_heads=(2,)).train()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    write(network, tmp_path / "model", "onnx", "fp16")
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[key])
    shutil.rmtree(tmp_path)
    assert network(noise(3, 8, 8)).shape == (1, 3, 16, 16)
