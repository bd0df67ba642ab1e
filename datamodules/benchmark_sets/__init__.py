"""Importers of benchmark sets: each published layout as images with labels, one file a kind."""

from datamodules.benchmark_sets.base import BenchmarkImage, BenchmarkSet
from datamodules.benchmark_sets.folders import Folder, Release
from datamodules.benchmark_sets.heat_maps import QualiSR, SRGround
from datamodules.benchmark_sets.tables import JPEGAI, Table

__all__ = [
    "JPEGAI",
    "BenchmarkImage",
    "BenchmarkSet",
    "Folder",
    "QualiSR",
    "Release",
    "SRGround",
    "Table",
]
