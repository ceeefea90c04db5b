"""Getting the real datasets: downloaded where their owner allows it, else told how, then counted.

Addresses and hashes of VOC and SBD are torchvision's, read when asked for, so that they age with
it. Further mirrors may be strangers: the hash decides, not the host.
"""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import SBDataset
from torchvision.datasets.voc import DATASET_YEAR_DICT
from tqdm.auto import tqdm

from semiseg_lib.datasets.camvid import ORIGINAL, SPLITS
from semiseg_lib.datasets.download import Archive, fetch, unpack
from semiseg_lib.datasets.labels import CAMVID_COLOURS, read_mask
from semiseg_lib.datasets.sbd import AUG_FOLDER, make_aug
from semiseg_lib.paths import atomic_folder, shown

VOC_HOME = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
CITYSCAPES = {"gtFine_trainvaltest.zip": "gtFine", "leftImg8bit_trainvaltest.zip": "leftImg8bit"}
TERMS = {
    "voc": "images come from flickr and stay under its terms; annotations for research; cite the "
           "PASCAL VOC challenge 2012.",
    "sbd": "for research; the images are VOC's; cite Semantic Contours from Inverse Detectors "
           "(ICCV 2011).",
    "cityscapes": "non-commercial research, by its licence; it may not be passed on; cite the "
                  "Cityscapes dataset (CVPR 2016).",
    "camvid": "for research; cite Semantic Object Classes in Video (Pattern Recognition Letters, "
              "2009).",
    "cifar10": "for research; cite Learning Multiple Layers of Features from Tiny Images "
               "(technical report, University of Toronto, 2009).",
}


@dataclass(frozen=True)
class Count:
    """How many files or names there are of a kind, and how many the whole dataset has."""

    what: str
    found: int
    expected: int

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.found >= self.expected


def voc_archive() -> Archive:
    """PASCAL VOC 2012, training and validation part (2.0 GB)."""
    known = DATASET_YEAR_DICT["2012"]
    name = known["filename"]
    mirrors = (known["url"], VOC_HOME + name,
               f"https://d2l-data.s3-accelerate.amazonaws.com/{name}")
    return Archive(
        name, f"md5:{known['md5']}", tuple(dict.fromkeys(mirrors)),
        f"fetch {name} ({known['md5']} is its md5) with a browser from {VOC_HOME} or from a copy "
        "that you trust, put it into {folder} and run the same command again: it unpacks "
        "from there.",
    )


def sbd_archive() -> Archive:
    """The Semantic Boundaries Dataset (1.4 GB)."""
    name, home = SBDataset.filename, SBDataset.url.rpartition("/")[0]
    urls = (SBDataset.url, SBDataset.url.replace("https://www2.", "http://www."))
    return Archive(
        name, f"md5:{SBDataset.md5}", tuple(dict.fromkeys(urls)),
        f"fetch {name} ({SBDataset.md5} is its md5) with a browser from {home}, put it into "
        "{folder} and run the same command again: it unpacks from there.",
    )


def camvid_archive() -> Archive:
    """A public copy of CamVid (0.6 GB); fastai publishes its hash."""
    home = "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/"
    return Archive(
        "camvid.tgz", "md5:648371e4f3a833682afb39b08a3ce2aa",
        ("https://s3.amazonaws.com/fast-ai-imagelocal/camvid.tgz",),
        f"fetch 701_StillsRaw_full.zip and LabeledApproved_full.zip with a browser from {home} and "
        "unpack them as camvid/701_StillsRaw_full and camvid/LabeledApproved_full beside "
        "{folder}.",
    )


def cifar10_archive() -> Archive:
    """CIFAR-10 in its binary form (0.2 GB): images and labels as plain bytes, no pickles."""
    name, home = "cifar-10-binary.tar.gz", "https://www.cs.toronto.edu/~kriz/"
    digest = "c32a1d4ab5d03f1284b67883e8d87530"
    return Archive(
        name, f"md5:{digest}", (home + name,),
        f"fetch {name} ({digest} is its md5) with a browser from {home}cifar.html or from a copy "
        "that you trust, put it into {folder} and run the same command again: it unpacks "
        "from there.",
    )


def get_voc(root: Path, progress: bool = True) -> list[Count]:
    """``VOCdevkit/VOC2012`` below ``root``, downloaded unless it is there."""
    target = root / "VOCdevkit" / "VOC2012"
    _get(voc_archive(), "VOCdevkit/VOC2012", target, root, progress)
    lists = target / "ImageSets" / "Segmentation"
    return [
        _files(target / "JPEGImages", "*.jpg", 17125),
        _files(target / "Annotations", "*.xml", 17125),
        _files(target / "SegmentationClass", "*.png", 2913),
        _names(lists / "train.txt", 1464),
        _names(lists / "val.txt", 1449),
    ]


