"""Clean images to low-resolution ones: the degradations of Real-ESRGAN, and those of HGGT."""

from datamodules.degradations.diffjpeg import compress_diffjpeg
from datamodules.degradations.filters import UnsharpMask, filter_images
from datamodules.degradations.jpeg import compress_jpeg
from datamodules.degradations.kernels import BlurKernels, sinc_kernels
from datamodules.degradations.noise import add_gaussian_noise, add_poisson_noise
from datamodules.degradations.one_stage import BatchDegradation, OneStageDegradation
from datamodules.degradations.pipeline import Degradation, Round
from datamodules.degradations.resize import Resize, resize

__all__ = [
    "BatchDegradation",
    "BlurKernels",
    "Degradation",
    "OneStageDegradation",
    "Resize",
    "Round",
    "UnsharpMask",
    "add_gaussian_noise",
    "add_poisson_noise",
    "compress_diffjpeg",
    "compress_jpeg",
    "filter_images",
    "resize",
    "sinc_kernels",
]
