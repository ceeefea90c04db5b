"""The Cityscapes reader: ids against a table by hand, mix-ups refused, boxes by brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import Cityscapes

from semiseg_lib.batches.boxes import class_maps
from semiseg_lib.datasets.cityscapes import (
    CITYSCAPES_CLASSES,
    CITYSCAPES_COLOURS,
    CITYSCAPES_IDS,
    CITYSCAPES_THINGS,
    CityscapesDataset,
    instance_boxes,
)
from semiseg_lib.datasets.dataset import find
from semiseg_lib.datasets.digest import image_set_digest
from semiseg_lib.datasets.labels import LabelError

CITYSCAPES = find("cityscapes")

NAME = "aachen_000000_000019"
# The official table, id: train id; all others are void.
TRAIN_IDS = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11,
             25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
ALL_IDS = np.arange(34, dtype=np.uint8).reshape(2, 17)


def png(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


class Tree:
    """A Cityscapes of one image."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def image(self, name: str = NAME, size: tuple[int, int] = (2, 17), split="train") -> None:
        city = name.split("_")[0]
        path = self.root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
        png(path, np.full((*size, 3), 7, np.uint8))

    def annotate(self, kind: str, pixels: np.ndarray, name: str = NAME) -> Path:
        city = name.split("_")[0]
        path = self.root / "gtFine" / "train" / city / f"{name}_gtFine_{kind}.png"
        return png(path, pixels)

    def read(self, **options) -> CityscapesDataset:
        return CityscapesDataset(self.root, **{"boxes": False, **options})


@pytest.fixture
def city(tmp_path) -> Tree:
    tree = Tree(tmp_path)
    tree.image()
    return tree


def test_all_ids_become_the_official_train_ids(city):
    city.annotate("labelIds", ALL_IDS)
    sample = city.read()[0]
    expected = [TRAIN_IDS.get(i, 255) for i in range(34)]
    assert sample.mask.ravel().tolist() == expected and sample.mask.dtype == np.uint8
    assert sample.name == NAME and sample.image.shape == (3, 2, 17) and sample.boxes is None
    names = [CITYSCAPES_CLASSES[TRAIN_IDS[i]] for i in (7, 17, 19, 24, 26, 33)]
    assert names == ["road", "pole", "traffic light", "person", "car", "bicycle"]


def test_the_tables_are_torchvisions():
    official = [entry for entry in Cityscapes.classes if entry.id >= 0]
    assert [entry.name for entry in official] == list(CITYSCAPES_IDS)
    scored = [entry for entry in official if not entry.ignore_in_eval]
    assert {entry.id: entry.train_id for entry in scored} == TRAIN_IDS
    assert {entry.name: entry.color for entry in scored} == CITYSCAPES_COLOURS
    assert [e.name for e in scored if e.has_instances] == list(CITYSCAPES_THINGS)


def test_train_ids_are_taken_as_they_are_and_both_formats_agree(city):
    train_ids = np.array([TRAIN_IDS.get(i, 255) for i in range(34)], np.uint8).reshape(2, 17)
    city.annotate("labelTrainIds", train_ids)
    assert np.array_equal(city.read()[0].mask, train_ids), "auto takes what is there"
    city.annotate("labelIds", ALL_IDS)
    for masks in ("auto", "labelIds", "labelTrainIds"):
        assert np.array_equal(city.read(masks=masks)[0].mask, train_ids), masks


def test_classes_can_be_kept(city):
    city.annotate("labelIds", ALL_IDS)
    dataset = city.read(keep=("road", "car"))
    assert dataset.classes == ("road", "car")
    expected = [{7: 0, 26: 1}.get(i, 255) for i in range(34)]
    assert dataset[0].mask.ravel().tolist() == expected


@pytest.mark.parametrize(("kind", "pixels", "complaint"), [
    ("labelTrainIds", ALL_IDS, "id 33, but train ids end at 18.*Rename the file to .*labelIds"),
    ("labelIds", np.uint8([[0, 1, 13, 255]]), "train ids under the wrong name.*labelTrainIds"),
    ("labelIds", np.uint8([[0, 34]]), r"ids \[34\], but only 0 to 33"),
    ("labelIds", np.zeros((1, 4, 3), np.uint8), "colour image"),
])
def test_one_format_under_the_name_of_another_is_refused(city, kind, pixels, complaint):
    city.annotate(kind, pixels)
    with pytest.raises(LabelError, match=complaint):
        city.read(masks=kind)[0]


