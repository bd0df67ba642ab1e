import sys

import pytest
import torch
from spandrel.architectures.SPAN import SPAN

from desra.errors import InputError
from models.generators import SRVGGNetCompact, load_generator, write_generator
from models.generators.spandrel_adapter import load_spandrel
from tests.models.networks import noise, randomise


@pytest.fixture
def span(tmp_path):
    """A network that is not known here, in a file."""
    network = randomise(SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2))
    torch.save({"params": network.state_dict()}, tmp_path / "span.pth")
    return network, tmp_path / "span.pth"


def test_a_network_of_another_architecture(span):
    network, path = span
    generator = load_spandrel(path)
    assert (generator.scale, generator.architecture) == (2, "SPAN")
    assert not generator.training
    lr = noise(3, 9, 14)
    with torch.inference_mode():
        torch.testing.assert_close(generator(lr), network(lr))
    assert load_generator(path).architecture == "SPAN"  # where spandrel is installed


def test_a_checkpoint_of_finetuning(span, tmp_path):
    network, path = span
    generator = load_spandrel(path)
    state = {f"generator.{key}": tensor for key, tensor in generator.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    again = load_spandrel(tmp_path / "last.ckpt")
    assert again.network.state_dict().keys() == network.state_dict().keys()


def test_networks_that_are_known_here_work_too(tmp_path):
    network = randomise(SRVGGNetCompact(2, features=8, depth=2))
    write_generator(tmp_path / "weights.pth", network)
    with torch.inference_mode():
        lr = noise(3, 7, 5)
        torch.testing.assert_close(load_spandrel(tmp_path / "weights.pth")(lr), network(lr))


def test_what_cannot_be_used_is_an_error_of_one_line(tmp_path):
    torch.save({"a.weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"not a network that spandrel .* knows.*a\.weight"):
        load_spandrel(tmp_path / "other.pth")
    write_generator(tmp_path / "grey.pth", SRVGGNetCompact(2, channels=1, features=8, depth=2))
    with pytest.raises(InputError, match="from 1 to 1 channels; RGB"):
        load_spandrel(tmp_path / "grey.pth")


def test_without_spandrel(monkeypatch, span):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(InputError, match=r"known here.*pip install 'desra\[spandrel\]'"):
        load_generator(span[1])
    with pytest.raises(InputError, match=r"pip install 'desra\[spandrel\]'"):
        load_spandrel("weights.pth")


def test_a_network_behind_names_that_nobody_told_of(span, tmp_path):
    network, _ = span
    state = {f"foo.bar.{key}": tensor for key, tensor in network.state_dict().items()}
    torch.save({"weights": state}, tmp_path / "w.pth")
    lr = noise(3, 9, 14)
    with torch.inference_mode():
        torch.testing.assert_close(load_generator(tmp_path / "w.pth")(lr), network(lr))
