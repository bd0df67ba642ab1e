"""DeSRA: detect and delete the artifacts of GAN super-resolution (Xie et al., ICML 2023).

From Python, five lines (``docs/python.ipynb`` has more)::

    from desra import ArtifactDetector, Upscaler, detect

    mse_sr, gan_sr = Upscaler("MSE.pth")(photo), Upscaler("GAN.pth")(photo)  # (H, W, 3) uint8
    mask = detect(mse_sr, gan_sr)  # (H, W) bool
    distance, adjusted, mask = ArtifactDetector(threshold=0.7)(mse_sr, gan_sr)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from desra.detectors import ArtifactDetector, Detection
    from desra.one_image import detect

__all__ = ["ArtifactDetector", "Detection", "Upscaler", "detect"]


def __getattr__(name: str) -> Any:
    """Names are imported when they are used: PyTorch and the networks take seconds."""
    if name in ("ArtifactDetector", "Detection"):
        from desra import detectors

        return getattr(detectors, name)
    if name == "detect":
        from desra.one_image import detect

        return detect
    if name == "Upscaler":
        from desra.command import app_module

        return app_module("models.upscaler").Upscaler
    raise AttributeError(f"module 'desra' has no attribute {name!r}")
