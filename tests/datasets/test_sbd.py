"""SBD: MATLAB masks become VOC's layout, once, and never for VOC's held-out images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_array

from semiseg_lib.datasets.acquire import make_aug, read_sbd_mask
from semiseg_lib.datasets.acquire.sbd import NUM_CLASSES
from semiseg_lib.datasets.devkit.layout import VOCDataset, read_list
from semiseg_lib.datasets.labels import LabelError, read_mask, voc_palette, write_mask
from semiseg_lib.datasets.voc import VOC_CLASSES

# v1 and v2 are VOC's train images, v3 its val; SBD has v1 and v3 too, and s1, s2 on its own.
SBD = {"train": ("s2", "v1"), "val": ("s1", "v3")}


def sbd_mask(name: str) -> np.ndarray:
    """Ids 0 to 20, another pattern for each name."""
    return (np.arange(24).reshape(4, 6) + len(name) + ord(name[1])).astype(np.uint8) % 21


def write_mat(path: Path, mask: np.ndarray, key: str = "GTcls") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    boundaries = np.empty((20, 1), dtype=object)
    boundaries[:, 0] = [csc_array(mask == label + 1) for label in range(20)]
    savemat(path, {key: {"Boundaries": boundaries, "Segmentation": mask,
                         "CategoriesPresent": np.unique(mask)}})
    return path


@pytest.fixture
def roots(tmp_path) -> tuple[Path, Path]:
    """(SBD's benchmark_RELEASE, VOC2012)."""
    sbd, voc = tmp_path / "benchmark_RELEASE", tmp_path / "VOC2012"
    for split, names in SBD.items():
        for name in names:
            write_mat(sbd / "dataset" / "cls" / f"{name}.mat", sbd_mask(name))
        (sbd / "dataset" / f"{split}.txt").write_text("\n".join(names), encoding="utf-8")
    lists = voc / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("v1\nv2\n", encoding="utf-8")
    (lists / "val.txt").write_text("v3\n", encoding="utf-8")
    (voc / "JPEGImages").mkdir()
    for name in ("v1", "v2", "v3", "s1", "s2"):
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(voc / "JPEGImages" / f"{name}.jpg")
    for name in ("v1", "v2"):
        write_mask(np.full((4, 6), 255, np.uint8), voc / "SegmentationClass" / f"{name}.png")
    return sbd, voc


def test_a_mat_file_is_read(tmp_path):
    mask = read_sbd_mask(write_mat(tmp_path / "s1.mat", sbd_mask("s1")))
    assert mask.dtype == np.uint8 and np.array_equal(mask, sbd_mask("s1"))


def test_the_augmented_set_is_vocs_train_and_what_voc_does_not_have(roots):
    sbd, voc = roots
    make_aug(sbd, voc, progress=False)
    masks = voc / "SegmentationClassAug"
    assert sorted(p.name for p in masks.iterdir()) == ["s1.png", "s2.png", "v1.png", "v2.png"]
    for name in ("s1", "s2"):
        assert np.array_equal(read_mask(masks / f"{name}.png", 21), sbd_mask(name))
    assert (read_mask(masks / "v1.png", 21) == 255).all(), "VOC's own mask goes before SBD's"
    with Image.open(masks / "s1.png") as image:
        assert image.mode == "P" and image.getpalette() == voc_palette()
    dataset = VOCDataset(voc, "train_aug", VOC_CLASSES, masks="SegmentationClassAug", boxes=False)
    assert dataset.names == ["v1", "v2", "s1", "s2"]
    assert np.array_equal(dataset[2].mask, sbd_mask("s1"))
    extra = VOCDataset(voc, "sbd_extra", VOC_CLASSES, masks=None, boxes=False)
    assert extra.names == ["s1", "s2"]
    assert len(VOC_CLASSES) == NUM_CLASSES, "SBD has VOC's ids"


def test_an_interrupted_call_is_continued_and_a_third_changes_nothing(roots, monkeypatch):
    sbd, voc = roots
    broken = sbd / "dataset" / "cls" / "s2.mat"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:200])
    with pytest.raises(LabelError, match=r"s2\.mat cannot be read.*Unpack SBD"):
        make_aug(sbd, voc, progress=False)
    lists = voc / "ImageSets" / "Segmentation"
    assert not (lists / "train_aug.txt").exists(), "no list promises masks that are not there"
    broken.write_bytes(whole)
    masks = voc / "SegmentationClassAug"
    before = {p: p.stat().st_mtime_ns for p in masks.iterdir()}
    assert len(before) == 3
    make_aug(sbd / "dataset", voc, progress=False)
    after = {p: p.stat().st_mtime_ns for p in masks.iterdir()}
    assert len(after) == 4 and before.items() < after.items(), "one was written, none again"
    make_aug(sbd.parent, voc, progress=False)
    assert after == {p: p.stat().st_mtime_ns for p in masks.iterdir()}
    assert read_list(lists / "train_aug.txt") == ["v1", "v2", "s1", "s2"]


def test_masks_follow_their_sources(roots):
    """A corrected mask of either source, a truncated one, and SBD without further images."""
    sbd, voc = roots
    make_aug(sbd, voc, progress=False)
    masks = voc / "SegmentationClassAug"
    untouched = (masks / "v2.png").stat().st_mtime_ns
    write_mask(np.full((4, 6), 7, np.uint8), voc / "SegmentationClass" / "v1.png")
    write_mat(sbd / "dataset" / "cls" / "s1.mat", np.full((4, 6), 9, np.uint8))
    (masks / "s2.png").write_bytes((masks / "s2.png").read_bytes()[:60])
    make_aug(sbd, voc, progress=False)
    assert (read_mask(masks / "v1.png", 21) == 7).all()
    assert (read_mask(masks / "s1.png", 21) == 9).all()
    assert np.array_equal(read_mask(masks / "s2.png", 21), sbd_mask("s2"))
    assert (masks / "v2.png").stat().st_mtime_ns == untouched
    for split, names in (("train", "v1"), ("val", "v3")):
        (sbd / "dataset" / f"{split}.txt").write_text(names, encoding="utf-8")
    make_aug(sbd, voc, progress=False)
    assert not (voc / "ImageSets" / "Segmentation" / "sbd_extra.txt").exists()


def test_unusable_files_are_named(roots, tmp_path):
    sbd, voc = roots
    (voc / "JPEGImages" / "s1.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 images of SBD.*s1\.jpg.*VOC 2012"):
        make_aug(sbd, voc, progress=False)
    with pytest.raises(FileNotFoundError, match=r"holds no dataset/cls"):
        make_aug(voc, voc, progress=False)
    with pytest.raises(FileNotFoundError, match=r"x\.mat is missing"):
        read_sbd_mask(tmp_path / "x.mat")
    with pytest.raises(LabelError, match=r"no GTcls.*dataset/inst"):
        read_sbd_mask(write_mat(tmp_path / "i.mat", sbd_mask("s1"), key="GTinst"))
    with pytest.raises(LabelError, match="holds the id 21, but only 0 to 20 are known"):
        read_sbd_mask(write_mat(tmp_path / "j.mat", np.full((2, 2), 21, np.uint8)))
    (tmp_path / "k.mat").write_bytes(b"")
    with pytest.raises(LabelError, match=r"k\.mat cannot be read"):
        read_sbd_mask(tmp_path / "k.mat")
