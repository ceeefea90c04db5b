"""A folder of one's own: who has what, boxes in two formats, and every usual mistake."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiseg_lib.batches.options import DataConfig
from semiseg_lib.datasets.audit import audit_dataset
from semiseg_lib.datasets.dataset import find
from semiseg_lib.datasets.folder import FolderDataset, folder_lists, scan_folder
from semiseg_lib.datasets.labels import LabelError

FOLDER = find("folder")

WIDTH, HEIGHT = 12, 8
EMPTY = np.zeros((HEIGHT, WIDTH), np.uint8)


class Own:
    """A folder to fill."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.text("classes.txt", "background\ncat\ndog\n")

    def text(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def save(self, name: str, pixels: np.ndarray) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    def image(self, name: str) -> None:
        self.save(f"images/{name}", np.full((HEIGHT, WIDTH, 3), 9, np.uint8))

    def xml(self, name: str, *boxes: tuple) -> None:
        objects = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
            f"<ymax>{d}</ymax></bndbox></object>" for label, a, b, c, d in boxes)
        self.text(f"boxes/{name}.xml", f"<annotation>{objects}</annotation>")

    def coco(self, boxes: list[tuple], images: tuple[str, ...], file="boxes.json", **more) -> None:
        """Boxes as (file name, class, (x, y, w, h)); category ids start at 7."""
        kinds = sorted({label for _, label, _ in boxes})
        content = {
            "images": [{"id": i, "file_name": n} for i, n in enumerate(images)],
            "categories": [{"id": 7 + i, "name": n} for i, n in enumerate(kinds)],
            "annotations": [{"id": i, "image_id": images.index(n), "bbox": box,
                             "category_id": 7 + kinds.index(label), **more}
                            for i, (n, label, box) in enumerate(boxes)],
        }
        self.text(file, json.dumps(content))


@pytest.fixture
def own(tmp_path) -> Own:
    """m0 to m9 have masks, b0 and b1 boxes, n0 nothing; the images are of several formats."""
    folder = Own(tmp_path)
    for i in range(10):
        folder.image(f"m{i}.{('jpg', 'png', 'BMP', 'webp', 'tiff')[i % 5]}")
        folder.save(f"masks/m{i}.png", np.where(np.eye(HEIGHT, WIDTH) > 0, i % 3, EMPTY))
    for name in ("b0", "b1", "n0"):
        folder.image(f"{name}.jpg")
    folder.xml("b0", ("cat", 2, 3, 5, 8), ("dog", 1, 1, WIDTH, HEIGHT))
    folder.xml("b1")
    folder.text("images/.DS_Store", "")
    return folder


def test_images_are_sorted_by_what_they_have(own):
    lists = folder_lists(own.root, seed=0)
    assert {name: len(members) for name, members in lists.items()} == {
        "labelled": 6, "unlabelled": 3, "val": 2, "test": 2}
    masked = sorted(lists["labelled"] + lists["val"] + lists["test"])
    assert masked == [f"m{i}" for i in range(10)], "each once"
    assert lists["unlabelled"] == ("b0", "b1", "n0"), "with boxes or without"
    assert folder_lists(own.root, seed=0) == lists
    assert len({folder_lists(own.root, seed)["val"] for seed in range(8)}) > 4
    assert len(folder_lists(own.root, 0, val_share=0.5, test_share=0)["val"]) == 5


def test_samples_have_the_labels_that_are_there(own):
    dataset = FolderDataset(own.root)
    assert dataset.names == ["b0", "b1", *[f"m{i}" for i in range(10)], "n0"]
    b0, b1, _, m1 = (dataset[i] for i in range(4))
    assert b0.mask is None and b0.boxes.classes.tolist() == [1, 2]
    assert b0.boxes.coordinates.tolist() == [[1, 2, 5, 8], [0, 0, WIDTH, HEIGHT]]
    assert b1.boxes is not None and len(b1.boxes) == 0, "looked through, nothing found"
    assert m1.boxes is None and m1.mask.sum() == 8 and m1.image.shape == (3, HEIGHT, WIDTH)
    nothing = dataset[12]
    assert nothing.mask is None and nothing.boxes is None
    plain = FolderDataset(own.root, ("b0", "m1"), masks=False, boxes=False)
    assert plain[0].boxes is None and plain[1].mask is None


