"""The reader of CamVid: the 11-class ids in common use, and the original 32 colours.

::

    train/NAME.png  train_labels/NAME.png       ids 0 to 10, 255 (or 11) = void; so val and test
    train.txt                                   names, where the folders are not to be believed

    701_StillsRaw_full/NAME.png                 the original, 960x720
    LabeledApproved_full/NAME_L.png             colours

    frames/.../SEQUENCE_NNNNN.png               further frames of the videos, in either layout
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from semiseg_lib.datasets.labels import (
    CAMVID_CLASSES,
    VOID,
    LabelError,
    camvid_ids,
    check_same_size,
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

SPLITS = ("train", "val", "test")
ORIGINAL = ("701_StillsRaw_full", "LabeledApproved_full")
SEQUENCES = ("0001TP", "0006R0", "0016E5", "Seq05VD")
FRAMES = "frames"
NEAR = 30
"""Frames within a second of a held-out one are left out: no labelled one is nearer either."""


class CamVidDataset:
    """Images of one split as :class:`Sample`; masks of 11 classes, no background, no boxes.

    Args:
        root: the folder that holds ``train`` and ``train_labels``, or ``701_StillsRaw_full`` and
            ``LabeledApproved_full``.
        split: ``train`` (367 images), ``val`` (101) or ``test`` (233).
        names: which images; None for all of the split: those in ``SPLIT.txt``, else those in
            the folder, else (for the original) the usual split by sequence and frame. Names of
            :func:`camvid_frames` may be among them: nobody labelled those, all is void.
        keep: the classes to tell apart, None for all 11; every other class becomes void.
        masks: read the masks.
        recipe: how 32 colours become 11 ids: ``merged`` or ``exact`` (see :func:`camvid_ids`).
            Scores of the two cannot be compared. Masks of ids are merged ones.

    Raises:
        FileNotFoundError: neither layout is there.
        ValueError: a list is empty or names an image twice, an unknown split, recipe or class, or
            ``exact`` for masks that are ids already.
    """

    def __init__(
        self,
        root: Path,
        split: str = "train",
        names: Sequence[str] | None = None,
        keep: Sequence[str] | None = None,
        masks: bool = True,
        recipe: Literal["merged", "exact"] = "merged",
    ) -> None:
        self.root, self.split, self.masks, self.recipe = Path(root), split, masks, recipe
        if split not in SPLITS:
            raise ValueError(f"CamVid has no split {split!r}; choose {', '.join(SPLITS)}.")
        camvid_ids(recipe)
        self.classes, self._new_id = packed_ids(CAMVID_CLASSES, keep, self.root)
        self.original = (self.root / ORIGINAL[0]).is_dir()
        self._images, self._masks = self._folders()
        if recipe == "exact" and not self.original:
            raise ValueError(
                f"the masks of {self.root} are ids that were merged already; recipe='exact' needs "
                f"the original colours in {ORIGINAL[1]}."
            )
        self.names = list(camvid_names(self.root, split) if names is None else names)
        check_no_duplicates(self.names, f"the choice from {self.root}")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        if name.startswith(f"{FRAMES}/"):
            return self._frame(name)
        image_path = _image_path(self._images, name)
        image = read_image(image_path)
        mask = None
        if self.masks:
            mask_path = self._masks / f"{name}{'_L' if self.original else ''}.png"
            mask = self._new_id[self._read_mask(mask_path)]
            check_same_size(mask, image, mask_path, image_path)
        return Sample(name, image, mask)

    def _frame(self, name: str) -> Sample:
        image = read_image(_image_path(self.root, name))
        return Sample(name, image, np.full(image.shape[1:], VOID, np.uint8) if self.masks else None)

    def _folders(self) -> tuple[Path, Path]:
        if self.original:
            return self.root / ORIGINAL[0], self.root / ORIGINAL[1]
        images = self.root / self.split
        if not images.is_dir():
            raise FileNotFoundError(
                f"{self.root} holds neither {self.split}/ with {self.split}_labels/ (11 ids) nor "
                f"{ORIGINAL[0]}/ with {ORIGINAL[1]}/ (32 colours). Name the folder that does."
            )
        annotated = self.root / f"{self.split}annot"
        return images, annotated if annotated.is_dir() else self.root / f"{self.split}_labels"

    def _read_mask(self, path: Path) -> np.ndarray:
        if self.original:
            return read_colour_mask(path, self.recipe)
        # One common copy writes void as 11, one past the last class; packed_ids makes it 255.
        return read_mask(path, len(CAMVID_CLASSES) + 1)


def camvid_names(root: Path, split: str) -> tuple[str, ...]:
    """The names of a split: from its list, else its folder, else the usual rule.

    Raises:
        ValueError: there are none.
    """
    root = Path(root)
    if (root / f"{split}.txt").is_file():
        return read_published_list(root / f"{split}.txt")
    original = (root / ORIGINAL[0]).is_dir()
    folder = root / (ORIGINAL[0] if original else split)
    found = sorted(p.stem for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    names = tuple(name for name in found if not original or usual_split(name) == split)
    if not names:
        raise ValueError(f"{folder} holds no image of the {split} split. Unpack it again.")
    return names


def usual_split(name: str) -> str:
    """Where the usual 367/101/233 split puts a frame: it follows sequence and frame number.

    Raises:
        ValueError: it is no frame of CamVid.
    """
    sequence, _, frame = name.partition("_")
    number = frame.removeprefix("f")
    if sequence not in SEQUENCES or not number.isdigit():
        raise ValueError(
            f"{name} is no frame of CamVid (0001TP_006690, 0006R0_f00930, 0016E5_00390, "
            "Seq05VD_f00000 are). Take it out, or write train.txt, val.txt and test.txt."
        )
    if sequence == "Seq05VD" or (sequence == "0001TP" and int(number) >= 8550):
        return "test"
    # Frames 7959 to 8159 were labelled at every other frame; they are the validation images.
    return "val" if sequence == "0016E5" and 7959 <= int(number) <= 8159 else "train"


def camvid_frames(root: Path) -> tuple[str, ...]:
    """Names of the further video frames, ``frames/.../SEQUENCE_NNNNN``, that may be learnt from.

    Left out are the images of train, val and test themselves, and every frame within 30 of a val
    or test image of its sequence. That goes by the numbers in the names, so they must count the
    frames of the original video.

    Raises:
        FileNotFoundError: there are none.
        ValueError: a name does not say which frame it is.
    """
    root = Path(root)
    found = sorted(
        path.relative_to(root).with_suffix("").as_posix()
        for path in (root / FRAMES).rglob("[!.]*") if path.suffix.lower() in IMAGE_SUFFIXES
    )
    if not found:
        raise FileNotFoundError(
            f"{root / FRAMES} holds no images. Extract them from the videos: "
            "semiseg data frames 0006R0.MXF 0016E5.MXF."
        )
    check_no_duplicates(found, str(root / FRAMES))
    banned = defaultdict(set)
    for split in SPLITS:
        reach = 0 if split == "train" else NEAR
        for sequence, number in map(_frame_number, camvid_names(root, split)):
            banned[sequence] |= set(range(number - reach, number + reach + 1))
    places = map(_frame_number, found)
    return tuple(name for name, (sequence, number) in zip(found, places, strict=True)
                 if number not in banned[sequence])


def _frame_number(name: str) -> tuple[str, int]:
    """The sequence and frame number that a name ends with; ``0016E5_f00390`` is 0016E5_00390."""
    known = re.fullmatch(r"(?:.*/)?([^/]+)_f?(\d+)", name)
    sequence = {"0005VD": "Seq05VD"}.get(known[1], known[1]) if known else ""  # the video's name
    if sequence not in SEQUENCES:
        raise ValueError(
            f"{name} names no frame of CamVid's sequences ({', '.join(SEQUENCES)}), so that it "
            "may show what is held out. Name it SEQUENCE_NUMBER, such as 0016E5_00390, by its "
            "number in the video, or take it out."
        )
    return sequence, int(known[2])


def read_colour_mask(path: Path, recipe: str) -> np.ndarray:
    """Read a mask of CamVid's colours as ids 0 to 10 or 255 (void), uint8 (H, W).

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: it holds no colours, or colours that are not among the 32.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing. Unpack {ORIGINAL[1]} again.")
    with Image.open(path) as image:
        mode = image.mode
    if mode in ("L", "1", "I"):
        raise LabelError(
            f"{path} is a grey image of ids, not of colours. Put it into train_labels, "
            f"val_labels or test_labels, or unpack {ORIGINAL[1]} again."
        )
    red, green, blue = read_image(path).astype(np.int32)
    codes = red << 16 | green << 8 | blue
    table_codes, table_ids = _code_table(recipe)
    places = np.searchsorted(table_codes, codes).clip(max=len(table_codes) - 1)
    known = table_codes[places] == codes
    if not known.all():
        code = int(codes[~known][0])
        colour = (code >> 16, code >> 8 & 255, code & 255)
        raise LabelError(
            f"{path} holds the colour {colour} and {int((~known).sum())} such pixels that are "
            "none of CamVid's 32 colours. Masks must not be smoothed when resized, nor saved as "
            f"JPEG: resize by nearest neighbour, or unpack {ORIGINAL[1]} again."
        )
    return table_ids[places]


@lru_cache(maxsize=2)
def _code_table(recipe: str) -> tuple[np.ndarray, np.ndarray]:
    """The 32 colours as ascending 24-bit numbers, and their ids."""
    ids = {red << 16 | green << 8 | blue: label
           for (red, green, blue), label in camvid_ids(recipe).items()}
    codes = sorted(ids)
    return np.array(codes), np.array([ids[code] for code in codes], dtype=np.uint8)


def _image_path(folder: Path, name: str) -> Path:
    paths = [folder / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES]
    return next((path for path in paths if path.is_file()), paths[2])
