"""Your own images: a folder with some masks, some boxes, and images with neither.

::

    classes.txt         a class a line; the first is the background, id 0
    images/NAME.jpg     all images, in any usual format
    masks/NAME.png      ids as pixel values, 255 = void; only for the images that have one
    boxes/NAME.xml      VOC's XML, counted from 1; or boxes.json / annotations.json in COCO's format
    labelled.txt boxed.txt unlabelled.txt val.txt test.txt       lists of names, each optional
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semiseg_lib.datasets.folder_boxes import FolderBoxes, find_boxes
from semiseg_lib.datasets.labels import (
    VOID,
    LabelError,
    check_same_size,
    kept_boxes,
    packed_ids,
    read_image,
    read_mask,
)
from semiseg_lib.datasets.published_lists import (
    IMAGE_SUFFIXES,
    check_no_duplicates,
    read_published_list,
)
from semiseg_lib.datasets.sample import Sample
from semiseg_lib.datasets.splits import check_disjoint

LISTS = ("labelled", "boxed", "unlabelled", "val", "test")
_IGNORED = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Contents:
    """What lies in a folder of your own.

    Attributes:
        root: the folder.
        classes: C names, the background first.
        images, masks: {name: file}, sorted by name.
        boxes: where the boxes are.
    """

    root: Path
    classes: tuple[str, ...]
    images: Mapping[str, Path]
    masks: Mapping[str, Path]
    boxes: FolderBoxes


class FolderDataset:
    """Images of a folder as :class:`Sample`, each with the labels it has.

    Args:
        root: the folder.
        names: which images; None for all.
        keep: the classes to tell apart, the background first; None for all. Others become void.
        masks: read the masks that are there.
        boxes: read the boxes that are there. An image that the COCO file lists, or that has an
            XML, was looked through: it has no box where none is drawn, instead of None.

    Raises:
        FileNotFoundError, ValueError, LabelError: see :func:`look_through`; or a name is unknown.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str] | None = None,
        keep: Sequence[str] | None = None,
        masks: bool = True,
        boxes: bool = True,
    ) -> None:
        self.contents = look_through(root)
        self.masks, self.boxes = masks, boxes
        self.classes, self._new_id = packed_ids(self.contents.classes, keep, self.contents.root)
        self.names = list(self.contents.images if names is None else names)
        _check_known(self.names, self.contents, "the choice")
        if boxes and self.classes[0] != self.contents.classes[0]:
            raise ValueError(
                f"keep starts with {self.classes[0]}; with boxes it must start with the "
                f"background, {self.contents.classes[0]}, whose channel means 'outside every box'."
            )

    @property
    def has_boxes(self) -> bool:
        """Whether every image comes with boxes."""
        return self.boxes and set(self.names) <= self.contents.boxes.names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image_path = self.contents.images[name]
        image = read_image(image_path)
        mask, boxes = None, None
        if self.masks and name in self.contents.masks:
            mask_path = self.contents.masks[name]
            mask = _read_ids(mask_path, self.contents.classes)
            check_same_size(mask, image, mask_path, image_path)
            mask = self._new_id[mask]
        if self.boxes:
            boxes = self.contents.boxes.read(name, self.contents.classes, image.shape[1:])
            boxes = None if boxes is None else kept_boxes(boxes, self._new_id)
        return Sample(name, image, mask, boxes)


def look_through(root: Path) -> Contents:
    """List what is in a folder; no image is opened.

    Raises:
        FileNotFoundError: ``images`` or ``classes.txt`` is missing.
        ValueError: no images, two of one name, masks or boxes without an image, files that are
            no images, or a useless ``classes.txt``.
        LabelError: a COCO file that cannot be used.
    """
    root = Path(root)
    if not (root / "images").is_dir():
        raise FileNotFoundError(f"{root} has no folder images. Put the images into it.")
    classes = read_classes(root / "classes.txt")
    images = _files(root / "images", IMAGE_SUFFIXES, "images; convert them to PNG or JPEG")
    if not images:
        raise ValueError(f"{root / 'images'} is empty. Put the images straight into it.")
    masks = {}
    if (root / "masks").is_dir():
        masks = _files(root / "masks", (".png",), "PNG files; JPEG would blur the ids")
    if strangers := sorted(set(masks) - set(images)):
        raise ValueError(
            f"{len(strangers)} masks have no image of the same name in images, such as "
            f"{masks[strangers[0]]}. Name each mask like its image (cat1.jpg, cat1.png)."
        )
    return Contents(root, classes, images, masks, find_boxes(root, images))


