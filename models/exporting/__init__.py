"""Generators in the formats of other programs, and the proof that they are still the same."""

from models.exporting.proof import Proof, Tolerance, prove
from models.exporting.runtimes import RUNTIMES, Runtime
from models.exporting.writers import FORMATS, Format, Precision, export_name, write

__all__ = [
    "FORMATS",
    "RUNTIMES",
    "Format",
    "Precision",
    "Proof",
    "Runtime",
    "Tolerance",
    "export_name",
    "prove",
    "write",
]
