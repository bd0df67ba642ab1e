"""Adversarial losses of the discriminator and of the generator."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F


class AdversarialLoss(nn.Module):
    """Losses on a discriminator's logits, averaged over pixels and images.

    Args:
        weight: factor of the generator's term; the discriminator's own loss has none.
        kind: ``"vanilla"``, binary cross-entropy with logits (Goodfellow et al. 2014,
            non-saturating; all released models); ``"lsgan"``, squares (Mao et al. 2017);
            ``"hinge"`` (Lim & Ye 2017).

    Example:
        >>> import torch
        >>> loss = AdversarialLoss(weight=1.0)
        >>> logits = torch.zeros(1, 1, 4, 4)
        >>> loss(logits), loss.discriminator(logits, real=True)
        (tensor(0.6931), tensor(0.6931))
    """

    def __init__(
        self, weight: float = 0.1, kind: Literal["vanilla", "lsgan", "hinge"] = "vanilla"
    ) -> None:
        super().__init__()
        self.weight, self.kind = weight, kind

    @property
    def settings(self) -> dict[str, float | str]:
        """What decides this term's value, for the record of a run."""
        return {"weight": self.weight, "kind": self.kind}

    def forward(self, fake_logits: Tensor) -> Tensor:
        """The generator's weighted loss: its output should pass for real; a scalar."""
        fake_logits = fake_logits.float()
        if self.kind == "hinge":
            return -self.weight * fake_logits.mean()
        return self.weight * self.discriminator(fake_logits, real=True)

    def discriminator(self, logits: Tensor, real: bool) -> Tensor:
        """The discriminator's loss on logits of real or of generated images; a scalar."""
        logits = logits.float()
        match self.kind:
            case "vanilla":
                # −log σ(x) for real, −log(1 − σ(x)) for generated
                return F.softplus(-logits if real else logits).mean()
            case "lsgan":
                return (logits - float(real)).square().mean()
            case "hinge":
                return F.relu(1 - logits if real else 1 + logits).mean()
