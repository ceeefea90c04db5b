"""The worlds of mini-VOC: their images, and the accuracy of their boxes."""

from __future__ import annotations

from dataclasses import dataclass

from semiseg_lib.core.fingerprint import Configuration, Schema

DRAWING_VERSION = 1  # increase it whenever a change to the drawing changes a pixel
CLASSES = ("balloon", "boat", "car", "fish", "house", "tree")  # what can be drawn
SPLITS = ("labelled", "unlabelled", "val", "test")


@dataclass(frozen=True)
class BoxStyle(Configuration):
    """How an annotator draws boxes around the objects of an image.

    ``loose``: each side is moved outwards by U(low, high) of the box's width or height.
    ``jitter``: standard deviation of an extra Gaussian shift of each side, as a fraction of the
    box's width or height.
    ``shifted``: standard deviation of a Gaussian shift of the whole box, in the same units.
    ``missed``: probability that an object gets no box.
    """

    SCHEMA = Schema(before={"shifted": 0.0})

    loose: tuple[float, float] = (0.0, 0.0)
    jitter: float = 0.0
    missed: float = 0.0
    shifted: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.loose
        if not 0.0 <= low <= high:
            raise ValueError(f"BoxStyle.loose needs 0 <= low <= high, got {self.loose}")
        if self.jitter < 0.0:
            raise ValueError(f"BoxStyle.jitter must be >= 0, got {self.jitter}")
        if self.shifted < 0.0:
            raise ValueError(f"BoxStyle.shifted must be >= 0, got {self.shifted}")
        if not 0.0 <= self.missed <= 1.0:
            raise ValueError(f"BoxStyle.missed must be in [0, 1], got {self.missed}")


@dataclass(frozen=True)
class World:
    """All parameters of the images of one mini-VOC.

    Attributes:
        name: that of its folder.
        classes: object classes without background, in alphabetical order; class ids start at 1.
        objects, distractors: minimum and maximum number in an image.
        camouflage: probability that an object takes the colours of the scenery behind it.
        rotation: maximum rotation of objects in degrees, either way.
        size: range of half an object's longer side, as a fraction of the image's side.
        typical_hue: probability that an object takes a colour typical of its class, else any.
        labelled_boxes: style of the boxes of the labelled, val and test splits.
        unlabelled_boxes: style of those of the unlabelled split.
        seed: determines all images.
        side: width and height of an image in pixels.
    """

    name: str
    classes: tuple[str, ...]
    objects: tuple[int, int]
    distractors: tuple[int, int]
    camouflage: float
    rotation: float
    size: tuple[float, float]
    typical_hue: float
    labelled_boxes: BoxStyle
    unlabelled_boxes: BoxStyle
    seed: int
    side: int = 64

    def __post_init__(self) -> None:
        if list(self.classes) != sorted(set(self.classes)):
            raise ValueError(f"World.classes must be in alphabetical order, got {self.classes}")
        if not self.classes or not set(self.classes) <= set(CLASSES):
            raise ValueError(f"World.classes may hold {CLASSES}, got {self.classes}")
        if not 1 <= self.objects[0] <= self.objects[1]:
            raise ValueError(f"World.objects needs 1 <= low <= high, got {self.objects}")
        if not 0 <= self.distractors[0] <= self.distractors[1]:
            raise ValueError(f"World.distractors needs 0 <= low <= high, got {self.distractors}")
        if self.side < 16:
            raise ValueError(f"World.side must be >= 16 pixels, got {self.side}")

    def box_style(self, split: str) -> BoxStyle:
        """Return the style in which the boxes of a split are drawn."""
        return self.unlabelled_boxes if split == "unlabelled" else self.labelled_boxes


@dataclass(frozen=True)
class Sizes(Configuration):
    """Number of images in each split.

    Attributes:
        labelled: training images with masks, which the labelled ones are sampled from.
        unlabelled: training images whose masks are hidden.
        val: images with masks for model selection.
        test: images with masks for the reported scores.
    """

    labelled: int = 240
    unlabelled: int = 800
    val: int = 500
    test: int = 500

    def count(self, split: str) -> int:
        """Return the number of images in the named split."""
        return int(getattr(self, split))


WORLDS: dict[str, World] = {
    "harder": World(
        name="harder",
        classes=CLASSES,
        objects=(1, 4),
        distractors=(1, 3),
        camouflage=0.15,
        rotation=18.0,
        size=(0.20, 0.36),
        typical_hue=0.0,
        labelled_boxes=BoxStyle(),
        unlabelled_boxes=BoxStyle(),
        seed=20100,
    ),
    "hurried": World(
        name="hurried",
        classes=("balloon", "car", "fish", "tree"),
        objects=(1, 3),
        distractors=(0, 1),
        camouflage=0.0,
        rotation=10.0,
        size=(0.26, 0.42),
        typical_hue=0.8,
        labelled_boxes=BoxStyle(),
        unlabelled_boxes=BoxStyle(loose=(0.15, 0.45), jitter=0.05),
        seed=20200,
    ),
}
"""The ``harder`` world, whose boxes are tight, and that of ``hurried`` annotators, by name."""
