"""Devices by the names that users give."""

import pytest
import torch

from desra.device import chosen_device
from desra.errors import InputError


def test_a_device_of_this_machine_or_a_line():
    assert chosen_device("cpu") == torch.device("cpu")
    assert chosen_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("cuda:99", "gpu", "", "meta:x"):
        with pytest.raises(InputError, match=f"device={name}: not here .*; give cpu or auto"):
            chosen_device(name)
