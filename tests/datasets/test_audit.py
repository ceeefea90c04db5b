"""The audit finds each planted defect, names the file and the fix; a clean tree has no FAIL."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiseg_lib.datasets.audit import Report, audit_dataset, audit_layout
from semiseg_lib.datasets.devkit.layout import VOCDataset, voc_layout
from semiseg_lib.datasets.labels import LabelError, read_mask, voc_palette, write_mask
from semiseg_lib.datasets.minivoc import WORLDS, Sizes, prepare


def check(voc, **options) -> Report:
    return audit_layout(voc_layout(voc.path, voc.classes), workers=1, **options)


def fails(report: Report) -> list[str]:
    return [str(finding) for finding in report.findings if finding.severity == "FAIL"]


def the_fail(report: Report) -> str:
    (only,) = fails(report)
    return only


def read(voc, image_set: str = "train") -> None:
    """Read a list as training does: the check must FAIL where this stops."""
    dataset = VOCDataset(voc.path, image_set, voc.classes)
    for index in range(len(dataset)):
        dataset[index]


def test_a_clean_tree_has_no_fail_and_its_histogram_is_exact(voc):
    report = check(voc)
    assert not report.failed and fails(report) == []
    masks = [read_mask(voc.file("SegmentationClass", name), 3) for name in ("one", "two")]
    found = report.histograms["train"]
    counted = [sum(int((mask == i).sum()) for mask in masks) for i in (0, 1, 2, 255)]
    assert found.names == voc.classes and found.pixels.tolist() == [*counted, 0]
    assert found.images.tolist() == [2, 2, 2, 2, 0] and found.masks == 2
    assert found.shares.sum() == pytest.approx(1)
    (ok,) = [finding for finding in report.findings if finding.severity == "OK"]
    assert "2 images, 2 inspected; 2 masks (palette), 4 boxes" in ok.what
    read(voc)


@pytest.mark.parametrize("kind, word", [
    ("JPEGImages", "images are missing"), ("SegmentationClass", "masks are missing"),
    ("Annotations", "files of boxes are missing"),
])
def test_missing_files_are_named(voc, kind, word):
    voc.file(kind, "two").unlink()
    said = the_fail(check(voc))
    assert word in said and voc.file(kind, "two").name in said and "→" in said
    with pytest.raises(FileNotFoundError):
        read(voc)


@pytest.mark.parametrize("kind, word", [
    ("JPEGImages", "images cannot be read"), ("SegmentationClass", "masks cannot be read"),
    ("Annotations", "files of boxes cannot be read"),
])
@pytest.mark.parametrize("spoil", ["cut", "empty", "other"])
def test_unreadable_files_are_named(voc, kind, word, spoil):
    path = voc.file(kind, "two")
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "other": b"hello"}[spoil])
    said = the_fail(check(voc))
    assert word in said and path.name in said and "→" in said
    with pytest.raises(LabelError):
        read(voc)


def spoil_mask(voc, mask: Image.Image, **options) -> str:
    path = voc.file("SegmentationClass", "two")
    mask.save(path, **{"format": "PNG", **options})
    said = the_fail(check(voc))
    assert "two.png" in said and "→" in said
    return said


def ids_of(voc) -> np.ndarray:
    return read_mask(voc.file("SegmentationClass", "two"), 3).copy()


def test_a_mask_of_another_size(voc):
    turned = Image.fromarray(ids_of(voc).T)
    assert "10x14, the image 14x10" in spoil_mask(voc, turned)


def test_a_photograph_that_the_camera_turned(voc):
    """Label tools follow the EXIF note, the readers do not: the sizes differ and say why."""
    path = voc.file("JPEGImages", "two")
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    assert "EXIF" in spoil_mask(voc, Image.fromarray(ids_of(voc).T))


def test_colours_in_place_of_ids(voc):
    palette = np.reshape(voc_palette(), (256, 3)).astype(np.uint8)
    said = spoil_mask(voc, Image.fromarray(palette[ids_of(voc)]))
    assert "colours where ids are expected" in said and "the colours are VOC's palette" in said
    with pytest.raises(LabelError, match="colour image"):
        read(voc)


def test_colours_turned_grey(voc):
    """``convert("L")`` of a palette mask gives brightness in place of ids."""
    with Image.open(voc.file("SegmentationClass", "two")) as mask:
        grey = mask.convert("RGB").convert("L")
    said = spoil_mask(voc, grey)
    assert "ids that belong to no class" in said and "converted to grey" in said


def test_a_palette_in_another_order(voc):
    """Saved from its colours: looks right in every viewer, and trains on swapped classes."""
    ids = ids_of(voc)
    swapped = np.array([0, 2, 1] + [255] * 253, np.uint8)[ids]
    image = Image.fromarray(swapped, mode="P")
    palette = np.reshape(voc_palette(), (256, 3))
    palette[[1, 2]] = palette[[2, 1]]
    image.putpalette(palette.reshape(-1).tolist())
    said = spoil_mask(voc, image)
    assert "id 1 has the colour of id 2 (dog)" in said
    read(voc)


def test_unknown_ids(voc):
    ids = ids_of(voc)
    ids[0, :2] = 3, 77
    said = spoil_mask(voc, Image.fromarray(ids))
    assert "ids that belong to no class" in said and "(3, 77)" in said
    assert check(voc).histograms["train"].pixels[-1] == 2
    with pytest.raises(LabelError, match=r"\[3, 77\]"):
        read(voc)


def test_a_jpeg_in_a_png_s_clothes(voc):
    said = spoil_mask(voc, Image.fromarray(ids_of(voc)), format="JPEG")
    assert "JPEG" in said and "compression" in said


def test_a_mask_of_void_alone_and_a_class_that_never_occurs_are_notes(voc):
    for name in ("one", "two"):
        write_mask(np.full((10, 14), 255 if name == "two" else 1, np.uint8),
                   voc.file("SegmentationClass", name))
    report = check(voc)
    notes = "\n".join(str(f) for f in report.findings if f.severity == "NOTE")
    assert not report.failed and "1 masks have no labelled pixel" in notes and "two.png" in notes
    assert "no pixel of background, dog" in notes and "50 % of all pixels are void" in notes


@pytest.mark.parametrize("box, word", [
    (("cat", 1, 1, 14, 10), None), (("cat", 0.5, 0.5, 14.9, 10.9), None),
    (("cat", 3, 3, 3, 3), None), (("cat", 0, 1, 14, 10), "do not lie in their image"),
    (("cat", 1, 1, 15, 10), "do not lie"), (("cat", 1, 1, 14, 11), "do not lie"),
    (("cat", 9, 1, 4, 10), "do not lie"), (("cat", 5, 1, 4, 10), "do not lie"),
    (("cow", 1, 1, 5, 5), "class that the dataset does not know"),
    (("background", 1, 1, 5, 5), "class that the dataset does not know"),
])
def test_boxes_are_judged_as_the_reader_judges_them(voc, box, word):
    path = voc.write_boxes("two", box)
    if word is None:
        assert fails(check(voc)) == []
        read(voc)
        return
    said = the_fail(check(voc))
    assert word in said and path.name in said and box[0] in said
    if box[0] != "background":
        with pytest.raises(LabelError):
            read(voc)


def test_a_image_that_is_learnt_from_and_measured_on(voc):
    voc.write_list("val", "two\n")
    said = the_fail(check(voc))
    assert "train and val: 1 images are in both" in said and "two" in said
    voc.write_list("train", "one\n")
    voc.write_list("trainval", "one\ntwo\n")
    report = check(voc)
    assert not report.failed
    assert any("trainval and val" in f.where and f.severity == "NOTE" for f in report.findings)


def test_the_same_pixels_under_two_names(voc):
    """Saved anew, with other bytes in the file; a leak only where one of the two is held out."""
    with Image.open(voc.file("JPEGImages", "two")) as image:
        image.save(voc.file("JPEGImages", "three"), format="PNG")
    write_mask(ids_of(voc), voc.file("SegmentationClass", "three"))
    voc.write_boxes("three", ("cat", 1, 1, 5, 5))
    voc.write_list("train", "one\ntwo\nthree\n")
    report = check(voc)
    assert not report.failed and any("two names" in f.what for f in report.findings)
    voc.write_list("train", "one\ntwo\n")
    voc.write_list("trainval", "one\ntwo\nthree\n")
    voc.write_list("val", "three\n")
    said = the_fail(check(voc))
    assert "two (train) = three (val)" in said and "held out" in said


def test_lists_that_are_wrong_themselves(voc):
    voc.write_list("empty", "\n")
    voc.write_list("double", "one\ntwo\none\n")
    said = "\n".join(fails(check(voc)))
    assert "empty.txt is empty" in said and "names 1 images twice, such as one" in said


def test_a_list_of_one_s_own_is_checked_too(voc, tmp_path):
    mine = tmp_path / "labelled.txt"
    mine.write_text("two\nfour\n", encoding="utf-8")
    voc.write_list("train", "one\n")
    voc.write_list("val", "two\n")
    said = fails(audit_layout(voc_layout(voc.path, voc.classes, [mine]), workers=1))
    assert any("labelled and val: 1 images" in one for one in said) or any(
        "val and labelled: 1 images" in one for one in said)
    assert any("four.jpg" in one for one in said)


def test_masks_are_looked_for_where_the_list_has_them(voc):
    """Lists with SBD's masks read SegmentationClassAug; a mask left behind is a NOTE."""
    moved = voc.file("SegmentationClassAug", "two")
    moved.parent.mkdir()
    voc.file("SegmentationClass", "two").rename(moved)
    voc.write_list("train", "one\n")
    voc.write_list("train_aug", "one\ntwo\n")
    report = check(voc)
    assert not report.failed
    (note,) = [f for f in report.findings if "masks lie in" in f.what]
    assert note.where == "train_aug" and "one.png" in note.files[0]


