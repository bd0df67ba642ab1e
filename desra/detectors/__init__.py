"""Detectors of artifacts: one interface, one file each.

`desra.detectors.base.Detector` says what they share: a map that is low where an artifact is likely,
a threshold in the units of the detector's publication, and the way from map to mask.
"""

from desra.detectors.base import Detection, Detector
from desra.detectors.ensemble import Ensemble
from desra.detectors.flawscry import FlawScryDetector
from desra.detectors.ldl import LDLDetector
from desra.detectors.learned import LearnedDetector
from desra.detectors.mmseg import MMSegDetector
from desra.detectors.niqe import NIQEDetector
from desra.detectors.perceptual import DISTSDetector, LPIPSDetector
from desra.detectors.scores import ScoreDetector
from desra.detectors.ssim import SSIMDetector
from desra.detectors.texture import ArtifactDetector

__all__ = [
    "ArtifactDetector",
    "DISTSDetector",
    "Detection",
    "Detector",
    "Ensemble",
    "FlawScryDetector",
    "LDLDetector",
    "LPIPSDetector",
    "LearnedDetector",
    "MMSegDetector",
    "NIQEDetector",
    "SSIMDetector",
    "ScoreDetector",
]
