"""The detector of DeSRA and what it shares with the others, which are in `desra.detectors`."""

from desra.detectors.base import Detection, Detector
from desra.detectors.texture import ArtifactDetector

__all__ = ["ArtifactDetector", "Detection", "Detector"]
