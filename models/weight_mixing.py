"""Interpolation of two sets of weights of one network.

Wang et al., "Deep Network Interpolation for Continuous Imagery Effect Transition", CVPR 2019:
between two networks of which one was finetuned from the other, every mix is a network whose output
lies between theirs (PSNR and GAN models; Real-ESRGAN's denoising strength). Beyond the second
network, what it learned more than the first is exaggerated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from desra.errors import InputError


def load_mixed(
    weights: str | Sequence[str], mix: float | None, load: Callable[[str], nn.Module]
) -> nn.Module:
    """The generator of one file of weights, or of two mixed.

    Args:
        weights: a file or name, or two of them.
        mix: share of the second, from 0 to 1, or up to 2 to go beyond it; None for a single one.
        load: makes a generator of a file or name.

    Raises:
        InputError: not one or two, no share or one out of range, or networks that differ.
    """
    names = [weights] if isinstance(weights, str) else list(weights)
    if len(names) == 1 and mix is None:
        return load(names[0])
    if len(names) != 2:
        raise InputError(
            f"weights: {len(names)} given with mix={mix}; give one, or two and mix=0.5"
        )
    if mix is None or not 0 <= mix <= 2:
        raise InputError(
            f"mix={mix}: give the share of {names[1]}, from 0 to 1 (up to 2: beyond it)"
        )
    first, second = (load(name) for name in names)
    return interpolate(first, second, mix, names)


def interpolate(
    first: nn.Module, second: nn.Module, mix: float, names: Sequence[str] = ("first", "second")
) -> nn.Module:
    """``first`` with weights (1 − mix) · first + mix · second.

    Raises:
        InputError: the networks differ in kind, keys or shapes.

    Example:
        >>> import torch
        >>> first, second = nn.Linear(1, 1), nn.Linear(1, 1)
        >>> mean = (first.bias + second.bias) / 2
        >>> torch.allclose(interpolate(first, second, 0.5).bias, mean)
        True
    """
    ours, theirs = first.state_dict(), second.state_dict()
    shapes, others = ({k: v.shape for k, v in state.items()} for state in (ours, theirs))
    if type(first) is not type(second) or shapes != others:
        differing = [key for key in {**shapes, **others} if shapes.get(key) != others.get(key)]
        raise InputError(
            f"{names[0]} and {names[1]} are not of one network ({type(first).__name__} and "
            f"{type(second).__name__}, {len(differing)} parameters differ in name or shape); "
            "only weights of the same architecture can be mixed"
        )
    mixed = {
        key: tensor.lerp(theirs[key], mix) if tensor.is_floating_point() else tensor
        for key, tensor in ours.items()
    }
    first.load_state_dict(mixed)
    return first
