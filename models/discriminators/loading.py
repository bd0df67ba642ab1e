"""Discriminators from files of weights."""

from __future__ import annotations

from pathlib import Path

from desra.checkpoints import read_checkpoint
from desra.errors import InputError
from models.discriminators.unet import UNetDiscriminator
from models.generators.loading import sample_of_keys
from models.generators.zoo import resolve_weights


def load_discriminator(weights: str | Path, *, key: str | None = None) -> UNetDiscriminator:
    """The discriminator that a file of weights holds.

    Args:
        weights: a file (released, or a checkpoint of finetuning), or a name of
            `models.generators.zoo`.
        key: which of a file's states; None for the most wanted one.

    Returns:
        the network, in training mode.

    Raises:
        InputError: no such file or name, a file that would have to run code, or no U-Net
            discriminator in it.
    """
    path = resolve_weights(weights)
    states = read_checkpoint(path).states(key)
    for state in states:
        if UNetDiscriminator.recognises(state.tensors):
            try:
                return UNetDiscriminator.from_state(state.tensors)
            except Exception as error:  # of whatever kind keys and shapes lead to
                reason = " ".join(str(error).split())[:200]
                raise InputError(
                    f"{path}: an incomplete or altered U-Net discriminator ({reason})"
                ) from error
    raise InputError(
        f"{path}: no U-Net discriminator with spectral norm in it; its keys are "
        f"{sample_of_keys(states)}"
    )