def test_classes_can_be_kept(own):
    dataset = FolderDataset(own.root, ("b0", "m2", "m1"), keep=("background", "dog"))
    assert dataset[0].boxes.classes.tolist() == [1] and len(dataset[0].boxes) == 1
    assert np.unique(dataset[1].mask).tolist() == [0, 1]
    assert np.unique(dataset[2].mask).tolist() == [0, 255], "cats are void"
    with pytest.raises(ValueError, match=r"keep starts with dog.*such as background"):
        FolderDataset(own.root, keep=("dog", "cat"))


def test_coco_boxes_count_from_zero_to_the_open_end(own):
    for path in (own.root / "boxes").iterdir():
        path.unlink()
    (own.root / "boxes").rmdir()
    own.coco([("x/b0.jpg", "dog", (1, 2, 4, 5)), ("x/b0.jpg", "cat", (0, 0, WIDTH, HEIGHT)),
              ("x/b0.jpg", "cat", (-0.25, 1.5, 3.5, 6.75))], ("x/b0.jpg", "b1.jpg"))
    dataset = FolderDataset(own.root, ("b0", "b1", "n0"))
    boxes = dataset[0].boxes
    assert boxes.coordinates.tolist() == [[1, 2, 5, 7], [0, 0, 12, 8], [0, 1.5, 3.25, 8]]
    assert boxes.classes.tolist() == [2, 1, 1]
    assert len(dataset[1].boxes) == 0 and dataset[2].boxes is None
    own.coco([("b0.jpg", "dog", (1, 2, 4, 5))], ("b0.jpg",), iscrowd=1)
    crowd = FolderDataset(own.root, ("b0",))[0].boxes
    assert len(crowd) == 0, "a crowd is no object"
    dog = FolderDataset(own.root).classes.index("dog")
    assert crowd.crowds == (dog,)
    kept = FolderDataset(own.root, ("b0",), keep=("background", "dog"))[0].boxes
    assert dog == 2 and kept.crowds == (1,)
    assert FolderDataset(own.root, ("b0",), keep=("background", "cat"))[0].boxes.crowds == ()


def test_both_box_formats_say_the_same(own, tmp_path):
    corners = (3, 2, 9, 6)
    own.xml("b0", ("cat", *corners))
    other = Own(tmp_path / "other")
    other.image("b0.jpg")
    a, b, c, d = corners
    other.coco([("b0.jpg", "cat", (a - 1, b - 1, c - a + 1, d - b + 1))], ("b0.jpg",),
               file="annotations.json")
    one, two = (FolderDataset(f.root, ("b0",))[0].boxes for f in (own, other))
    assert np.array_equal(one.coordinates, two.coordinates)


def test_lists_go_before_the_draw(own):
    own.text("val.txt", "m3\nm4\n")
    own.text("test.txt", "images/m5.jpg\n")
    lists = folder_lists(own.root, seed=1)
    assert lists["val"] == ("m3", "m4") and lists["test"] == ("m5",) and len(lists["labelled"]) == 7
    own.text("labelled.txt", "m0\n")
    lists = folder_lists(own.root, seed=1)
    assert lists["labelled"] == ("m0",)
    assert lists["unlabelled"] == ("b0", "b1", "m1", "m2", "m6", "m7", "m8", "m9", "n0"), \
        "masks beyond the list do not count"
    own.text("unlabelled.txt", "n0\nb1\n")
    assert folder_lists(own.root, seed=1)["unlabelled"] == ("n0", "b1")
    own.text("val.txt", "m3\nm0\n")
    with pytest.raises(ValueError, match="m0 is in both"):
        folder_lists(own.root, seed=1)
    own.text("val.txt", "m3\nb0\n")
    with pytest.raises(ValueError, match=r"val\.txt names 1 images without mask, such as b0"):
        folder_lists(own.root, seed=1)
    own.text("val.txt", "m33\n")
    with pytest.raises(ValueError, match=r"val\.txt names 1 images that are not in.*m33"):
        folder_lists(own.root, seed=1)


def test_a_list_by_the_name_of_old_is_refused(own):
    own.text("weak.txt", "b0\n")
    with pytest.raises(ValueError, match=r"weak\.txt is .* not read.*into unlabelled\.txt"):
        folder_lists(own.root, seed=0)


