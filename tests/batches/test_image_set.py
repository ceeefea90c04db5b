"""Image sets: read when asked for, kept in memory or not, and nothing read that nobody asks for."""

from __future__ import annotations

import os
from copy import copy
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semiseg_lib.batches.data import Data
from semiseg_lib.batches.image_set import ImageSet, Masks, joined
from semiseg_lib.batches.options import DataConfig, ViewConfig
from semiseg_lib.batches.part import Part
from semiseg_lib.batches.weak_view import DRAWS, draw_view
from semiseg_lib.datasets import cached
from semiseg_lib.datasets.cached import Cached
from semiseg_lib.datasets.devkit.layout import VOCDataset
from semiseg_lib.datasets.labels import LabelError, write_mask
from semiseg_lib.datasets.minivoc import Sizes
from semiseg_lib.datasets.sample import Boxes, Sample
from semiseg_lib.datasets.voc import VOC_CLASSES

KEEP = ("background", "cat", "dog")
BOXED = np.arange(3) > 0
VIEWS = ViewConfig(crop=32, scale=(0.5, 2.0))
VOC = DataConfig("voc", labelled=3, keep=KEEP)


def folder_of(root: Path) -> Path:
    return root / "VOCdevkit" / "VOC2012"


def reader_of(root: Path, image_set: str = "train", **options) -> VOCDataset:
    return VOCDataset(folder_of(root), image_set, VOC_CLASSES, KEEP, **options)


def set_of(reader, **options) -> ImageSet:
    return ImageSet(reader, tuple(range(len(reader))), BOXED, **options)


def tensors(part: Part) -> dict:
    return {f.name: getattr(part, f.name) for f in fields(part) if f.name != "names"}


def same(one: Part, other: Part) -> bool:
    ours, theirs = tensors(one), tensors(other)
    return one.names == other.names and all(
        torch.equal(ours[name], theirs[name])
        if ours[name] is not None and theirs[name] is not None
        else ours[name] is theirs[name] for name in ours
    )


def spoil(path: Path) -> None:
    assert path.is_file()
    path.write_bytes(b"poison")


# Files and what is kept of them


@pytest.fixture
def images(voc_root) -> ImageSet:
    return set_of(reader_of(voc_root))


def test_a_set_is_read_in_the_order_of_the_list(images, voc_root):
    reader = reader_of(voc_root)
    assert images.names == tuple(reader.names) == ("p0", "p1", "p2", "p3", "p4")
    assert len(images) == 5 and images.classes == KEEP
    for number in range(5):
        ours, theirs = images.sample(number), reader[number]
        np.testing.assert_array_equal(ours.image, theirs.image)
        np.testing.assert_array_equal(ours.mask, theirs.mask)
        np.testing.assert_array_equal(ours.boxes.coordinates, theirs.boxes.coordinates)


@pytest.mark.parametrize("gives", [
    (), ("box_maps",), ("allowed",), ("box_maps", "allowed"),
], ids=str)
def test_a_set_that_is_kept_in_memory_gives_the_same_parts(voc_root, gives):
    lazy, kept = set_of(reader_of(voc_root)), set_of(Cached(reader_of(voc_root)))
    assert lazy.digest == kept.digest and lazy.names == kept.names
    sets = [
        change(images.with_fields(*gives)) for images in (lazy, kept)
        for change in (lambda s: s, lambda s: s.take([3, 1, 4]), lambda s: s.named(["p4", "p0"]))
    ]
    for one, other in zip(sets[:3], sets[3:], strict=True):
        for seed in range(3):
            draws = np.random.default_rng(seed).random((len(one), DRAWS))

            def view(place: int, sample: Sample, draws=draws):
                return draw_view(sample.image.shape[1:], VIEWS, draws[place])

            numbers = range(len(one))
            part = one.part(numbers, view)
            assert same(part, other.part(numbers, view))
            assert (part.box_maps is not None) == ("box_maps" in gives)
            assert (part.allowed is not None) == ("allowed" in gives)
        for number in range(len(one)):
            assert same(one.part([number]), other.part([number]))


