"""The reader of Cityscapes' fine annotations, as the official archives unpack.

::

    leftImg8bit/train/CITY/NAME_leftImg8bit.png         the images, 2048x1024
    gtFine/train/CITY/NAME_gtFine_labelIds.png          masks of Cityscapes' own ids, 0 to 33
                      NAME_gtFine_labelTrainIds.png     the 19 train ids, where someone made them
                      NAME_gtFine_instanceIds.png       1000 * id + number for each object

NAME is ``CITY_000000_000019``. The archives hold no train ids; this reader maps the ids by itself.
Training on the raw ids is the commonest mistake with this dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy import ndimage

from semiseg_lib.datasets.labels import (
    CITYSCAPES_CLASSES,
    CITYSCAPES_IDS,
    CITYSCAPES_THINGS,
    VOID,
    LabelError,
    check_same_size,
    cityscapes_train_ids,
    kept_boxes,
    packed_ids,
    read_image,
    read_mask,
)
from semiseg_lib.datasets.published_lists import check_no_duplicates
from semiseg_lib.datasets.sample import Boxes, Sample

MaskFormat = Literal["auto", "labelIds", "labelTrainIds"]

_CLASSES, _IDS = len(CITYSCAPES_CLASSES), len(CITYSCAPES_IDS)


class CityscapesDataset:
    """Images of one split as :class:`Sample`; masks of 19 classes, none of them a background.

    Args:
        root: the folder that holds ``leftImg8bit`` and ``gtFine``.
        split: ``train`` (2,975 images), ``val`` (500) or ``test`` (1,525, masks held back).
        names: which images, as ``aachen_000000_000019``; None for all of the split.
        keep: the classes to tell apart, None for all 19. The ids are packed in this order, and
            every other class becomes void.
        masks: which masks to read; ``auto`` takes ``labelIds`` where there are any, else
            ``labelTrainIds``. None to read none.
        boxes: derive the boxes of the eight kinds of things from ``instanceIds``. Things have
            train ids 11 to 18, so no box is of class 0 (road), and channel 0 of
            :func:`class_maps` is free to mean "outside every box", as everywhere.

    Raises:
        FileNotFoundError: the split's folder is missing.
        ValueError: it is empty, a name occurs twice or is not one of the split, ``keep`` names an
            unknown class or, with boxes, a thing first, or masks of the test split are asked for.
    """

    def __init__(
        self,
        root: Path,
        split: str = "train",
        names: Sequence[str] | None = None,
        keep: Sequence[str] | None = None,
        masks: MaskFormat | None = "auto",
        boxes: bool = True,
    ) -> None:
        self.root, self.split = Path(root), split
        self.masks, self.boxes = masks, boxes
        self.classes, self._new_id = packed_ids(CITYSCAPES_CLASSES, keep, self.root)
        if boxes and self.classes[0] in CITYSCAPES_THINGS:
            raise ValueError(
                f"keep starts with {self.classes[0]}, which has boxes, but channel 0 of the box "
                "maps means 'outside every box'. Name a class without boxes first, such as road."
            )
        if masks not in (None, "auto", "labelIds", "labelTrainIds"):
            raise ValueError(f"masks={masks!r}; choose auto, labelIds, labelTrainIds or None.")
        if split == "test" and (masks is not None or boxes):
            raise ValueError(
                "Cityscapes keeps the masks of its test split (the files there are empty). Read "
                "it with masks=None and boxes=False, and measure on val."
            )
        self._cities = cityscapes_images(self.root, split)
        self.names = list(self._cities if names is None else names)
        check_no_duplicates(self.names, f"the choice from {self.root}")
        if unknown := [name for name in self.names if name not in self._cities]:
            raise ValueError(
                f"{len(unknown)} images are not in {self.root / 'leftImg8bit' / split}, such as "
                f"{unknown[0]}. Names look like {next(iter(self._cities))}; check the split."
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        city = self._cities[name]
        image_path = self.root / "leftImg8bit" / self.split / city / f"{name}_leftImg8bit.png"
        image = read_image(image_path)
        mask, boxes = None, None
        if self.masks is not None:
            mask_path = self._mask_path(name)
            mask = self._new_id[read_cityscapes_mask(mask_path)]
            check_same_size(mask, image, mask_path, image_path)
        if self.boxes:
            boxes_path = self._annotation(name, "instanceIds")
            ids = read_instance_ids(boxes_path)
            check_same_size(ids, image, boxes_path, image_path)
            boxes = kept_boxes(instance_boxes(ids), self._new_id)
        return Sample(name, image, mask, boxes)

    def _annotation(self, name: str, kind: str) -> Path:
        folder = self.root / "gtFine" / self.split / self._cities[name]
        return folder / f"{name}_gtFine_{kind}.png"

    def _mask_path(self, name: str) -> Path:
        """The mask asked for; the message names both kinds where neither is there."""
        kinds = ("labelIds", "labelTrainIds") if self.masks == "auto" else (self.masks,)
        paths = [self._annotation(name, kind) for kind in kinds]
        for path in paths:
            if path.is_file():
                return path
        raise FileNotFoundError(
            f"{paths[0]} is missing. Unpack gtFine_trainvaltest.zip into {self.root}; its labelIds "
            "are enough (masks='auto'), nobody needs to make labelTrainIds."
        )


def cityscapes_images(root: Path, split: str) -> dict[str, str]:
    """{image name: city} of a split, sorted by name.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there is no image in it.
    """
    folder = Path(root) / "leftImg8bit" / split
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is missing. Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip "
            "side by side and name the folder that holds both; `csDownload` fetches them after a "
            "registration at cityscapes-dataset.com."
        )
    found = sorted(folder.glob("*/*_leftImg8bit.png"))
    if not found:
        raise ValueError(f"{folder} holds no CITY/NAME_leftImg8bit.png. Unpack the archive again.")
    return {path.name.removesuffix("_leftImg8bit.png"): path.parent.name for path in found}


def read_cityscapes_mask(path: Path) -> np.ndarray:
    """Read ``*_labelIds.png`` or ``*_labelTrainIds.png`` as train ids, uint8 (H, W), 255 = void.

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: colours instead of ids, or ids that the other format would have.
    """
    path = Path(path)
    mask = read_mask(path, _IDS)
    present = np.unique(mask)
    highest = int(present[present != VOID].max(initial=0))
    if path.stem.endswith("_labelTrainIds"):
        if highest >= _CLASSES:
            raise LabelError(
                f"{path} holds the id {highest}, but train ids end at {_CLASSES - 1}: these are "
                "Cityscapes' own ids under the wrong name. Rename the file to "
                f"{path.name.replace('labelTrainIds', 'labelIds')}."
            )
        return mask
    # Own ids have no 255; the licence plate's id -1 could be stored as 255, beside ids above 18.
    if VOID in present and highest < _CLASSES:
        raise LabelError(
            f"{path} holds {VOID} and no id above {_CLASSES - 1}: these are train ids under the "
            "wrong name, and reading them as ids would shuffle the classes. Rename the file to "
            f"{path.name.replace('labelIds', 'labelTrainIds')}, or unpack the original again."
        )
    return cityscapes_train_ids()[mask]


def read_instance_ids(path: Path) -> np.ndarray:
    """Read ``*_instanceIds.png`` as int32 (H, W): an id below 34, or 1000 * id + number.

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: the file is no such image.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            mode, ids = image.mode, np.asarray(image)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing. Unpack gtFine_trainvaltest.zip, or read without boxes."
        ) from None
    except (UnidentifiedImageError, OSError) as error:
        raise LabelError(f"{path} cannot be read ({error}). Copy or unpack it again.") from error
    if not mode.startswith("I"):
        raise LabelError(
            f"{path} has mode {mode}; instance ids go up to 33999 and need 16 bits or more. It "
            "is another kind of mask, or was saved again by a program. Unpack the original."
        )
    ids = np.maximum(ids.astype(np.int32), 0)
    things = {CITYSCAPES_IDS.index(name) for name in (*CITYSCAPES_THINGS, "caravan", "trailer")}
    numbers = np.flatnonzero(np.bincount(ids.ravel()))
    kinds = set((numbers[numbers >= 1000] // 1000).tolist())
    if unknown := sorted(kinds - things):
        raise LabelError(
            f"{path} holds objects of the ids {unknown}, but only {min(things)} to {max(things)} "
            "have objects. If these are train ids, unpack the original instanceIds."
        )
    return ids


def instance_boxes(ids: np.ndarray) -> Boxes:
    """The tight boxes around the outlined objects of the eight classes of things.

    Groups of things that nobody told apart (an id below 1000), caravans and trailers have none.

    Args:
        ids: int (H, W), as :func:`read_instance_ids` gives them.
    """
    train_ids = cityscapes_train_ids()
    coordinates, classes = [], []
    for number, place in enumerate(ndimage.find_objects(ids), start=1):
        label = int(train_ids[number // 1000])  # void below 1000: 0 is "unlabeled"
        if place is None or label == VOID:
            continue
        rows, columns = place
        coordinates.append((columns.start, rows.start, columns.stop, rows.stop))
        classes.append(label)
    return Boxes(
        np.asarray(coordinates, np.float32).reshape(-1, 4), np.asarray(classes, np.int64)
    )
