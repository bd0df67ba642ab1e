"""Segmenters: semantic labels of images, for the adjustment of the distance."""

from desra.segmenters.base import Segmenter
from desra.segmenters.labels import LabelFolder
from desra.segmenters.mmseg import MMSegSegmenter
from desra.segmenters.none import NoSegmenter
from desra.segmenters.texture import TextureSegmenter

__all__ = ["LabelFolder", "MMSegSegmenter", "NoSegmenter", "Segmenter", "TextureSegmenter"]
