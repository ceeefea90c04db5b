"""mini-VOC: a small drawn data set in the layout of PASCAL VOC, made on the spot."""

from .annotation import annotate
from .scenes import Scene, draw_scene
from .worlds import SPLITS, WORLDS, BoxStyle, Sizes, World
from .writer import content_hash, prepare

__all__ = [
    "SPLITS",
    "WORLDS",
    "BoxStyle",
    "Scene",
    "Sizes",
    "World",
    "annotate",
    "content_hash",
    "draw_scene",
    "prepare",
]
