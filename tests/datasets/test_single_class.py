"""Images of one class: who is held out, what is read, and CIFAR-10 from both of its forms."""

from __future__ import annotations

import os
import time
from copy import copy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from semiseg_lib.datasets import cifar10
from semiseg_lib.datasets.cifar10 import (
    BATCHES,
    CIFAR10_CLASSES,
    read_batch,
    read_mosaic,
)
from semiseg_lib.datasets.dataset import find
from semiseg_lib.datasets.splits import choose_labelled

DIGITS = find("digits")
CIFAR10 = find("cifar10")

LISTS = ("candidates", "val", "test")


def labels_of(source, which: str) -> np.ndarray:
    """The class of each image of a list; each mask must hold one alone."""
    masks = [sample.mask for sample in source.reader(which, masks=True, boxes=False)]
    assert all((mask == mask[0, 0]).all() and mask.dtype == np.uint8 for mask in masks)
    return np.array([mask[0, 0] for mask in masks])


def per_class(source, which: str) -> list[int]:
    return np.bincount(labels_of(source, which), minlength=10).tolist()


def test_digits_are_held_out_once_and_for_all(ask):
    source, other = DIGITS.source(ask("digits"), None, 0), DIGITS.source(ask("digits"), None, 1)
    assert [len(source.names(which)) for which in LISTS] == [997, 300, 500]
    every = [name for which in LISTS for name in source.names(which)]
    assert len(set(every)) == len(every) == 1797
    assert per_class(source, "val") == [30] * 10 and per_class(source, "test") == [50] * 10
    for which in (*LISTS, "unlabelled", "hidden"):
        assert source.names(which) == other.names(which), "no seed of a run draws them"
    assert source.names("unlabelled") == source.names("hidden") == source.names("candidates")
    assert source.classes == tuple("0123456789")
    assert not source.boxed.any() and source.boxed.shape == (10,)
    assert not source.has_boxes("digit_0000")


def test_the_first_images_of_a_list_are_a_fair_sample(ask):
    """In no order of number or class: of 200 images, each class has 9 to 34 (4 sigma)."""
    source = DIGITS.source(ask("digits"), None, 0)
    for which in LISTS:
        numbers = [int(name.removeprefix("digit_")) for name in source.names(which)]
        assert numbers != sorted(numbers)
        counts = np.bincount(labels_of(source, which)[:200], minlength=10)
        assert counts.min() >= 9 and counts.max() <= 34


def test_a_digit_is_its_grey_values_and_its_mask_its_class_everywhere(ask):
    """Against scikit-learn's own table, by the number in the name."""
    truth, source = load_digits(), DIGITS.source(ask("digits"), None, 0)
    for which in (*LISTS, "hidden"):
        numbers = [int(name.removeprefix("digit_")) for name in source.names(which)]
        samples = list(source.reader(which, masks=True, boxes=True))
        assert [sample.name for sample in samples] == list(source.names(which))
        images = np.stack([sample.image for sample in samples])
        assert images.dtype == np.uint8 and images.shape == (len(samples), 3, 8, 8)
        expected = truth.images[numbers][:, None].repeat(3, 1)
        np.testing.assert_allclose(images * (16 / 255), expected, atol=0.04)
        assert images.max() == 255 and all(sample.boxes is None for sample in samples)
        assert (labels_of(source, which) == truth.target[numbers]).all()


def test_masks_may_be_left_out_and_the_content_is_what_is_read(ask):
    source = DIGITS.source(ask("digits"), None, 0)
    reader = source.reader("val", masks=True, boxes=False)
    sample = reader[3]
    assert list(reader.content(3)) == [sample.image.tobytes(), bytes([sample.mask[0, 0]])]
    without = copy(reader)
    without.masks = None
    assert without[3].mask is None and list(without.content(3)) == [sample.image.tobytes()]
    assert source.reader("unlabelled", masks=False, boxes=True)[0].mask is None


def test_digits_that_are_not_kept_are_void(ask):
    whole = DIGITS.source(ask("digits"), None, 0)
    kept = DIGITS.source(ask("digits", keep=("3", "1")), None, 0)
    assert kept.classes == ("3", "1") and kept.names("val") == whole.names("val")
    new = {3: 0, 1: 1}
    expected = [new.get(int(label), 255) for label in labels_of(whole, "val")]
    assert labels_of(kept, "val").tolist() == expected


