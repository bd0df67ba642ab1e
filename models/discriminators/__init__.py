"""Discriminators, by the names and shapes of the releases' own files."""

from models.discriminators.loading import load_discriminator
from models.discriminators.unet import UNetDiscriminator

__all__ = ["UNetDiscriminator", "load_discriminator"]
