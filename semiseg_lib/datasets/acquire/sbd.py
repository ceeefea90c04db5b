"""The Semantic Boundaries Dataset (SBD): 9,118 more masks for PASCAL VOC's training images.

::

    benchmark_RELEASE/dataset/train.txt, val.txt    names
                              cls/NAME.mat          masks of VOC's class ids, without void borders

:func:`make_aug` converts them to VOC's layout, the commonly used "augmented" training set of 10,582
images: VOC's 1,464 plus all of SBD that is not in VOC's val.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.core.terminal import progress_bar
from semiseg_lib.datasets.devkit.layout import read_list
from semiseg_lib.datasets.labels import LabelError, decoding, read_mask, write_mask
from semiseg_lib.datasets.lists import write_list

from .matlab import read_field

AUG_FOLDER = "SegmentationClassAug"
NUM_CLASSES = 21
"""Number of VOC's classes, background included; SBD has the same ids."""


def read_sbd_mask(path: Path) -> np.ndarray:
    """Read ``cls/NAME.mat`` as uint8 (H, W) of VOC's ids 0 to 20; SBD has no void pixels.

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: it is truncated, not a MATLAB file, not from ``cls``, or holds unknown ids.
    """
    with decoding(path, "Unpack SBD's benchmark.tgz again."):
        mask = read_field(Path(path).expanduser().read_bytes(), "GTcls", "Segmentation")
    if mask is None:
        raise LabelError(
            f"{shown(path)} holds no GTcls.Segmentation. Read the files of dataset/cls; those of "
            "dataset/inst hold object numbers, not classes."
        )
    if mask.max() >= NUM_CLASSES:
        raise LabelError(
            f"{shown(path)} holds the id {mask.max()}, but only 0 to {NUM_CLASSES - 1} are known. "
            "Unpack SBD's benchmark.tgz again."
        )
    return mask


def make_aug(sbd_root: Path, voc_root: Path, progress: bool = True) -> None:
    """Write ``SegmentationClassAug`` and the lists ``train_aug.txt`` and ``sbd_extra.txt``.

    Images of VOC's train list keep VOC's more accurate mask, those of its val list are left out.
    A mask is written unless the one there has the same pixels: an interrupted call can be repeated,
    and one after a change of SBD or VOC makes the masks right. The lists are written last.

    Args:
        sbd_root: ``benchmark_RELEASE`` or its ``dataset`` folder.
        voc_root: ``VOCdevkit/VOC2012``.
        progress: show a progress bar.

    Raises:
        FileNotFoundError: a list, an image or a mask is missing.
        LabelError: a mask is invalid.
    """
    dataset = _dataset_folder(Path(sbd_root).expanduser())
    voc_root = Path(voc_root).expanduser()
    lists = voc_root / "ImageSets" / "Segmentation"
    train, held_out = read_list(lists / "train.txt"), read_list(lists / "val.txt")
    known = {*train, *held_out}
    in_sbd = sorted({*read_list(dataset / "train.txt"), *read_list(dataset / "val.txt")})
    extra = tuple(name for name in in_sbd if name not in known)
    images = voc_root / "JPEGImages"
    if absent := [name for name in extra if not (images / f"{name}.jpg").is_file()]:
        raise FileNotFoundError(
            f"{len(absent)} images of SBD are not in {shown(images)}, such as "
            f"{visible(absent[0])}.jpg. Use VOC 2012 (not 2007), or copy them from "
            f"{shown(dataset / 'img')}."
        )

    masks = voc_root / AUG_FOLDER
    official = set(train)
    for name in progress_bar((*train, *extra), desc=AUG_FOLDER, unit="mask", disable=not progress):
        if name in official:
            mask = read_mask(voc_root / "SegmentationClass" / f"{name}.png", NUM_CLASSES)
        else:
            mask = read_sbd_mask(dataset / "cls" / f"{name}.mat")
        if not _holds(masks / f"{name}.png", mask):
            write_mask(mask, masks / f"{name}.png")
    write_list((*train, *extra), lists / "train_aug.txt")
    if extra:
        write_list(extra, lists / "sbd_extra.txt")
    else:
        (lists / "sbd_extra.txt").unlink(missing_ok=True)


def _holds(path: Path, mask: np.ndarray) -> bool:
    try:
        return np.array_equal(read_mask(path, NUM_CLASSES), mask)
    except (FileNotFoundError, LabelError):
        return False


def _dataset_folder(root: Path) -> Path:
    """Return the folder that holds ``cls``, given any level of the unpacked archive."""
    for folder in (root, root / "dataset", root / "benchmark_RELEASE" / "dataset"):
        if (folder / "cls").is_dir():
            return folder
    raise FileNotFoundError(
        f"{shown(root)} holds no dataset/cls. Unpack SBD's benchmark.tgz and pass its "
        "benchmark_RELEASE."
    )
