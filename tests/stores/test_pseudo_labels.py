"""Pseudo-labels come back as they were, an interrupted store goes on, strangers are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import image_set

from semiseg_lib.batches.image_set import ImageSet, joined
from semiseg_lib.datasets.camvid import CamVidDataset
from semiseg_lib.datasets.labels import voc_palette, write_mask
from semiseg_lib.datasets.sample import Boxes
from semiseg_lib.stores import Store
from semiseg_lib.stores import pseudo_labels as module
from semiseg_lib.stores.pseudo_labels import PseudoLabelStore, StalePseudoLabels

CLASSES = 11
NAMES = tuple(
    f"{'0016E5' if i % 2 else 'more/0006R0'}/frame_{i:05d}" for i in (4, 0, 3, 1, 2, 9, 7)
)
FIX = r"Delete the folder and run the same command again"


def labels(number: int) -> np.ndarray:
    """All ids and void, in an image of a size of its own."""
    generator = np.random.default_rng(number)
    mask = generator.integers(0, CLASSES, (5 + number, 9 - number), dtype=np.uint8)
    mask[:2] = 255
    mask.flat[-CLASSES:] = np.arange(CLASSES)
    return mask


def taken(numbers):
    return (labels(i) for i in numbers)


@pytest.fixture(autouse=True)
def three_images_a_group(monkeypatch):
    monkeypatch.setattr(module, "IMAGES_PER_GROUP", 3)


@pytest.fixture
def store(tmp_path) -> PseudoLabelStore:
    store = PseudoLabelStore(tmp_path / "train_pseudoIt1", "run1", NAMES, CLASSES)
    store.write(taken)
    return store


def test_every_label_comes_back_whatever_the_size_and_the_name(store):
    assert store.complete and len(store) == len(NAMES)
    for number in range(len(NAMES)):
        assert store[number].dtype == np.uint8
        np.testing.assert_array_equal(store[number], labels(number))
    np.testing.assert_array_equal(store[-1], labels(len(NAMES) - 1))
    with pytest.raises(IndexError):
        store[len(NAMES)]
    assert len(list(store)) == len(NAMES), "iterating ends"


def test_files_lie_in_the_published_layout_and_open_in_any_viewer(store):
    path = store.folder / "more" / "0006R0" / "frame_00004.png"
    with Image.open(path) as image:
        assert image.mode == "P" and image.getpalette() == voc_palette()
        np.testing.assert_array_equal(np.asarray(image), labels(0))


def test_kept_is_the_share_of_pixels_that_carry_a_label(store):
    every = np.concatenate([labels(i).ravel() for i in range(len(NAMES))])
    assert store.kept == pytest.approx((every != 255).mean(), abs=1e-12) and 0 < store.kept < 1


@pytest.mark.parametrize("killed_at", [1, 4, 6])
def test_killed_in_the_middle_it_goes_on_where_whole_groups_ended(tmp_path, killed_at):
    store = PseudoLabelStore(tmp_path / "ours", "run1", NAMES, CLASSES)

    def dying(numbers):
        for i in numbers:
            if i == killed_at:
                raise KeyboardInterrupt
            yield labels(i)

    with pytest.raises(KeyboardInterrupt):
        store.write(dying)
    assert not store.complete
    with pytest.raises(StalePseudoLabels, match=f"of {len(NAMES)} files are written"):
        store[0]
    asked = []
    store.write(lambda numbers: taken(asked.extend(numbers) or numbers))
    assert asked == list(range(killed_at - killed_at % 3, len(NAMES)))
    assert store.complete
    for number in range(len(NAMES)):
        np.testing.assert_array_equal(store[number], labels(number))


def test_a_whole_store_is_left_alone_and_a_spoilt_file_is_made_again(store):
    store.write(lambda numbers: pytest.fail(f"{numbers} were asked for"))
    write_mask(labels(3)[::-1], store.folder / f"{NAMES[4]}.png")
    asked = []
    store.write(lambda numbers: taken(asked.extend(numbers) or numbers))
    assert asked == [4]
    np.testing.assert_array_equal(store[4], labels(4))


@pytest.mark.parametrize("source, names, classes, problem", [
    ("run2", NAMES, CLASSES, "they are those of run1"),
    ("run1", NAMES[::-1], CLASSES, "other images, or in another order"),
    ("run1", NAMES[:-1], CLASSES, "other images"),
    ("run1", NAMES, CLASSES + 1, "they have 11 classes, not 12"),
], ids=["another source", "another order", "fewer", "more classes"])
def test_strangers_are_refused_and_leave_what_is_there(store, source, names, classes, problem):
    stranger = PseudoLabelStore(store.folder, source, names, classes)
    assert not stranger.complete
    for use in (lambda: stranger[0], lambda: stranger.write(taken), lambda: stranger.kept):
        with pytest.raises(StalePseudoLabels, match=rf"(?s)train_pseudoIt1 .*{problem}.*{FIX}"):
            use()
    np.testing.assert_array_equal(store[0], labels(0))


def test_a_flipped_bit_a_missing_file_and_another_mask_are_noticed(store):
    path = store.folder / f"{NAMES[2]}.png"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(bytes(content))
    (store.folder / f"{NAMES[3]}.png").unlink()
    write_mask(labels(6), store.folder / f"{NAMES[5]}.png")
    for number in (2, 3, 5):
        with pytest.raises(StalePseudoLabels, match=rf"frame_\d+\.png is missing or not.*{FIX}"):
            store[number]
    np.testing.assert_array_equal(store[4], labels(4))


@pytest.mark.parametrize("text", ["", "[]", '{"source": "run1"}', "cut off {"])
def test_a_damaged_manifest_is_refused(store, text):
    (store.folder / "manifest.json").write_text(text, encoding="utf-8")
    fresh = PseudoLabelStore(store.folder, "run1", NAMES, CLASSES)
    assert not fresh.complete
    with pytest.raises(StalePseudoLabels, match=r"manifest\.json is damaged"):
        fresh[0]


def test_what_is_no_label_is_refused(tmp_path):
    one = PseudoLabelStore(tmp_path / "ours", "run1", ("a",), CLASSES)
    for wrong, said in ((np.full((2, 2), 11), "11 to 11"), (np.full((2, 2), -1), "-1 to -1"),
                        (np.zeros((2, 2)), "float64"), (np.zeros((1, 2, 2), int), r"\(1, 2, 2\)")):
        with pytest.raises(ValueError, match=rf"labels of a .*{said}"):
            one.write(lambda numbers, wrong=wrong: [wrong])
    with pytest.raises(ValueError):
        one.write(lambda numbers: [])
    for name in ("../a", "/a", "a/../../b", ""):
        with pytest.raises(ValueError, match="cannot be the name"):
            PseudoLabelStore(tmp_path, "run1", (name,), CLASSES)
    with pytest.raises(ValueError, match="named twice"):
        PseudoLabelStore(tmp_path, "run1", ("a", "a"), CLASSES)


def test_the_manifest_is_written_a_hundred_times_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "IMAGES_PER_GROUP", 1)
    written = []
    original = Store.save
    monkeypatch.setattr(Store, "save", lambda store: written.append(original(store)))
    names = tuple(map(str, range(250)))
    store = PseudoLabelStore(tmp_path / "ours", "run1", names, CLASSES)
    store.write(lambda numbers: [np.zeros((1, 1), np.uint8)] * len(numbers))
    assert store.complete and 50 < len(written) <= 101
    index = json.loads((store.folder / "manifest.json").read_text(encoding="utf-8"))
    assert len(index["members"]) == 250 and index["description"]["source"] == "run1"


@pytest.fixture
def photographs(tmp_path) -> ImageSet:
    """CamVid images of two sizes; the masks on disk are no images at all."""
    for i in range(4):
        for folder in ("train", "train_labels"):
            path = tmp_path / "camvid" / folder / f"p{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if folder == "train":
                Image.fromarray(np.full((6 + i, 8, 3), i, np.uint8)).save(path)
            else:
                path.write_bytes(b"spoilt")
    reader = CamVidDataset(tmp_path / "camvid", "train")
    return ImageSet(reader, (3, 1, 0), np.zeros(CLASSES, bool))


def test_photographs_learn_from_the_stored_labels_and_never_open_their_own(photographs, tmp_path):
    def made(numbers):
        return (np.full((6 + (3, 1, 0)[n], 8), n, np.uint8) for n in numbers)

    store = PseudoLabelStore(tmp_path / "it1", "run1", photographs.names, CLASSES)
    store.write(made)
    with pytest.raises(ValueError, match=r"p3\.png cannot be read"):
        photographs.sample(0)
    relabelled = photographs.with_masks(store)
    assert relabelled.names == ("p3", "p1", "p0") and len(relabelled) == 3
    for number, size in enumerate((9, 7, 6)):
        part = relabelled.part([number])
        assert part.masks.shape == (1, size, 8) and (part.masks == number).all()
        assert part.box_maps is None and (part.images * 255 == (3, 1, 0)[number]).all()
    assert (relabelled.take([2, 0]).sample(0).mask == 2).all()
    assert (joined(photographs.with_masks(store), relabelled).sample(4).mask == 1).all()
    twice = joined(photographs).with_masks(store).with_masks(list(made([0, 1, 2])))
    assert (twice.without_boxes().sample(2).mask == 2).all()
    with pytest.raises(ValueError, match=r"\(7, 8\) rows and columns, but the image \(9, 8\)"):
        photographs.with_masks([store[1]] * 3).sample(0)
    with pytest.raises(ValueError, match="2 masks do not fit 3"):
        photographs.with_masks([store[0], store[1]])


def test_images_in_memory_get_the_stored_labels_and_lose_boxes_and_logits():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 6), dtype=np.uint8)
    own = np.full((2, 4, 6), 9, np.uint8)
    pool = image_set(images, own, 5, [Boxes(), Boxes()], ("a", "b"))
    pool = pool.with_logits(torch.zeros(2, 5, 2, 3))
    assert pool.part([0]).box_maps is not None and pool.part([0]).logits_ancillary is not None
    masks = [np.full((4, 6), i, np.uint8) for i in (3, 255)]
    relabelled = pool.with_masks(masks)
    assert relabelled.masks.dtype == torch.uint8
    assert relabelled.masks[:, 0, 0].tolist() == [3, 255]
    assert (relabelled.images.numpy() == images).all() and relabelled.names == pool.names
    part = relabelled.part([0, 1])
    assert (part.masks == relabelled.masks).all()
    assert part.box_maps is part.allowed is part.logits_ancillary is None
    assert relabelled.sample(0).boxes is None and relabelled.stored is None
    assert (pool.masks == 9).all()
    with pytest.raises(ValueError, match=r"mask for b has \(4, 5\)"):
        pool.with_masks([masks[0], masks[1][:, :5]]).sample(1)
    with pytest.raises(ValueError, match="1 masks do not fit 2"):
        pool.with_masks(masks[:1])
