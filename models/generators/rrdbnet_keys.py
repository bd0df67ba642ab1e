"""The names that three releases gave to the parameters of one network.

- ``basicsr``: BasicSR, Real-ESRGAN, LDL. ``body.0.rdb1.conv1.weight``
- ``bsrgan``: the second ESRGAN release, BSRGAN, RealSR. ``RRDB_trunk.0.RDB1.conv1.weight``
- ``esrgan``: the first ESRGAN release. ``model.1.sub.0.RDB1.conv1.0.weight``
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from torch import Tensor

from models.generators.shapes import highest_number

KeyStyle = Literal["basicsr", "bsrgan", "esrgan"]


def key_style(state: Iterable[str]) -> KeyStyle:
    """Which release's names the keys are."""
    keys = set(state)
    if "model.0.weight" in keys:
        return "esrgan"
    return "bsrgan" if "trunk_conv.weight" in keys else "basicsr"


def to_basicsr(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with BasicSR's names; keys that belong to no release stay as they are."""
    style = key_style(state)
    if style == "esrgan":
        # The trunk's last part is a convolution, and so its number is the number of blocks.
        blocks = highest_number(state, r"model\.1\.sub\.(\d+)\.", default=0)
        doublings = (highest_number(state, r"model\.(\d+)\.") - 4) // 3
    else:
        trunk, up = ("body", "conv_up") if style == "basicsr" else ("RRDB_trunk", "upconv")
        blocks = highest_number(state, rf"{trunk}\.(\d+)\.") + 1
        doublings = highest_number(state, rf"{up}(\d+)\.", default=0)
    names = {theirs: ours for ours, theirs in _names(style, blocks, doublings).items()}
    return _renamed(state, names)


def from_basicsr(state: Mapping[str, Tensor], style: KeyStyle) -> dict[str, Tensor]:
    """``state``, which has BasicSR's names, with those of another release."""
    blocks = highest_number(state, r"body\.(\d+)\.") + 1
    doublings = highest_number(state, r"conv_up(\d+)\.", default=0)
    return _renamed(state, _names(style, blocks, doublings))


def _names(style: KeyStyle, blocks: int, doublings: int) -> dict[str, str]:
    """BasicSR's name of each convolution to another release's."""
    if style == "esrgan":
        # One sequence: the first convolution, the trunk, three parts per doubling of which the
        # second is the convolution, a convolution, its activation, the last convolution.
        end = 3 * doublings + 2
        trunk, inner = "model.1.sub.{}.RDB{}.conv{}.0", f"model.1.sub.{blocks}"
        others = ["model.0", inner, f"model.{end}", f"model.{end + 2}"]
        ups = [f"model.{3 * step}" for step in range(1, doublings + 1)]
    elif style == "bsrgan":
        trunk = "RRDB_trunk.{}.RDB{}.conv{}"
        others = ["conv_first", "trunk_conv", "HRconv", "conv_last"]
        ups = [f"upconv{step}" for step in range(1, doublings + 1)]
    else:
        trunk = "body.{}.rdb{}.conv{}"
        others = ["conv_first", "conv_body", "conv_hr", "conv_last"]
        ups = [f"conv_up{step}" for step in range(1, doublings + 1)]
    dense = [
        (block, rdb, conv) for block in range(blocks) for rdb in (1, 2, 3) for conv in range(1, 6)
    ]
    return {
        **dict(zip(("conv_first", "conv_body", "conv_hr", "conv_last"), others, strict=True)),
        **{f"conv_up{step}": up for step, up in enumerate(ups, start=1)},
        **{"body.{}.rdb{}.conv{}".format(*place): trunk.format(*place) for place in dense},
    }


def _renamed(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    renamed = {}
    for key, tensor in state.items():
        module, dot, kind = key.rpartition(".")
        renamed[f"{names.get(module, module)}{dot}{kind}"] = tensor
    return renamed
