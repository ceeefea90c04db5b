"""Photographs read from disk: the same batch for the same step, shared out, resumed, unpoisoned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semiseg_lib.batches.weak_view import ViewConfig
from semiseg_lib.datasets.labels import VOID, write_mask
from semiseg_lib.batches.data import Data, DataConfig
from semiseg_lib.batches.image_set import ImageSet, Masks, joined
from semiseg_lib.batches.loader import Loader
from semiseg_lib.datasets.voc import VOCDataset

VIEWS = ViewConfig(crop=32, scale=(0.5, 2.0), brightness=0.3)
CONFIG = DataConfig("voc", labelled=3, keep=("background", "cat", "dog"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A VOC of ten images of different sizes: five with masks, three unlabelled, two held out."""
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    lists = {"train": range(5), "train_aug": range(8), "val": range(8, 10)}
    for kind in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "Annotations"):
        (folder / kind).mkdir(parents=True)
    for i in range(10):
        size = (40 + i, 60 - i)
        mask = np.zeros(size, np.uint8)
        mask[5:20, 10:30], mask[25:35, 5:25] = (8, 12)
        mask[24] = VOID
        colours = np.stack([mask, 255 - mask, np.full(size, 20 * i, np.uint8)], axis=-1)
        Image.fromarray(colours).save(folder / "JPEGImages" / f"p{i}.jpg", quality=95)
        kind = "SegmentationClassAug" if i in (5, 6, 7) else "SegmentationClass"
        write_mask(mask, folder / kind / f"p{i}.png")
        boxes = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
            f"<ymax>{d}</ymax></bndbox></object>"
            for name, a, b, c, d in (("cat", 11, 6, 30, 20), ("dog", 6, 26, 25, 35))
        )
        (folder / "Annotations" / f"p{i}.xml").write_text(
            f"<annotation>{boxes}</annotation>", encoding="utf-8"
        )
    for name, numbers in lists.items():
        path = folder / "ImageSets" / "Segmentation" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"p{i}\n" for i in numbers), encoding="utf-8")
    return tmp_path


def loader(data: Data, **sharing) -> Loader:
    return Loader(data.labelled, data.unlabelled, 4, 4, VIEWS, seed=7, **sharing)


def equal(one, other) -> bool:
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def test_who_is_labelled_unlabelled_and_held_out(root):
    data = Data(CONFIG, 1, root)
    assert len(data.labelled) == 3 and set(data.labelled.names) < {f"p{i}" for i in range(5)}
    assert set(data.unlabelled.names) == {f"p{i}" for i in range(8)} - set(data.labelled.names)
    assert data.val.names == data.test.names == ("p8", "p9")
    assert data.labelled.names == Data(CONFIG, 1, root).labelled.names
    draws = {Data(CONFIG, seed, root).labelled.names for seed in range(8)}
    assert len(draws) > 1


def test_the_digest_changes_with_the_lists_and_with_nothing_else(root):
    digests = {Data(CONFIG, seed, root).digest for seed in range(8)}
    draws = {Data(CONFIG, seed, root).labelled.names for seed in range(8)}
    assert len(digests) == len(draws)


def test_a_batch_depends_on_seed_and_step_alone(root):
    data = Data(CONFIG, 1, root)
    first = loader(data).batch(5)
    again = Data(CONFIG, 1, root)
    for step in range(3):
        loader(again).batch(step)
    second = loader(again).batch(5)
    assert equal(first.labelled, second.labelled) and equal(first.unlabelled, second.unlabelled)
    assert not torch.equal(first.unlabelled.images, loader(data).batch(6).unlabelled.images)


def test_processes_share_out_the_batch_of_one(root):
    data = Data(CONFIG, 1, root)
    whole = loader(data).batch(2)
    shares = [loader(data, process=i, processes=2).batch(2) for i in (0, 1)]
    for i, share in enumerate(shares):
        for part, expected in ((share.labelled, whole.labelled), (share.unlabelled, whole.unlabelled)):
            assert part.names == expected.names[i::2]
            assert torch.equal(part.images, expected.images[i::2])
            assert torch.equal(part.box_maps, expected.box_maps[i::2])


def test_what_a_view_holds(root):
    part = loader(Data(CONFIG, 1, root)).batch(0).labelled
    assert part.images.shape == (4, 3, 32, 32) and 0 <= part.images.min() <= part.images.max() <= 1
    assert part.box_maps.shape == (4, 3, 32, 32) and part.masks.dtype == torch.int64
    assert set(part.masks.unique().tolist()) <= {0, 1, 2, VOID}
    assert (part.masks[~part.inside] == VOID).all()
    objects = (part.masks == 1) | (part.masks == 2)
    covered = part.box_maps[:, 1:].amax(dim=1) == 1
    assert objects.any() and (covered | ~objects).float().mean() > 0.97  # boxes hold their objects