def test_the_source_says_who_has_boxes_and_reads_what_is_asked_for(own, ask):
    source = FOLDER.source(ask("folder"), own.root, seed=3)
    assert source.classes == ("background", "cat", "dog")
    assert source.boxed.tolist() == [False, True, True]
    lists = folder_lists(own.root, seed=3)
    assert source.names("candidates") == lists["labelled"]
    assert source.names("hidden") == source.names("unlabelled") == lists["unlabelled"]
    boxed = {name for name in FolderDataset(own.root).names if source.has_boxes(name)}
    assert boxed == {"b0", "b1"}
    b0 = source.reader("unlabelled", masks=False, boxes=True)[0]
    assert b0.name == "b0" and b0.mask is None and len(b0.boxes) == 2
    kept = FOLDER.source(ask("folder", keep=("background", "dog")), own.root, seed=3)
    assert kept.classes == ("background", "dog") and kept.boxed.tolist() == [False, True]
    for fixed in ("candidates", "unlabelled", "val", "test"):
        with pytest.raises(ValueError, match=rf"folder does not support data\.{fixed}"):
            FOLDER.source(ask("folder", **{fixed: "some"}), own.root, seed=3)
    with pytest.raises(FileNotFoundError, match="no folder was named"):
        FOLDER.source(ask("folder"), None, seed=3)


def test_the_content_is_what_is_read(own):
    dataset = FolderDataset(own.root, ("b0", "m0", "n0"))
    files = [[path.relative_to(own.root).as_posix() for path in dataset.content(index)]
             for index in range(3)]
    assert files == [["images/b0.jpg", "boxes/b0.xml"], ["images/m0.jpg", "masks/m0.png"],
                     ["images/n0.jpg"]]
    without = FolderDataset(own.root, ("b0", "m0"), masks=False, boxes=False)
    assert [len(list(without.content(index))) for index in range(2)] == [1, 1]


def test_the_content_of_coco_boxes_is_their_file(tmp_path):
    own = Own(tmp_path)
    own.image("b0.jpg")
    own.image("n0.jpg")
    own.coco([("b0.jpg", "cat", (1, 2, 4, 5))], ("b0.jpg",))
    dataset = FolderDataset(own.root)
    image, boxes = dataset.content(0)
    assert image.name == "b0.jpg" and boxes == dataset.contents.boxes.content("b0")
    assert [path.name for path in dataset.content(1)] == ["n0.jpg"], "the file does not list it"


def test_too_few_masks_for_three_lists(tmp_path):
    own = Own(tmp_path)
    for i in range(2):
        own.image(f"{i}.png")
        own.save(f"masks/{i}.png", EMPTY)
    with pytest.raises(ValueError, match=r"2 images.*val, test, labelled need 3.*Draw more"):
        folder_lists(own.root, 0)
    own.text("test.txt", "1\n")
    own.text("val.txt", "1\n")
    with pytest.raises(ValueError, match="1 is in both"):
        folder_lists(own.root, 0)


@pytest.mark.parametrize(("spoil", "complaint"), [
    (lambda own: (own.root / "classes.txt").unlink(), r"classes\.txt is missing.*background"),
    (lambda own: own.text("classes.txt", "background\n"), "names 1 classes"),
    (lambda own: own.text("classes.txt", "bg\ncat\ncat\n"), "3 classes, 2 of them different"),
    (lambda own: own.save("masks/stray.png", EMPTY), r"1 masks have no image.*stray\.png"),
    (lambda own: own.save("masks/n0.jpg", EMPTY), r"n0\.jpg.*only PNG files; JPEG would blur"),
    (lambda own: own.image("n0.png"), "images names 1 images twice, such as n0"),
    (lambda own: own.text("images/n1.heic", "x"), r"n1\.heic.*convert them"),
    (lambda own: own.image("sub/n1.png"), "such as sub.*no folders"),
    (lambda own: own.xml("stray"), "boxes of 1 images that are not in.*such as stray"),
    (lambda own: own.coco([], ("b0.jpg",)), r"boxes in boxes\.json, boxes/\*\.xml. Keep one"),
    (lambda own: own.text("boxes/a.json", "{}"), "Keep one"),
])
def test_a_spoiled_folder_is_refused_before_an_image_is_read(own, spoil, complaint):
    spoil(own)
    with pytest.raises((ValueError, FileNotFoundError), match=complaint):
        scan_folder(own.root)


