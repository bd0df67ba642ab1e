"""The device that a task without a trainer computes on, by the name that a user gives."""

from __future__ import annotations

import torch

from desra.errors import InputError


def chosen_device(name: str) -> torch.device:
    """``"auto"``, a GPU where there is one; or ``cpu``, ``cuda``, ``cuda:1``, ….

    Raises:
        InputError: no such device here.

    Example:
        >>> chosen_device("cpu")
        device(type='cpu')
    """
    name = str(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0][:120]
        raise InputError(f"device={name}: not here ({reason}); give cpu or auto") from error
    return device
