"""Colours of outlines and heat maps, told apart by every kind of colour vision and on any photo."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray


class OutlineStyle(NamedTuple):
    """How the regions of one kind are drawn.

    Attributes:
        colour: of line and fill, ``#rrggbb``.
        dash: SVG dash pattern in screen pixels, empty for a solid line.
        fill: opacity of the fill inside the line.
    """

    colour: str
    dash: str = ""
    fill: float = 0.0

    def svg(self, path: str, name: str) -> list[str]:
        """SVG elements of a path: a dark casing, so that the line is seen on bright ground too."""
        line = f'<use href="#{name}" fill="none" stroke-width'
        return [
            f'<defs><path id="{name}" d="{path}" vector-effect="non-scaling-stroke"/></defs>',
            f'<use href="#{name}" fill="{self.colour}" fill-opacity="{self.fill:g}"/>',
            f'{line}="2.4" stroke="#000" stroke-opacity=".5"/>',
            f'{line}="1.2" stroke="{self.colour}" stroke-dasharray="{self.dash or "none"}"/>',
        ]


# Hues of Wong, "Points of view: Color blindness" (Nature Methods 8, 2011), brightened for dark
# ground; what is wrong with a detection differs in line and fill too.
_STYLES = {
    "Detected": OutlineStyle("#ff2e74"),
    "Labelled": OutlineStyle("#37c5ff", dash="6 4"),
    "Hit": OutlineStyle("#21d19f", fill=0.22),
    "Miss": OutlineStyle("#ffb400", dash="6 4", fill=0.3),
    "False alarm": OutlineStyle("#ff2e74", fill=0.3),
    "Before": OutlineStyle("#ffb400", dash="6 4"),
    "After": OutlineStyle("#ff2e74"),
}
_OTHERS = ("#ff2e74", "#37c5ff", "#ffb400", "#21d19f", "#c28bff", "#f2f2f2")


def outline_style(name: str, index: int) -> OutlineStyle:
    """The style of an outline's name; names not known here take a colour by their place."""
    return _STYLES.get(name) or OutlineStyle(_OTHERS[index % len(_OTHERS)])


def colourise(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Inferno's colours, ``(H, W, 3)`` RGB, of ``(H, W)`` uint8 heat.

    Perceptually uniform, and rising in lightness alone: it reads the same without colour vision.
    """
    return np.ascontiguousarray(cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)


def gradient(stops: int = 17) -> str:
    """The heat maps' colours from 0 to 1 as a CSS gradient."""
    grey = np.linspace(0, 255, stops).round().astype(np.uint8).reshape(1, -1)
    colours = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in colourise(grey)[0].tolist())
    return f"linear-gradient(90deg, {', '.join(colours)})"
