"""Compiled code for the processor: plain functions on NumPy arrays.

Kernels are compiled by Numba at their first call and kept on disk (`kernels.compilation`). They
run without the GIL, on as many Python threads as PyTorch uses (`kernels.threads`).
"""
