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
from collections.abc import Sequence
from os.path import lexists
from pathlib import Path
from typing import Literal

import numpy as np

from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.acquire import Count, Download, count_files, unpack
from semiseg_lib.datasets.audit import Entry, Finding, Layout, Rules, listed_entries
from semiseg_lib.datasets.dataset import Dataset, Request
from semiseg_lib.datasets.files import FileReader, ReaderSource
from semiseg_lib.datasets.labels import (
    VOID,
    LabelError,
    check_same_size,
    opened_image,
    packed_ids,
    present_ids,
    read_mask,
)
from semiseg_lib.datasets.lists import check_known
from semiseg_lib.datasets.sample import Boxes

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

TRAIN_ID_OF = packed_ids(CITYSCAPES_IDS, CITYSCAPES_CLASSES, "Cityscapes")[1]
"""The train id of each id in ``labelIds.png``, uint8 (256,); 255 = void."""

CITYSCAPES_THINGS = CITYSCAPES_CLASSES[11:]
"""The eight classes with instance annotations, and so with boxes."""

ARCHIVES = {"gtFine_trainvaltest.zip": "gtFine", "leftImg8bit_trainvaltest.zip": "leftImg8bit"}
FETCH = "Fetch Cityscapes with its owner's csDownload, or say how; unpack and count it (11 GB)."
TERMS = (
    "non-commercial research, by its licence; it may not be passed on; cite the Cityscapes dataset "
    "(CVPR 2016)."
)

_SCORED = {i: name for i, name in enumerate(CITYSCAPES_IDS) if name in CITYSCAPES_CLASSES}
LABEL_IDS = Rules(
    ids=_SCORED, void=frozenset(range(len(CITYSCAPES_IDS))) - _SCORED.keys(),
    kind_of_unknown=lambda values: "train ids" if VOID in values else "unknown ids",
)
TRAIN_IDS = Rules(
    ids=dict(enumerate(CITYSCAPES_CLASSES)),
    kind_of_unknown=lambda values:
        "label ids" if max(values) < len(CITYSCAPES_IDS) else "unknown ids",
)
"""The expected content of ``labelIds.png`` and ``labelTrainIds.png``."""

MaskFormat = Literal["auto", "labelIds", "labelTrainIds"]

_CLASSES = len(CITYSCAPES_CLASSES)


