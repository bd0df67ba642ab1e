import argparse
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from desra.checkpoints import read_checkpoint, read_state, write_state
from desra.errors import DiskError, InputError
from tests.conftest import files_of_at_most

STATE = {"conv.weight": torch.arange(6.0).view(2, 3), "conv.bias": torch.ones(2)}
OTHER = {key: tensor + 1 for key, tensor in STATE.items()}


def same(state, expected):
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("archive", [True, False])
def test_a_file_that_would_run_code_is_refused_in_one_line(tmp_path, archive):
    path = tmp_path / "weights.pth"
    torch.save(
        {"params": STATE, "x": Malicious(tmp_path / "ran")},
        path,
        _use_new_zipfile_serialization=archive,
    )
    with pytest.raises(InputError, match=r"refused.*mkdir") as error:
        read_state(path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Malicious(tmp_path / "ran"), protocol=2))
    with pytest.raises(InputError, match="refused"):
        read_state(path)
    assert not (tmp_path / "ran").exists()


def test_a_whole_module_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(InputError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_state(tmp_path / "module.pth")


def test_values_that_training_leaves_beside_the_weights(tmp_path):
    path = tmp_path / "weights.pth"
    beside = {
        "psnr": np.float64(27.1),
        "loss": np.float32(0.5),
        "iteration": np.int64(3),
        "args": argparse.Namespace(lr=1e-4),
    }
    torch.save({"params": STATE, **beside}, path)
    checkpoint = read_checkpoint(path)
    same(checkpoint.states()[0].tensors, STATE)
    assert checkpoint.data["psnr"] == 27.1
    assert checkpoint.data["args"].lr == 1e-4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>Quota exceeded</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS"),
        (b"PK\x03\x04 half an archive", "damaged"),
        (b"hello", "damaged"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{ this is no JSON", "damaged"),
    ],
)
def test_what_is_no_file_of_weights(tmp_path, content, message):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_state(path)
    assert str(path) in str(error.value)


def test_a_file_cut_short(tmp_path):
    for suffix in (".pth", ".safetensors"):
        whole = tmp_path / f"whole{suffix}"
        write_state(whole, {"params": STATE})
        path = tmp_path / f"part{suffix}"
        path.write_bytes(whole.read_bytes()[:-20])
        with pytest.raises(InputError, match="damaged"):
            read_state(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_state(tmp_path / "none.pth")
    with pytest.raises(InputError, match="directory"):
        read_state(tmp_path)


def test_contents_without_a_state(tmp_path):
    torch.save(torch.ones(3), tmp_path / "tensor.pth")
    with pytest.raises(InputError, match="holds a Tensor"):
        read_state(tmp_path / "tensor.pth")
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    with pytest.raises(InputError, match="no tensors by name"):
        read_state(tmp_path / "epoch.pth")


def test_averaged_weights_are_wanted_most(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"optimizer": {"step": torch.ones(1)}, "params": STATE, "params_ema": OTHER}, path)
    same(read_state(path)[0], OTHER)
    same(read_state(path, "params")[0], STATE)
    with pytest.raises(InputError, match=r"no state 'generator'.*optimizer, params, params_ema"):
        read_state(path, "generator")


def test_wrappers_are_taken_off(tmp_path):
    path = tmp_path / "weights.pth"
    wrapped = {f"module._orig_mod.{key}": tensor for key, tensor in STATE.items()}
    torch.save({"state_dict": wrapped}, path)
    (state,) = read_checkpoint(path).states()
    same(state.tensors, STATE)
    assert (state.container, state.prefix) == ("state_dict", "module._orig_mod.")


def test_networks_that_share_a_container_are_told_apart(tmp_path):
    path = tmp_path / "last.ckpt"
    state = {
        **{f"generator.{key}": tensor for key, tensor in STATE.items()},
        **{f"ema.module.{key}": tensor for key, tensor in OTHER.items()},
        "ema.n_averaged": torch.tensor(1),
        "discriminator.conv0.weight": torch.ones(1),
    }
    torch.save({"state_dict": state, "global_step": 7}, path)
    first, *_ = read_checkpoint(path).states()
    same(first.tensors, OTHER)
    assert first.prefix == "ema.module."
    same(read_state(path, "generator")[0], STATE)
    assert read_state(path, "discriminator")[0].keys() == {"conv0.weight"}


def test_nested_containers(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"model": {"params": STATE, "params_ema": OTHER}}, path)
    states = read_checkpoint(path).states()
    assert [state.container for state in states] == ["model.params_ema", "model.params"]


