"""The terms of the generator's and the discriminator's losses, each with its weight."""

from models.losses.adversarial import AdversarialLoss
from models.losses.artifact import ArtifactLoss
from models.losses.negative import NegativeLoss
from models.losses.perceptual import PerceptualLoss
from models.losses.pixel import PixelLoss

__all__ = ["AdversarialLoss", "ArtifactLoss", "NegativeLoss", "PerceptualLoss", "PixelLoss"]