class CityscapesDataset(FileReader):
    """Images of one split as :class:`Sample`; masks of 19 classes without background.

    Args:
        root: the folder that holds ``leftImg8bit`` and ``gtFine``.
        split: ``train`` (2,975 images), ``val`` (500) or ``test`` (1,525, masks withheld).
        names: image names such as ``aachen_000000_000019``; None for all of the split.
        keep: the classes to use, None for all 19.
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

    def __init__(
        self, root: Path, split: str = "train", names: Sequence[str] | None = None,
        keep: Sequence[str] | None = None, masks: MaskFormat | None = "auto", boxes: bool = True,
    ) -> None:
        self.root, self.split = Path(root).expanduser(), split
        if masks not in (None, "auto", "labelIds", "labelTrainIds"):
            raise ValueError(f"masks={masks!r}; choose auto, labelIds, labelTrainIds or None.")
        if split == "test" and (masks is not None or boxes):
            raise ValueError(
                "Cityscapes withholds the masks of its test split (the files are empty). Read "
                "it with masks=None and boxes=False, and evaluate on val."
            )
        self._cities = cityscapes_images(self.root, split)
        names = list(self._cities if names is None else names)
        check_known(names, self._cities, "the choice", self.root / "leftImg8bit" / split)
        super().__init__(
            names, CITYSCAPES_CLASSES, keep, masks, boxes, self.root, CITYSCAPES_THINGS
        )

    def image_path(self, name: str) -> Path:
        """Return the file of an image."""
        folder = self.root / "leftImg8bit" / self.split / self._cities[name]
        return folder / f"{name}_leftImg8bit.png"

    def mask_path(self, name: str) -> Path:
        """Return the file of its mask; raise FileNotFoundError if no requested format exists."""
        kinds = ("labelIds", "labelTrainIds") if self.masks == "auto" else (self.masks,)
        paths = [self._annotation(name, kind) for kind in kinds]
        for path in paths:
            if lexists(path):
                return path
        raise FileNotFoundError(
            f"{shown(paths[0])} is missing. Unpack gtFine_trainvaltest.zip into "
            f"{shown(self.root)}; its labelIds are enough (masks='auto')."
        )

    def read_mask(self, path: Path) -> np.ndarray:
        """Return ``labelIds.png`` or ``labelTrainIds.png`` as train ids, uint8 (H, W), 255 = void.

        Raises:
            FileNotFoundError: the file is missing.
            LabelError: it holds colours instead of ids, or ids of the other format.
        """
        mask = read_mask(path, len(CITYSCAPES_IDS))
        present = present_ids(mask)
        highest = max(present - {VOID}, default=0)
        if path.stem.endswith("_labelTrainIds"):
            if highest >= _CLASSES:
                raise LabelError(
                    f"{shown(path)} holds the id {highest}, but train ids end at {_CLASSES - 1}: "
                    "these are Cityscapes' own ids under the wrong name. Rename the file to "
                    f"{visible(path.name.replace('labelTrainIds', 'labelIds'))}."
                )
            return mask
        # Own ids have no 255; the licence plate's -1 could be stored as 255, beside ids above 18.
        if VOID in present and highest < _CLASSES:
            raise LabelError(
                f"{shown(path)} holds {VOID} and no id above {_CLASSES - 1}: these are train ids "
                "under the wrong name, and reading them as ids would shuffle the classes. Rename "
                f"the file to {visible(path.name.replace('labelIds', 'labelTrainIds'))}, or unpack "
                "the original again."
            )
        return TRAIN_ID_OF[mask]

    def mask_content(self, path: Path) -> tuple[Path | bytes, ...]:
        """Return its format, which determines the classes of the ids, and its file."""
        return path.stem.rpartition("_")[2].encode(), path

    def boxes_content(self, name: str) -> Path:
        """Return the file of its instances."""
        return self._annotation(name, "instanceIds")

    def read_boxes(self, name: str, image: np.ndarray) -> Boxes:
        """Return the boxes of its instances."""
        path = self.boxes_content(name)
        ids = read_instance_ids(path)
        check_same_size(ids, image, path, self.image_path(name))
        return instance_boxes(ids)

    def _annotation(self, name: str, kind: str) -> Path:
        folder = self.root / "gtFine" / self.split / self._cities[name]
        return folder / f"{name}_gtFine_{kind}.png"


def open_cityscapes(request: Request, folder: Path, seed: int) -> ReaderSource:
    """Return the source that a request names; ``val`` and ``test`` may name other splits.

    Raises:
        ValueError: ``keep`` names an unknown class.
    """
    splits = {"val": request.val or "val", "test": request.test or "val"}

    def reader(which: str, masks: bool, boxes: bool) -> CityscapesDataset:
        wanted = "auto" if masks else None
        return CityscapesDataset(
            folder, splits.get(which, "train"), None, request.keep, wanted, boxes
        )

    return ReaderSource(folder, CITYSCAPES_CLASSES, request.keep, CITYSCAPES_THINGS, reader)


def cityscapes_images(root: Path, split: str) -> dict[str, str]:
    """Return {image name: city} of a split, sorted by name.

    Raises:
        FileNotFoundError: the folder is missing.
        ValueError: it holds no images.
    """
    folder = Path(root).expanduser() / "leftImg8bit" / split
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{shown(folder)} is missing. Unpack leftImg8bit_trainvaltest.zip and "
            "gtFine_trainvaltest.zip into one folder and pass that folder; `csDownload` fetches "
            "them after a registration at cityscapes-dataset.com."
        )
    found = sorted(folder.glob("*/*_leftImg8bit.png"))
    if not found:
        raise ValueError(f"{shown(folder)} holds no CITY/NAME_leftImg8bit.png: unpack again.")
    return {path.name.removesuffix("_leftImg8bit.png"): path.parent.name for path in found}


def read_instance_ids(path: Path) -> np.ndarray:
    """Read ``*_instanceIds.png`` as int32 (H, W): an id below 34, or 1000 * id + number.

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: the file is not an instance image.
    """
    path = Path(path).expanduser()
    with opened_image(path, "Unpack gtFine_trainvaltest.zip, or read without boxes.") as image:
        mode, ids = image.mode, np.asarray(image)
    if not mode.startswith("I"):
        raise LabelError(
            f"{shown(path)} has mode {mode}; instance ids go up to 33999 and need >= 16 "
            "bits. It is another kind of mask, or was converted. Unpack the original."
        )
    ids = np.clip(ids.astype(np.int32), 0, 2**16 - 1)  # what a damaged header makes of them
    things = {CITYSCAPES_IDS.index(name) for name in (*CITYSCAPES_THINGS, "caravan", "trailer")}
    numbers = np.flatnonzero(np.bincount(ids.ravel()))
    kinds = set((numbers[numbers >= 1000] // 1000).tolist())
    if unknown := sorted(kinds - things):
        raise LabelError(
            f"{shown(path)} holds objects of the ids {unknown}, but only {min(things)} to "
            f"{max(things)} have objects. If these are train ids, unpack the original instanceIds."
        )
    return ids


def instance_boxes(ids: np.ndarray) -> Boxes:
    """Return the tight boxes around the instances of the eight thing classes.

    Groups that were not separated (id < 1000), caravans and trailers have none.

    Args:
        ids: int (H, W), from :func:`read_instance_ids`.
    """
    from scipy import ndimage  # slow import, 0.3 s

    coordinates, classes = [], []
    for number, place in enumerate(ndimage.find_objects(ids), start=1):
        label = int(TRAIN_ID_OF[number // 1000])  # void below 1000: 0 is "unlabeled"
        if place is None or label == VOID:
            continue
        rows, columns = place
        coordinates.append((columns.start, rows.start, columns.stop, rows.stop))
        classes.append(label)
    groups = TRAIN_ID_OF[np.flatnonzero(np.bincount(ids[ids < 1000].ravel()))]
    things = range(CITYSCAPES_CLASSES.index(CITYSCAPES_THINGS[0]), _CLASSES)
    return Boxes(
        np.asarray(coordinates, np.float32).reshape(-1, 4), np.asarray(classes, np.int64),
        tuple(label for label in groups.tolist() if label in things),
    )


def audit_cityscapes(folder: Path, lists: Sequence[Path]) -> Layout:
    """Return the layout to audit; trainIds, which some code needs, are separate lists."""
    found = {}
    for kind, rules in (("labelIds", LABEL_IDS), ("labelTrainIds", TRAIN_IDS)):
        for split in ("train", "val", "test"):
            entries = _cityscapes_entries(folder, split, kind, rules)
            wanted = kind == "labelIds" or any(e.mask and e.mask.is_file() for e in entries)
            if entries and wanted:
                found[split if kind == "labelIds" else f"{split} ({kind})"] = entries
    note = Finding("NOTE", "test", "its owner withholds the masks; they are not audited")
    by_name = {entry.name: entry for split in ("train", "val") for entry in found.get(split, ())}
    found |= listed_entries(lists, by_name, LABEL_IDS, folder / "leftImg8bit")
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
    downloads={"cityscapes": Download(FETCH, TERMS, get_cityscapes)},
    audit=audit_cityscapes,
)
