"""Images of one class: who is held out, who is labelled, and CIFAR-10 from both of its forms."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from semiseg_lib.datasets import cifar10, whole_images
from semiseg_lib.datasets.augment import AugmentConfig
from semiseg_lib.datasets.catalogue import open_data
from semiseg_lib.datasets.cifar10 import BATCHES, CIFAR10_CLASSES, read_batch, read_mosaic
from semiseg_lib.datasets.loaders import TrainingLoader
from semiseg_lib.datasets.whole_images import WholeImageConfig, draw_evenly

STILL = AugmentConfig(flip=0, shift=0, brightness=0, contrast=0, saturation=0)


def digits(seed: int = 0, labelled: int = 20, at_most: int = 0):
    return open_data(WholeImageConfig("digits", labelled, at_most), seed)


def per_class(pool) -> list[int]:
    return torch.bincount(pool.masks[:, 0, 0].long(), minlength=10).tolist()


def test_digits_are_held_out_once_and_labelled_by_seed():
    data, other = digits(0), digits(1)
    assert [len(data.names[k]) for k in ("labelled", "unlabelled", "val", "test")] == [20, 977, 300, 500]
    every = [name for names in data.names.values() for name in names]
    assert len(set(every)) == len(every) == 1797
    assert per_class(data.labelled) == [2] * 10 and per_class(data.val) == [30] * 10
    assert per_class(data.test) == [50] * 10
    assert data.val.names == other.val.names and data.test.names == other.test.names
    assert data.labelled.names != other.labelled.names and data.digest != other.digest
    assert digits(0).names == data.names and digits(0).digest == data.digest
    assert digits(0, labelled=40).test.names == data.test.names
    assert data.classes == tuple("0123456789")


def test_a_digit_is_its_grey_values_and_its_mask_its_class_everywhere():
    """Against scikit-learn's own table, by the number in the name."""
    truth = load_digits()
    data = digits()
    for pool in (data.labelled, data.val, data.test):
        assert pool.images.dtype == pool.masks.dtype == torch.uint8
        assert pool.images.shape == (len(pool), 3, 8, 8) and pool.masks.shape == (len(pool), 8, 8)
        numbers = [int(name.removeprefix("digit_")) for name in pool.names]
        grey = pool.images.numpy() * (16 / 255)
        np.testing.assert_allclose(grey, truth.images[numbers][:, None].repeat(3, 1), atol=0.04)
        assert (pool.masks.numpy() == truth.target[numbers][:, None, None]).all()
    assert data.labelled.images.max() == 255
    assert data.unlabelled.masks is None and data.unlabelled.box_maps is None
    numbers = [int(name.removeprefix("digit_")) for name in data.unlabelled.names]
    assert (data.unlabelled_truth == truth.target[numbers][:, None, None]).all()
    everything = data.everything
    assert set(everything.names) == {*data.labelled.names, *data.unlabelled.names}
    assert (everything.masks[20:].numpy() == data.unlabelled_truth).all()


def test_the_classes_take_turns():
    labels = np.repeat([0, 1, 2], [50, 3, 20]).astype(np.uint8)

    def drawn(count, seed):
        chosen = draw_evenly(labels, count, np.random.default_rng(seed))
        assert len(set(chosen)) == len(chosen) and (np.diff(chosen) > 0).all()
        return np.bincount(labels[chosen], minlength=3).tolist()

    assert drawn(9, 0) == [3, 3, 3] and drawn(15, 0) == [6, 3, 6] and drawn(73, 0) == [50, 3, 20]
    assert drawn(100, 0) == [50, 3, 20] and drawn(0, 0) == [0, 0, 0]
    # Of four images some class has two, and which one is drawn.
    assert {tuple(drawn(4, seed)) for seed in range(20)} == {(2, 1, 1), (1, 2, 1), (1, 1, 2)}


@pytest.mark.parametrize("labelled", [9, 998, -3])
def test_too_few_or_too_many_labels_are_refused(labelled):
    with pytest.raises(ValueError, match=rf"{labelled} labelled .* can have 10 .* to 997"):
        digits(labelled=labelled)


def test_a_reduced_run_keeps_its_held_out_images_whatever_is_labelled():
    data, other = digits(at_most=50), digits(seed=3, labelled=100, at_most=50)
    assert [len(getattr(data, k)) for k in ("labelled", "unlabelled", "val", "test")] == [20, 50, 50, 50]
    assert data.test.names == other.test.names and data.val.names == other.val.names
    assert per_class(data.test) == [5] * 10 and set(data.test.names) < set(digits().test.names)
    everything = digits(labelled=0)
    assert len(everything.labelled) == 997 and len(everything.unlabelled) == 0