@pytest.mark.parametrize(("spoil", "complaint"), [
    (lambda own: own.save("masks/m1.png", EMPTY[:5]), r"m1\.png is 12x5 pixels, but .*12x8"),
    (lambda own: own.save("masks/m1.png", EMPTY.T), "EXIF"),
    (lambda own: own.save("masks/m1.png", EMPTY + 3), r"m1\.png holds the ids \[3\].*0 to 2"),
    (lambda own: own.save("masks/m1.png", np.zeros((8, 12, 3), np.uint8)), "colour image"),
])
def test_a_spoiled_mask_is_refused(own, spoil, complaint):
    spoil(own)
    with pytest.raises(LabelError, match=complaint):
        FolderDataset(own.root, ("m1",))[0]


@pytest.mark.parametrize("name", [
    "labelled.txt", "unlabelled.txt", "val.txt", "test.txt", "weak.txt", "classes.txt", "masks",
    "boxes", "boxes.json", "annotations.json",
])
def test_what_cannot_be_read_does_not_count_as_absent(own, tmp_path, name):
    """A link to a disk that is not mounted, or a folder or file in place of the other."""
    path = own.root / name
    if path.exists():
        path.rename(tmp_path / "aside")
    path.symlink_to(tmp_path / "unmounted" / name)
    refuse(own.root, name)
    path.unlink()
    path.touch() if name in ("masks", "boxes") else path.mkdir()
    refuse(own.root, name)


def refuse(root: Path, name: str) -> None:
    with pytest.raises((LabelError, ValueError, FileNotFoundError), match=name):
        FOLDER.open(DataConfig("folder"), root, 0)
    with suppress(FileNotFoundError):
        assert audit_dataset("folder", root).failed


def test_white_on_black_masks_are_not_taken_for_void(own):
    own.text("classes.txt", "background\ncat\n")
    own.save("masks/m1.png", np.where(np.eye(HEIGHT, WIDTH) > 0, 255, EMPTY).astype(np.uint8))
    with pytest.raises(LabelError, match=r"only 0 and 255.*white is cat, save it as 1"):
        FolderDataset(own.root, ("m1",))[0]


@pytest.mark.parametrize(("box", "label", "complaint"), [
    ((1, 2, 4, 5), "unicorn", r"boxes\.json has a box of class 'unicorn' on b0.*cat, dog"),
    ((1, 2, 4, 5), "background", "class 'background'"),
    ((5, 2, 9, 5), "cat", "x 5, y 2, width 9, height 5 on b0.*not two corners"),
    ((1, 2, 0, 5), "cat", "does not lie in its image of 12x8"),
    ((1, 2, 4), "cat", r"boxes\.json cannot be read \(ValueError.*COCO's format"),
])
def test_a_spoiled_coco_box_is_refused(tmp_path, box, label, complaint):
    own = Own(tmp_path)
    own.image("b0.jpg")
    own.coco([("b0.jpg", label, box)], ("b0.jpg",))
    with pytest.raises(LabelError, match=complaint):
        FolderDataset(own.root)[0]


def test_an_unknown_class_in_xml_is_refused(own):
    own.xml("b0", ("Cat", 1, 1, 3, 3))
    with pytest.raises(LabelError, match=r"b0\.xml has a box of class 'Cat'.*cat, dog"):
        FolderDataset(own.root, ("b0",))[0]


@pytest.mark.parametrize(("text", "complaint"), [
    ("not json", r"cannot be read \(JSONDecodeError"), ("[]", "in COCO's format"),
    ('{"images": []}', "categories"),
    ('{"images": [{"id": 1, "file_name": "x.jpg"}, {"id": 2, "file_name": "y/x.png"}], '
     '"categories": [], "annotations": []}', "two images of the same name"),
])
def test_a_file_that_is_not_coco_is_refused(tmp_path, text, complaint):
    own = Own(tmp_path)
    own.image("x.jpg")
    own.text("annotations.json", text)
    with pytest.raises(LabelError, match=complaint):
        FolderDataset(own.root)
