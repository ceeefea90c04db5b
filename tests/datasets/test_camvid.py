"""The CamVid reader: 32 colours to 11 ids by both recipes, and the usual split."""

from __future__ import annotations

import os
from collections import Counter
from copy import copy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiseg_lib.datasets.camvid import (
    CAMVID_CLASSES,
    CAMVID_COLOURS,
    CamVidDataset,
    CamVidOptions,
    camvid_frames,
    camvid_ids,
    usual_split,
)
from semiseg_lib.datasets.dataset import find
from semiseg_lib.datasets.labels import LabelError

CAMVID = find("camvid")

# Colour, id when merged, id when exact: written out by hand from the dataset's page.
BY_HAND = {
    (128, 128, 128): (0, 0), (128, 0, 0): (1, 1), (64, 192, 0): (1, 255), (0, 128, 64): (1, 255),
    (64, 0, 64): (1, 255), (192, 0, 128): (1, 255), (192, 192, 128): (2, 2), (0, 0, 64): (2, 255),
    (128, 64, 128): (3, 3), (128, 0, 192): (3, 255), (192, 0, 64): (3, 255), (0, 0, 192): (4, 4),
    (64, 192, 128): (4, 255), (128, 128, 192): (4, 255), (128, 128, 0): (5, 5),
    (192, 192, 0): (5, 255), (192, 128, 128): (6, 6), (128, 128, 64): (6, 255),
    (0, 64, 64): (6, 255), (64, 64, 128): (7, 7), (64, 0, 128): (8, 8), (64, 128, 192): (8, 255),
    (192, 128, 192): (8, 255), (192, 64, 128): (8, 255), (128, 64, 64): (8, 255),
    (64, 64, 0): (9, 9), (192, 128, 64): (9, 255), (64, 0, 192): (9, 255), (64, 128, 64): (9, 255),
    (0, 128, 192): (10, 10), (192, 0, 192): (10, 255), (0, 0, 0): (255, 255),
}
TRAIN, TEST = "0001TP_006690", "Seq05VD_f00000"


