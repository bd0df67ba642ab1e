"""Pickles that ask for more than a network's state has, and those that do not."""

import collections
import io
import os
import pickle
import struct
import time
import zipfile

import numpy as np
import pytest
import torch

from desra.checkpoints import read_checkpoint, read_state
from desra.errors import InputError

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}


def archive(pickled):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as members:
        members.writestr("w/data.pkl", pickled)
        members.writestr("w/version", "3\n")
        members.writestr("w/byteorder", "little")
        members.writestr("w/data/0", bytes(64))
    return file.getvalue()


def write(path, content):
    path.write_bytes(content)
    return path


def tuples_in_tuples(levels):
    """A dictionary whose key is a tuple of itself twice, so many times over."""
    return b"\x80\x02}" + b")" + b"2\x86" * levels + b"K\x01s."


def lists_in_lists(levels):
    return b"\x80\x02}X\x01\x00\x00\x00a" + b"]" * levels + b"a" * (levels - 1) + b"s."


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
TENSOR = b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n("


def tensor(elements, size, stride):
    """``{"a": tensor}`` of a storage of so many elements."""

    def number(value):
        return b"\x8a\x08" + struct.pack("<q", value)

    sizes = number(size) + b"\x85" + number(stride) + b"\x85"
    storage = STORAGE + number(elements) + b"tQ"
    return TENSOR + storage + b"K\x00" + sizes + b"\x89ccollections\nOrderedDict\n)Rt" + b"Rs."


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (tuples_in_tuples(60), "damaged"),
        (lists_in_lists(5000), "damaged"),
        (
            b"\x80\x02}X\x01\x00\x00\x00ac__builtin__\nbytearray\n\x8a\x05\0\0\0\0\x02\x85Rs.",
            "memory",
        ),
        (tensor(2**40, 4, 1), "larger than the file"),
        (tensor(1, 2**40, 0), "larger than the file"),
        (b"\x80\x04\x96\xff\xff\xff\xff\x7f\0\0\0.", "PyTorch does not write"),
        (b"\x80\x02}X\x01\x00\x00\x00ah\x00s" + b"}", "damaged"),
        (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.", "would run .*system"),
        (b"", "damaged"),
        (pickle.dumps([1, 2], 2), "holds a list"),
    ],
)
def test_what_asks_for_too_much_is_one_line_at_once(tmp_path, pickled, message):
    start = time.perf_counter()
    with pytest.raises(InputError, match=message):
        read_checkpoint(write(tmp_path / "w.pth", archive(pickled)))
    assert time.perf_counter() - start < 60


def test_tensors_that_are_whole_pass(tmp_path):
    path = write(tmp_path / "w.pth", archive(tensor(16, 4, 1)))
    assert torch.equal(read_state(path)[0]["a"], torch.zeros(4))


@pytest.mark.parametrize("new", [True, False])
def test_what_training_scripts_write_passes(tmp_path, new):
    data = {
        "params": collections.OrderedDict(STATE),
        "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(3)}}},
        "milestones": collections.Counter({100: 1}),
        "best": np.float64(0.5),
        "shared": [STATE["b"]] * 3,
        "seen": {1, 2},
        "half": torch.ones(3, dtype=torch.bfloat16),
    }
    torch.save(data, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
    read = read_checkpoint(tmp_path / "w.pth").data
    assert read["milestones"] == data["milestones"]
    assert torch.equal(read["params"]["a.weight"], STATE["a.weight"])


def test_the_suffix_says_nothing(tmp_path):
    torch.save(STATE, tmp_path / "w.safetensors")
    assert torch.equal(read_state(tmp_path / "w.safetensors")[0]["b"], STATE["b"])


def test_an_archive_of_zeros_is_not_unpacked(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("w/data.pkl", bytes(2**28))
    with pytest.raises(InputError, match="far larger than the file"):
        read_checkpoint(write(tmp_path / "w.pth", file.getvalue()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"", "empty"),
        (struct.pack("<Q", 40) + b"{" + b"x" * 60, "damaged"),
        (struct.pack("<Q", 2) + b"{}", "no tensors"),
    ],
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors", "ckpt"])
def test_what_is_no_file_of_weights(tmp_path, content, message, suffix):
    with pytest.raises(InputError, match=message):
        read_state(write(tmp_path / f"w.{suffix}", content))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "w.pth")
    with pytest.raises(InputError, match="not a regular file"):
        read_checkpoint(tmp_path / "w.pth")