class Counting:
    """A reader that counts how often each image is read."""

    def __init__(self, reader) -> None:
        self.reader, self.reads = reader, []
        for name in ("names", "classes", "masks", "boxes", "canonical", "decoding"):
            setattr(self, name, getattr(reader, name))

    def __len__(self) -> int:
        return len(self.reader)

    def content(self, index: int):
        reader = copy(self.reader)
        reader.masks, reader.boxes = self.masks, self.boxes
        return reader.content(index)

    def __getitem__(self, index: int) -> Sample:
        self.reads.append(index)
        return self.reader[index]


def test_what_is_kept_is_read_once_also_by_readers_of_the_same_bytes(voc_root):
    cached._kept.cache_clear()
    reader = Counting(reader_of(voc_root))
    kept = set_of(Cached(reader))
    for _ in range(3):
        for number in (0, 2):
            kept.part([number])
            kept.without_boxes().part([number])
            kept.without_labels().sample(number)
            kept.take([number]).sample(0)
    again = Counting(reader_of(voc_root))
    set_of(Cached(again)).part([2])
    assert reader.reads == [0, 2] and again.reads == []
    set_of(reader).part([1])
    set_of(reader).part([1])
    assert reader.reads == [0, 2, 1, 1], "by itself a reader keeps nothing"


@pytest.mark.parametrize("kind", ["JPEGImages", "SegmentationClass", "Annotations"])
def test_after_a_change_on_disk_new_data_reads_the_new_bytes(voc_root, kind):
    before = set_of(Cached(reader_of(voc_root)))
    first, digest = before.part([1]), before.digest
    path = next((folder_of(voc_root) / kind).glob("p1.*"))
    if kind == "JPEGImages":
        Image.fromarray(np.full((41, 59, 3), 9, np.uint8)).save(path)
    elif kind == "SegmentationClass":
        write_mask(np.full((41, 59), 8, np.uint8), path)
    else:
        path.write_text(path.read_text(encoding="utf-8").replace("11", "3"), encoding="utf-8")
    after = set_of(Cached(reader_of(voc_root)))
    assert same(before.part([1]), first)
    assert not same(after.part([1]), first)
    assert same(after.part([1]), set_of(reader_of(voc_root)).part([1]))
    assert after.digest != digest


def test_a_file_that_changes_before_it_is_read_is_noticed_and_the_digest_is_that_of_the_opening(
    voc_root
):
    cached._kept.cache_clear()  # another test may have read the same bytes
    kept = set_of(Cached(reader_of(voc_root)))
    kept.part([0])
    before, lazy = kept.digest, set_of(reader_of(voc_root)).digest
    for index in (0, 1):
        spoil(next(iter(reader_of(voc_root).content(index))))
    assert before == lazy == kept.digest, "kept pixels keep the digest of what they were read from"
    assert kept.part([0]).names and set_of(reader_of(voc_root)).digest != before
    with pytest.raises(ValueError, match="has changed since the dataset was opened"):
        kept.part([1])



def test_a_copy_without_masks_or_boxes_hands_out_none_of_what_is_kept(voc_root):
    kept = set_of(Cached(reader_of(voc_root)))
    assert kept.sample(0).mask is not None and kept.sample(0).boxes is not None
    assert kept.without_boxes().sample(0).boxes is None
    assert kept.without_boxes().sample(0).mask is not None
    bare = kept.without_labels().sample(0)
    assert bare.mask is bare.boxes is None
    assert kept.sample(0).boxes is not None


# Parts


