"""mini-VOC: a small synthetic dataset in the layout of PASCAL VOC, generated locally."""

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
    VOCDataset,
    voc_layout,
    voc_source,
)
from semiseg_lib.datasets.files import ReaderSource

from .annotation import annotate
from .scenes import Scene, draw_scene
from .worlds import SPLITS, WORLDS, BoxStyle, Sizes, World
from .writer import content_hash, generated_digests, prepare, verify_generated

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
    "content_hash",
    "draw_scene",
    "generated_digests",
    "open_minivoc",
    "prepare",
    "verify_generated",
]

LISTS = {"candidates": "labelled", "unlabelled": "unlabelled", "val": "val", "test": "test"}
"""{list of a dataset: its split}."""


@dataclass(frozen=True)
class MiniVOCOptions(DatasetOptions):
    """Options of mini-VOC.

    Attributes:
        world: name of the world to generate.
        sizes: number of images in each split.
        labelled_boxes, unlabelled_boxes: box styles; None for those of the world.
    """

    world: Literal["harder", "hurried"] = "hurried"
    sizes: Sizes = Sizes()
    labelled_boxes: BoxStyle | None = None
    unlabelled_boxes: BoxStyle | None = None

    def counts(self) -> Mapping[str, int]:
        """Return {list: number of images}."""
        return {which: self.sizes.count(split) for which, split in LISTS.items()}

    def generated_world(self) -> World:
        """Return the world with the box styles of these options."""
        changed = {"labelled_boxes": self.labelled_boxes, "unlabelled_boxes": self.unlabelled_boxes}
        return replace(WORLDS[self.world], **{k: v for k, v in changed.items() if v is not None})


class MiniVOCDataset(VOCDataset):
    """The images of one list, with the digests of the generated content.

    Args:
        folder, image_set, classes, keep, masks, boxes: as for :class:`VOCDataset`.
    """

    @cached_property
    def canonical(self) -> Mapping[str, str]:
        """Return the SHA-256 of generated content, equal on every machine, by that of its file."""
        return generated_digests(self.folder)


def open_minivoc(request: Request, folder: Path | None, seed: int) -> ReaderSource:
    """Return the source of a world; generate it in the work folder if missing.

    Args:
        request: the list and the options.
        folder: unused; the work folder has the world.
        seed: unused; a world has its own.

    Raises:
        Damaged: a file has changed since it was generated.
        ValueError: ``keep`` names an unknown class.
    """
    world = request.options.generated_world()
    drawn = prepare(world, request.options.sizes)
    verify_generated(drawn)
    return voc_source(
        drawn, ("background", *world.classes), request.keep, LISTS, {"unlabelled": HIDDEN_MASKS},
        MiniVOCDataset,
    )


def audit_minivoc(folder: Path | None, lists: Sequence[Path]) -> Layout:
    """Return the layout of the world ``hurried`` to audit; generate it if ``folder`` is None.

    Args:
        folder: a world's VOC2012 folder.
        lists: lists to audit beside the folder's own, files of image names.
    """
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
    licence="drawn by this library, under its licence.",
    audit=audit_minivoc,
)
