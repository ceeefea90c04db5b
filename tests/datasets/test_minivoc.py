"""mini-VOC: the drawing is pinned, the boxes are honest, the files are complete."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from flips import each_flip
from PIL import Image

from semiseg_lib.core.durable import Damaged, read_json
from semiseg_lib.datasets.dataset import find
from semiseg_lib.datasets.devkit.layout import VOCDataset
from semiseg_lib.datasets.labels import VOID, voc_palette
from semiseg_lib.datasets.minivoc import (
    SPLITS,
    WORLDS,
    BoxStyle,
    MiniVOCDataset,
    MiniVOCOptions,
    Scene,
    Sizes,
    annotate,
    content_hash,
    draw_scene,
    generated_digests,
    prepare,
    writer,
)
from semiseg_lib.datasets.minivoc.dice import Dice
from semiseg_lib.datasets.minivoc.outlines import GRID, ellipse, fill, polygon
from semiseg_lib.datasets.minivoc.scenery import _blend_weights, soft_noise
from semiseg_lib.datasets.minivoc.shapes import DRAW_CLASS
from semiseg_lib.datasets.minivoc.worlds import CLASSES

MINIVOC = find("minivoc")

PINNED_COUNT = 12
PINNED = {
    "harder": "8d9707e25d5deee2f6d0548870e8e93e956c744e98ab58adf8d7e4eb6a05c5eb",
    "hurried": "e4b37edf438dca985f40327e58ea73a5eb00fe30a6ec60be26d975bf554da8ee",
}
SMALL = Sizes(labelled=4, unlabelled=5, val=3, test=2)


def scenes(world_name: str, count: int, split: str = "unlabelled") -> list[Scene]:
    return [draw_scene(WORLDS[world_name], split, index) for index in range(count)]


@pytest.mark.parametrize("world_name", sorted(WORLDS))
def test_the_drawing_is_pinned(world_name):
    assert content_hash(WORLDS[world_name], PINNED_COUNT) == PINNED[world_name], (
        "a drawn pixel or box has changed: raise DRAWING_VERSION and run the chapters again"
    )


def test_soft_noise_is_exact_in_any_order_of_summation():
    noise = soft_noise(Dice(np.random.default_rng(3)), 128, (13, 9))
    lattice = Dice(np.random.default_rng(3)).grid((14, 10), 256).astype(np.int64)
    weights = [_blend_weights(128, cells).astype(np.int64) for cells in (13, 9)]
    assert np.array_equal(noise, (weights[0] @ lattice @ weights[1].T >> 8) - 128)
    assert all((weight.sum(axis=1) == 16).all() for weight in weights)


def test_images_may_be_drawn_in_any_order_and_from_several_threads():
    world = WORLDS["harder"]
    with ThreadPoolExecutor(2) as pool:
        backwards = list(pool.map(lambda i: draw_scene(world, "test", i), reversed(range(12))))
    for index, scene in enumerate(reversed(backwards)):
        assert np.array_equal(scene.image, draw_scene(world, "test", index).image)


def test_worlds_are_as_the_book_describes_them():
    assert WORLDS["harder"].classes == CLASSES == tuple(sorted(DRAW_CLASS))
    assert WORLDS["hurried"].classes == ("balloon", "car", "fish", "tree")
    assert WORLDS["harder"].unlabelled_boxes == BoxStyle()
    assert WORLDS["hurried"].unlabelled_boxes.loose == (0.15, 0.45)
    for world in WORLDS.values():
        assert {world.box_style(split) for split in ("labelled", "val", "test")} == {BoxStyle()}


@pytest.mark.parametrize("world_name", sorted(WORLDS))
def test_scenes_do_not_depend_on_box_styles(world_name):
    world = WORLDS[world_name]
    careless = BoxStyle(loose=(0.5, 1.0), jitter=0.3, missed=0.5)
    other = replace(world, unlabelled_boxes=careless, labelled_boxes=careless)
    for split in SPLITS:
        one, two = draw_scene(world, split, 7), draw_scene(other, split, 7)
        assert np.array_equal(one.image, two.image)
        assert np.array_equal(one.mask, two.mask)
        assert one.boxes == two.boxes


def test_splits_share_no_image():
    drawn = {
        draw_scene(WORLDS["harder"], split, index).image.tobytes()
        for split, index in product(SPLITS, range(25))
    }
    assert len(drawn) == 25 * len(SPLITS)


@pytest.mark.parametrize("world_name", sorted(WORLDS))
def test_tight_boxes_agree_with_the_silhouettes(world_name):
    world = WORLDS[world_name]
    for scene in scenes(world_name, 80):
        side = world.side
        assert scene.image.shape == (side, side, 3) and scene.image.dtype == np.uint8
        assert scene.mask.shape == (side, side) and scene.mask.dtype == np.uint8
        assert set(np.unique(scene.mask)) <= {*range(len(world.classes) + 1), VOID}
        assert 1 <= len(scene.boxes) <= world.objects[1]
        boxed = np.zeros((len(world.classes) + 1, side, side), dtype=bool)
        for class_id, (x0, y0, x1, y1) in scene.boxes:
            assert 0 <= x0 < x1 <= side and 0 <= y0 < y1 <= side
            assert (scene.mask[y0:y1, x0:x1] == class_id).sum() >= 15
            boxed[class_id, y0:y1, x0:x1] = True
        for class_id in range(1, len(world.classes) + 1):
            assert not (scene.mask == class_id)[~boxed[class_id]].any()
    lone = next(scene for scene in scenes(world_name, 40) if len(scene.boxes) == 1)
    # The rim reaches one pixel beyond the silhouette, and the tight box ends with the silhouette.
    ((_, (x0, y0, x1, y1)),) = lone.boxes
    rows, columns = np.nonzero(lone.mask)
    assert x0 - 1 <= columns.min() <= x0 and x1 <= columns.max() + 1 <= x1 + 1
    assert y0 - 1 <= rows.min() <= y0 and y1 <= rows.max() + 1 <= y1 + 1


def test_every_boundary_of_an_object_is_void():
    for scene in scenes("harder", 40):
        mask = scene.mask.astype(int)
        for one, two in ((mask[:, 1:], mask[:, :-1]), (mask[1:], mask[:-1])):
            assert not ((one != two) & (one != VOID) & (two != VOID)).any()


def test_loose_boxes_contain_the_tight_ones_and_stay_in_the_image():
    style = BoxStyle(loose=(0.15, 0.45))
    for index, scene in enumerate(scenes("hurried", 60)):
        drawn = annotate(scene, style, np.random.default_rng(index), side=64)
        assert [class_id for class_id, _ in drawn] == [class_id for class_id, _ in scene.boxes]
        for (_, loose), (_, tight) in zip(drawn, scene.boxes, strict=True):
            width, height = tight[2] - tight[0], tight[3] - tight[1]
            for inner, outer, low, length in (
                (tight[0], loose[0], 0, width), (tight[1], loose[1], 0, height),
                (64 - tight[2], 64 - loose[2], 0, width),
                (64 - tight[3], 64 - loose[3], 0, height),
            ):
                assert outer == low or 0.14 * length - 0.1 <= inner - outer <= 0.45 * length + 0.1
                assert outer >= low


def test_shifted_boxes_keep_their_size_where_the_image_does_not_cut_them():
    moved = []
    for index, scene in enumerate(scenes("hurried", 60)):
        drawn = annotate(scene, BoxStyle(shifted=0.2), np.random.default_rng(index), side=64)
        for (_, new), (_, old) in zip(drawn, scene.boxes, strict=True):
            for low, high in ((0, 2), (1, 3)):
                length = old[high] - old[low]
                if new[low] > 0 and new[high] < 64:
                    assert abs(new[high] - new[low] - length) <= 1 / 8
                    moved.append((new[low] - old[low]) / length)
    assert abs(np.mean(moved)) < 0.06 and 0.12 < np.std(moved) < 0.25
    with pytest.raises(ValueError, match="shifted"):
        BoxStyle(shifted=-0.1)


def test_wild_boxes_are_never_empty():
    style = BoxStyle(loose=(0.0, 0.2), jitter=3.0)
    for index, scene in enumerate(scenes("hurried", 60)):
        for _, (x0, y0, x1, y1) in annotate(scene, style, np.random.default_rng(index), side=64):
            assert 0 <= x0 <= x1 - 1 <= 63 and 0 <= y0 <= y1 - 1 <= 63


def test_the_share_of_missed_boxes_is_as_asked():
    chance, generator = 0.3, np.random.default_rng(5)
    images = scenes("harder", 60)
    asked = kept = 0
    for _ in range(10):
        for scene in images:
            asked += len(scene.boxes)
            kept += len(annotate(scene, BoxStyle(missed=chance), generator, side=64))
    four_sigma = 4 * (asked * chance * (1 - chance)) ** 0.5
    assert abs((asked - kept) - asked * chance) < four_sigma


def test_polygons_are_filled_exactly():
    square = (polygon((1, 1), (5, 1), (5, 3), (1, 3)) * GRID).astype(np.int64)
    disc = np.rint(ellipse(10.0, 10.0, 6.0, 6.0, 24) * GRID).astype(np.int64)
    rows, columns, inside = fill([square, disc], side=20)
    canvas = np.zeros((2, 20, 20), dtype=bool)
    canvas[:, rows, columns] = inside.transpose(1, 0, 2)
    assert canvas[0, 1:3, 1:5].all() and canvas[0].sum() == 8
    distance = np.hypot(*(np.mgrid[:20, :20] + 0.5 - 10.0))
    assert canvas[1][distance < 5.8].all() and not canvas[1][distance > 6.1].any()


def test_a_prepared_folder_is_complete_and_reads_as_drawn(tmp_path):
    world = WORLDS["hurried"]
    folder = prepare(world, SMALL, root=tmp_path, progress=False)
    assert folder.parts[-2:] == ("VOCdevkit", "VOC2012")
    for split in SPLITS:
        listed = (folder / "ImageSets" / "Segmentation" / f"{split}.txt").read_text("utf-8")
        names = listed.splitlines()
        assert names == [f"hurried_{split}_{index:05d}" for index in range(SMALL.count(split))]
        masks = "SegmentationClassAug" if split == "unlabelled" else "SegmentationClass"
        data = VOCDataset(folder, split, classes=("background", *world.classes), masks=masks)
        for index, name in enumerate(names):
            scene = draw_scene(world, split, index)
            with Image.open(folder / masks / f"{name}.png") as image:
                assert image.mode == "P" and image.getpalette() == voc_palette()
                assert np.array_equal(np.asarray(image), scene.mask)
            with Image.open(folder / "JPEGImages" / f"{name}.jpg") as image:
                error = np.asarray(image).astype(int) - scene.image
            assert np.abs(error).mean() < 3.0
            boxes = data[index].boxes
            assert boxes is not None and len(boxes) == len(scene.boxes)
            if split != "unlabelled":
                tight = [box for _, box in scene.boxes]
                assert np.array_equal(boxes.coordinates, np.array(tight, dtype=np.float32))
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["Annotations", "ImageSets", "JPEGImages", "README.txt", "SegmentationClass",
                     "SegmentationClassAug", "digests.json"]
    assert len(list((folder / "SegmentationClassAug").iterdir())) == SMALL.unlabelled
    assert len(list((folder / "SegmentationClass").iterdir())) == 4 + 3 + 2


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_every_file_has_the_digest_of_what_was_drawn(tmp_path):
    world = WORLDS["hurried"]
    folder = prepare(world, SMALL, root=tmp_path, progress=False)
    digests = read_json(folder / "digests.json")
    files = [path for kind in ("JPEGImages", "SegmentationClass", "SegmentationClassAug",
                               "Annotations", "ImageSets/Segmentation")
             for path in (folder / kind).iterdir()]
    assert set(digests) == {path.relative_to(folder).as_posix() for path in files}
    for path in files:
        assert digests[path.relative_to(folder).as_posix()][0] == sha256(path.read_bytes())
    scene = draw_scene(world, "val", 1)
    boxes = "".join(repr((label, *(16 * side for side in box))) for label, box in scene.boxes)
    drawn = {"JPEGImages/hurried_val_00001.jpg": scene.image.tobytes(),
             "SegmentationClass/hurried_val_00001.png": scene.mask.tobytes(),
             "Annotations/hurried_val_00001.xml": boxes.encode()}
    assert {path: digests[path][1] for path in drawn} == {
        path: sha256(content) for path, content in drawn.items()}
    assert generated_digests(folder) == dict(digests.values())
    (folder / "digests.json").unlink()
    assert generated_digests(folder) == {} == generated_digests(tmp_path / "nowhere")


def test_the_readers_of_a_source_know_the_digests(tmp_path, monkeypatch, ask):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    request = ask("minivoc", options=MiniVOCOptions("hurried", SMALL))
    source = MINIVOC.source(request, None, 0)
    assert source.classes == ("background", "balloon", "car", "fish", "tree")
    assert source.boxed.tolist() == [False] + [True] * 4
    for which, count in (("candidates", 4), ("unlabelled", 5), ("hidden", 5), ("val", 3),
                         ("test", 2)):
        reader = source.reader(which, masks=True, boxes=True)
        assert isinstance(reader, MiniVOCDataset) and len(reader) == count
        assert list(source.names(which)) == list(reader.names)
        for index in range(count):
            paths = list(reader.content(index))
            assert [path.parent.name for path in paths] == [
                "JPEGImages",
                "SegmentationClassAug" if which in ("unlabelled", "hidden")
                else "SegmentationClass",
                "Annotations"]
            assert all(sha256(path.read_bytes()) in reader.canonical for path in paths)
            assert source.has_boxes(reader.names[index])
    without = source.reader("unlabelled", masks=False, boxes=False)
    assert [path.parent.name for path in without.content(0)] == ["JPEGImages"]
    assert without[0].mask is None and without[0].boxes is None


def test_options_decide_the_world_and_the_counts():
    options = MiniVOCOptions(sizes=SMALL)
    assert options.counts() == {"candidates": 4, "unlabelled": 5, "val": 3, "test": 2}
    assert options.generated_world() == WORLDS["hurried"] and options.world == "hurried"
    shaky = BoxStyle(jitter=0.1)
    changed = MiniVOCOptions("harder", labelled_boxes=shaky).generated_world()
    assert changed == replace(WORLDS["harder"], labelled_boxes=shaky)


def test_a_folder_drawn_in_an_older_layout_is_not_taken_for_a_new_one(tmp_path, monkeypatch):
    world = WORLDS["hurried"]
    monkeypatch.setattr(writer, "LAYOUT_VERSION", 1)
    old = prepare(world, SMALL, root=tmp_path, progress=False)
    monkeypatch.undo()
    assert prepare(world, SMALL, root=tmp_path, progress=False) != old


def test_annotations_are_voc_xml(tmp_path):
    folder = prepare(WORLDS["hurried"], SMALL, root=tmp_path, progress=False)
    for path in sorted((folder / "Annotations").iterdir()):
        root = ElementTree.parse(path).getroot()
        assert root.tag == "annotation" and root.findtext("folder") == "VOC2012"
        assert (folder / "JPEGImages" / str(root.findtext("filename"))).is_file()
        assert [root.findtext(f"size/{tag}") for tag in ("width", "height", "depth")] == [
            "64", "64", "3"]
        assert root.findall("object")
        for entry in root.findall("object"):
            assert entry.findtext("name") in WORLDS["hurried"].classes
            assert entry.findtext("difficult") == "0"
            xmin, ymin, xmax, ymax = (
                float(entry.findtext(f"bndbox/{tag}") or "nan")
                for tag in ("xmin", "ymin", "xmax", "ymax"))
            assert 1 <= xmin <= xmax <= 64 and 1 <= ymin <= ymax <= 64


def test_an_interrupted_preparation_leaves_nothing_and_is_redone(tmp_path, monkeypatch):
    world, draw = WORLDS["harder"], writer.draw_scene
    calls = iter(range(100))

    def draw_until_the_power_fails(*arguments):
        if next(calls) == 6:
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(writer, "draw_scene", draw_until_the_power_fails)
    with pytest.raises(KeyboardInterrupt):
        prepare(world, SMALL, root=tmp_path, progress=False)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    monkeypatch.setattr(writer, "draw_scene", draw)
    folder = prepare(world, SMALL, root=tmp_path, progress=False)
    assert len(list((folder / "JPEGImages").iterdir())) == 4 + 5 + 3 + 2


def test_a_finished_folder_is_used_again_and_others_get_their_own(tmp_path, monkeypatch):
    world = WORLDS["harder"]
    folder = prepare(world, SMALL, root=tmp_path, progress=False)
    shaky = replace(world, unlabelled_boxes=BoxStyle(jitter=0.1))
    assert prepare(shaky, SMALL, root=tmp_path, progress=False) != folder

    def never(*arguments):
        raise AssertionError("a finished folder was drawn again")

    monkeypatch.setattr(writer, "draw_scene", never)
    assert prepare(world, SMALL, root=tmp_path, progress=False) == folder


@pytest.mark.parametrize("world_name", sorted(WORLDS))
def test_all_classes_occur_about_equally_often(world_name):
    world = WORLDS[world_name]
    counts = np.zeros(len(world.classes) + 1)
    for scene in scenes(world_name, 150):
        for class_id, _ in scene.boxes:
            counts[class_id] += 1
    expected = counts.sum() / len(world.classes)
    assert np.all(np.abs(counts[1:] - expected) < 4 * expected**0.5)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: BoxStyle(loose=(0.4, 0.1)), "low <= high"),
        (lambda: BoxStyle(missed=1.5), r"in \[0, 1\]"),
        (lambda: replace(WORLDS["harder"], classes=("tree", "boat")), "alphabetical"),
        (lambda: replace(WORLDS["harder"], classes=("unicorn",)), "may hold"),
        (lambda: draw_scene(WORLDS["harder"], "training", 0), "unknown split"),
        (lambda: draw_scene(WORLDS["harder"], "val", -1), "non-negative"),
    ],
)
def test_mistakes_are_named(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake()


@pytest.mark.parametrize("name", [
    "digests.json", "JPEGImages/hurried_val_00001.jpg", "SegmentationClass/hurried_val_00001.png",
    "Annotations/hurried_labelled_00000.xml", "ImageSets/Segmentation/test.txt",
])
def test_a_drawn_file_that_is_damaged_is_refused_when_the_images_are_opened(
    tmp_path, monkeypatch, ask, name
):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    folder = prepare(WORLDS["hurried"], SMALL, progress=False)
    request = ask("minivoc", options=MiniVOCOptions("hurried", SMALL))
    refusal = rf"{Path(name).name} is damaged: .*Delete the folder .*hurried-\w+ to generate"
    with each_flip(folder / name, 20) as flips:
        for _ in flips:
            with pytest.raises(Damaged, match=refusal):
                MINIVOC.source(request, None, 0)
    MINIVOC.source(request, None, 0)
    (folder / name).unlink()
    with pytest.raises(Damaged, match=refusal):
        MINIVOC.source(request, None, 0)
