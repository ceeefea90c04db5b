"""PASCAL VOC 2012, with the additional masks of the Semantic Boundaries Dataset (SBD).

The layout is that of :mod:`semiseg_lib.datasets.devkit.layout`. Addresses and hashes of the
archives are those of torchvision (a test compares them). Further mirrors need not be trusted: the
hash is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.acquire import (
    AUG_FOLDER,
    Archive,
    Count,
    Download,
    count_files,
    count_names,
    get_archive,
    make_aug,
)
from semiseg_lib.datasets.audit import Layout
from semiseg_lib.datasets.dataset import LISTS, Dataset, Request
from semiseg_lib.datasets.devkit.layout import HIDDEN_MASKS, voc_layout, voc_source
from semiseg_lib.datasets.files import ReaderSource

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)
SBD_LISTS = ("train_aug", "sbd_extra")
"""Lists with images whose masks come from the Semantic Boundaries Dataset only."""

VOC_HOME = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
VOC_ARCHIVE = Archive(
    "VOCtrainval_11-May-2012.tar", "md5:6cd6e144f989b92b3379bac3b3de84fd",
    ("https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
     f"{VOC_HOME}VOCtrainval_11-May-2012.tar",
     "https://d2l-data.s3-accelerate.amazonaws.com/VOCtrainval_11-May-2012.tar"), home=VOC_HOME,
)
"""PASCAL VOC 2012, training and validation part (2.0 GB)."""
SBD_HOME = "www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours"
SBD_ARCHIVE = Archive(
    "benchmark.tgz", "md5:82b4d87ceb2ed10f6038a1cba92111cb",
    (f"https://{SBD_HOME}/benchmark.tgz",
     f"http://{SBD_HOME.replace('www2', 'www', 1)}/benchmark.tgz"), home=f"https://{SBD_HOME}",
)
"""The Semantic Boundaries Dataset (1.4 GB)."""
TERMS = (
    "images come from flickr and stay under its terms; annotations for research; cite the PASCAL "
    "VOC challenge 2012."
)
SBD_TERMS = (
    "for research; the images are VOC's; cite Semantic Contours from Inverse Detectors (ICCV 2011)."
)


def open_voc(request: Request, folder: Path, seed: int) -> ReaderSource:
    """Return the source that a request names; labelled images are sampled from ``train``.

    Raises:
        ValueError: ``keep`` names an unknown class.
    """
    lists = {
        "candidates": request.candidates or "train",
        "unlabelled": request.unlabelled or "train_aug",
        "val": request.val or "val",
        "test": request.test or "val",
    }
    masks = {which: HIDDEN_MASKS for which in lists if lists[which] in SBD_LISTS}
    masks["unlabelled"] = HIDDEN_MASKS
    return voc_source(folder, VOC_CLASSES, request.keep, lists, masks)


def audit_voc(folder: Path, lists: Sequence[Path]) -> Layout:
    """Return the layout to audit."""
    return voc_layout(folder, VOC_CLASSES, lists)


def get_voc(root: Path, progress: bool = True) -> list[Count]:
    """Download VOC to ``VOCdevkit/VOC2012`` below ``root`` if missing; return the file counts."""
    target = root / "VOCdevkit" / "VOC2012"
    get_archive(VOC_ARCHIVE, "VOCdevkit/VOC2012", target, root, progress)
    lists = target / "ImageSets" / "Segmentation"
    return [
        count_files(target / "JPEGImages", "*.jpg", 17125),
        count_files(target / "Annotations", "*.xml", 17125),
        count_files(target / "SegmentationClass", "*.png", 2913),
        count_names(lists / "train.txt", 1464),
        count_names(lists / "val.txt", 1449),
    ]


def get_sbd(root: Path, progress: bool = True) -> list[Count]:
    """Download SBD below ``root`` if missing, add its masks to VOC; return the file counts.

    Raises:
        FileNotFoundError: VOC, to whose images the masks belong, is missing.
    """
    target, voc = root / "sbd", root / "VOCdevkit" / "VOC2012"
    if not voc.is_dir():
        raise FileNotFoundError(
            f"{shown(voc)} is missing, and SBD's masks belong to its images. Download it first: "
            "semiseg data voc."
        )
    get_archive(SBD_ARCHIVE, "benchmark_RELEASE/dataset", target, root, progress)
    make_aug(target, voc, progress=progress)
    return [
        count_files(target / "cls", "*.mat", 11355),
        count_files(voc / AUG_FOLDER, "*.png", 10582),
        count_names(voc / "ImageSets" / "Segmentation" / "train_aug.txt", 10582),
    ]


DATASET = Dataset(
    name="voc",
    title="PASCAL VOC 2012",
    open=open_voc,
    lists=LISTS,
    place="VOCdevkit/VOC2012",
    marks=("ImageSets/Segmentation",),
    licence=TERMS,
    downloads={
        "voc": Download(
            "Download PASCAL VOC 2012, unpack and count it (2.0 GB).", TERMS, get_voc
        ),
        "sbd": Download(
            "Download SBD and convert its masks to SegmentationClassAug beside VOC's (1.4 GB).",
            SBD_TERMS, get_sbd,
        ),
    },
    audit=audit_voc,
)