def get_sbd(root: Path, progress: bool = True) -> list[Count]:
    """SBD below ``root``, and its masks as PNGs beside VOC's, with the list ``train_aug``.

    Raises:
        FileNotFoundError: VOC is not there; SBD's masks belong to its images.
    """
    target, voc = root / "sbd", root / "VOCdevkit" / "VOC2012"
    if not voc.is_dir():
        raise FileNotFoundError(
            f"{shown(voc)} is not there, and SBD's masks belong to its images. Get it first: "
            "semiseg data voc."
        )
    _get(sbd_archive(), "benchmark_RELEASE/dataset", target, root, progress)
    make_aug(target, voc, progress=progress)
    return [
        _files(target / "cls", "*.mat", 11355),
        _files(voc / AUG_FOLDER, "*.png", 10582),
        _names(voc / "ImageSets" / "Segmentation" / "train_aug.txt", 10582),
    ]


def get_camvid(root: Path, progress: bool = True) -> list[Count]:
    """CamVid's 701 images and 32-colour masks in ``camvid`` below ``root``.

    The copy that is downloaded numbers the 32 classes; their colours are put back, so that what
    lies on the disk is as its owner hands it out.

    Raises:
        ValueError: the copy has other classes than CamVid.
    """
    target = root / "camvid"
    images, masks = (target / name for name in ORIGINAL)
    if not target.is_dir():
        scratch = root / "downloads" / "camvid"
        _get(camvid_archive(), "camvid", scratch, root, progress)
        with atomic_folder(target) as folder:
            _recolour(scratch, folder, progress)
        shutil.rmtree(scratch)
    if (target / "train").is_dir():
        labels = [p for name in SPLITS for p in (target / name).glob("*") if p.is_file()]
        return [Count(f"{shown(target)}/*/*", len(labels), 701)]
    return [_files(images, "*.png", 701), _files(masks, "*_L.png", 701)]


def get_cifar10(root: Path, progress: bool = True) -> list[Count]:
    """CIFAR-10's six binary files in ``cifar10`` below ``root``, downloaded unless they are there.

    A copy as 20 mosaics that lies there already is only counted.
    """
    target = root / "cifar10"
    _get(cifar10_archive(), "cifar-10-batches-bin", target, root, progress)
    if any(target.glob("*_airplane.jpg")):
        return [_files(target, "train_*.jpg", 10), _files(target, "test_*.jpg", 10)]
    return [_files(target, "data_batch_[1-5].bin", 5), _files(target, "test_batch.bin", 1)]


def _recolour(source: Path, target: Path, progress: bool) -> None:
    """Copy images; turn masks of ids into CamVid's own colours."""
    names = (source / "codes.txt").read_text(encoding="utf-8").split()
    if unknown := [name for name in names if name not in CAMVID_COLOURS]:
        raise ValueError(f"{shown(source)}/codes.txt names {unknown[0]}, which is no CamVid class.")
    colours = np.array([CAMVID_COLOURS[name] for name in names], dtype=np.uint8)
    images, masks = (target / name for name in ORIGINAL)
    images.mkdir()
    masks.mkdir()
    for path in tqdm(sorted((source / "images").glob("*.png")), desc="colours",
                     disable=None if progress else True):
        shutil.copyfile(path, images / path.name)
        ids = read_mask(source / "labels" / f"{path.stem}_P.png", len(names))
        Image.fromarray(colours[ids]).save(masks / f"{path.stem}_L.png")


def get_cityscapes(root: Path, progress: bool = True) -> list[Count]:
    """``cityscapes/gtFine`` and ``leftImg8bit`` below ``root``, by their owner's own program.

    Raises:
        RuntimeError: the program is not installed or could not log in; the message says how.
    """
    folder = root / "cityscapes"
    wanted = [n for n, inside in CITYSCAPES.items() if not (folder / inside).is_dir()]
    absent = [name for name in wanted if not zipfile.is_zipfile(folder / name)]
    if absent:
        _run_csdownload(folder, absent)
    for name in wanted:
        unpack(folder / name, CITYSCAPES[name], folder / CITYSCAPES[name], progress)
    return [
        _files(folder / kind / split, f"*/*_{kind_name}.png", expected)
        for kind, kind_name in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds"))
        for split, expected in (("train", 2975), ("val", 500), ("test", 1525))
    ]


def _run_csdownload(folder: Path, names: list[str]) -> None:
    """Ask csDownload of the package cityscapesScripts, which asks for the login."""
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


def _get(archive: Archive, inside: str, target: Path, root: Path, progress: bool) -> None:
    if not target.is_dir():
        unpack(fetch(archive, root / "downloads", progress=progress), inside, target, progress)


def _files(folder: Path, pattern: str, expected: int) -> Count:
    return Count(f"{shown(folder)}/{pattern}", sum(1 for _ in folder.glob(pattern)), expected)


def _names(path: Path, expected: int) -> Count:
    names = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    return Count(shown(path), sum(bool(name.strip()) for name in names), expected)