def test_views_of_small_images():
    data = digits()
    loader = TrainingLoader(data.labelled, data.unlabelled, 8, 8, STILL, seed=0)
    batch = loader.batch(0)
    places = [data.unlabelled.names.index(name) for name in batch.unlabelled.names]
    assert torch.equal(batch.unlabelled.images, data.unlabelled.images[places].float() / 255)
    for moved in (AugmentConfig(flip=0, shift=1), AugmentConfig(), AugmentConfig(shift=30)):
        views = TrainingLoader(data.labelled, data.unlabelled, 8, 8, moved, seed=0).batch(0)
        assert views.labelled.names == batch.labelled.names
        assert views.labelled.images.shape == (8, 3, 8, 8) and views.labelled.images.max() <= 1
        assert torch.equal(views.labelled.masks, batch.labelled.masks), "a class does not move"
    shifted = TrainingLoader(
        data.labelled, None, 8, 0, AugmentConfig(0, 1, 0, 0, 0), seed=0
    ).batch(0).labelled.images
    for view, still in zip(shifted, batch.labelled.images, strict=True):
        inner = view[:, 1:-1, 1:-1]
        corners = [still[:, r : r + 6, c : c + 6] for r in range(3) for c in range(3)]
        assert any(torch.equal(inner, one) for one in corners)


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
    monkeypatch.setitem(whole_images.HELD_OUT, "cifar10", (20, 0))


def test_binary_files_come_back_exactly_and_test_stays_test(tmp_path, small):
    images, labels = written(tmp_path / "cifar10", 40)
    for seed in (0, 1):
        data = open_data(WholeImageConfig("cifar10", 50), seed, tmp_path)
        assert [len(names) for names in data.names.values()] == [50, 130, 20, 40]
        assert set(data.test.names) == {f"test_batch_{i:04d}" for i in range(40)}
        assert per_class(data.labelled) == [5] * 10 and per_class(data.val) == [2] * 10
        for pool in (data.labelled, data.unlabelled, data.val, data.test):
            files = [name.rpartition("_") for name in pool.names]
            places = [40 * BATCHES.index(f"{stem}.bin") + int(i) for stem, _, i in files]
            np.testing.assert_array_equal(pool.images.numpy(), images[places])
            if pool.masks is not None:
                assert (pool.masks[:, 31, 31].numpy() == labels[places]).all()
    assert data.classes == CIFAR10_CLASSES


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


def test_damaged_binary_files_are_named(tmp_path, small):
    written(tmp_path / "cut" / "cifar10", 40, count=39 * 3073)  # whole records, but too few
    config = WholeImageConfig("cifar10", 50)
    with pytest.raises(ValueError, match=r"data_batch_1\.bin has 119847 bytes, not 122920.*again"):
        open_data(config, 0, tmp_path / "cut")
    written(tmp_path / "odd" / "cifar10", 40)
    path = tmp_path / "odd" / "cifar10" / "data_batch_4.bin"
    path.write_bytes(b"\x0a" + path.read_bytes()[1:])
    with pytest.raises(ValueError, match=r"data_batch_4\.bin holds the label 10"):
        open_data(config, 0, tmp_path / "odd")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"data_batch_4\.bin is missing"):
        open_data(config, 0, tmp_path / "odd")
    (tmp_path / "none" / "cifar-10-batches-py").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"pickles are not opened.*semiseg data cifar10"):
        open_data(config, 0, tmp_path / "none")


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


def test_mosaics_take_the_place_of_binary_files(tmp_path, small):
    """Each class and split in a grey of its own, which JPEG keeps."""
    folder = tmp_path / "cifar10"
    folder.mkdir()
    for rows, split in ((2, "train"), (1, "test")):
        for label, name in enumerate(CIFAR10_CLASSES):
            grey = np.full((32 * rows, 3200, 3), 20 * label + 40 * (rows - 1), np.uint8)
            Image.fromarray(grey).save(folder / f"{split}_{name}.jpg", quality=95)
    data = open_data(WholeImageConfig("cifar10", 10), 0, tmp_path)
    assert [len(names) for names in data.names.values()] == [10, 1970, 20, 1000]
    for pool, offset in ((data.labelled, 40), (data.test, 0)):
        expected = 20 * pool.masks[:, None].int() + offset
        assert (pool.images.int() - expected).abs().max() <= 1
    (folder / "train_dog.jpg").write_bytes((folder / "train_dog.jpg").read_bytes()[:2000])
    cifar10.read_cifar10.cache_clear()
    with pytest.raises(ValueError, match=r"train_dog\.jpg cannot be read"):
        open_data(WholeImageConfig("cifar10", 10), 0, tmp_path)


def test_the_copy_at_hand_is_read_once_and_fast():
    root = os.environ.get("SEMISEG_DATA")
    if not root or not (Path(root) / "cifar10").is_dir():
        pytest.skip("SEMISEG_DATA names no folder with cifar10")
    start = time.perf_counter()
    data = open_data(WholeImageConfig("cifar10", 1000), 0, Path(root))
    assert time.perf_counter() - start < 15
    assert [len(names) for names in data.names.values()] == [1000, 44_000, 5_000, 10_000]
    assert per_class(data.labelled) == [100] * 10 and per_class(data.val) == [500] * 10
    start = time.perf_counter()
    again = open_data(WholeImageConfig("cifar10", 1000), 1, Path(root))
    assert time.perf_counter() - start < 1 and again.test.names == data.test.names
    means = data.test.images.float().mean((0, 2, 3)) / 255
    torch.testing.assert_close(means, torch.tensor([0.494, 0.485, 0.450]), atol=0.01, rtol=0)