def test_a_sample_looks_at_fewer_but_misses_no_missing_file(voc):
    voc.file("SegmentationClass", "two").write_bytes(b"")
    voc.file("Annotations", "one").unlink()
    report = check(voc, sample=1)
    ok = next(f for f in report.findings if f.severity == "OK")
    assert "2 images, 1 inspected" in ok.what
    assert any("files of boxes are missing" in one for one in fails(report))
    assert check(voc, sample=1).findings == report.findings, "the same sample each time"


def test_threads_change_nothing(voc):
    layout = voc_layout(voc.path, voc.classes)
    assert audit_layout(layout, workers=3).findings == audit_layout(layout, workers=1).findings


def test_what_is_not_there_is_said_with_the_command_that_gets_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="semiseg data voc"):
        audit_dataset("voc", tmp_path)
    with pytest.raises(FileNotFoundError, match="SEMISEG_DATA"):
        audit_dataset("voc")
    with pytest.raises(ValueError, match="unknown dataset 'coco'; choose from minivoc, voc"):
        audit_dataset("coco", tmp_path)
    with pytest.raises(ValueError, match="digits has no audit; choose from minivoc, voc, "):
        audit_dataset("digits")


def test_the_drawn_images_have_no_fail(tmp_path):
    """mini-VOC, as it is drawn, named by its folder."""
    folder = prepare(WORLDS["hurried"], Sizes(8, 4, 4, 4), tmp_path, progress=False)
    report = audit_dataset("minivoc", folder, workers=1)
    assert fails(report) == []
    assert set(report.histograms) == {"labelled", "unlabelled", "val", "test"}


@pytest.mark.skipif("SEMISEG_DATA" not in os.environ, reason="SEMISEG_DATA names no datasets")
def test_the_real_images_have_no_fail():
    root = Path(os.environ["SEMISEG_DATA"])
    if not (root / "VOCdevkit" / "VOC2012").is_dir():
        pytest.skip("no VOC in SEMISEG_DATA")
    start = time.perf_counter()
    report = audit_dataset("voc", root, sample=60)
    assert fails(report) == [] and time.perf_counter() - start < 30
