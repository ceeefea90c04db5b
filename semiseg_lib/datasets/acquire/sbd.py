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
from tqdm.auto import tqdm

from semiseg_lib.datasets.devkit.layout import read_list
from semiseg_lib.datasets.labels import LabelError, read_mask, write_mask
from semiseg_lib.datasets.lists import write_list

AUG_FOLDER = "SegmentationClassAug"
NUM_CLASSES = 21
"""Number of VOC's classes, background included; SBD has the same ids."""


def read_sbd_mask(path: Path) -> np.ndarray:
    """Read ``cls/NAME.mat`` as uint8 (H, W) of VOC's ids 0 to 20; SBD has no void pixels.

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: it is truncated, not a MATLAB file, not from ``cls``, or holds unknown ids.
    """
    from scipy.io import loadmat  # needed for this format only
    from scipy.io.matlab import MatReadError

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. Unpack SBD's benchmark.tgz again.")
    try:
        content = loadmat(path, variable_names=["GTcls"])
        mask = np.asarray(content["GTcls"]["Segmentation"][0, 0])
    except KeyError:
        raise LabelError(
            f"{path} holds no GTcls.Segmentation. Read the files of dataset/cls; those of "
            "dataset/inst hold object numbers, not classes."
        ) from None
    except (MatReadError, ValueError, TypeError, OSError, EOFError, IndexError,
            NotImplementedError) as error:
        raise LabelError(f"{path} cannot be read ({error}). Unpack it again.") from error
    last = NUM_CLASSES - 1
    if mask.ndim != 2 or mask.size == 0 or mask.min() < 0 or mask.max() > last:
        raise LabelError(
            f"{path} is not a mask of the ids 0 to {last} (shape {mask.shape}). Unpack it again."
        )
    return mask.astype(np.uint8)


def make_aug(sbd_root: Path, voc_root: Path, progress: bool = True) -> None:
    """Write ``SegmentationClassAug`` and the lists ``train_aug.txt`` and ``sbd_extra.txt``.

    Images of VOC's train list keep VOC's more accurate mask, those of its val list are left out.
    Existing masks are not written again, so an interrupted call can be repeated; the lists are
    written last.

    Args:
        sbd_root: ``benchmark_RELEASE`` or its ``dataset`` folder.
        voc_root: ``VOCdevkit/VOC2012``.
        progress: show a progress bar.

    Raises:
        FileNotFoundError: a list, an image or a mask is missing.
        LabelError: a mask is invalid.
    """
    dataset, voc_root = _dataset_folder(Path(sbd_root)), Path(voc_root)
    lists = voc_root / "ImageSets" / "Segmentation"
    train, held_out = read_list(lists / "train.txt"), read_list(lists / "val.txt")
    known = {*train, *held_out}
    in_sbd = sorted({*read_list(dataset / "train.txt"), *read_list(dataset / "val.txt")})
    extra = tuple(name for name in in_sbd if name not in known)
    images = voc_root / "JPEGImages"
    if absent := [name for name in extra if not (images / f"{name}.jpg").is_file()]:
        raise FileNotFoundError(
            f"{len(absent)} images of SBD are not in {images}, such as {absent[0]}.jpg. Use VOC "
            f"2012 (not 2007), or copy them from {dataset / 'img'}."
        )

    masks = voc_root / AUG_FOLDER
    missing = [name for name in (*train, *extra) if not (masks / f"{name}.png").is_file()]
    official = set(train)
    for name in tqdm(missing, desc=AUG_FOLDER, unit="mask", disable=not progress):
        if name in official:
            mask = read_mask(voc_root / "SegmentationClass" / f"{name}.png", NUM_CLASSES)
        else:
            mask = read_sbd_mask(dataset / "cls" / f"{name}.mat")
        write_mask(mask, masks / f"{name}.png")
    write_list((*train, *extra), lists / "train_aug.txt")
    if extra:
        write_list(extra, lists / "sbd_extra.txt")


def _dataset_folder(root: Path) -> Path:
    """Return the folder that holds ``cls``, given any level of the unpacked archive."""
    for folder in (root, root / "dataset", root / "benchmark_RELEASE" / "dataset"):
        if (folder / "cls").is_dir():
            return folder
    raise FileNotFoundError(
        f"{root} holds no dataset/cls. Unpack SBD's benchmark.tgz and pass its benchmark_RELEASE."
    )