def test_parts_hold_what_networks_read(images):
    part = images.with_fields("box_maps", "allowed").part([2])
    sample = images.sample(2)
    assert part.names == ("p2",) and part.inside is None and part.logits_ancillary is None
    np.testing.assert_array_equal((part.images[0] * 255).round().numpy(), sample.image)
    assert part.images.dtype == torch.float32 and part.masks.dtype == torch.int64
    np.testing.assert_array_equal(part.masks[0], sample.mask)
    assert part.box_maps.shape == (1, 3, 42, 58) and part.box_maps.dtype == torch.float32
    assert part.allowed.shape == (1, 3, 42, 58) and part.allowed.dtype == torch.bool
    assert torch.equal(part.allowed[:, 1:], part.box_maps[:, 1:] == 1)
    assert part.allowed[:, 0].all()


def test_every_byte_of_an_image_becomes_its_share_of_one():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(3, axis=0)
    found = torch.from_numpy(levels).float().div_(255)
    assert found.max() == 1 and torch.equal(torch.from_numpy(levels).float() / 255, found)


def test_images_and_masks_of_one_size_come_as_one_tensor(make_samples, make_set, images):
    samples = make_samples(4)
    made = make_set(samples)
    assert made.images.dtype == made.masks.dtype == torch.uint8
    np.testing.assert_array_equal(made.images, [sample.image for sample in samples])
    np.testing.assert_array_equal(made.masks, [sample.mask for sample in samples])
    for name in ("images", "masks"):
        with pytest.raises(ValueError, match=r"5 different sizes.*\(40, 60\).*one by one"):
            getattr(images, name)
    with pytest.raises(ValueError, match="bare0 has no mask"):
        _ = make_set(make_samples(1, "bare", masks=False)).masks


def test_images_of_two_sizes_are_refused_with_the_mend(images):
    with pytest.raises(ValueError, match=r"2 sizes.*\(40, 60\), \(41, 59\).*augment\.crop"):
        images.part([0, 1])


def test_without_boxes_there_are_no_box_maps_unless_images_are_said_to_be_empty(
    make_samples, make_set
):
    samples = [replace(make_samples(1)[0], boxes=None)]
    with pytest.raises(ValueError, match=r"made0 has no boxes.*data\.unboxed empty"):
        make_set(samples).part([0])
    empty = make_set(samples, unboxed="empty").part([0])
    assert (empty.box_maps[:, 0] == 1).all() and not empty.box_maps[:, 1:].any()
    allowed = [
        make_set(samples, unboxed=unboxed).with_fields("allowed").part([0]).allowed
        for unboxed in ("unknown", "empty")
    ]
    assert allowed[0].all() and allowed[1][:, 0].all() and not allowed[1][:, 1:].any()


# Some of the images, some of what is known of them


def test_images_can_be_taken_and_named(make_samples, make_set):
    samples = make_samples(5)
    logits = [torch.full((3, 8, 8), float(i)).half() for i in range(5)]
    images = make_set(samples).with_logits(logits)
    some = images.take([4, 1, 1])
    assert some.names == ("made4", "made1", "made1") and len(some) == 3
    assert same(some.named(["made1", "made4"]).part([0, 1]), images.part([1, 4]))
    assert some.part([0]).logits_ancillary.unique().tolist() == [4]
    assert images.take([]).names == () and len(images.take([])) == 0
    with pytest.raises(ValueError, match="2 images are not in this set, such as nobody"):
        images.named(["made1", "nobody", "nothing"])
    assert some.take([2]).named(["made1"]).part([0]).logits_ancillary.unique().tolist() == [1]


def test_stored_logits_must_be_as_many_as_the_images(make_samples, make_set):
    images = make_set(make_samples(3))
    assert images.with_logits(None).stored is None
    with pytest.raises(ValueError, match="1 stored logits do not fit 3 images"):
        images.with_logits([torch.zeros(3, 8, 8)])
    stored = images.with_logits([torch.zeros(3, 8, 8)] * 3)
    assert stored.with_logits(None).part([0]).logits_ancillary is None
    assert stored.without_labels().stored is None


