"""The detector of DeSRA, by the name that users import."""

from desra.detectors.base import Detection, Detector
from desra.detectors.texture import ArtifactDetector

__all__ = ["ArtifactDetector", "Detection", "Detector"]