def test_a_licence_plate_stored_as_255_beside_real_ids_is_void(city):
    city.annotate("labelIds", np.where(ALL_IDS == 0, 255, ALL_IDS).astype(np.uint8))
    assert city.read()[0].mask[0, 0] == 255


def test_a_mask_of_another_size_is_refused(city):
    city.annotate("labelIds", ALL_IDS.T)
    with pytest.raises(LabelError, match=r"labelIds\.png is 2x17 pixels, but .* 17x2"):
        city.read()[0]


def brute_force_boxes(ids: np.ndarray) -> set[tuple[int, ...]]:
    """(x0, y0, x1, y1, train id) of every object, pixel by pixel."""
    seen: dict[int, list[tuple[int, int]]] = {}
    for y, row in enumerate(ids.tolist()):
        for x, number in enumerate(row):
            if number >= 1000 and number // 1000 not in (29, 30):
                seen.setdefault(number, []).append((x, y))
    return {(min(x for x, _ in places), min(y for _, y in places),
             max(x for x, _ in places) + 1, max(y for _, y in places) + 1,
             TRAIN_IDS[number // 1000]) for number, places in seen.items()}


def random_instances(seed: int) -> np.ndarray:
    """Objects in scattered pieces, stuff, a group of cars (26), and a caravan."""
    generator = np.random.default_rng(seed)
    kinds = [0, 7, 23, 26, 24000, 24001, 26000, 26003, 27000, 31000, 33007, 29000]
    return generator.choice(kinds, (9, 13), p=[0.3, 0.2, 0.2, 0.1, *[0.025] * 8]).astype(np.int32)


@pytest.mark.parametrize("seed", range(5))
def test_boxes_are_tight_and_half_open(seed):
    ids = random_instances(seed)
    boxes = instance_boxes(ids)
    found = {(*map(int, box), int(label))
             for box, label in zip(boxes.coordinates, boxes.classes, strict=True)}
    assert found == brute_force_boxes(ids) and len(boxes) == len(found)


def test_boxes_come_from_16_bit_files_and_leave_room_for_the_channel_outside(city):
    ids = np.zeros((2, 17), np.uint16)
    ids[0, 3:6], ids[1, 10] = 26001, 24000
    city.annotate("instanceIds", ids)
    city.annotate("labelIds", ALL_IDS)
    boxes = city.read(boxes=True)[0].boxes
    assert sorted(boxes.coordinates.tolist()) == [[3, 0, 6, 1], [10, 1, 11, 2]]
    maps = class_maps(boxes, 19, (2, 17))
    assert np.array_equal(maps[0] == 0, ids > 0), "road has no box, so channel 0 is 'outside'"
    assert maps[13].sum() == 3 and maps[11].sum() == 1 and maps[1:].sum() == 4
    kept = city.read(boxes=True, keep=("road", "person"))[0].boxes
    assert kept.classes.tolist() == [1] and kept.coordinates.tolist() == [[10, 1, 11, 2]]
    with pytest.raises(ValueError, match=r"keep starts with car.*road"):
        city.read(boxes=True, keep=("car", "road"))


def test_a_image_without_objects_has_no_boxes(city):
    city.annotate("instanceIds", np.full((2, 17), 26, np.uint16))
    assert len(city.read(boxes=True, masks=None)[0].boxes) == 0


def test_a_group_that_nobody_told_apart_is_a_crowd_of_its_class(city):
    """Its class is possible outside all boxes; stuff, caravans and unkept classes are none."""
    ids = np.full((2, 17), 7, np.uint16)
    ids[0, :3], ids[0, 5], ids[1, :2], ids[1, 4:6] = 26, 24001, 29, 33
    city.annotate("instanceIds", ids)
    boxes = city.read(boxes=True, masks=None)[0].boxes
    assert boxes.crowds == (13, 18) and boxes.classes.tolist() == [11]
    kept = city.read(boxes=True, masks=None, keep=("road", "bicycle", "person"))[0].boxes
    assert kept.crowds == (1,) and kept.classes.tolist() == [2]


def test_the_digest_covers_which_kind_of_ids_a_mask_holds(city):
    """The same bytes under the other name are other classes."""
    def digest(**options) -> str:
        reader = city.read(**options)
        return image_set_digest(reader, range(len(reader)))

    own = city.annotate("labelIds", np.array([[7, 8, 11]], np.uint8).repeat(6, 1)[:, :17])
    before, unread = digest(), digest(masks=None)
    assert before == digest(masks="labelIds")
    own.rename(own.with_name(own.name.replace("labelIds", "labelTrainIds")))
    assert digest() not in (before, unread) and digest(masks=None) == unread


@pytest.mark.parametrize(("pixels", "complaint"), [
    (ALL_IDS, "mode L; instance ids.*Unpack the original"),
    (np.full((2, 17), 13001, np.uint16), r"ids \[13\], but only 24 to 33.*train ids"),
])
def test_other_images_under_the_name_of_instances_are_refused(city, pixels, complaint):
    city.annotate("instanceIds", pixels)
    with pytest.raises(LabelError, match=complaint):
        city.read(boxes=True, masks=None)[0]


def test_what_is_missing_is_named(city, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"labelIds\.png is missing.*labelIds are enough"):
        city.read()[0]
    with pytest.raises(FileNotFoundError, match=r"instanceIds\.png is missing"):
        city.read(boxes=True, masks=None)[0]
    with pytest.raises(FileNotFoundError, match=r"val is missing.*csDownload"):
        city.read(split="val")
    with pytest.raises(ValueError, match=r"1 images that are not in .*ulm_1.*look like aachen"):
        city.read(names=("ulm_1",))
    with pytest.raises(ValueError, match="evaluate on val"):
        city.read(split="test")


def test_images_are_found_in_all_cities_and_can_be_chosen(city):
    city.image("ulm_000001_000019")
    assert city.read().names == [NAME, "ulm_000001_000019"]
    chosen = city.read(names=("ulm_000001_000019",), masks=None)
    assert len(chosen) == 1 and chosen[0].name == "ulm_000001_000019"
    assert chosen[0].mask is None


def test_the_content_is_what_is_read(city):
    city.annotate("labelTrainIds", np.zeros((2, 17), np.uint8))
    city.annotate("instanceIds", np.zeros((2, 17), np.uint16))

    def endings(**options) -> list[str | bytes]:
        content = list(city.read(**options).content(0))
        assert all(one.is_file() for one in content if isinstance(one, Path))
        return [one.name.removeprefix(NAME) if isinstance(one, Path) else one for one in content]

    image, mask, boxes = ("_leftImg8bit.png", "_gtFine_labelTrainIds.png",
                          "_gtFine_instanceIds.png")
    assert endings(boxes=True) == [image, b"labelTrainIds", mask, boxes]
    assert endings(boxes=True, masks=None) == [image, boxes] and endings(masks=None) == [image]
    city.annotate("labelIds", ALL_IDS)
    assert endings(boxes=True) == [image, b"labelIds", "_gtFine_labelIds.png", boxes], (
        "auto reads label ids where there are any")


def test_the_source_knows_which_classes_have_boxes(city, ask):
    city.image("bonn_000000_000019", split="val")
    source = CITYSCAPES.source(ask("cityscapes"), city.root, 0)
    assert source.classes == CITYSCAPES_CLASSES
    assert np.flatnonzero(source.boxed).tolist() == list(range(11, 19))
    assert source.names("candidates") == source.names("unlabelled") == (NAME,)
    assert source.names("val") == source.names("test") == ("bonn_000000_000019",)
    assert source.has_boxes(NAME)
    city.annotate("labelIds", ALL_IDS)
    city.annotate("instanceIds", np.full((2, 17), 26001, np.uint16))
    hidden = source.reader("hidden", masks=True, boxes=False)[0]
    assert hidden.boxes is None and hidden.mask[0, 7] == 0
    assert source.reader("candidates", masks=False, boxes=True)[0].boxes.classes.tolist() == [13]
    kept = CITYSCAPES.source(ask("cityscapes", keep=("road", "car"), test="train"), city.root, 0)
    assert kept.boxed.tolist() == [False, True] and kept.names("test") == (NAME,)
    for fixed in ("candidates", "unlabelled"):
        with pytest.raises(ValueError, match=rf"does not support data\.{fixed}"):
            CITYSCAPES.source(ask("cityscapes", **{fixed: "train"}), city.root, 0)
    with pytest.raises(FileNotFoundError, match="semiseg data cityscapes"):
        CITYSCAPES.source(ask("cityscapes"), city.root / "leftImg8bit", 0)