def test_a_set_with_other_masks_reads_none_of_its_own(voc_root, images):
    made = [np.full(images.sample(i).image.shape[1:], i % 3, np.uint8) for i in range(5)]
    for kind in ("SegmentationClass", "Annotations"):
        for name in images.names:
            spoil(next((folder_of(voc_root) / kind).glob(f"{name}.*")))
    other = images.with_masks(made)
    assert other.names == images.names and other.classes == images.classes
    for number in range(5):
        part = other.part([number])
        assert part.masks.unique().tolist() == [number % 3]
        assert part.box_maps is part.allowed is None
    assert other.without_labels().sample(1).mask is None
    np.testing.assert_array_equal(other.take([4]).sample(0).mask, made[4])
    with pytest.raises(ValueError, match="4 masks do not fit 5 images"):
        images.with_masks(made[:4])
    with pytest.raises(ValueError, match=r"mask for p1 has \(40, 60\) .* image \(41, 59\)"):
        images.with_masks([made[0]] * 5).sample(1)
    changed = [mask.copy() for mask in made]
    changed[2][0, 0] = 2 - changed[2][0, 0] // 2
    assert len({images.without_labels().digest, other.digest,
                images.with_masks(changed).digest}) == 3


def test_sets_can_be_joined_and_taken_from(images):
    both = joined(images, images.take([1]))
    assert both.names == (*images.names, "p1") and len(both.take([2, 0])) == 2
    np.testing.assert_array_equal(both.sample(5).image, images.sample(1).image)
    np.testing.assert_array_equal(both.sample(5).mask, images.sample(1).mask)
    assert both.sample(0).boxes is None and both.part([0]).box_maps is None
    assert both.without_labels().sample(0).mask is None
    assert joined(images).digest == images.without_boxes().digest


def test_joined_sets_have_masks_of_different_sources(images, make_samples, make_set):
    made = make_set(make_samples(2))
    both = joined(images.take([0]), made)
    assert both.names == ("p0", "made0", "made1")
    np.testing.assert_array_equal(both.part([1, 2]).masks, made.masks)


# What is not asked for is not read


def test_hidden_masks_and_boxes_are_read_only_where_they_are_asked_for(voc_with_all_masks):
    data = Data(VOC, 1, voc_with_all_masks)
    names = data.unlabelled.names
    folder = folder_of(voc_with_all_masks)
    for name in names:
        for kind in ("SegmentationClass", "SegmentationClassAug"):
            spoil(folder / kind / f"{name}.png")
    part = data.unlabelled.part([0])
    assert part.masks is None and part.box_maps is not None
    for name in names:
        spoil(folder / "Annotations" / f"{name}.xml")
    assert data.unlabelled.without_boxes().part([0]).box_maps is None
    assert data.unlabelled.with_fields().digest == data.unlabelled.without_boxes().digest
    assert data.unlabelled.without_labels().sample(0).boxes is None
    with pytest.raises((LabelError, ValueError)):
        data.unlabelled.part([0])
    with pytest.raises(LabelError):
        _ = data.unlabelled_truth[0]


def test_files_that_are_gone_are_not_missed_where_nobody_asks(voc_with_all_masks):
    """Neither reading nor the digest needs them."""
    data = Data(VOC, 1, voc_with_all_masks)
    bare, digest = data.unlabelled.without_labels(), data.unlabelled.without_labels().digest
    for kind in ("SegmentationClass", "SegmentationClassAug", "Annotations"):
        for name in data.unlabelled.names:
            next((folder_of(voc_with_all_masks) / kind).glob(f"{name}.*")).unlink()
    for number in range(len(bare)):
        assert bare.part([number]).masks is None
    assert data.unlabelled.without_labels().digest == digest
    with pytest.raises(FileNotFoundError):
        _ = data.unlabelled.digest


# Digests


