"""Inference in float32 on the processor: Winograd convolutions and fused window attention.

Real-ESRGAN's network spends nine tenths of its time in 3×3 convolutions that oneDNN already runs at
the processor's full speed. The same sums with fewer products (`winograd`) go further. Kernels are
compiled by Numba on first use and cached on disk.
"""
