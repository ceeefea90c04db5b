"""Cityscapes with its fine annotations, in the layout of the official archives.

::

    leftImg8bit/train/CITY/NAME_leftImg8bit.png         the images, 2048x1024
    gtFine/train/CITY/NAME_gtFine_labelIds.png          masks of Cityscapes' own ids, 0 to 33
                      NAME_gtFine_labelTrainIds.png     the 19 train ids, if generated
                      NAME_gtFine_instanceIds.png       1000 * id + number for each object

NAME is ``CITY_000000_000019``. The archives hold no train ids; this reader maps the ids itself.
Training on the raw ids is the most common mistake with this dataset.
"""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from os.path import lexists
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.acquire import Count, Download, count_files, unpack
from semiseg_lib.datasets.audit import Entry, Finding, Layout, Rules, listed_entries
from semiseg_lib.datasets.dataset import Dataset, Request
from semiseg_lib.datasets.labels import (
    VOID,
    LabelError,
    check_same_size,
    kept_boxes,
    opened_image,
    packed_ids,
    present_ids,
    read_image,
    read_mask,
)
from semiseg_lib.datasets.lists import check_no_duplicates
from semiseg_lib.datasets.sample import Boxes, Sample

CITYSCAPES_IDS = (
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic",
    "ground", "road", "sidewalk", "parking", "rail track", "building", "wall", "fence",
    "guard rail", "bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan", "trailer",
    "train", "motorcycle", "bicycle",
)
"""Cityscapes' own classes in the order of the ids in ``labelIds.png``, 0 to 33."""

CITYSCAPES_COLOURS = {
    "road": (128, 64, 128), "sidewalk": (244, 35, 232), "building": (70, 70, 70),
    "wall": (102, 102, 156), "fence": (190, 153, 153), "pole": (153, 153, 153),
    "traffic light": (250, 170, 30), "traffic sign": (220, 220, 0), "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152), "sky": (70, 130, 180), "person": (220, 20, 60),
    "rider": (255, 0, 0), "car": (0, 0, 142), "truck": (0, 0, 70), "bus": (0, 60, 100),
    "train": (0, 80, 100), "motorcycle": (0, 0, 230), "bicycle": (119, 11, 32),
}
"""The official colours of the classes that are scored, in the order of their train ids."""

CITYSCAPES_CLASSES = tuple(CITYSCAPES_COLOURS)
"""The 19 classes that are scored; the index of a class is its train id. No background."""

CITYSCAPES_THINGS = CITYSCAPES_CLASSES[11:]
"""The eight classes with instance annotations, and so with boxes."""

ARCHIVES = {"gtFine_trainvaltest.zip": "gtFine", "leftImg8bit_trainvaltest.zip": "leftImg8bit"}
FETCH = "Fetch Cityscapes with its owner's csDownload, or say how; unpack and count it (11 GB)."
TERMS = (
    "non-commercial research, by its licence; it may not be passed on; cite the Cityscapes dataset "
    "(CVPR 2016)."
)

MaskFormat = Literal["auto", "labelIds", "labelTrainIds"]

_CLASSES, _IDS = len(CITYSCAPES_CLASSES), len(CITYSCAPES_IDS)


