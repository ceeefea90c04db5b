"""Where the files of each dataset lie and what its masks should hold, for the check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from semiseg_lib.datasets.camvid import ORIGINAL
from semiseg_lib.datasets.check_parts import Entry, Finding, Layout, NamedBoxes, Rules
from semiseg_lib.datasets.check_street import camvid_layout, cityscapes_layout
from semiseg_lib.datasets.folder import Contents, folder_lists, look_through
from semiseg_lib.datasets.labels import VOC_CLASSES, voc_palette
from semiseg_lib.datasets.minivoc import WORLDS, Sizes, prepare
from semiseg_lib.datasets.published_lists import read_published_list
from semiseg_lib.datasets.voc import read_annotation, read_list
from semiseg_lib.paths import shown


def open_layout(dataset: str, root: Path | None, lists: Sequence[Path] = ()) -> Layout:
    """The layout of ``dataset`` below ``root``; ``lists`` are further lists of its names.

    Raises:
        FileNotFoundError: the folder, or one of ``lists``, is not there.
        ValueError: there is no such dataset.
    """
    if dataset not in OPENERS:
        raise ValueError(f"there is no dataset {dataset!r}; there are {', '.join(OPENERS)}.")
    if dataset == "mini":
        folder = prepare(WORLDS["hurried"], Sizes()) if root is None else Path(root)
        return voc_layout(folder, ("background", *WORLDS["hurried"].classes), lists)
    if root is None:
        raise FileNotFoundError(
            f"where is {dataset}? Pass --root, or set SEMISEG_DATA to the folder that holds it; "
            f"`semiseg data {dataset}` says how to get it."
        )
    folder = Path(root) if dataset == "folder" else _folder(Path(root), dataset)
    return OPENERS[dataset](folder, lists)


def _voc(folder: Path, lists: Sequence[Path]) -> Layout:
    return voc_layout(folder, VOC_CLASSES, lists)


def voc_layout(folder: Path, classes: Sequence[str], lists: Sequence[Path] = ()) -> Layout:
    """A folder in VOC's layout; each mask from the folder that the list is meant for."""
    rules = Rules(
        ids=dict(enumerate(classes)), palette=np.reshape(voc_palette(), (256, 3)),
        read_boxes=lambda entry: read_annotation(entry.boxes),
        box_classes=frozenset(classes[1:]),
    )
    found, findings = {}, []
    own = sorted((folder / "ImageSets" / "Segmentation").glob("*.txt"))
    for path in [*own, *map(Path, lists)]:
        try:
            names = read_list(path) if path in own else read_published_list(path)
        except ValueError as error:
            findings.append(Finding("FAIL", path.stem, str(error)))
            continue
        masks = _mask_folders(folder, path.stem)
        entries = tuple(_voc_entry(folder, name, masks, rules) for name in names)
        found[path.stem], findings = entries, findings + _other_folders(path.stem, entries, masks)
    if not found and not findings:
        raise FileNotFoundError(
            f"{shown(folder)} holds no lists. Write one image name a line into "
            "ImageSets/Segmentation/train.txt and val.txt."
        )

    return Layout(f"VOC layout in {shown(folder)}", found, tuple(findings))


def _mask_folders(folder: Path, image_set: str) -> list[str]:
    """SBD's masks for the lists that are made of them, the official ones for the others."""
    order = ["SegmentationClass", "SegmentationClassAug"]
    augmented = any(word in image_set for word in ("aug", "sbd", "unlabelled", "unlabel"))
    order = order[::-1] if augmented else order
    return [name for name in order if (folder / name).is_dir()] or order[:1]


def _voc_entry(folder: Path, name: str, mask_folders: Sequence[str], rules: Rules) -> Entry:
    masks = [folder / one / f"{name}.png" for one in mask_folders]
    mask = next((path for path in masks if path.is_file()), masks[0])
    boxes = folder / "Annotations" / f"{name}.xml"
    return Entry(name, rules, folder / "JPEGImages" / f"{name}.jpg", mask, boxes)


def _other_folders(
    name: str, entries: Sequence[Entry], mask_folders: Sequence[str]
) -> list[Finding]:
    files = [e.mask for e in entries if e.mask.is_file() and e.mask.parent.name != mask_folders[0]]
    if not files:
        return []
    return [Finding(
        "NOTE", name, f"{len(files)} masks lie in {files[0].parent.name}, the others in "
        f"{mask_folders[0]}", (shown(files[0]),),
        f"Copy them to {mask_folders[0]} to read all masks of this list.",
    )]


def _own(folder: Path, lists: Sequence[Path]) -> Layout:
    """A folder of one's own: what its reader refuses is a finding, then each image is looked at.
    """
    title, findings = f"Own images in {shown(folder)}", []
    try:
        contents = look_through(folder)
    except ValueError as error:
        return Layout(title, {}, (Finding("FAIL", "folder", str(error)),))
    try:
        names = dict(folder_lists(folder, seed=0))
        drawn = [name for name in ("val", "test") if not (folder / f"{name}.txt").is_file()]
        if drawn:
            findings.append(Finding(
                "NOTE", ", ".join(drawn), "drawn by the seed of each run; here by seed 0",
                mend=f"Write {'.txt and '.join(drawn)}.txt to measure on the same images always.",
            ))
    except ValueError as error:
        findings.append(Finding("FAIL", "lists", str(error)))
        names = {"all images": tuple(contents.images)}
    names |= {Path(path).stem: read_published_list(Path(path)) for path in lists}
    rules = Rules(
        ids=dict(enumerate(contents.classes)), box_classes=frozenset(contents.classes[1:]),
        read_boxes=lambda entry: _own_boxes(entry, contents),
    )
    found = {
        where: tuple(_own_entry(name, rules, contents) for name in members)
        for where, members in names.items() if members
    }
    return Layout(title, found, tuple(findings))


def _own_entry(name: str, rules: Rules, contents: Contents) -> Entry:
    image = contents.images.get(name, contents.root / "images" / f"{name}.jpg")
    coco = contents.boxes.file if name in contents.boxes.coco else None
    return Entry(name, rules, image, contents.masks.get(name), contents.boxes.xml.get(name, coco))


def _own_boxes(entry: Entry, contents: Contents) -> NamedBoxes:
    """As VOC counts: from 1, both ends included."""
    if entry.name in contents.boxes.xml:
        return read_annotation(entry.boxes)
    return [(label, (x0 + 1, y0 + 1, x1, y1))
            for label, (x0, y0, x1, y1) in contents.boxes.coco[entry.name]]


def _folder(root: Path, dataset: str) -> Path:
    """The dataset's folder: its usual place below ``root``, or ``root`` itself if it looks so."""
    below, marks = PLACES[dataset]
    for folder in (root / below, root):
        if any((folder / mark).is_dir() for mark in marks):
            return folder
    raise FileNotFoundError(
        f"{shown(root / below)} is not there, or holds no {' or '.join(marks)}. Name the folder "
        f"that holds {below}; `semiseg data {dataset}` gets it, or says how."
    )


# Where each dataset lies below the root, and the folders it is known by.
PLACES = {
    "voc": ("VOCdevkit/VOC2012", ("ImageSets/Segmentation",)),
    "cityscapes": ("cityscapes", ("leftImg8bit",)),
    "camvid": ("camvid", ("train", ORIGINAL[0])),
}
OPENERS: dict[str, Callable[[Path, Sequence[Path]], Layout]] = {
    "voc": _voc, "cityscapes": cityscapes_layout, "camvid": camvid_layout, "folder": _own,
    "mini": _voc,
}