def test_masks_of_unlabelled_images_are_never_read(root):
    names = Data(CONFIG, 1, root).unlabelled.names
    expected = loader(Data(CONFIG, 1, root)).batch(0).unlabelled
    for name in names:
        for kind in ("SegmentationClass", "SegmentationClassAug"):
            path = root / "VOCdevkit" / "VOC2012" / kind / f"{name}.png"
            if path.is_file():
                path.write_bytes(b"poison")
    part = loader(Data(CONFIG, 1, root)).batch(0).unlabelled
    assert part.masks is None and equal(part, expected)


def test_stored_logits_come_along_and_must_fit(root):
    data = Data(CONFIG, 1, root)
    sizes = [data.unlabelled.sample(i).image.shape[1:] for i in range(len(data.unlabelled))]
    stored = [torch.full((3, -(-h // 4), -(-w // 4)), i).half() for i, (h, w) in enumerate(sizes)]
    pool = data.unlabelled.with_logits(stored)
    part = Loader(data.labelled, pool, 2, 4, VIEWS, seed=7).batch(0).unlabelled
    assert part.logits_ancillary.shape == (4, 3, 8, 8)
    numbers = [pool.names.index(name) for name in part.names]
    assert part.logits_ancillary.mean(dim=(1, 2, 3)).tolist() == numbers
    with pytest.raises(ValueError, match="1 stored logits do not fit 5 images"):
        data.unlabelled.with_logits(stored[:1])


def test_everything_is_labelled_and_unlabelled_with_all_their_masks(root):
    (root / "VOCdevkit/VOC2012/SegmentationClassAug").rename(root / "aug")
    (root / "VOCdevkit/VOC2012/SegmentationClass").rename(
        root / "VOCdevkit/VOC2012/SegmentationClassAug"
    )
    for path in (root / "aug").iterdir():
        path.rename(root / "VOCdevkit/VOC2012/SegmentationClassAug" / path.name)
    (root / "VOCdevkit/VOC2012/SegmentationClass").symlink_to(
        root / "VOCdevkit/VOC2012/SegmentationClassAug"
    )
    data = Data(CONFIG, 1, root)
    everything = data.everything
    assert everything.names == data.labelled.names + data.unlabelled.names
    assert all(everything.sample(i).mask is not None for i in range(len(everything)))
    np.testing.assert_array_equal(data.unlabelled_truth[0], everything.sample(3).mask)
    assert len(list(Masks(everything))) == 8


def test_a_published_list_is_read_as_it_is(root):
    path = root / "labeled.txt"
    path.write_text(
        "JPEGImages/p3.jpg SegmentationClass/p3.png\nJPEGImages/p0.jpg SegmentationClass/p0.png\n",
        encoding="utf-8",
    )
    config = replace(CONFIG, published=str(path))
    assert Data(config, 1, root).labelled.names == ("p3", "p0")
    path.write_text("p3\nq9\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"names 1 images that are not among .* such as q9"):
        _ = Data(config, 1, root).labelled


def test_a_image_in_two_lists_is_refused(root):
    (root / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").write_text(
        "p0\np8\n", encoding="utf-8"
    )
    with pytest.raises(ValueError, match="p0 is in both 'labelled' and 'val'"):
        _ = Data(replace(CONFIG, labelled=0), 1, root).names


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, dataset="cityscapes")], ids=str)
def test_a_missing_dataset_says_how_to_get_it(config, monkeypatch, tmp_path):
    monkeypatch.delenv("SEMISEG_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=f"semiseg data {config.dataset}"):
        Data(config, 1)
    with pytest.raises(FileNotFoundError, match="is no folder"):
        Data(config, 1, tmp_path / "nowhere")


def test_the_drawn_images_read_as_photographs_are_those_of_memory():
    config = DataConfig("minivoc", labelled=8, at_most=6)
    data = Data(config, 11)
    sample, part = data.unlabelled.sample(0), data.unlabelled.part([0, 1])
    assert len(data.unlabelled) == 6 and part.images.shape == (2, 3, 64, 64)
    np.testing.assert_array_equal(part.images[0].numpy() * 255, sample.image)
    assert part.masks is None and part.box_maps.shape == (2, 5, 64, 64)


def test_pools_can_be_joined_and_taken_from(voc):
    pool = ImageSet(VOCDataset(voc.path, "train", voc.classes), (0, 1))
    both = joined(pool, pool.take([1]))
    assert both.names == ("one", "two", "two") and len(both.take([2, 0])) == 2
    np.testing.assert_array_equal(both.sample(2).image, pool.sample(1).image)
