"""mini-VOC: a small drawn data set in the layout of PASCAL VOC, made on the spot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from semiseg_lib.datasets.audit import Layout
from semiseg_lib.datasets.dataset import Dataset, DatasetOptions, Request
from semiseg_lib.datasets.devkit.layout import (
    HIDDEN_MASKS,
    PALETTE,
    VOCDataset,
    VOCSource,
    voc_layout,
)

from .annotation import annotate
from .scenes import Scene, draw_scene
from .worlds import SPLITS, WORLDS, BoxStyle, Sizes, World
from .writer import check_drawn, content_hash, drawn_digests, prepare

__all__ = [
    "DATASET",
    "SPLITS",
    "WORLDS",
    "BoxStyle",
    "MiniVOCDataset",
    "MiniVOCOptions",
    "Scene",
    "Sizes",
    "World",
    "annotate",
    "audit_minivoc",
    "check_drawn",
    "content_hash",
    "draw_scene",
    "drawn_digests",
    "open_minivoc",
    "prepare",
]

LISTS = {"candidates": "labelled", "unlabelled": "unlabelled", "val": "val", "test": "test"}
"""The split that each list of a dataset is."""


@dataclass(frozen=True)
class MiniVOCOptions(DatasetOptions):
    """Which images are drawn.

    Attributes:
        world: the world that is drawn.
        sizes: how many images each split holds.
        labelled_boxes, unlabelled_boxes: how boxes are drawn, where not as the world says.
    """

    world: Literal["tight", "hurried"] = "hurried"
    sizes: Sizes = Sizes()
    labelled_boxes: BoxStyle | None = None
    unlabelled_boxes: BoxStyle | None = None

    def counts(self) -> Mapping[str, int]:
        """Return how many images each list holds."""
        return {which: self.sizes.of(split) for which, split in LISTS.items()}

    def drawn_world(self) -> World:
        """Return the world with the box styles of these options."""
        changed = {"labelled_boxes": self.labelled_boxes, "unlabelled_boxes": self.unlabelled_boxes}
        return replace(WORLDS[self.world], **{k: v for k, v in changed.items() if v is not None})


class MiniVOCDataset(VOCDataset):
    """The images of one list, with the digests of what was drawn."""

    @cached_property
    def canonical(self) -> Mapping[str, str]:
        """Return {SHA-256 of a file: SHA-256 of what was drawn}, the same on every machine."""
        return drawn_digests(self.folder)


def open_minivoc(request: Request, root: Path | None, seed: int) -> VOCSource:
    """Return the source of a world; it is drawn into the work folder where it is not there yet.

    Raises:
        Damaged: a file is no longer what was drawn.
        ValueError: a list is named, or ``keep`` names an unknown class.
    """
    DATASET.refuse_lists(request)
    world = request.options.drawn_world()
    folder = prepare(world, request.options.sizes)
    check_drawn(folder)
    return VOCSource(
        folder, ("background", *world.classes), request.keep, LISTS, {"unlabelled": HIDDEN_MASKS},
        MiniVOCDataset,
    )


def audit_minivoc(folder: Path | None, lists: Sequence[Path]) -> Layout:
    """Return what the audit of the world ``hurried`` looks at; None draws it first."""
    world = WORLDS["hurried"]
    folder = prepare(world) if folder is None else folder
    return voc_layout(folder, ("background", *world.classes), lists)


DATASET = Dataset(
    name="minivoc",
    title="mini-VOC",
    open=open_minivoc,
    options=MiniVOCOptions,
    needs_root=False,
    cached=True,
    palette=PALETTE,
    licence="drawn by this library, under its licence.",
    audit=audit_minivoc,
)
