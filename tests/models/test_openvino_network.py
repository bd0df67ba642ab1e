"""OpenVINO in the place of a generator: the same outputs, or one line."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from desra.errors import InputError
from models.generators import SRVGGNetCompact, prepare_for_inference, write_generator
from models.openvino_network import OpenVINONetwork
from models.upscaler import Upscaler, load_upscaler
from tests.models.networks import noise, randomise
from tests.models.test_inference import NETWORKS

COLOUR = [name for name in NETWORKS if "grey" not in name and "JPEG" not in name]


@pytest.fixture(scope="module")
def compact():
    return randomise(SRVGGNetCompact(2, features=8, depth=3))


@pytest.mark.parametrize("name", COLOUR)
def test_the_same_as_pytorch_at_any_size(name):
    network, size = NETWORKS[name]
    prepared = prepare_for_inference(randomise(network), acceleration="openvino")
    assert (prepared.scale, prepared.multiple) == (network.scale, network.multiple)
    for lr in (noise(3, *size, batch=2), noise(3, 31, 16), noise(3, *size)):
        with torch.inference_mode():
            torch.testing.assert_close(prepared(lr), network(lr), atol=1e-5, rtol=1e-5)


def test_outputs_are_the_callers_own(compact):
    network = OpenVINONetwork(compact)
    lrs = noise(3, 9, 12), 1 - noise(3, 9, 12)
    first = network(lrs[0])
    before = first.clone()
    assert not torch.equal(network(lrs[1]), before)
    assert torch.equal(first, before)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_pytorchs(compact, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        compiled = OpenVINONetwork(compact)._request.get_compiled_model()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert compiled.get_property("INFERENCE_NUM_THREADS") == threads


@pytest.mark.parametrize(
    "settings",
    [{}, {"tile": 16}, {"tile": 12, "overlap": 4}, {"tile": 16, "batch": 3}, {"border": 0}],
    ids=str,
)
def test_tiles_borders_and_batches_are_those_of_the_upscaler(compact, settings):
    lr = noise(3, 45, 38, batch=2)
    ours, theirs = (
        Upscaler(compact, acceleration=name, **settings)(lr) for name in ("none", "openvino")
    )
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)


def test_mixed_weights(tmp_path):
    files = [tmp_path / "a.pth", tmp_path / "b.pth"]
    for seed, file in enumerate(files):
        write_generator(file, randomise(SRVGGNetCompact(2, features=8, depth=2), seed))
    pixels = (noise(3, 20, 26)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    ours, theirs = (
        load_upscaler([*map(str, files)], mix=0.3, acceleration=name)(pixels)
        for name in ("none", "openvino")
    )
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_new_weights_are_seen_after_renew(compact):
    lr = noise(3, 8, 9)
    upscaler = Upscaler(compact, acceleration="openvino")
    before = upscaler(lr)
    changed = randomise(SRVGGNetCompact(2, features=8, depth=3), seed=5)
    after = upscaler.renew(changed)(lr)
    assert (after - before).abs().max() > 1e-3
    torch.testing.assert_close(after, Upscaler(changed)(lr), atol=1e-4, rtol=0)


class Sized(nn.Module):
    """What tracing gets wrong: a size that went through Python."""

    scale = 1

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, lr):
        return lr * self.one * int(lr.shape[2])


class Exotic(Sized):
    """An operation that OpenVINO does not have."""

    def forward(self, lr):
        return lr * torch.linalg.matrix_exp(lr[..., :4, :4] * self.one).mean()


@pytest.mark.parametrize(
    ("network", "complaint"),
    [
        (Sized(), "Sized: OpenVINO differs from PyTorch by .*, and 0.0001 is allowed"),
        (Exotic(), "Exotic: OpenVINO cannot convert this network: .*linalg_matrix_exp"),
    ],
)
def test_what_is_not_the_same_is_refused(network, complaint):
    with pytest.raises(InputError, match=complaint):
        prepare_for_inference(network, acceleration="openvino")


def test_a_refusal_names_the_weights(tmp_path, monkeypatch):
    write_generator(tmp_path / "mine.pth", SRVGGNetCompact(2, features=8, depth=2))
    monkeypatch.setattr("models.openvino_network.TOLERANCE", -1.0)
    upscaler = load_upscaler(str(tmp_path / "mine.pth"), acceleration="openvino")
    with pytest.raises(InputError, match=r"^mine\.pth: OpenVINO differs"):
        upscaler.prepare()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_refused(compact, precision):
    upscaler = Upscaler(compact, acceleration="openvino", precision=precision)
    with pytest.raises(InputError, match="for the processor in float32"):
        upscaler.prepare()


def test_a_gpu_is_refused(compact):
    with pytest.raises(InputError, match="this is cuda in float32: give trainer=cpu"):
        prepare_for_inference(compact, "cuda", acceleration="openvino")


def test_openvino_reports_nothing_to_its_maker(tmp_path):
    program = (
        "import sys\n"
        "from models.generators import SRVGGNetCompact\n"
        "from models.openvino_network import OpenVINONetwork\n"
        "OpenVINONetwork(SRVGGNetCompact(features=8, depth=1))\n"
        "assert 'openvino' in sys.modules and 'openvino_telemetry' not in sys.modules\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "CI": ""}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert not (tmp_path / "intel").exists()
