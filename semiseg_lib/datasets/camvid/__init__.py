"""CamVid: the common version with 11 class ids, and the original with 32 colours.

::

    train/NAME.png  train_labels/NAME.png       ids 0 to 10, 255 (or 11) = void; val, test alike
    train.txt                                   names, to override the folders; optional

    701_StillsRaw_full/NAME.png                 the original, 960x720
    LabeledApproved_full/NAME_L.png             colours

    frames/.../SEQUENCE_NNNNN.png               further frames of the videos, in either layout
"""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os.path import lexists
from pathlib import Path

import numpy as np
from PIL import Image

from semiseg_lib.core.durable import atomic_folder
from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.core.terminal import progress_bar
from semiseg_lib.datasets.acquire import Archive, Count, Download, count_files, get_archive
from semiseg_lib.datasets.audit import Entry, Finding, Layout, Rules, listed_entries
from semiseg_lib.datasets.dataset import Dataset, DatasetOptions, Request
from semiseg_lib.datasets.files import FileReader, ReaderSource
from semiseg_lib.datasets.labels import VOID, read_mask
from semiseg_lib.datasets.lists import (
    IMAGE_SUFFIXES,
    check_no_duplicates,
    read_lines,
    read_published_list,
)
from semiseg_lib.datasets.sample import Sample

from .colours import (
    CAMVID_CLASSES,
    CAMVID_COLOURS,
    CAMVID_EXACT,
    CAMVID_MERGED,
    Recipe,
    camvid_ids,
    read_colour_mask,
)

__all__ = [
    "ARCHIVE",
    "CAMVID_CLASSES",
    "CAMVID_COLOURS",
    "CAMVID_EXACT",
    "CAMVID_MERGED",
    "DATASET",
    "FRAMES",
    "NEAR",
    "ORIGINAL",
    "SPLITS",
    "CamVidDataset",
    "CamVidOptions",
    "Recipe",
    "audit_camvid",
    "camvid_frames",
    "camvid_ids",
    "camvid_names",
    "get_camvid",
    "open_camvid",
    "read_colour_mask",
    "usual_split",
]

SPLITS = ("train", "val", "test")
ORIGINAL = ("701_StillsRaw_full", "LabeledApproved_full")
SEQUENCES = ("0001TP", "0006R0", "0016E5", "Seq05VD")
FRAMES = "frames"
"""The folder of further frames, and the value of ``data.unlabelled`` that adds them."""
NEAR = 30
"""Frames within a second of a held-out one are excluded, since labelled ones are as far away."""

ARCHIVE = Archive(
    "camvid.tgz", "md5:648371e4f3a833682afb39b08a3ce2aa",
    ("https://s3.amazonaws.com/fast-ai-imagelocal/camvid.tgz",),
    "fetch 701_StillsRaw_full.zip and LabeledApproved_full.zip with a browser from {home} and "
    "unpack them as camvid/701_StillsRaw_full and camvid/LabeledApproved_full beside {folder}.",
    "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
)
"""A public copy of CamVid (0.6 GB); fastai publishes its hash."""

TERMS = (
    "for research; cite Semantic Object Classes in Video (Pattern Recognition Letters, 2009)."
)


@dataclass(frozen=True)
class CamVidOptions(DatasetOptions):
    """Options of CamVid.

    Attributes:
        recipe: how 32 colours become 11 classes: ``merged`` as SegNet does it (lane markings are
            road, vans are cars ...), or ``exact``: every other class is void.
    """

    recipe: Recipe = "merged"


