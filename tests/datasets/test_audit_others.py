"""The check of Cityscapes, CamVid and a folder of one's own: the mistakes peculiar to each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiseg_lib.datasets.audit import Report, audit_dataset
from semiseg_lib.datasets.camvid import CAMVID_COLOURS
from semiseg_lib.datasets.cityscapes import CITYSCAPES_IDS, TRAIN_ID_OF

SIZE = (6, 8)
NAMES = {"train": ("ulm_000000_000019", "ulm_000001_000019"), "val": ("bonn_000000_000019",)}


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def photograph(path: Path, seed: int) -> Path:
    return save(path, np.random.default_rng(seed).integers(0, 256, (*SIZE, 3)))


def fails(root: Path, dataset: str, **options) -> list[str]:
    return [str(f) for f in look(root, dataset, **options).findings if f.severity == "FAIL"]


def look(root: Path, dataset: str, **options) -> Report:
    return audit_dataset(dataset, root, workers=1, **options)


@pytest.fixture
def cityscapes(tmp_path) -> Path:
    """Three images with all 34 ids in each mask."""
    folder = tmp_path / "cityscapes"
    for split, names in NAMES.items():
        for number, name in enumerate(names):
            city = name.partition("_")[0]
            photograph(folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png",
                       10 * len(city) + number)
            ids = np.arange(48).reshape(SIZE) % len(CITYSCAPES_IDS)
            fine = folder / "gtFine" / split / city
            save(fine / f"{name}_gtFine_labelIds.png", ids)
            save(fine / f"{name}_gtFine_labelTrainIds.png", TRAIN_ID_OF[ids])
            save(fine / f"{name}_gtFine_instanceIds.png", ids)
    return folder


def fine(folder: Path, kind: str) -> Path:
    name = NAMES["train"][1]
    return folder / "gtFine" / "train" / "ulm" / f"{name}_gtFine_{kind}.png"


def test_cityscapes_as_it_should_be_in_both_kinds_of_ids(cityscapes):
    report = look(cityscapes.parent, "cityscapes")
    assert not report.failed
    of_ids, of_train_ids = (report.histograms[f"train{end}"] for end in ("", " (labelTrainIds)"))
    assert of_ids.names == of_train_ids.names and of_ids.names[0] == "road"
    assert of_ids.pixels.tolist() == of_train_ids.pixels.tolist()
    assert not look(cityscapes, "cityscapes").failed, "the folder itself may be named too"


def test_train_ids_in_a_file_of_label_ids(cityscapes):
    fine(cityscapes, "labelTrainIds").replace(fine(cityscapes, "labelIds"))
    said = "\n".join(fails(cityscapes.parent, "cityscapes"))
    assert "files named labelIds hold trainIds" in said and "labelIds.png (255)" in said


def test_label_ids_in_a_file_of_train_ids(cityscapes):
    fine(cityscapes, "labelIds").replace(fine(cityscapes, "labelTrainIds"))
    said = "\n".join(fails(cityscapes.parent, "cityscapes"))
    assert "files named labelTrainIds hold labelIds" in said and "19 and 255" in said


def test_a_mask_without_its_image_and_instances_that_are_gone(cityscapes):
    name = NAMES["train"][1]
    (cityscapes / "leftImg8bit" / "train" / "ulm" / f"{name}_leftImg8bit.png").unlink()
    fine(cityscapes, "instanceIds").unlink()
    said = "\n".join(fails(cityscapes.parent, "cityscapes"))
    assert "1 images are missing" in said and f"{name}_leftImg8bit.png" in said
    assert "instanceIds.png" in said


def test_a_published_list_is_checked_against_val(cityscapes, tmp_path):
    mine = tmp_path / "labelled.txt"
    name = NAMES["val"][0]
    mine.write_text(f"leftImg8bit/val/bonn/{name}_leftImg8bit.png\n", encoding="utf-8")
    (said,) = fails(cityscapes.parent, "cityscapes", lists=[mine])
    assert "1 images are in both" in said and name in said and "labelled" in said


def camvid_frames(folder: Path, mask: np.ndarray, original: bool) -> None:
    for number, (split, frame) in enumerate({
        "train": "0001TP_006690", "val": "0016E5_07959", "test": "Seq05VD_f00000"
    }.items()):
        if original:
            photograph(folder / "701_StillsRaw_full" / f"{frame}.png", number)
            save(folder / "LabeledApproved_full" / f"{frame}_L.png", mask)
        else:
            photograph(folder / split / f"{frame}.png", number)
            save(folder / f"{split}_labels" / f"{frame}.png", mask)


def test_camvid_in_32_colours(tmp_path):
    colours = np.array(list(CAMVID_COLOURS.values()))[np.arange(48).reshape(SIZE) % 32]
    camvid_frames(tmp_path / "camvid", colours, original=True)
    report = look(tmp_path, "camvid")
    assert not report.failed and report.histograms["train"].pixels[-1] == 0
    # Void, and nothing else, has no place among the 11 classes of the merged recipe.
    expected = int((np.arange(48) % 32 == list(CAMVID_COLOURS).index("Void")).sum())
    assert report.histograms["train"].pixels[-2] == expected
    path = tmp_path / "camvid" / "LabeledApproved_full" / "0001TP_006690_L.png"
    smoothed = colours.copy()
    smoothed[0, 0] = 1, 2, 3
    save(path, smoothed)
    (said,) = fails(tmp_path, "camvid")
    assert "colours that belong to no class" in said and "(1, 2, 3)" in said and path.name in said
    save(path, np.zeros(SIZE))
    (said,) = fails(tmp_path, "camvid")
    assert "grey images where colours are expected" in said


def test_camvid_in_11_ids_takes_11_as_void_and_no_colours(tmp_path):
    camvid_frames(tmp_path / "camvid", np.arange(48).reshape(SIZE) % 12, original=False)
    report = look(tmp_path, "camvid")
    assert not report.failed and report.histograms["val"].pixels.tolist() == [4] * 12 + [0]
    save(tmp_path / "camvid" / "val_labels" / "0016E5_07959.png", np.zeros((*SIZE, 3)))
    (said,) = fails(tmp_path, "camvid")
    assert "colours where ids are expected" in said and "0016E5_07959.png" in said


@pytest.fixture
def own(tmp_path) -> Path:
    """Six images: four with masks, one with a box, one with nothing."""
    (tmp_path / "classes.txt").write_text("background\nweed\n", encoding="utf-8")
    for number in range(6):
        photograph(tmp_path / "images" / f"p{number}.png", number)
    for number in range(4):
        save(tmp_path / "masks" / f"p{number}.png", np.arange(48).reshape(SIZE) % 2)
    write_coco(tmp_path, [1, 1, 3, 4])
    return tmp_path


def write_coco(folder: Path, bbox: list[float], kind: str = "weed") -> None:
    (folder / "boxes.json").write_text(json.dumps({
        "images": [{"id": 1, "file_name": "p4.png"}], "categories": [{"id": 7, "name": kind}],
        "annotations": [{"image_id": 1, "category_id": 7, "bbox": bbox}],
    }), encoding="utf-8")


def test_a_folder_of_one_s_own_needs_no_mask_for_every_image(own):
    report = look(own, "folder")
    assert not report.failed
    where = {finding.where: finding.what for finding in report.findings}
    assert "2 images, 2 inspected; 0 masks, 1 boxes" in where["unlabelled"]
    assert "sampled by the seed" in where["val, test"]


@pytest.mark.parametrize("bbox, kind, words", [
    ([1, 1, 8, 4], "weed", "do not lie in their image"), ([1, 1, 3, 4], "wed", "does not know"),
    ([0, 0, 8, 6], "weed", None),
])
def test_coco_boxes_are_looked_at(own, bbox, kind, words):
    write_coco(own, bbox, kind)
    said = fails(own, "folder")
    assert words in said[0] and "boxes.json" in said[0] if words else said == []


def test_white_for_the_object_is_void_by_mistake(own):
    save(own / "masks" / "p1.png", 255 * (np.arange(48).reshape(SIZE) % 2))
    (said,) = fails(own, "folder")
    assert "only 0 and 255" in said and "save it as 1" in said and "p1.png" in said


def test_what_the_reader_refuses_is_a_finding(own):
    (own / "labelled.txt").write_text("p0\np5\n", encoding="utf-8")
    (said,) = fails(own, "folder")
    assert "images without mask" in said and "p5" in said
    save(own / "masks" / "nobody.png", np.zeros(SIZE))
    (said,) = fails(own, "folder")
    assert "masks have no image of the same name" in said and "nobody.png" in said


def test_a_list_of_old_is_a_finding(own):
    (own / "weak.txt").write_text("p4\n", encoding="utf-8")
    (said,) = fails(own, "folder")
    assert "weak.txt" in said and "into unlabelled.txt" in said