def read_classes(path: Path) -> tuple[str, ...]:
    """The class names of ``classes.txt``, background first.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: fewer than two names, more than 255, or one twice.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing. Write one class name a line, the background (id 0) first; the "
            "line number, counted from 0, is the id in the masks."
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text. Save it as UTF-8.") from None
    classes = tuple(line.strip() for line in lines if line.strip())
    if not 2 <= len(classes) <= VOID or len(set(classes)) < len(classes):
        raise ValueError(
            f"{path} names {len(classes)} classes, {len(set(classes))} of them different. It "
            f"needs the background and 1 to {VOID - 1} more, each once."
        )
    return classes


def folder_lists(
    root: Path, seed: int, val_share: float = 0.2, test_share: float = 0.2
) -> dict[str, tuple[str, ...]]:
    """Who is labelled, boxed, unlabelled, val and test.

    A list that is there is taken as it is, and its group gets no more. Where ``val.txt`` or
    ``test.txt`` is missing, it is drawn by ``seed`` from the images with masks that no list
    names. All other images are sorted by what they have: with a mask labelled, with boxes only
    boxed, with nothing unlabelled. Where ``labelled.txt`` is there, more masks do not count.

    Args:
        root: the folder.
        seed: the same seed gives the same lists.
        val_share, test_share: of the images with masks that no list names; at least one each.

    Raises:
        FileNotFoundError, ValueError, LabelError: see :func:`look_through`; or a list names an
            unknown image, an image is in two lists, lacks the mask or boxes that its list
            promises, or too few images have masks.
    """
    contents = look_through(root)
    given = {name: read_published_list(contents.root / f"{name}.txt", contents.images)
             for name in LISTS if (contents.root / f"{name}.txt").is_file()}
    for name, members in given.items():
        _check_known(members, contents, f"{contents.root / name}.txt")
        _check_labels(members, contents, name)
    check_disjoint(given)
    taken = {member for members in given.values() for member in members}
    free = [name for name in contents.images if name not in taken]
    with_mask = [name for name in free if name in contents.masks]
    groups = _drawn(with_mask, given, seed, val_share, test_share, contents.root)
    used = {name for group in groups.values() for name in group}
    rest = [name for name in free if name not in used]
    groups["boxed"] = tuple(name for name in rest if name in contents.boxes.names)
    groups["unlabelled"] = tuple(name for name in rest if name not in contents.boxes.names)
    return {name: given[name] if name in given else groups[name] for name in LISTS}


def _drawn(
    with_mask: Sequence[str], given: Mapping[str, Sequence[str]], seed: int,
    val_share: float, test_share: float, root: Path,
) -> dict[str, tuple[str, ...]]:
    """Labelled, val and test images, where no list gives them, from those with masks."""
    shares = {"val": val_share, "test": test_share}
    wanted = {name: max(1, round(share * len(with_mask)))
              for name, share in shares.items() if name not in given}
    needed = sum(wanted.values()) + ("labelled" not in given)
    if needed > len(with_mask):
        missing = ", ".join([*wanted, *(["labelled"] if "labelled" not in given else [])])
        raise ValueError(
            f"{len(with_mask)} images of {root} have a mask and are in no list, but {missing} "
            f"need {needed}. Draw more masks, or write {missing.replace(', ', '.txt, ')}.txt."
        )
    order = np.random.default_rng([seed, 78]).permutation(len(with_mask))
    groups, start = {}, 0
    for name in shares:
        places = np.sort(order[start:start + wanted.get(name, 0)])
        groups[name] = tuple(with_mask[place] for place in places)
        start += len(places)
    if "labelled" not in given:
        groups["labelled"] = tuple(with_mask[place] for place in np.sort(order[start:]))
    return groups


def _files(folder: Path, suffixes: Sequence[str], what: str) -> dict[str, Path]:
    """{name without ending: file}; hidden files of systems are passed over."""
    files = [p for p in sorted(folder.iterdir())
             if not p.name.startswith(".") and p.name.lower() not in _IGNORED]
    if wrong := [p for p in files if p.is_dir() or p.suffix.lower() not in suffixes]:
        raise ValueError(
            f"{len(wrong)} entries of {folder} cannot be read, such as {wrong[0].name}. It may "
            f"hold only {what}, and no folders."
        )
    check_no_duplicates([p.stem for p in files], str(folder))
    return {p.stem: p for p in files}


def _check_known(names: Sequence[str], contents: Contents, what: str) -> None:
    check_no_duplicates(names, what)
    if unknown := [name for name in names if name not in contents.images]:
        raise ValueError(
            f"{what} names {len(unknown)} images that are not in {contents.root / 'images'}, "
            f"such as {unknown[0]}. Names are written without folder and ending."
        )


def _check_labels(members: Sequence[str], contents: Contents, name: str) -> None:
    have = {"labelled": contents.masks, "val": contents.masks, "test": contents.masks,
            "boxed": contents.boxes.names}.get(name, contents.images)
    if without := [member for member in members if member not in have]:
        kind = "boxes" if name == "boxed" else "mask"
        raise ValueError(
            f"{contents.root / name}.txt names {len(without)} images without {kind}, such as "
            f"{without[0]}. Add the {kind}, or take the names out."
        )


def _read_ids(path: Path, classes: Sequence[str]) -> np.ndarray:
    mask = read_mask(path, len(classes))
    if len(classes) == 2 and set(np.unique(mask).tolist()) == {0, VOID}:
        raise LabelError(
            f"{path} holds only 0 and {VOID}, and {VOID} means void. If white is {classes[1]}, "
            "save it as 1; if it is void, leave the mask out, it says nothing but background."
        )
    return mask
