"""Updates of manual optimisation: clipping, unscaling, and steps left out where not finite."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from lightning import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, distributed, nn
from torch.nn.utils import get_total_norm

from desra.errors import InputError


def average_across_ranks(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their means over all ranks, in one message; nothing to do on one rank.

    `DistributedDataParallel` cannot do this for two networks that are trained in turn inside one
    module: it waits for a gradient of every parameter, and looking for those that have none in a
    pass (``find_unused_parameters``) walks the graph at each backward. An explicit mean of exactly
    the gradients that were made has no such cost, and losses to be logged travel along.

    Every rank must give tensors of the same shapes in the same order.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    ranks = distributed.get_world_size()
    if ranks == 1 or not tensors:
        return
    message = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
    distributed.all_reduce(message)
    message /= ranks
    parts = message.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.detach().copy_(part.view(tensor.shape))


def freeze_others(generator: nn.Module, trained: str) -> None:
    """Leave only the parameters trainable whose names ``trained`` finds.

    Raises:
        InputError: no regular expression, or it finds none.
    """
    try:
        found = [bool(re.search(trained, name)) for name, _ in generator.named_parameters()]
    except re.error as error:
        raise InputError(f"model.trained={trained}: {error}") from error
    if not any(found):
        names = ", ".join(name for name, _ in generator.named_parameters())
        raise InputError(f"model.trained={trained}: finds none of the parameters {names[:300]}")
    for parameter, chosen in zip(generator.parameters(), found, strict=True):
        parameter.requires_grad_(chosen)


class JointUpdate:
    """One update of several networks: all of them step, or, where a gradient is not finite, none.

    In 16-bit precision the loss scale is common: gradients are unscaled before they are clipped and
    judged, and the scale is adapted once an update, whatever the number of networks.

    Args:
        clip_norm: largest norm of each network's gradient; None does not clip.
        patience: this many updates in a row with non-finite gradients stop the run. A loss scale
            that is being found costs a few at the start of a run, so it should not be too small.

    Attributes:
        skipped: updates left out so far.
        skipped_in_a_row: those since the last update that was taken.
        images: names of this rank's images since the last update, for the error; added by the user.
    """

    def __init__(self, clip_norm: float | None = None, patience: int = 20) -> None:
        self.clip_norm, self.patience = clip_norm, patience
        self.skipped = self.skipped_in_a_row = 0
        self.images: list[str] = []

    def __call__(
        self,
        module: LightningModule,
        optimizers: Mapping[str, LightningOptimizer],
        counted: str,
        travellers: Sequence[Tensor] = (),
    ) -> dict[str, Tensor]:
        """Average gradients over ranks, clip them, step, and clear them.

        Args:
            module: whose trainer holds the loss scale.
            optimizers: network to optimiser; networks without gradients are passed over.
            counted: the network whose steps are counted as ``global_step``. Lightning would count
                the steps of all of them, and `max_steps` would mean half as many iterations.
            travellers: averaged over ranks in the same message.

        Returns:
            norm of each network's gradient, by network; empty where the update was left out.

        Raises:
            InputError: too many updates in a row were left out.
        """
        images, self.images = self.images, []
        gradients = {name: _gradients(optimizer) for name, optimizer in optimizers.items()}
        active = {name: optimizers[name] for name, found in gradients.items() if found}
        average_across_ranks(
            [*(grad for found in gradients.values() for grad in found), *travellers]
        )
        scaler = getattr(module.trainer.precision_plugin, "scaler", None)
        norms = {}
        for name, optimizer in active.items():
            if scaler is not None:
                scaler.unscale_(optimizer.optimizer)
            norms[name] = get_total_norm(gradients[name])
        broken = [name for name, norm in norms.items() if not torch.isfinite(norm)]
        if not broken:
            self._clip(gradients, norms)
            self._step(active, counted, scaler)
            self.skipped_in_a_row = 0
        elif scaler is not None:
            scaler.update()
        for optimizer in active.values():
            optimizer.zero_grad()
        if broken:
            self._skip(broken, list(dict.fromkeys(images)))
            return {}
        return norms

    def state_dict(self) -> dict[str, int]:
        """The counts, for a checkpoint."""
        return {"skipped": self.skipped, "skipped_in_a_row": self.skipped_in_a_row}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """The counts from a checkpoint."""
        self.skipped, self.skipped_in_a_row = state["skipped"], state["skipped_in_a_row"]

    def _clip(self, gradients: Mapping[str, list[Tensor]], norms: Mapping[str, Tensor]) -> None:
        if self.clip_norm is None:
            return
        for name, norm in norms.items():
            # as torch.nn.utils.clip_grad_norm_, whose norm is at hand already
            torch._foreach_mul_(gradients[name], (self.clip_norm / (norm + 1e-6)).clamp(max=1))

    def _step(
        self,
        active: Mapping[str, LightningOptimizer],
        counted: str,
        scaler: torch.amp.GradScaler | None,
    ) -> None:
        for name, optimizer in active.items():
            if name == counted:
                continue
            if scaler is None:
                optimizer.optimizer.step()
            else:
                scaler.step(optimizer.optimizer)
        if counted in active:
            active[counted].step()  # through Lightning: counts, and adapts the loss scale
        elif scaler is not None:
            scaler.update()

    def _skip(self, broken: Sequence[str], images: Sequence[str]) -> None:
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row >= self.patience:
            names = ", ".join(images[:8]) + (", …" if len(images) > 8 else "")
            raise InputError(
                f"training: gradients of the {' and the '.join(broken)} were not finite for "
                f"{self.skipped_in_a_row} updates in a row ({self.skipped} in all"
                f"{names and f'; the last of {names}'}); lower "
                "model.learning_rate, set model.clip_norm, or train with trainer.precision=32-true"
            )


def _gradients(optimizer: LightningOptimizer) -> list[Tensor]:
    parameters = (p for group in optimizer.param_groups for p in group["params"])
    return [p.grad for p in parameters if p.grad is not None]