def png(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def original(tmp_path) -> Path:
    """The original layout: one image a split but val, all 32 colours in each mask."""
    colours = np.array(list(BY_HAND), np.uint8).reshape(4, 8, 3)
    for name in (TRAIN, TEST):
        png(tmp_path / "701_StillsRaw_full" / f"{name}.png", np.zeros((4, 8, 3), np.uint8))
        png(tmp_path / "LabeledApproved_full" / f"{name}_L.png", colours)
    return tmp_path


@pytest.mark.parametrize(("recipe", "column"), [("merged", 0), ("exact", 1)])
def test_colours_become_the_ids_of_the_recipe(original, recipe, column):
    sample = CamVidDataset(original, "train", recipe=recipe)[0]
    assert sample.mask.ravel().tolist() == [ids[column] for ids in BY_HAND.values()]
    assert sample.mask.dtype == np.uint8 and sample.boxes is None


def test_the_exact_recipe_is_the_merged_one_with_21_classes_void():
    merged, exact = camvid_ids("merged"), camvid_ids("exact")
    assert len(CAMVID_COLOURS) == len(merged) == 32
    assert sorted(label for label in exact.values() if label != 255) == list(range(11))
    assert all(exact[colour] in (merged[colour], 255) for colour in merged)
    assert Counter(merged.values())[255] == 1, "merged leaves only Void void"


def test_an_unknown_colour_is_named(original):
    mask = np.full((4, 8, 3), 128, np.uint8)
    mask[1, 2:4] = (127, 63, 128)
    png(original / "LabeledApproved_full" / f"{TRAIN}_L.png", mask)
    with pytest.raises(LabelError, match=rf"{TRAIN}_L\.png.*\(127, 63, 128\) and 2 .*nearest"):
        CamVidDataset(original, "train")[0]


def test_ids_among_the_colours_are_refused(original):
    png(original / "LabeledApproved_full" / f"{TRAIN}_L.png", np.zeros((4, 8), np.uint8))
    with pytest.raises(LabelError, match=r"grey image of ids.*train_labels"):
        CamVidDataset(original, "train")[0]


def test_the_original_is_split_by_sequence_and_frame(original):
    assert CamVidDataset(original, "train").names == [TRAIN]
    assert CamVidDataset(original, "test").names == [TEST]
    with pytest.raises(ValueError, match="holds no image of the val split"):
        CamVidDataset(original, "val")
    (original / "val.txt").write_text(f"{TEST}\n", encoding="utf-8")
    assert CamVidDataset(original, "val").names == [TEST], "a list goes before the rule"
    frames = {"0001TP_008520": "train", "0001TP_008550": "test", "0006R0_f03930": "train",
              "0016E5_07957": "train", "0016E5_07959": "val", "0016E5_08159": "val",
              "0016E5_08190": "train", "Seq05VD_f05100": "test"}
    assert {name: usual_split(name) for name in frames} == frames
    with pytest.raises(ValueError, match="holiday_1 is not a frame of CamVid"):
        usual_split("holiday_1")


@pytest.mark.parametrize(("folder", "void"), [("train_labels", 255), ("trainannot", 11)])
def test_ids_are_read_from_both_common_copies(tmp_path, folder, void):
    ids = np.array([[*range(11), void]], np.uint8)
    png(tmp_path / "train" / "a.png", np.zeros((1, 12, 3), np.uint8))
    png(tmp_path / folder / "a.png", ids)
    assert CamVidDataset(tmp_path, "train")[0].mask.tolist() == [[*range(11), 255]]
    kept = CamVidDataset(tmp_path, "train", keep=("road", "car"))[0].mask
    assert kept.tolist() == [[{3: 0, 8: 1}.get(i, 255) for i in range(12)]]
    assert CamVidDataset(tmp_path, "train", masks=False)[0].mask is None
    png(tmp_path / folder / "a.png", np.array([[*range(11), 12]], np.uint8))
    with pytest.raises(LabelError, match=r"ids \[12\]"):
        CamVidDataset(tmp_path, "train")[0]
    with pytest.raises(ValueError, match="recipe='exact' needs the original colours"):
        CamVidDataset(tmp_path, "train", recipe="exact")
    with pytest.raises(ValueError, match="no split 'trainval'"):
        CamVidDataset(tmp_path, "trainval")


def test_neither_layout(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither train/.*nor 701_StillsRaw_full"):
        CamVidDataset(tmp_path, "train")


@pytest.fixture
def with_frames(tmp_path) -> Path:
    """Four train images, two of 0016E5 held out, and frames of its video in folders of theirs."""
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    ids[ids == 11] = 255
    lists = {
        "train": ("0016E5_00390", "0006R0_f00930", "0006R0_f00960", "0006R0_f00990"),
        "val": ("0016E5_07959",), "test": ("0016E5_00500", "Seq05VD_f00030"),
    }
    for split, names in lists.items():
        for name in names:
            png(tmp_path / "camvid" / split / f"{name}.png", np.zeros((3, 4, 3), np.uint8))
            png(tmp_path / "camvid" / f"{split}_labels" / f"{name}.png", ids)
    numbers = {"0016E5": (389, 390, 391, 469, 470, 530, 531, 7928, 7929, 7989, 7990),
               "0006R0": (930, 931, 7959), "0005VD": (31, 61)}
    for sequence, frames in numbers.items():
        for number in frames:
            path = tmp_path / "camvid" / "frames" / sequence / f"{sequence}_{number:05d}.png"
            png(path, np.full((3, 4, 3), number % 251, np.uint8))
    return tmp_path


def test_frames_come_along_but_no_image_again_and_none_near_a_held_out_one(with_frames, ask):
    """30 to each side of 0016E5_07959, 0016E5_00500 and Seq05VD_f00030 are too near."""
    kept = {"0016E5": (389, 391, 469, 531, 7928, 7990), "0006R0": (931, 7959), "0005VD": (61,)}
    names = [f"frames/{s}/{s}_{n:05d}" for s in sorted(kept) for n in kept[s]]
    assert list(camvid_frames(with_frames / "camvid")) == names
    source = CAMVID.source(ask("camvid", unlabelled="frames"), with_frames, 0)
    train = ("0006R0_f00930", "0006R0_f00960", "0006R0_f00990", "0016E5_00390")
    assert source.names("unlabelled") == source.names("hidden") == (*train, *names)
    assert source.names("candidates") == train
    place = len(train) + names.index("frames/0016E5/0016E5_00531")
    sample = source.reader("unlabelled", masks=False, boxes=False)[place]
    assert sample.name == "frames/0016E5/0016E5_00531" and (sample.image == 531 % 251).all()
    assert sample.mask is None and sample.boxes is None
    hidden = source.reader("hidden", masks=True, boxes=False)
    assert (hidden[0].mask != 255).any() and (hidden[place].mask == 255).all()
    assert hidden[place].mask.shape == (3, 4)
    without = CAMVID.source(ask("camvid"), with_frames, 0)
    assert without.names("unlabelled") == without.names("candidates") == train


def test_the_content_is_what_is_read(with_frames):
    root = with_frames / "camvid"
    frame = "frames/0016E5/0016E5_00389"
    dataset = CamVidDataset(root, "train", ("0016E5_00390", frame))
    image = root / "train" / "0016E5_00390.png"
    mask = root / "train_labels" / "0016E5_00390.png"
    assert list(dataset.content(0)) == [image, mask]
    assert list(dataset.content(1)) == [root / f"{frame}.png"], "a frame has no mask"
    without = copy(dataset)
    without.masks = None
    assert list(without.content(0)) == [image] and without[0].mask is None


def test_the_source_has_no_boxes_and_takes_its_recipe_from_the_options(original, ask):
    source = CAMVID.source(ask("camvid"), original, 0)
    assert source.classes == CAMVID_CLASSES and not source.boxed.any()
    assert source.boxed.shape == (11,) and not source.has_boxes(TRAIN)
    assert source.names("candidates") == source.names("unlabelled") == (TRAIN,)
    assert source.names("test") == (TEST,)
    for recipe, column in (("merged", 0), ("exact", 1)):
        request = ask("camvid", options=CamVidOptions(recipe))
        sample = CAMVID.source(request, original, 0).reader("candidates", True, True)[0]
        assert sample.mask.ravel().tolist() == [ids[column] for ids in BY_HAND.values()]
        assert sample.boxes is None
    names = [path.name for path in source.reader("candidates", True, True).content(0)]
    assert names == [f"{TRAIN}.png", f"{TRAIN}_L.png"]
    with pytest.raises(ValueError, match=r"camvid does not support data\.candidates"):
        CAMVID.source(ask("camvid", candidates="train"), original, 0)


@pytest.mark.parametrize("name", ["0016E5/00390", "holiday_00390", "0016E5_late", "01TP_extract_1"])
def test_a_frame_that_may_be_held_out_is_refused(with_frames, name):
    png(with_frames / "camvid" / "frames" / f"{name}.png", np.zeros((3, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=rf"frames/{name} is not a frame of .*remove it"):
        camvid_frames(with_frames / "camvid")


def test_frames_that_are_not_there_and_other_lists(original, ask):
    with pytest.raises(ValueError, match=r"camvid does not accept 'video'.*'frames'"):
        CAMVID.source(ask("camvid", unlabelled="video"), original, 0)
    (original / "val.txt").write_text(f"{TEST}\n", encoding="utf-8")
    source = CAMVID.source(ask("camvid", unlabelled="frames"), original, 0)
    with pytest.raises(FileNotFoundError, match=r"frames holds no images.*semiseg data frames"):
        source.names("unlabelled")


def test_the_lists_of_the_copy_at_hand(ask):
    """Unlabelled are the images of train where no list is named, and nothing has boxes."""
    root = Path(os.environ.get("SEMISEG_DATA", ""))
    if not os.environ.get("SEMISEG_DATA") or not (root / "camvid").is_dir():
        pytest.skip("SEMISEG_DATA names no folder with camvid")
    source = CAMVID.source(ask("camvid"), root, 0)
    lists = {name: source.names(name) for name in ("candidates", "unlabelled", "val", "test")}
    assert [len(names) for names in lists.values()] == [367, 367, 101, 233]
    for name in lists:
        sample = source.reader(name, name != "unlabelled", True)[0]
        assert sample.boxes is None and (sample.mask is None) == (name == "unlabelled")


def test_the_copy_at_hand_has_the_usual_split_and_all_ids():
    folder = Path(os.environ.get("SEMISEG_DATA", "")) / "camvid"
    if not os.environ.get("SEMISEG_DATA") or not folder.is_dir():
        pytest.skip("SEMISEG_DATA names no folder with camvid")
    seen: set[int] = set()
    for split, count in (("train", 367), ("val", 101), ("test", 233)):
        dataset = CamVidDataset(folder, split)
        assert len(dataset) == count and {usual_split(n) for n in dataset.names} == {split}
        for index in range(0, count, 20):
            sample = dataset[index]
            assert sample.mask.shape == sample.image.shape[1:] == (360, 480)
            seen |= set(np.unique(sample.mask).tolist())
    assert seen == {*range(len(CAMVID_CLASSES)), 255}