def test_the_labelled_are_as_many_of_each_class_as_can_be(ask):
    reader = DIGITS.source(ask("digits"), None, 0).reader("candidates", masks=True, boxes=False)
    masks = [sample.mask for sample in reader]
    chosen = choose_labelled(masks, 20, 10, 0)
    assert np.bincount([masks[i][0, 0] for i in chosen]).tolist() == [2] * 10
    assert chosen != choose_labelled(masks, 20, 10, 1)
    with pytest.raises(ValueError, match="9 labelled images of one class each cannot cover"):
        choose_labelled(masks, 9, 10, 0)
    with pytest.raises(ValueError, match="998 labelled images wanted, but only 997"):
        choose_labelled(masks, 998, 10, 0)


def test_images_of_nothing_but_void_are_not_labelled():
    """Classes that are not kept are void; such an image would teach nothing."""
    labels = np.array([255, 0, 255, 1, 1, 255, 0, 0])
    masks = [np.full((2, 2), label, np.uint8) for label in labels]
    for seed in range(5):
        chosen = choose_labelled(masks, 4, 2, seed)
        assert chosen == sorted(set(chosen)) and sorted(labels[chosen]) == [0, 0, 1, 1]
    assert choose_labelled(masks, 5, 2, 0) == [1, 3, 4, 6, 7]
    with pytest.raises(ValueError, match="6 labelled images wanted, but only 5 show one of"):
        choose_labelled(masks, 6, 2, 0)


def test_lists_are_fixed(ask):
    for fixed in ("candidates", "unlabelled", "val", "test"):
        with pytest.raises(ValueError, match=rf"digits does not support data\.{fixed}"):
            DIGITS.source(ask("digits", **{fixed: "train"}), None, 0)


def written(folder: Path, records: int, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Six binary files of random images, labels in turn; what they hold."""
    generator = np.random.default_rng(5)
    images = generator.integers(0, 256, (6 * records, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(6 * records, dtype=np.uint8) % 10
    folder.mkdir(parents=True)
    for number, name in enumerate(BATCHES):
        mine = range(number * records, (number + 1) * records)
        content = b"".join(bytes([labels[i]]) + images[i].tobytes() for i in mine)
        (folder / name).write_bytes(content[:count])
    return images, labels


@pytest.fixture
def small(monkeypatch):
    """CIFAR-10 of 40 images a file, of which 20 are drawn for val."""
    monkeypatch.setattr(cifar10, "RECORDS", 40)
    monkeypatch.setattr(cifar10, "TILES", {"train": 200, "test": 100})
    monkeypatch.setattr(cifar10, "HELD_OUT", (20, 0))


def test_binary_files_come_back_exactly_and_test_stays_test(tmp_path, small, ask):
    images, labels = written(tmp_path / "cifar10", 40)
    for seed in (0, 1):
        source = CIFAR10.source(ask("cifar10"), tmp_path, seed)
        assert [len(source.names(which)) for which in LISTS] == [180, 20, 40]
        assert set(source.names("test")) == {f"test_batch_{i:04d}" for i in range(40)}
        assert per_class(source, "val") == [2] * 10
        for which in LISTS:
            files = [name.rpartition("_") for name in source.names(which)]
            places = [40 * BATCHES.index(f"{stem}.bin") + int(i) for stem, _, i in files]
            reader = source.reader(which, masks=False, boxes=False)
            np.testing.assert_array_equal([sample.image for sample in reader], images[places])
            assert (labels_of(source, which) == labels[places]).all()
    assert source.classes == CIFAR10_CLASSES
    inside = CIFAR10.source(ask("cifar10"), tmp_path / "cifar10", 0)
    assert inside.names("val") == source.names("val"), "the folder itself may be named too"


def test_the_layout_of_a_record_is_red_green_blue_row_by_row(tmp_path, monkeypatch):
    """Written out by hand from the dataset's page."""
    monkeypatch.setattr(cifar10, "RECORDS", 1)
    record = bytearray(3073)
    record[0], record[1], record[1 + 33], record[1 + 2048 + 31] = 7, 200, 100, 50
    (tmp_path / "one.bin").write_bytes(record)
    images, labels = read_batch(tmp_path / "one.bin")
    assert labels.tolist() == [7] and CIFAR10_CLASSES[7] == "horse"
    assert (images[0, 0, 0, 0], images[0, 0, 1, 1], images[0, 2, 0, 31]) == (200, 100, 50)
    assert images.sum(dtype=int) == 350


def test_damaged_binary_files_are_named(tmp_path, small, ask):
    written(tmp_path / "cut" / "cifar10", 40, count=39 * 3073)  # whole records, but too few
    request = ask("cifar10")
    with pytest.raises(ValueError, match=r"data_batch_1\.bin has 119847 bytes, not 122920.*again"):
        CIFAR10.source(request, tmp_path / "cut", 0)
    written(tmp_path / "odd" / "cifar10", 40)
    path = tmp_path / "odd" / "cifar10" / "data_batch_4.bin"
    path.write_bytes(b"\x0a" + path.read_bytes()[1:])
    with pytest.raises(ValueError, match=r"data_batch_4\.bin holds the label 10"):
        CIFAR10.source(request, tmp_path / "odd", 0)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"data_batch_4\.bin is missing"):
        CIFAR10.source(request, tmp_path / "odd", 0)
    (tmp_path / "none" / "cifar-10-batches-py").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"data_batch_1\.bin.*semiseg data cifar10"):
        CIFAR10.source(request, tmp_path / "none", 0)