class CityscapesDataset:
    """Images of one split as :class:`Sample`; masks of 19 classes without background.

    Args:
        root: the folder that holds ``leftImg8bit`` and ``gtFine``.
        split: ``train`` (2,975 images), ``val`` (500) or ``test`` (1,525, masks withheld).
        names: image names such as ``aachen_000000_000019``; None for all of the split.
        keep: the classes to use, None for all 19. New ids follow this order, and every other class
            becomes void.
        masks: which masks to read; ``auto`` takes ``labelIds`` if present, else
            ``labelTrainIds``. None to read none.
        boxes: derive the boxes of the eight thing classes from ``instanceIds``. Things have
            train ids 11 to 18, so no box is of class 0 (road), and channel 0 of
            :func:`class_maps` is free to mean "outside every box", as everywhere.

    Raises:
        FileNotFoundError: the split's folder is missing.
        ValueError: it is empty, a name occurs twice or is not in the split, ``keep`` names an
            unknown class or, with boxes, a thing first, or masks of the test split are requested.
    """

    canonical: Mapping[str, str] = MappingProxyType({})
    decoding = ""

    def __init__(
        self, root: Path, split: str = "train", names: Sequence[str] | None = None,
        keep: Sequence[str] | None = None, masks: MaskFormat | None = "auto", boxes: bool = True,
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
                "Cityscapes withholds the masks of its test split (the files are empty). Read "
                "it with masks=None and boxes=False, and evaluate on val."
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
        image_path = self._image_path(name)
        image = read_image(image_path)
        mask, boxes = None, None
        if self.masks is not None:
            mask_path = self._mask_path(name)
            mask = self._new_id.take(read_cityscapes_mask(mask_path))
            check_same_size(mask, image, mask_path, image_path)
        if self.boxes:
            boxes_path = self._annotation(name, "instanceIds")
            ids = read_instance_ids(boxes_path)
            check_same_size(ids, image, boxes_path, image_path)
            boxes = kept_boxes(instance_boxes(ids), self._new_id)
        return Sample(name, image, mask, boxes)

    def content(self, index: int) -> Iterator[Path]:
        """Yield the content of ``self[index]``: image, format and file of the mask, instances."""
        name = self.names[index]
        yield self._image_path(name)
        if self.masks is not None:
            path = self._mask_path(name)
            yield path.stem.rpartition("_")[2].encode()  # determines the classes of the ids
            yield path
        if self.boxes:
            yield self._annotation(name, "instanceIds")

    def _image_path(self, name: str) -> Path:
        folder = self.root / "leftImg8bit" / self.split / self._cities[name]
        return folder / f"{name}_leftImg8bit.png"

    def _annotation(self, name: str, kind: str) -> Path:
        folder = self.root / "gtFine" / self.split / self._cities[name]
        return folder / f"{name}_gtFine_{kind}.png"

    def _mask_path(self, name: str) -> Path:
        """Return the path of the mask; raise FileNotFoundError if no requested format exists."""
        kinds = ("labelIds", "labelTrainIds") if self.masks == "auto" else (self.masks,)
        paths = [self._annotation(name, kind) for kind in kinds]
        for path in paths:
            if lexists(path):
                return path
        raise FileNotFoundError(
            f"{paths[0]} is missing. Unpack gtFine_trainvaltest.zip into {self.root}; its labelIds "
            "are enough (masks='auto'), labelTrainIds are not needed."
        )


class CityscapesSource:
    """Cityscapes, opened; see :class:`semiseg_lib.datasets.dataset.Source`.

    Args:
        root: the folder that holds ``leftImg8bit`` and ``gtFine``.
        keep: the classes to use; empty for all.
        val, test: the splits of these lists.
    """

    def __init__(self, root: Path, keep: Sequence[str], val: str, test: str) -> None:
        self.folder = root
        self.classes = packed_ids(CITYSCAPES_CLASSES, keep, root)[0]
        self.boxed = np.array([name in CITYSCAPES_THINGS for name in self.classes])
        self._splits = {"val": val, "test": test}

    def names(self, which: str) -> Sequence[str]:
        """Return the image names of a list."""
        return tuple(cityscapes_images(self.folder, self._splits.get(which, "train")))

    def reader(self, which: str, masks: bool, boxes: bool) -> CityscapesDataset:
        """Return the reader of a list."""
        return CityscapesDataset(
            self.folder, self._splits.get(which, "train"), keep=self.classes,
            masks="auto" if masks else None, boxes=boxes,
        )

    def has_boxes(self, name: str) -> bool:
        """Return True: every annotated image has instance annotations."""
        return True


def open_cityscapes(request: Request, root: Path | None, seed: int) -> CityscapesSource:
    """Return the source that a request names; ``val`` and ``test`` may name other splits.

    Raises:
        FileNotFoundError: the dataset is missing.
        ValueError: an unsupported list is named, or ``keep`` names an unknown class.
    """
    DATASET.refuse_lists(request)
    val, test = request.val or "val", request.test or "val"
    return CityscapesSource(DATASET.folder(root), request.keep, val, test)


def cityscapes_images(root: Path, split: str) -> dict[str, str]:
    """Return {image name: city} of a split, sorted by name.

    Raises:
        FileNotFoundError: the folder is missing.
        ValueError: it holds no images.
    """
    folder = Path(root) / "leftImg8bit" / split
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is missing. Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip "
            "into one folder and pass that folder; `csDownload` fetches them after a "
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
        LabelError: it holds colours instead of ids, or ids of the other format.
    """
    path = Path(path)
    mask = read_mask(path, _IDS)
    present = present_ids(mask)
    highest = max(present - {VOID}, default=0)
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
        LabelError: the file is not an instance image.
    """
    path = Path(path)
    with opened_image(path, "Unpack gtFine_trainvaltest.zip, or read without boxes.") as image:
        mode, ids = image.mode, np.asarray(image)
    if not mode.startswith("I"):
        raise LabelError(
            f"{path} has mode {mode}; instance ids go up to 33999 and need >= 16 bits. It is "
            "another kind of mask, or was converted. Unpack the original."
        )
    ids = np.clip(ids.astype(np.int32), 0, 2**16 - 1)  # what a damaged header makes of them
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
    """Return the tight boxes around the instances of the eight thing classes.

    Groups that were not separated (id < 1000), caravans and trailers have none.

    Args:
        ids: int (H, W), from :func:`read_instance_ids`.
    """
    from scipy import ndimage  # slow import, 0.3 s

    train_ids = cityscapes_train_ids()
    coordinates, classes = [], []
    for number, place in enumerate(ndimage.find_objects(ids), start=1):
        label = int(train_ids[number // 1000])  # void below 1000: 0 is "unlabeled"
        if place is None or label == VOID:
            continue
        rows, columns = place
        coordinates.append((columns.start, rows.start, columns.stop, rows.stop))
        classes.append(label)
    groups = train_ids[np.flatnonzero(np.bincount(ids[ids < 1000].ravel()))]
    things = range(CITYSCAPES_CLASSES.index(CITYSCAPES_THINGS[0]), _CLASSES)
    return Boxes(
        np.asarray(coordinates, np.float32).reshape(-1, 4), np.asarray(classes, np.int64),
        tuple(label for label in groups.tolist() if label in things),
    )


def cityscapes_train_ids() -> np.ndarray:
    """Return the train id of each id in ``labelIds.png``, uint8 (256,); 255 = void."""
    table = np.full(256, VOID, dtype=np.uint8)
    for train_id, name in enumerate(CITYSCAPES_CLASSES):
        table[CITYSCAPES_IDS.index(name)] = train_id
    return table


def audit_cityscapes(folder: Path, lists: Sequence[Path]) -> Layout:
    """Return the layout to audit; trainIds, which some code needs, are separate lists."""
    found = {}
    for kind, rules in (("labelIds", _label_ids()), ("labelTrainIds", _train_ids())):
        for split in ("train", "val", "test"):
            entries = _cityscapes_entries(folder, split, kind, rules)
            wanted = kind == "labelIds" or any(e.mask and e.mask.is_file() for e in entries)
            if entries and wanted:
                found[split if kind == "labelIds" else f"{split} ({kind})"] = entries
    note = Finding("NOTE", "test", "its owner withholds the masks; they are not audited")
    by_name = {entry.name: entry for split in ("train", "val") for entry in found.get(split, ())}
    found |= listed_entries(lists, by_name, _label_ids(), folder / "leftImg8bit")
    return Layout(f"Cityscapes in {shown(folder)}", found, (note,) if "test" in found else ())


def _cityscapes_entries(folder: Path, split: str, kind: str, rules: Rules) -> tuple[Entry, ...]:
    """Return an entry per image or mask file; the audit reports the missing counterpart."""
    def files(what: str, suffix: str) -> dict[str, Path]:
        ending = f"_{suffix}.png"
        return {path.name.removesuffix(ending): path
                for path in (folder / what / split).glob(f"*/*{ending}")}

    names = sorted({**files("leftImg8bit", "leftImg8bit"), **files("gtFine", f"gtFine_{kind}")})
    fine = folder / "gtFine" / split
    return tuple(
        Entry(
            name, rules,
            folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png",
            None if split == "test" else fine / city / f"{name}_gtFine_{kind}.png",
            None if split == "test" else fine / city / f"{name}_gtFine_instanceIds.png",
        )
        for name in names for city in [name.split("_")[0]]
    )


def _label_ids() -> Rules:
    scored = {i: name for i, name in enumerate(CITYSCAPES_IDS) if name in CITYSCAPES_CLASSES}

    def kind(path: Path, values: list[int]) -> str:
        return "train ids" if VOID in values else "unknown ids"

    void = frozenset(range(len(CITYSCAPES_IDS))) - scored.keys()
    return Rules(ids=scored, void=void, kind_of_unknown=kind)


def _train_ids() -> Rules:
    def kind(path: Path, values: list[int]) -> str:
        return "label ids" if max(values) < len(CITYSCAPES_IDS) else "unknown ids"

    return Rules(ids=dict(enumerate(CITYSCAPES_CLASSES)), kind_of_unknown=kind)


def get_cityscapes(root: Path, progress: bool = True) -> list[Count]:
    """Fetch missing archives to ``cityscapes`` below ``root``; return the file counts.

    Raises:
        RuntimeError: csDownload is not installed or could not log in; the message says how.
    """
    folder = root / "cityscapes"
    wanted = [n for n, inside in ARCHIVES.items() if not (folder / inside).is_dir()]
    absent = [name for name in wanted if not zipfile.is_zipfile(folder / name)]
    if absent:
        _run_csdownload(folder, absent)
    for name in wanted:
        unpack(folder / name, ARCHIVES[name], folder / ARCHIVES[name], progress)
    return [
        count_files(folder / kind / split, f"*/*_{kind_name}.png", expected)
        for kind, kind_name in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds"))
        for split, expected in (("train", 2975), ("val", 500), ("test", 1525))
    ]


def _run_csdownload(folder: Path, names: list[str]) -> None:
    """Run csDownload of the package cityscapesScripts, which prompts for the login.

    Raises:
        RuntimeError: it is not installed, or fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_hand = (
        "Cityscapes needs an account of its own:\n"
        "  1. register at https://www.cityscapes-dataset.com/register/ and accept the licence\n"
        "  2. pip install cityscapesScripts\n"
        f"  3. run the same command again; it calls: csDownload -d {shown(folder)} "
        f"{' '.join(names)}\n"
        f"Or fetch {' and '.join(names)} (241 MB and 11 GB) with a browser, put them into "
        f"{shown(folder)} and run the same command again: it unpacks them."
    )
    program = shutil.which("csDownload")
    if program is None:
        raise RuntimeError(f"csDownload is not installed. {by_hand}")
    for name in names:
        resume = ["-r"] if (folder / name).is_file() else []
        if subprocess.run([program, *resume, "-d", str(folder), name], check=False).returncode:
            raise RuntimeError(f"csDownload could not fetch {name}. {by_hand}")


DATASET = Dataset(
    name="cityscapes", title="Cityscapes", open=open_cityscapes,
    lists=("val", "test"),
    place="cityscapes", marks=("leftImg8bit",), licence=TERMS,
    downloads={"cityscapes": Download(FETCH, TERMS, get_cityscapes, audit="cityscapes")},
    audit=audit_cityscapes,
)
