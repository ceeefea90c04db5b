"""One way into every dataset: its list names, and a reader for each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from semiseg_lib.datasets.camvid import FRAMES, CamVidDataset, camvid_frames, camvid_names
from semiseg_lib.datasets.cityscapes import CityscapesDataset, cityscapes_images
from semiseg_lib.datasets.folder import FolderDataset, folder_lists
from semiseg_lib.datasets.labels import CAMVID_CLASSES, CITYSCAPES_CLASSES, VOC_CLASSES
from semiseg_lib.datasets.minivoc import WORLDS, Sizes, prepare
from semiseg_lib.datasets.photographs import Reader
from semiseg_lib.datasets.voc import VOCDataset, read_list


class Chosen(Protocol):
    """The part of a :class:`PhotoConfig` that decides which files are read."""

    dataset: str
    candidates: str
    unlabelled: str
    val: str
    test: str
    keep: tuple[str, ...]
    recipe: str


class OpenReader(Protocol):
    """Opens the dataset that holds the images of a list."""

    def __call__(self, which: str, masks: bool, boxes: bool, hidden: bool) -> Reader: ...


@dataclass(frozen=True)
class Source:
    """A dataset on disk.

    Attributes:
        classes: C names.
        has_boxes: whether all its images that an ancillary is trained or scored on have boxes.
        names: the image names of ``candidates`` (all that could be labelled), ``unlabelled``, ``val``
            or ``test``.
        reader: ``reader(which, masks, boxes, hidden)``: the dataset that holds the images of
            ``which``; ``hidden`` reads the masks that unlabelled images are measured on.
    """

    classes: tuple[str, ...]
    has_boxes: bool
    names: Callable[[str], Sequence[str]]
    reader: OpenReader


def open_source(config: Chosen, root: Path | None, seed: int = 0) -> Source:
    """Open the dataset that a configuration names; ``seed`` holds out images of a bare folder.

    Raises:
        FileNotFoundError: there is no such folder; the message says how to name or get it.
        ValueError: a list is named that this dataset does not read.
    """
    ignored = {"candidates", "unlabelled", "val", "test"} - set(_LISTS_READ.get(config.dataset, ()))
    if named := sorted(name for name in ignored if getattr(config, name)):
        raise ValueError(
            f"{config.dataset} takes no list by the name data.{named[0]}; its lists are its own."
        )
    if config.dataset == "minivoc":
        return _minivoc(config)
    if root is None or not Path(root).is_dir():
        where = "no folder was named" if root is None else f"{root} is no folder"
        raise FileNotFoundError(
            f"the dataset {config.dataset} is not there: {where}. Pass --root, or set SEMISEG_DATA "
            f"to the folder that holds it{_HOW.get(config.dataset, '')}."
        )
    return _OPENERS[config.dataset](config, Path(root), seed)


def _voc_layout(
    folder: Path, file_classes: Sequence[str], keep: tuple[str, ...], lists: dict[str, str],
    hidden_masks: dict[str, str],
) -> Source:
    def reader(which: str, masks: bool, boxes: bool, hidden: bool) -> Reader:
        where = (hidden_masks["hidden"] if hidden else hidden_masks[which]) if masks else None
        return VOCDataset(folder, lists[which], file_classes, keep or None, where, boxes)

    def names(which: str) -> Sequence[str]:
        return read_list(folder / "ImageSets" / "Segmentation" / f"{lists[which]}.txt")

    lists["labelled"] = lists["candidates"]
    return Source(keep or tuple(file_classes), True, names, reader)


_OFFICIAL = dict.fromkeys(("candidates", "labelled", "val", "test"), "SegmentationClass")
_HIDDEN = {"unlabelled": "SegmentationClassAug", "hidden": "SegmentationClassAug"}


SBD_LISTS = ("train_aug", "sbd_extra")
"""Lists with images that only the Semantic Boundaries Dataset has masks for."""


def _voc(config: Chosen, root: Path, seed: int) -> Source:
    lists = {
        "candidates": config.candidates or "train", "unlabelled": config.unlabelled or "train_aug",
        "val": config.val or "val", "test": config.test or "val",
    }
    masks = {**_OFFICIAL, **_HIDDEN}
    for which in ("candidates", "val", "test"):
        if lists[which] in SBD_LISTS:
            masks[which] = "SegmentationClassAug"
    masks["labelled"] = masks["candidates"]
    return _voc_layout(root / "VOCdevkit" / "VOC2012", VOC_CLASSES, config.keep, lists, masks)


def _minivoc(config: Chosen) -> Source:
    sizes = Sizes(labelled=24, unlabelled=16, val=16, test=16) if config.at_most else Sizes()
    world = WORLDS["hurried"]
    lists = {"candidates": "labelled", "unlabelled": "unlabelled", "val": "val", "test": "test"}
    classes = ("background", *world.classes)
    return _voc_layout(
        prepare(world, sizes), classes, config.keep, lists, {**_OFFICIAL, **_HIDDEN}
    )


def _cityscapes(config: Chosen, root: Path, seed: int) -> Source:
    root = root / "cityscapes" if (root / "cityscapes").is_dir() else root
    splits = {"val": config.val or "val", "test": config.test or "val"}

    def names(which: str) -> Sequence[str]:
        return tuple(cityscapes_images(root, splits.get(which, "train")))

    def reader(which: str, masks: bool, boxes: bool, hidden: bool) -> Reader:
        return CityscapesDataset(
            root, splits.get(which, "train"), keep=config.keep or None,
            masks="auto" if masks else None, boxes=boxes,
        )

    return Source(config.keep or CITYSCAPES_CLASSES, True, names, reader)


def _camvid(config: Chosen, root: Path, seed: int) -> Source:
    root = root / "camvid" if (root / "camvid").is_dir() else root
    splits = {"val": config.val or "val", "test": config.test or "test"}
    if config.unlabelled not in ("", FRAMES):
        raise ValueError(
            f"camvid takes no list {config.unlabelled!r} as data.unlabelled. Leave it out for the rest of "
            f"train, or name {FRAMES!r} to add frames of the videos."
        )

    def names(which: str) -> Sequence[str]:
        split = camvid_names(root, splits.get(which, "train"))
        return split + camvid_frames(root) if which == "unlabelled" and config.unlabelled else split

    def reader(which: str, masks: bool, boxes: bool, hidden: bool) -> Reader:
        return CamVidDataset(
            root, splits.get(which, "train"), names(which), config.keep or None, masks,
            config.recipe,
        )

    return Source(config.keep or CAMVID_CLASSES, False, names, reader)


def _folder(config: Chosen, root: Path, seed: int) -> Source:
    lists = folder_lists(root, seed)
    if config.unlabelled not in ("", "unlabelled"):
        raise ValueError(
            f'data.unlabelled is {config.unlabelled!r}; for a folder it is "" (images with boxes only) or '
            '"unlabelled" (those with neither mask nor boxes, too).'
        )
    if config.unlabelled:
        lists["unlabelled"] += lists["unlabelled"]
    every = FolderDataset(root, keep=config.keep or None, boxes=False)

    def names(which: str) -> Sequence[str]:
        return lists["labelled" if which == "candidates" else which]

    def reader(which: str, masks: bool, boxes: bool, hidden: bool) -> Reader:
        return FolderDataset(root, names(which), config.keep or None, masks, boxes)

    boxed = every.contents.boxes.names
    has_boxes = all(boxed.issuperset(lists[name]) for name in ("labelled", "val", "test"))
    return Source(every.classes, has_boxes, names, reader)


_HOW = {
    name: f"; `semiseg data {name}` says how to get it" for name in ("voc", "cityscapes", "camvid")
}
_LISTS_READ = {
    "voc": ("candidates", "unlabelled", "val", "test"), "cityscapes": ("val", "test"),
    "camvid": ("unlabelled", "val", "test"), "folder": ("unlabelled",),
}
"""The list names of a configuration that a dataset reads; its other lists are fixed."""

_OPENERS: dict[str, Callable[[Chosen, Path, int], Source]] = {
    "voc": _voc, "cityscapes": _cityscapes, "camvid": _camvid, "folder": _folder,
}