@pytest.mark.parametrize("kind, change, counts", [
    ("JPEGImages", lambda s: s, True),
    ("SegmentationClass", lambda s: s, True),
    ("Annotations", lambda s: s, True),
    ("JPEGImages", ImageSet.without_labels, True),
    ("SegmentationClass", ImageSet.without_labels, False),
    ("Annotations", ImageSet.without_labels, False),
    ("SegmentationClass", ImageSet.without_boxes, True),
    ("Annotations", ImageSet.without_boxes, False),
], ids=lambda value: getattr(value, "__name__", str(value)))
@pytest.mark.parametrize("place", [0, -1, 40])
def test_a_digest_changes_with_any_byte_that_is_read(voc_root, kind, change, counts, place):
    before = change(set_of(reader_of(voc_root))).digest
    path = next((folder_of(voc_root) / kind).glob("p3.*"))
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = change(set_of(reader_of(voc_root))).digest
    assert (before != after) == counts
    assert len(after) == 64 and int(after, 16) >= 0


def test_a_digest_changes_with_names_classes_and_order(voc_root, images):
    folder = folder_of(voc_root)
    digests = {
        images.digest, images.take([0, 1, 2, 3]).digest, images.take([1, 0, 2, 3, 4]).digest,
        set_of(VOCDataset(folder, "train", VOC_CLASSES)).digest,
        set_of(VOCDataset(folder, "train", VOC_CLASSES, ("background", "dog", "cat"))).digest,
    }
    assert len(digests) == 5
    assert images.take(range(5)).digest == images.digest
    for kind in ("JPEGImages", "SegmentationClass", "Annotations"):
        path = next((folder / kind).glob("p4.*"))
        path.rename(path.with_stem("q4"))
    (folder / "ImageSets/Segmentation/train.txt").write_text("p0\np1\np2\np3\nq4\n", "utf-8")
    assert set_of(reader_of(voc_root)).digest not in digests


def test_a_digest_does_not_change_with_the_folder(voc_root, tmp_path, images):
    before = images.digest
    voc_root.joinpath("VOCdevkit").rename(tmp_path / "moved")
    moved = VOCDataset(tmp_path / "moved" / "VOC2012", "train", VOC_CLASSES, KEEP)
    assert set_of(moved).digest == before


# Masks


def test_masks_are_read_one_by_one_or_as_one_array(make_samples, make_set, images):
    samples = make_samples(4)
    masks = Masks(make_set(samples))
    expected = np.stack([sample.mask for sample in samples])
    for array in (np.asarray(masks), np.array(masks), np.stack(list(masks))):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == np.uint8
    wide = np.asarray(masks, dtype=np.int64)
    assert wide.dtype == np.int64 and np.array_equal(wide, expected)
    assert len(masks) == 4
    np.testing.assert_array_equal(masks[3], expected[3])
    for beyond in (4, -1):
        with pytest.raises(IndexError):
            _ = masks[beyond]
    several = Masks(images)
    assert [mask.shape for mask in several] == [(40 + i, 60 - i) for i in range(5)]
    with pytest.raises(ValueError, match="sizes"):
        np.asarray(several)


def test_masks_need_no_boxes(voc_root, images):
    for name in images.names:
        spoil(folder_of(voc_root) / "Annotations" / f"{name}.xml")
    np.testing.assert_array_equal(Masks(images)[2], images.without_boxes().sample(2).mask)


def test_the_true_masks_of_unlabelled_images_are_sbds(voc_with_all_masks):
    data = Data(VOC, 1, voc_with_all_masks)
    everything = data.everything
    assert everything.names == data.labelled.names + data.unlabelled.names
    assert all(everything.sample(i).mask is not None for i in range(len(everything)))
    np.testing.assert_array_equal(data.unlabelled_truth[0], everything.sample(3).mask)
    assert len(list(Masks(everything))) == 8