class CamVidDataset(FileReader):
    """Images of one split as :class:`Sample`; masks of 11 classes, no background, no boxes.

    Args:
        root: the folder that holds ``train`` and ``train_labels``, or ``701_StillsRaw_full`` and
            ``LabeledApproved_full``.
        split: ``train`` (367 images), ``val`` (101) or ``test`` (233).
        names: image names; None for all of the split: those in ``SPLIT.txt``, else those in the
            folder, else (for the original) the usual split by sequence and frame. Names of
            :func:`camvid_frames` are accepted: their masks are void.
        keep: the classes to use, None for all 11.
        masks: read the masks; False or None for none.
        recipe: how 32 colours become 11 ids: ``merged`` or ``exact`` (see :func:`camvid_ids`).
            Scores of the two are not comparable. Masks of ids are always merged.

    Raises:
        FileNotFoundError: neither layout is found.
        ValueError: a list is empty or names an image twice; the split, recipe or a class is
            unknown; or ``exact`` for masks of ids.
    """

    def __init__(
        self, root: Path, split: str = "train", names: Sequence[str] | None = None,
        keep: Sequence[str] | None = None, masks: bool = True, recipe: Recipe = "merged",
    ) -> None:
        self.root, self.split, self.recipe = Path(root).expanduser(), split, recipe
        if split not in SPLITS:
            raise ValueError(f"CamVid has no split {split!r}; choose {', '.join(SPLITS)}.")
        camvid_ids(recipe)
        self.original = (self.root / ORIGINAL[0]).is_dir()
        self._images, self._masks = self._folders()
        if recipe == "exact" and not self.original:
            raise ValueError(
                f"the masks of {shown(self.root)} are already merged ids; recipe='exact' needs "
                f"the original colours in {ORIGINAL[1]}."
            )
        names = camvid_names(self.root, split) if names is None else names
        check_no_duplicates(names, f"the choice from {shown(self.root)}")
        super().__init__(names, CAMVID_CLASSES, keep, masks, False, self.root)

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        if self.masks and _is_frame(sample.name):
            void = np.full(sample.image.shape[1:], VOID, np.uint8)
            return replace(sample, mask=void)
        return sample

    @property
    def decoding(self) -> str:
        """Return the format of the masks, colours or ids, and the conversion of colours."""
        if not self.masks:
            return ""
        return f"colours, recipe {self.recipe}" if self.original else "ids"

    def image_path(self, name: str) -> Path:
        """Return the file of an image or frame.

        Args:
            name: the image's name in its list.
        """
        return _image_path(self.root if _is_frame(name) else self._images, name)

    def mask_path(self, name: str) -> Path | None:
        """Return the file of its mask; None for a frame.

        Args:
            name: the image's name in its list.
        """
        ending = "_L.png" if self.original else ".png"
        return None if _is_frame(name) else self._masks / f"{name}{ending}"

    def read_mask(self, path: Path) -> np.ndarray:
        """Return a mask as ids 0 to 10 or 255; 11, past the last class, is void as well.

        Args:
            path: a file of 11 ids or, in the original, of 32 colours.
        """
        if self.original:
            return read_colour_mask(path, self.recipe)
        # One common copy writes void as 11, one past the last class; packed_ids makes it 255.
        return read_mask(path, len(CAMVID_CLASSES) + 1)

    def _folders(self) -> tuple[Path, Path]:
        if self.original:
            return self.root / ORIGINAL[0], self.root / ORIGINAL[1]
        images = self.root / self.split
        if not images.is_dir():
            raise FileNotFoundError(
                f"{shown(self.root)} holds neither {self.split}/ with {self.split}_labels/ (11 "
                f"ids) nor {ORIGINAL[0]}/ with {ORIGINAL[1]}/ (32 colours). Pass the folder that "
                "does."
            )
        annotated = self.root / f"{self.split}annot"
        return images, annotated if annotated.is_dir() else self.root / f"{self.split}_labels"


def _is_frame(name: str) -> bool:
    return name.startswith(f"{FRAMES}/")


