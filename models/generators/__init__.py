"""Generators: networks with the releases' own keys and shapes, their files, and fast inference."""

from models.generators.elan import ELAN
from models.generators.inference import prepare_for_inference
from models.generators.loading import built, load_generator, write_generator
from models.generators.rcan import RCAN
from models.generators.rlfn import RLFN
from models.generators.rrdbnet import RRDBNet
from models.generators.rrdbnet_ps import RRDBPSNet
from models.generators.srvgg import SRVGGNetCompact
from models.generators.swinir import SwinIR
from models.generators.zoo import ZOO, resolve_weights

__all__ = [
    "ELAN",
    "RCAN",
    "RLFN",
    "ZOO",
    "RRDBNet",
    "RRDBPSNet",
    "SRVGGNetCompact",
    "SwinIR",
    "built",
    "load_generator",
    "prepare_for_inference",
    "resolve_weights",
    "write_generator",
]