def test_drawn_images_are_read_by_the_same_code():
    config = DataConfig("minivoc", labelled=8, at_most=6).with_options(sizes=Sizes(20, 10, 7, 7))
    data = Data(config, 11)
    sample, part = data.unlabelled.sample(0), data.unlabelled.part([0, 1])
    assert len(data.unlabelled) == 6 and part.images.shape == (2, 3, 64, 64)
    np.testing.assert_array_equal((part.images[0] * 255).round().numpy(), sample.image)
    assert part.masks is None and part.box_maps.shape == (2, 5, 64, 64)


def test_boxes_of_no_class_but_the_background_are_no_boxes():
    assert len(Boxes()) == 0 and Boxes().coordinates.shape == (0, 4)


@pytest.mark.parametrize("change", ["reader", "options"])
def test_what_is_kept_is_not_handed_to_a_reader_that_reads_otherwise(voc_root, change):
    class Inverted(VOCDataset):
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            return replace(sample, image=255 - sample.image)

    first = Cached(reader_of(voc_root), "camera left")
    image = first[0].image
    other = Inverted(folder_of(voc_root), "train", VOC_CLASSES, KEEP)
    if change == "reader":
        assert np.array_equal(Cached(other, "camera left")[0].image, 255 - image)
    else:
        assert Cached(reader_of(voc_root), "camera right")._kept is not first._kept
        assert Cached(reader_of(voc_root), "camera left")._kept is first._kept


def test_what_is_kept_cannot_be_written_to(voc_root):
    """It is handed out again and again, to later sets too."""
    sample = Cached(reader_of(voc_root))[0]
    for array in (sample.image, sample.mask, sample.boxes.coordinates, sample.boxes.classes):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1


def test_readers_of_the_same_images_in_other_places_share_nothing(make_samples, make_set):
    first, second = make_samples(2)
    twice = Cached(make_set([first, first, second]).reader)
    assert [twice[i].name for i in range(3)] == [first.name, first.name, second.name]
    once = Cached(make_set([first, second]).reader)
    assert [once[i].name for i in range(2)] == [first.name, second.name]


@pytest.mark.parametrize("change", [ImageSet.without_labels, ImageSet.without_boxes])
def test_a_kept_set_has_a_digest_of_what_it_shows_however_a_reader_tells_its_content(
    change, make_samples, make_set
):
    """A reader may tell another content with labels than without, not only more of it."""
    samples = make_samples(2)
    brighter = [replace(one, image=one.image ^ 1) for one in samples]

    class Blob(type(make_set(samples).reader)):
        def content(self, index: int):
            yield b"".join(super().content(index))

    lazy, kept, other = (
        change(set_of(reader)).digest
        for reader in (Blob(samples), Cached(Blob(samples)), Cached(Blob(brighter)))
    )
    assert kept == lazy and other != kept


def test_a_digest_covers_how_the_bytes_are_read(voc_root):
    """The same files, with the classes of their ids in another order, are other masks."""
    swapped = list(VOC_CLASSES)
    swapped[8], swapped[12] = swapped[12], swapped[8]
    other = VOCDataset(folder_of(voc_root), "train", swapped, KEEP)
    assert set_of(other).digest != set_of(reader_of(voc_root)).digest


def test_a_kept_set_without_labels_has_the_digest_of_a_lazy_one(voc_root):
    lazy, kept = set_of(reader_of(voc_root)), set_of(Cached(reader_of(voc_root)))
    for change in (lambda images: images, ImageSet.without_boxes, ImageSet.without_labels):
        assert change(lazy).digest == change(kept).digest
    assert len({lazy.digest, lazy.without_boxes().digest, lazy.without_labels().digest}) == 3


def test_allowed_classes_are_not_told_where_boxes_are_not_read(voc_root):
    with pytest.raises(ValueError, match="read without boxes"):
        set_of(reader_of(voc_root)).without_boxes().allowed(0)
