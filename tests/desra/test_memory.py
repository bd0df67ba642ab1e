"""Bytes available, bytes alive, and running out of them."""

import os

import pytest
import torch
from torch import nn

from desra.memory import available_memory, is_out_of_memory, peak_bytes, peak_on

CPU = torch.device("cpu")
KILO = 1024


def test_available_memory_is_between_nothing_and_all():
    available = available_memory(CPU)
    assert 0 < available <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_container_limit_counts(tmp_path, monkeypatch):
    for name, value in (("max", "300000"), ("current", "100000")):
        (tmp_path / name).write_text(f"{value}\n")
    monkeypatch.setattr("desra.memory._CGROUP_FILES", [(tmp_path / "max", tmp_path / "current")])
    assert available_memory(CPU) == 200_000
    (tmp_path / "max").write_text("max\n")
    assert available_memory(CPU) > 200_000


def test_peak_counts_what_is_alive_at_once():
    def compute():
        first = torch.zeros(KILO, dtype=torch.uint8)
        second = first + 1  # 2 KiB alive
        del first
        third = torch.cat([second, second])  # 3 KiB
        view = third[:100].reshape(10, 10)  # no bytes of its own
        view += 1
        del second
        return third.float()  # 2 + 8 KiB

    assert peak_bytes(compute) == 10 * KILO


def test_peak_of_a_chain_of_convolutions_is_input_and_output_of_the_widest():
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1), nn.Conv2d(32, 3, 1)
    )
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert peak_on(CPU, lambda: network(image)) == (16 + 32) * 32 * 32 * 4


def test_nothing_is_counted_after_the_block():
    assert peak_bytes(lambda: torch.zeros(KILO)) == peak_bytes(lambda: torch.zeros(KILO))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_which_errors_are_of_memory(error, expected):
    assert is_out_of_memory(error) is expected


def test_what_the_cpu_allocator_really_says():
    with pytest.raises(RuntimeError) as failure:
        torch.empty(10**15)
    assert is_out_of_memory(failure.value)
