"""Generators, discriminators, losses, and the LightningModules over them."""