def test_formats_are_told_apart_by_content(tmp_path):
    save_file(STATE, tmp_path / "weights.pth", {"made": "here"})
    state, metadata = read_state(tmp_path / "weights.pth")
    same(state, STATE)
    assert metadata == {"made": "here"}


@pytest.mark.parametrize("container", ["params", ""])
def test_written_and_read(tmp_path, container):
    path = tmp_path / "new" / "weights.pth"
    write_state(path, {container: STATE}, {"iterations": "3"})
    content = torch.load(path, weights_only=True)
    same(content[container] if container else content, STATE)
    state, metadata = read_state(path)
    same(state, STATE)
    # Keys at the top leave no room for anything else.
    assert metadata == ({"iterations": "3"} if container else {})


def test_safetensors_hold_one_state_and_metadata(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_state(path, {"params": STATE}, {"iterations": "3"})
    same(load_file(path), STATE)
    assert read_state(path)[1] == {"iterations": "3"}
    with pytest.raises(ValueError, match="one state"):
        write_state(path, {"params": STATE, "params_ema": OTHER})
    with pytest.raises(ValueError, match="one state"):
        write_state(tmp_path / "weights.pth", {"": STATE, "params_ema": OTHER})


def test_views_are_written_without_what_they_are_views_of(tmp_path):
    large = torch.zeros(1000, 1000)
    write_state(tmp_path / "view.pth", {"params": {"part": large[0, :4]}})
    assert (tmp_path / "view.pth").stat().st_size < 5000


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match=r"change the suffix"):
        write_state(tmp_path / "weights.bin", {"params": STATE})
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_state(tmp_path / "file" / "weights.pth", {"params": STATE})


def test_a_torchscript_program_is_not_run(tmp_path):
    path = tmp_path / "program.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript is on its way out
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), path)
    with pytest.raises(InputError, match="TorchScript"):
        read_state(path)


@pytest.mark.parametrize(
    "held",
    [
        {"state_dict": OTHER, "ema_state_dict": STATE},
        {"model": OTHER, "ema": STATE},
        {
            "state_dict": {
                **{f"net.{key}": tensor for key, tensor in OTHER.items()},
                **{f"net_ema.{key}": tensor for key, tensor in STATE.items()},
            }
        },
        {f"params_ema.{key}": tensor for key, tensor in STATE.items()},
    ],
)
def test_averaged_weights_by_other_names(tmp_path, held):
    torch.save(held, tmp_path / "w.pth")
    same(read_checkpoint(tmp_path / "w.pth").states()[0].tensors, STATE)


@pytest.mark.skipif(os.name == "nt", reason="permissions of Unix")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask_in_every_format(tmp_path, umask):
    before = os.umask(umask)
    try:
        for name in ("w.pth", "w.safetensors"):
            write_state(tmp_path / name, {"": STATE})
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o666 & ~umask
    finally:
        os.umask(before)


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "net.ckpt"])
@pytest.mark.parametrize("size", [100, 50_000])
def test_weights_that_the_disk_does_not_take(tmp_path, name, size):
    with files_of_at_most(size), pytest.raises(DiskError, match=f"{name}: File too large"):
        write_state(tmp_path / name, {"params": {"weight": torch.zeros(50_000)}})
    assert not list(tmp_path.iterdir())
