"""The VOC reader: what it hands out, and how it refuses what is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from semiseg_lib.datasets.dataset import find
from semiseg_lib.datasets.devkit.layout import VOCDataset
from semiseg_lib.datasets.labels import VOID, LabelError, write_mask
from semiseg_lib.datasets.minivoc import WORLDS, BoxStyle, Sizes, annotate, draw_scene, prepare
from semiseg_lib.datasets.minivoc.dice import STREAM_BOXES, generator_for
from semiseg_lib.datasets.voc import VOC_CLASSES

VOC = find("voc")


def read(voc, **options):
    return VOCDataset(voc.path, "train", voc.classes, **options)


def test_a_sample_has_its_image_mask_and_boxes(voc):
    dataset = read(voc)
    sample = dataset[1]
    assert dataset.names == ["one", "two"] and len(dataset) == 2 and sample.name == "two"
    assert sample.image.shape == (3, 10, 14) and sample.image.dtype == np.uint8
    with Image.open(voc.file("SegmentationClass", "two")) as stored:
        assert np.array_equal(sample.mask, np.asarray(stored))
    assert sample.boxes.classes.tolist() == [1, 2]


def test_boxes_become_half_open_from_zero(voc):
    voc.write_boxes("one", ("cat", 4, 3, 4, 3), ("dog", 1, 1, 14, 10), ("cat", 14, 10, 14, 10))
    half_open = [[3, 2, 4, 3], [0, 0, 14, 10], [13, 9, 14, 10]]
    assert read(voc)[0].boxes.coordinates.tolist() == half_open


def test_float_coordinates_are_kept_exactly(voc):
    voc.write_boxes("one", ("cat", "1.0625", "2.5", "5.4375", "7.75"))
    assert read(voc)[0].boxes.coordinates.tolist() == [[0.0625, 1.5, 5.4375, 7.75]]


def test_a_box_a_fraction_outside_is_clipped(voc):
    voc.write_boxes("one", ("cat", 0.5, 1, 14.5, 10.25))
    assert read(voc)[0].boxes.coordinates.tolist() == [[0, 0, 14, 10]]


@pytest.mark.parametrize("box", [
    (0, 1, 5, 5), (1, -3, 5, 5), (1, 1, 15, 5), (1, 1, 5, 11), (6, 2, 3, 5), (2, 6, 5, 3),
    ("nan", 1, 5, 5), (1, 1, "inf", 5),
], ids=str)
def test_a_box_outside_its_image_is_refused(voc, box):
    voc.write_boxes("one", ("cat", 1, 1, 3, 3), ("cat", *box))
    with pytest.raises(LabelError, match=r"one\.xml has the box.*14x10.*Correct the coordinates"):
        read(voc)[0]


def test_a_box_of_an_unknown_class_is_refused(voc):
    voc.write_boxes("one", ("unicorn", 1, 1, 3, 3))
    with pytest.raises(LabelError, match=r"one\.xml.*'unicorn'.*cat, dog.*Correct the name"):
        read(voc)[0]


def test_a_image_without_objects_has_no_boxes(voc):
    voc.write_boxes("one")
    voc.file("Annotations", "one").write_text(
        "<annotation><filename>one.jpg</filename></annotation>", encoding="utf-8"
    )
    boxes = read(voc)[0].boxes
    assert len(boxes) == 0 and boxes.coordinates.shape == (0, 4)


def test_the_parts_of_an_object_are_no_boxes(voc):
    voc.file("Annotations", "one").write_text(
        "<annotation><size><width>14</width></size><object><name>dog</name>"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
        "</bndbox></part><bndbox><xmax>9</xmax><xmin>3</xmin><ymin>4</ymin><ymax>8</ymax></bndbox>"
        "</object></annotation>", encoding="utf-8",
    )
    boxes = read(voc)[0].boxes
    assert boxes.coordinates.tolist() == [[2, 3, 9, 8]] and boxes.classes.tolist() == [2]


@pytest.mark.parametrize("text", [
    "", "<annotation><object>", "not XML at all",
    "<annotation><object><name>cat</name></object></annotation>",
    "<annotation><object><bndbox><xmin>1</xmin></bndbox><name>cat</name></object></annotation>",
    "<annotation><object><name>cat</name><bndbox><xmin>left</xmin><ymin>1</ymin><xmax>2</xmax>"
    "<ymax>2</ymax></bndbox></object></annotation>",
    '<!DOCTYPE a [<!ENTITY e "ee">]><annotation><filename>&e;</filename></annotation>',
], ids=["empty", "unclosed", "no-xml", "no-box", "half-a-box", "words", "entities"])
def test_a_malformed_annotation_is_refused(voc, text):
    voc.file("Annotations", "one").write_text(text, encoding="utf-8")
    with pytest.raises(LabelError, match=r"one\.xml cannot be read.*needs a <name>"):
        read(voc)[0]


@pytest.mark.parametrize("kind", ["JPEGImages", "SegmentationClass", "Annotations"])
def test_a_missing_file_is_named(voc, kind):
    voc.file(kind, "two").unlink()
    dataset = read(voc)
    dataset[0]
    with pytest.raises(FileNotFoundError, match=rf"{kind}.*two\.\w+ is missing\. Add the "):
        dataset[1]


def test_unlabelled_images_need_no_mask_and_unlabelled_ones_no_boxes(voc):
    voc.file("SegmentationClass", "one").unlink()
    voc.file("Annotations", "two").unlink()
    assert read(voc, masks=None)[0].mask is None
    assert read(voc, boxes=False)[1].boxes is None


def test_a_mask_of_another_size_is_refused(voc):
    write_mask(np.zeros((14, 10), np.uint8), voc.file("SegmentationClass", "one"))
    with pytest.raises(LabelError, match=r"one\.png is 10x14.*one\.jpg is 14x10.*Resize"):
        read(voc)[0]


def test_kept_classes_are_packed_and_the_others_become_void(voc):
    everything, kept = read(voc)[0], read(voc, keep=("background", "dog"))[0]
    expected = np.full_like(everything.mask, VOID)
    expected[everything.mask == 0], expected[everything.mask == 2] = 0, 1
    assert np.array_equal(kept.mask, expected)
    assert kept.boxes.classes.tolist() == [1]
    assert kept.boxes.coordinates.tolist() == [[0, 0, 14, 10]]


def test_an_unknown_class_to_keep_is_named(voc):
    with pytest.raises(ValueError, match="unicorn"):
        read(voc, keep=("background", "unicorn"))


def test_lists_that_cannot_be_used_are_refused(voc):
    with pytest.raises(FileNotFoundError, match=r"val\.txt is missing\. Name a list .*: train"):
        VOCDataset(voc.path, "val", voc.classes)
    voc.write_list("train", " \n\n")
    with pytest.raises(ValueError, match=r"train\.txt is empty\. Write one image name per line"):
        read(voc)
    voc.write_list("train", "one\ntwo\none\n")
    with pytest.raises(ValueError, match=r"train\.txt names 1 images twice, such as one\. Take"):
        read(voc)


def test_the_flags_of_a_detection_list_are_no_part_of_the_name(voc):
    voc.write_list("train", "one  1\r\ntwo -1\r\n")
    assert read(voc).names == ["one", "two"]


def test_drawn_boxes_survive_being_written_and_read(tmp_path):
    """The annotator's own boxes, fractions of a pixel included, come back from mini-VOC's XML."""
    world = replace(WORLDS["hurried"], unlabelled_boxes=BoxStyle(loose=(0.15, 0.45), jitter=0.05))
    folder = prepare(world, Sizes(1, 6, 1, 1), tmp_path, progress=False)
    dataset = VOCDataset(folder, "unlabelled", ("background", *world.classes), masks=None)
    fractions = 0
    for index in range(6):
        generator = generator_for(world, "unlabelled", index, STREAM_BOXES)
        scene = draw_scene(world, "unlabelled", index)
        drawn = annotate(scene, world.unlabelled_boxes, generator, world.side)
        boxes = dataset[index].boxes
        read_back = zip(boxes.classes.tolist(), boxes.coordinates.tolist(), strict=True)
        assert list(read_back) == [(label, list(box)) for label, box in drawn]
        fractions += int((boxes.coordinates % 1 != 0).sum())
    assert fractions > 10


def test_the_content_is_what_is_read(voc):
    everything = [voc.file(kind, "two")
                  for kind in ("JPEGImages", "SegmentationClass", "Annotations")]
    assert list(read(voc).content(1)) == everything
    assert list(read(voc, masks=None).content(1)) == [everything[0], everything[2]]
    assert list(read(voc, boxes=False).content(1)) == everything[:2]
    assert read(voc).canonical == {}


@pytest.fixture
def real(voc, tmp_path):
    """The folder in VOC's place, with SBD's masks of another id and more lists."""
    for name in ("one", "two"):
        write_mask(np.full((10, 14), 7, np.uint8), voc.file("SegmentationClassAug", name))
    for name, text in (("val", "two\n"), ("train_aug", "one\ntwo\n"), ("mine", "two\n")):
        voc.write_list(name, text)
    (tmp_path / "VOCdevkit").mkdir()
    voc.path.rename(tmp_path / "VOCdevkit" / "VOC2012")
    return tmp_path


def test_the_lists_of_the_source(real, ask):
    source = VOC.source(ask("voc"), real, 0)
    assert source.classes == VOC_CLASSES and source.boxed.tolist() == [False] + [True] * 20
    assert [list(source.names(which)) for which in ("candidates", "unlabelled", "val", "test")] == [
        ["one", "two"], ["one", "two"], ["two"], ["two"]]
    assert list(source.names("hidden")) == ["one", "two"] and source.has_boxes("one")

    def masks_of(which, **lists):
        reader = VOC.source(ask("voc", **lists), real, 0).reader(which, masks=True, boxes=False)
        return reader.masks, bool((reader[0].mask == 7).all())

    for which in ("candidates", "val", "test"):
        assert masks_of(which) == ("SegmentationClass", False)
        assert masks_of(which, **{which: "train_aug"}) == ("SegmentationClassAug", True)
    assert masks_of("hidden") == masks_of("unlabelled") == ("SegmentationClassAug", True)
    assert masks_of("hidden", unlabelled="mine") == ("SegmentationClassAug", True)
    assert source.reader("unlabelled", masks=False, boxes=True).masks is None


def test_a_source_keeps_classes(real, ask):
    source = VOC.source(ask("voc", keep=("background", "cat")), real, 0)
    assert source.classes == ("background", "cat") and source.boxed.tolist() == [False, True]
    assert source.reader("val", masks=True, boxes=False).classes == source.classes
    with pytest.raises(ValueError, match="cannot keep unicorn"):
        VOC.source(ask("voc", keep=("background", "unicorn")), real, 0)
