"""Convolutions for training in float32 on the processor: the same sums with fewer products.

Training a super-resolution GAN spends nine tenths of its time in convolutions, which oneDNN runs at
the processor's full speed. `FastConvolutions` has those of 3×3 computed by Winograd's algorithm
instead: outputs, gradients of inputs and gradients of weights, each with a quarter of the products.
"""

from models.convolution.mode import FastConvolutions
from models.convolution.winograd import inputs_only

__all__ = ["FastConvolutions", "inputs_only"]