def test_tiles_of_a_mosaic_are_read_row_after_row(tmp_path):
    tiles = np.random.default_rng(0).integers(0, 256, (200, 3, 32, 32), dtype=np.uint8)
    mosaic = np.zeros((64, 3200, 3), np.uint8)
    for i, tile in enumerate(tiles):
        row, column = 32 * (i // 100), 32 * (i % 100)
        mosaic[row : row + 32, column : column + 32] = tile.transpose(1, 2, 0)
    Image.fromarray(mosaic).save(tmp_path / "train_cat.png")
    np.testing.assert_array_equal(read_mosaic(tmp_path / "train_cat.png", 200), tiles)
    with pytest.raises(ValueError, match=r"train_cat\.png has 3200x64 pixels, not 3200x96"):
        read_mosaic(tmp_path / "train_cat.png", 300)


def test_mosaics_take_the_place_of_binary_files(tmp_path, small, ask):
    """Each class and split in a grey of its own, which JPEG keeps."""
    folder = tmp_path / "cifar10"
    folder.mkdir()
    for rows, split in ((2, "train"), (1, "test")):
        for label, name in enumerate(CIFAR10_CLASSES):
            grey = np.full((32 * rows, 3200, 3), 20 * label + 40 * (rows - 1), np.uint8)
            Image.fromarray(grey).save(folder / f"{split}_{name}.jpg", quality=95)
    source = CIFAR10.source(ask("cifar10"), tmp_path, 0)
    assert [len(source.names(which)) for which in LISTS] == [1980, 20, 1000]
    for which, offset in (("candidates", 40), ("test", 0)):
        for sample in source.reader(which, masks=True, boxes=False):
            expected = 20 * int(sample.mask[0, 0]) + offset
            assert abs(sample.image.astype(int) - expected).max() <= 1
    (folder / "train_dog.jpg").write_bytes((folder / "train_dog.jpg").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"train_dog\.jpg cannot be read"):
        CIFAR10.source(ask("cifar10"), tmp_path, 0)


def test_the_copy_at_hand_is_read_once_and_fast(ask):
    root = os.environ.get("SEMISEG_DATA")
    if not root or not (Path(root) / "cifar10").is_dir():
        pytest.skip("SEMISEG_DATA names no folder with cifar10")
    start = time.perf_counter()
    source = CIFAR10.source(ask("cifar10"), Path(root), 0)
    assert time.perf_counter() - start < 15
    assert [len(source.names(which)) for which in LISTS] == [45_000, 5_000, 10_000]
    assert per_class(source, "val") == [500] * 10
    start = time.perf_counter()
    again = CIFAR10.source(ask("cifar10"), Path(root), 1)
    assert time.perf_counter() - start < 1 and again.names("test") == source.names("test")
    images = np.stack([one.image for one in source.reader("test", masks=False, boxes=False)])
    means = images.mean((0, 2, 3)) / 255
    np.testing.assert_allclose(means, [0.494, 0.485, 0.450], atol=0.01)
