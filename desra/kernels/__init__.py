"""Compiled code for the processor: plain functions on NumPy arrays.

Kernels are compiled by Numba at their first call and kept on disk (`desra.kernels.compilation`).
They run without the GIL, on as many Python threads as PyTorch uses (`desra.kernels.threads`).
"""