def open_camvid(request: Request, folder: Path, seed: int) -> ReaderSource:
    """Return the source of a request; unlabelled images are ``train``, optionally with frames.

    Args:
        request: the list and the options.
        folder: the dataset.
        seed: unused; nothing is drawn.

    Raises:
        ValueError: an unsupported list is named, or ``keep`` names an unknown class.
    """
    if request.unlabelled not in ("", FRAMES):
        raise ValueError(
            f"camvid does not accept {request.unlabelled!r} for data.unlabelled. Leave it out for "
            f"the rest of train, or use {FRAMES!r} to add frames of the videos."
        )
    splits = {"val": request.val or "val", "test": request.test or "test"}

    def reader(which: str, masks: bool, boxes: bool) -> CamVidDataset:
        split = splits.get(which, "train")
        names = camvid_names(folder, split)
        if which == "unlabelled" and request.unlabelled == FRAMES:
            names += camvid_frames(folder)
        return CamVidDataset(folder, split, names, request.keep, masks, request.options.recipe)

    return ReaderSource(folder, CAMVID_CLASSES, request.keep, (), reader)


def camvid_names(root: Path, split: str) -> tuple[str, ...]:
    """Return the names of a split: from its list, else its folder, else :func:`usual_split`.

    Args:
        root: the dataset's folder.
        split: train, val or test.

    Raises:
        ValueError: there are no images.
    """
    root = Path(root).expanduser()
    if lexists(root / f"{split}.txt"):
        return read_published_list(root / f"{split}.txt")
    original = (root / ORIGINAL[0]).is_dir()
    folder = root / (ORIGINAL[0] if original else split)
    found = sorted(p.stem for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    names = tuple(name for name in found if not original or usual_split(name) == split)
    if not names:
        raise ValueError(f"{shown(folder)} holds no image of the {split} split. Unpack it again.")
    return names


def usual_split(name: str) -> str:
    """Return the split of a frame in the usual 367/101/233 split by sequence and frame number.

    Raises:
        ValueError: the name is not a frame of CamVid.
    """
    sequence, number = _frame_number(name)
    if sequence == "Seq05VD" or (sequence == "0001TP" and number >= 8550):
        return "test"
    # In frames 7959 to 8159 every other frame is labelled: the validation images.
    return "val" if sequence == "0016E5" and 7959 <= number <= 8159 else "train"


def camvid_frames(root: Path) -> tuple[str, ...]:
    """Return names of further video frames, ``frames/.../SEQUENCE_NNNNN``, safe to train on.

    Excluded are the images of train, val and test, and every frame within 30 of a val or test image
    of its sequence. The numbers in the names must be frame numbers of the original video.

    Args:
        root: the dataset's folder.

    Raises:
        FileNotFoundError: there are no frames.
        ValueError: a name has no sequence and frame number.
    """
    root = Path(root).expanduser()
    found = sorted(
        path.relative_to(root).with_suffix("").as_posix()
        for path in (root / FRAMES).rglob("[!.]*") if path.suffix.lower() in IMAGE_SUFFIXES
    )
    if not found:
        raise FileNotFoundError(
            f"{shown(root / FRAMES)} holds no images. Extract them from the videos: "
            "semiseg data frames 0006R0.MXF 0016E5.MXF."
        )
    check_no_duplicates(found, shown(root / FRAMES))
    banned = defaultdict(set)
    for split in SPLITS:
        reach = 0 if split == "train" else NEAR
        for sequence, number in map(_frame_number, camvid_names(root, split)):
            banned[sequence] |= set(range(number - reach, number + reach + 1))
    places = map(_frame_number, found)
    return tuple(name for name, (sequence, number) in zip(found, places, strict=True)
                 if number not in banned[sequence])


def _frame_number(name: str) -> tuple[str, int]:
    """Return sequence and frame number of a name; ``0016E5_f00390`` is 0016E5_00390."""
    known = re.fullmatch(r"(?:.*/)?([^/]+)_f?(\d+)", name)
    sequence = {"0005VD": "Seq05VD"}.get(known[1], known[1]) if known else ""  # the video's name
    if sequence not in SEQUENCES:
        raise ValueError(
            f"{visible(name)} is not a frame of CamVid's sequences ({', '.join(SEQUENCES)}), so it "
            "may show a held-out scene. Rename it to SEQUENCE_NUMBER, such as 0016E5_00390, by "
            "its number in the video, or remove it. A labelled image may have any name if "
            "train.txt, val.txt and test.txt say where it belongs."
        )
    return sequence, int(known[2])


def _image_path(folder: Path, name: str) -> Path:
    paths = [folder / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES]
    return next((path for path in paths if path.is_file()), paths[2])


def audit_camvid(folder: Path, lists: Sequence[Path]) -> Layout:
    """Return the layout to audit: 11 ids, or the original with 32 colours.

    Args:
        folder: the dataset.
        lists: further lists to audit, files of image names.
    """
    folder = Path(folder).expanduser()
    original = (folder / ORIGINAL[0]).is_dir()
    eleven = dict(enumerate(CAMVID_CLASSES))
    if original:
        rules = Rules(ids=eleven, colours=camvid_ids("merged"))
    else:
        # One common copy writes void as 11.
        rules = Rules(ids=eleven, void=frozenset({len(CAMVID_CLASSES), VOID}))
    found, findings = {}, []
    for split in SPLITS:
        try:
            reader = CamVidDataset(folder, split)
        except (FileNotFoundError, ValueError) as error:
            findings.append(Finding("FAIL", split, str(error)))
            continue
        found[split] = tuple(
            Entry(name, rules, reader.image_path(name), reader.mask_path(name))
            for name in reader.names
        )
    by_name = {entry.name: entry for entries in found.values() for entry in entries}
    found |= listed_entries(lists, by_name, rules, folder)
    kind = "the original, 32 colours read as 11 classes" if original else "11 ids"
    return Layout(f"CamVid ({kind}) in {shown(folder)}", found, tuple(findings))


def get_camvid(root: Path, progress: bool = True) -> list[Count]:
    """Download CamVid to ``camvid`` below ``root`` if missing; return the file counts.

    The downloaded copy has ids of the 32 classes; they are converted back to the colours of the
    original.

    Args:
        root: folder of all datasets.
        progress: show a progress bar.

    Raises:
        ValueError: the copy has other classes than CamVid.
    """
    root = Path(root).expanduser()
    target = root / "camvid"
    images, masks = (target / name for name in ORIGINAL)
    scratch = root / "downloads" / "camvid"
    if not target.is_dir():
        get_archive(ARCHIVE, "camvid", scratch, root, progress)
        with atomic_folder(target) as folder:
            _recolour(scratch, folder, progress)
    shutil.rmtree(scratch, ignore_errors=True)  # also left by a killed process
    if (target / "train").is_dir():
        labels = [p for name in SPLITS for p in (target / name).glob("*") if p.is_file()]
        return [Count(f"{shown(target)}/*/*", len(labels), 701)]
    return [count_files(images, "*.png", 701), count_files(masks, "*_L.png", 701)]


def _recolour(source: Path, target: Path, progress: bool) -> None:
    """Copy images; convert masks of ids to CamVid's colours."""
    names = " ".join(read_lines(source / "codes.txt", "Delete it and download it again.")).split()
    if unknown := [name for name in names if name not in CAMVID_COLOURS]:
        raise ValueError(
            f"{shown(source)}/codes.txt names {visible(unknown[0])}, not a CamVid class."
        )
    colours = np.array([CAMVID_COLOURS[name] for name in names], dtype=np.uint8)
    images, masks = (target / name for name in ORIGINAL)
    images.mkdir()
    masks.mkdir()
    for path in progress_bar(sorted((source / "images").glob("*.png")), desc="colours",
                             disable=None if progress else True):
        shutil.copyfile(path, images / path.name)
        ids = read_mask(source / "labels" / f"{path.stem}_P.png", len(names))
        Image.fromarray(colours[ids]).save(masks / f"{path.stem}_L.png")


DATASET = Dataset(
    name="camvid",
    title="CamVid",
    open=open_camvid,
    options=CamVidOptions,
    lists=("unlabelled", "val", "test"),
    place="camvid",
    marks=("train", ORIGINAL[0]),
    licence=TERMS,
    downloads={
        "camvid": Download(
            "Download CamVid, 701 images of 960x720, unpack and count it (0.6 GB).", TERMS,
            get_camvid,
        ),
    },
    audit=audit_camvid,
)
