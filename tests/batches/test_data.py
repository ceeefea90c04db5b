"""Who is labelled, unlabelled and held out, for every dataset by the same code."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from semiseg_lib.batches.data import Data, choose_names
from semiseg_lib.batches.loader import Loader
from semiseg_lib.batches.options import DataConfig, ViewConfig
from semiseg_lib.core.durable import read_json, write_json
from semiseg_lib.datasets.labels import VOID, write_mask
from semiseg_lib.datasets.minivoc import BoxStyle, MiniVOCOptions, Sizes

KEEP = ("background", "cat", "dog")
VOC = DataConfig("voc", labelled=3, keep=KEEP)
SMALL = MiniVOCOptions(sizes=Sizes(labelled=20, unlabelled=12, val=7, test=8))
MINIVOC = DataConfig("minivoc", labelled=8, at_most=6, options=SMALL)
LISTS = ("labelled", "unlabelled", "val", "test")


def folder_of(root: Path) -> Path:
    return root / "VOCdevkit" / "VOC2012"


@pytest.fixture
def work(monkeypatch, tmp_path) -> Path:
    """A work folder of its own, with no drawn lists in it."""
    folder = tmp_path / "work"
    monkeypatch.setenv("SEMISEG_WORK", str(folder))
    return folder


def drawn_lists(work: Path) -> list[Path]:
    return sorted((work / "splits").iterdir()) if work.is_dir() else []


# Who is who


def test_who_is_labelled_unlabelled_and_held_out(voc_root):
    data = Data(VOC, 1, voc_root)
    assert len(data.labelled) == 3 and set(data.labelled.names) < {f"p{i}" for i in range(5)}
    assert set(data.unlabelled.names) == {f"p{i}" for i in range(8)} - set(data.labelled.names)
    assert data.val.names == data.test.names == ("p8", "p9")
    assert data.labelled.names == Data(VOC, 1, voc_root).labelled.names
    draws = {Data(VOC, seed, voc_root).labelled.names for seed in range(8)}
    assert len(draws) > 1
    assert data.names == {name: getattr(data, name).names for name in LISTS}


def test_none_named_means_all_candidates(voc_root, work):
    data = Data(replace(VOC, labelled=0), 1, voc_root)
    assert data.names["labelled"] == tuple(f"p{i}" for i in range(5))
    assert data.names["unlabelled"] == ("p5", "p6", "p7")
    assert Data(replace(VOC, labelled=5), 1, voc_root).names == data.names
    assert not drawn_lists(work), "nothing was drawn"
    with pytest.raises(ValueError, match="6 labelled images wanted, but only 5"):
        _ = Data(replace(VOC, labelled=6), 1, voc_root).names


def test_the_digest_of_a_list_changes_with_it_and_with_nothing_else(voc_root):
    found = [Data(VOC, seed, voc_root) for seed in range(8)]
    for name in ("labelled", "unlabelled"):
        digests = {data.digests[name] for data in found}
        assert len(digests) == len({data.names[name] for data in found}) > 1
        assert all(len(digest) == 64 for digest in digests)
    assert len({data.digests["val"] for data in found}) == 1


def test_each_list_has_the_digest_of_what_is_read(voc_root):
    before = Data(VOC, 1, voc_root).digests
    assert set(before) == set(LISTS) and before["val"] == before["test"]
    path = folder_of(voc_root) / "SegmentationClass" / "p8.png"
    write_mask(np.zeros((48, 52), np.uint8), path)
    after = Data(VOC, 1, voc_root).digests
    assert [name for name in LISTS if before[name] != after[name]] == ["val", "test"]


def test_all_that_a_dataset_holds_has_one_digest_however_much_of_it_is_used(voc_root, work):
    path = voc_root / "labeled.txt"
    path.write_text("p3\np0\n", encoding="utf-8")
    same = [Data(replace(VOC, labelled=labelled, at_most=at_most), seed, voc_root).digest_of_all
            for labelled, at_most, seed in ((3, 0, 1), (3, 0, 2), (0, 0, 1), (4, 1, 1))]
    others = [replace(VOC, keep=KEEP[:2]), replace(VOC, test="train"),
              replace(VOC, published=str(path))]
    found = [Data(config, 1, voc_root).digest_of_all for config in others]
    assert len(set(same)) == 1 and len({*same, *found}) == 4
    assert not (work / "splits").exists(), "nothing was drawn"
    path.write_text("p3\np1\n", encoding="utf-8")
    assert Data(others[2], 1, voc_root).digest_of_all != found[2]


@pytest.mark.parametrize("file", [
    "JPEGImages/p0.jpg", "SegmentationClass/p0.png", "Annotations/p0.xml",
    "SegmentationClassAug/p6.png", "SegmentationClass/p8.png", "Annotations/p9.xml",
    "ImageSets/Segmentation/val.txt",
])
def test_the_digest_of_all_changes_with_each_file_and_back(voc_root, file):
    path = folder_of(voc_root) / file
    before, content = Data(VOC, 1, voc_root).digest_of_all, path.read_bytes()
    path.write_bytes(b"p8\n" if path.suffix == ".txt" else content + b" ")
    changed = Data(VOC, 1, voc_root).digest_of_all
    if path.suffix != ".txt":  # a list must be there
        path.unlink()
        assert len({before, changed, Data(VOC, 1, voc_root).digest_of_all}) == 3
    path.write_bytes(content)
    assert changed != before == Data(VOC, 1, voc_root).digest_of_all


def test_at_most_so_many_images_of_each_list_but_the_labelled(voc_root):
    data = Data(replace(VOC, at_most=1), 1, voc_root)
    full = Data(VOC, 1, voc_root)
    assert data.names["labelled"] == full.names["labelled"]
    for name in ("unlabelled", "val", "test"):
        assert data.names[name] == full.names[name][:1]
    assert data.config.count_unlabelled() == 1 and VOC.count_unlabelled() is None
    small = DataConfig("minivoc", options=SMALL)
    assert small.count_unlabelled() == 12
    for most, count in ((5, 5), (12, 12), (1000, 12)):
        assert replace(small, at_most=most).count_unlabelled() == count


def test_held_out_images_that_at_most_leaves_out_are_still_not_learnt_from(voc_root):
    lists = folder_of(voc_root) / "ImageSets" / "Segmentation"
    (lists / "train_aug.txt").write_text("p9\np0\np6\np5\n", encoding="utf-8")
    data = Data(replace(VOC, labelled=0, at_most=1), 1, voc_root)
    assert data.names["val"] == ("p8",) and data.names["unlabelled"] == ("p6",)


def test_only_kept_classes_are_told_apart(voc_root):
    data = Data(VOC, 1, voc_root)
    assert data.classes == data.val.classes == KEEP
    assert set(np.unique(data.val.sample(0).mask)) == {0, 1, 2, VOID}
    swapped = Data(replace(VOC, keep=("background", "dog", "cat"), labelled=0), 1, voc_root)
    mask = swapped.val.sample(0).mask
    np.testing.assert_array_equal(np.array([0, 2, 1])[mask % 255], data.val.sample(0).mask % 255)
    without = Data(replace(VOC, keep=("background", "cat")), 1, voc_root).val.sample(0)
    assert set(np.unique(without.mask)) == {0, 1, VOID} and without.boxes.classes.tolist() == [1]
    assert len(Data(replace(VOC, keep=(), labelled=0), 1, voc_root).classes) == 21


def test_boxes_need_the_background_to_be_kept():
    with pytest.raises(ValueError, match=r"keep starts with .*such as background"):
        _ = Data(replace(MINIVOC, keep=("car", "tree")), 1).labelled


# The drawn list


def test_a_drawn_list_is_read_back_and_not_drawn_again(voc_root, work):
    names = Data(VOC, 1, voc_root).names["labelled"]
    [path] = drawn_lists(work)
    assert path.name.startswith("voc-3-")
    stored = read_json(path)
    assert tuple(stored["names"]) == names
    others = [f"p{i}" for i in range(5) if f"p{i}" not in names]
    write_json(path, stored | {"names": [*names[:2], others[0]]})
    again = Data(VOC, 1, voc_root)
    assert again.names["labelled"] == (*names[:2], others[0]), "the file decides"
    assert drawn_lists(work) == [path]


@pytest.mark.parametrize("harm", [
    lambda stored, names: stored.replace(names[0], b"p9"), lambda stored, _: stored[:-9],
    lambda stored, _: b"", lambda *_: b"p0\np1\np2\n",
], ids=["edited", "truncated", "empty", "a list of another version"])
def test_a_drawn_list_that_is_not_what_was_written_is_drawn_again(voc_root, work, harm):
    names = Data(VOC, 1, voc_root).names["labelled"]
    [path] = drawn_lists(work)
    before = path.read_bytes()
    path.write_bytes(harm(before, [name.encode() for name in names]))
    assert Data(VOC, 1, voc_root).names["labelled"] == names
    assert path.read_bytes() == before


def test_a_drawn_list_of_other_images_is_not_taken(voc_root, work):
    names = Data(VOC, 1, voc_root).names["labelled"]
    [path] = drawn_lists(work)
    write_json(path, read_json(path) | {"candidates": 64 * "0", "names": ["p0", "p1", "p2"]})
    assert Data(VOC, 1, voc_root).names["labelled"] == names


def test_where_nothing_can_be_written_the_same_images_are_drawn(
    voc_root, work, monkeypatch, read_only
):
    names = Data(VOC, 1, voc_root).names["labelled"]
    elsewhere = work.with_name("only read")
    monkeypatch.setenv("SEMISEG_WORK", str(elsewhere))
    read_only(elsewhere)
    for _ in range(2):
        assert Data(VOC, 1, voc_root).names["labelled"] == names
    assert not elsewhere.exists()


@pytest.mark.parametrize("kind", ["SegmentationClass", "JPEGImages"])
def test_a_candidate_that_changes_makes_a_new_draw(voc_root, work, kind):
    first = Data(VOC, 1, voc_root).names
    [path] = drawn_lists(work)
    file = next((folder_of(voc_root) / kind).glob("p0.*"))
    content = file.read_bytes()
    if kind == "SegmentationClass":
        mask = np.zeros((40, 60), np.uint8)
        mask[1:9, 1:9] = 12
        write_mask(mask, file)
    else:
        file.write_bytes(content + b" ")
    _ = Data(VOC, 1, voc_root).names
    assert len(drawn_lists(work)) == 2 and path in drawn_lists(work)
    file.write_bytes(content)
    assert Data(VOC, 1, voc_root).names == first
    assert len(drawn_lists(work)) == 2


def test_what_is_no_candidate_does_not_change_the_draw(voc_root, work):
    """Nor do boxes, times or the folder: the same candidates are the same draw."""
    first = Data(VOC, 1, voc_root).names
    folder = folder_of(voc_root)
    (folder / "SegmentationClass" / "p8.png").write_bytes(b"other")
    (folder / "Annotations" / "p0.xml").write_text("<annotation></annotation>", encoding="utf-8")
    os.utime(folder / "SegmentationClass" / "p1.png", (1, 1))
    moved = voc_root / "elsewhere"
    moved.mkdir()
    (voc_root / "VOCdevkit").rename(moved / "VOCdevkit")
    assert Data(VOC, 1, moved).names == first and len(drawn_lists(work)) == 1


def test_each_option_has_a_list_of_its_own(work):
    """An option may decide what is read, even where the candidates' bytes are the same."""
    config = replace(MINIVOC, labelled=4)
    missed = replace(SMALL, unlabelled_boxes=BoxStyle(missed=0.5))
    names = {Data(replace(config, options=one), 1).names["labelled"] for one in (SMALL, missed)}
    assert len(names) == 1 and len(drawn_lists(work)) == 2


def test_each_seed_and_count_has_a_list_of_its_own(voc_root, work):
    for seed, count in ((1, 3), (2, 3), (1, 2), (1, 3)):
        assert len(Data(replace(VOC, labelled=count), seed, voc_root).names["labelled"]) == count
    assert len(drawn_lists(work)) == 3


def test_drawn_images_show_every_class(work):
    config = replace(MINIVOC, labelled=4)
    for seed in range(6):
        data = Data(config, seed)
        present = set(np.unique(data.labelled.masks)) - {VOID}
        assert present == set(range(len(data.classes))) and len(data.labelled) == 4


def test_a_list_can_be_drawn_without_being_kept(voc_root, work):
    candidates = Data(VOC, 1, voc_root).candidates
    names = choose_names(candidates, 3, 1)
    assert not drawn_lists(work) and candidates.names == tuple(f"p{i}" for i in range(5))
    assert names == Data(VOC, 1, voc_root).names["labelled"]


def test_names_with_spaces_survive_the_drawn_list_and_a_written_one(own_folder, tmp_path):
    root = own_folder(tmp_path / "own", masks=6, boxed=range(8))
    config = DataConfig("folder", labelled=2)
    for _ in range(2):  # drawn, then read back
        names = Data(config, 1, root).labelled.names
        assert len(names) == 2 and all(name.startswith("my cat ") for name in names)
    chosen = tmp_path / "mine.txt"
    chosen.write_text("\n".join(names) + "\n", encoding="utf-8")
    again = Data(replace(config, labelled=0, published=str(chosen)), 1, root)
    assert again.labelled.names == names


# Published lists and leaks


def test_a_published_list_is_read_as_it_is(voc_root, work):
    path = voc_root / "labeled.txt"
    path.write_text(
        "JPEGImages/p3.jpg SegmentationClass/p3.png\nJPEGImages/p0.jpg SegmentationClass/p0.png\n",
        encoding="utf-8",
    )
    config = replace(VOC, published=str(path))
    data = Data(config, 1, voc_root)
    assert data.labelled.names == ("p3", "p0") and not drawn_lists(work)
    assert data.names["unlabelled"] == ("p1", "p2", "p4", "p5", "p6", "p7")
    assert Data(config, 2, voc_root).names == data.names
    path.write_text("p3\nq9\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"names 1 images that are not among .* such as q9"):
        _ = Data(config, 1, voc_root).labelled
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt is missing"):
        _ = Data(replace(VOC, published="nowhere.txt"), 1, voc_root).labelled


@pytest.mark.parametrize("name", ["val", "test"])
def test_an_image_in_two_lists_is_refused(voc_root, name):
    lists = folder_of(voc_root) / "ImageSets" / "Segmentation"
    (lists / "held.txt").write_text("p0\np8\n", encoding="utf-8")
    config = replace(VOC, labelled=0, **{name: "held"})
    with pytest.raises(ValueError, match=f"p0 is in both 'labelled' and '{name}'"):
        _ = Data(config, 1, voc_root).names
    # also where at_most would leave it out
    (lists / "held.txt").write_text("p8\np0\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"p0 is in both 'labelled' and '{name}'"):
        _ = Data(replace(config, at_most=1), 1, voc_root).names


def test_other_lists_of_a_dataset_can_be_named(voc_root):
    lists = folder_of(voc_root) / "ImageSets" / "Segmentation"
    for name, numbers in (("few", (1, 2)), ("more", (6, 7)), ("held", (9,)), ("last", (8,))):
        (lists / f"{name}.txt").write_text("".join(f"p{i}\n" for i in numbers), encoding="utf-8")
    config = DataConfig(
        "voc", keep=KEEP, candidates="few", unlabelled="more", val="held", test="last"
    )
    assert Data(config, 1, voc_root).names == {
        "labelled": ("p1", "p2"), "unlabelled": ("p6", "p7"), "val": ("p9",), "test": ("p8",)
    }


@pytest.mark.parametrize("config, field", [
    (replace(MINIVOC, unlabelled="val"), "unlabelled"), (DataConfig("folder", val="x"), "val"),
    (DataConfig("cityscapes", candidates="x"), "candidates"),
    (DataConfig("camvid", candidates="x"), "candidates"), (DataConfig("digits", test="x"), "test"),
], ids=lambda value: value if isinstance(value, str) else value.dataset)
def test_a_list_that_a_dataset_does_not_read_is_refused(config, field, tmp_path):
    with pytest.raises(ValueError, match=rf"{config.dataset} does not support data\.{field}"):
        Data(config, 1, tmp_path)


def test_camvid_takes_frames_alone_as_other_unlabelled_images(tmp_path):
    (tmp_path / "camvid" / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"camvid does not accept 'x' for data\.unlabelled"):
        Data(DataConfig("camvid", unlabelled="x"), 1, tmp_path)


@pytest.mark.parametrize("config", [VOC, replace(VOC, dataset="cityscapes")],
                         ids=lambda config: config.dataset)
def test_a_missing_dataset_says_how_to_get_it(config, monkeypatch, tmp_path):
    monkeypatch.delenv("SEMISEG_DATA", raising=False)
    config = DataConfig(config.dataset, labelled=3)
    with pytest.raises(FileNotFoundError, match=f"semiseg data {config.dataset}"):
        Data(config, 1)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        Data(config, 1, tmp_path / "nowhere")


def test_options_belong_to_their_dataset():
    assert DataConfig("minivoc").with_options(world="harder").options.world == "harder"
    with pytest.raises(ValueError, match=r"minivoc has no option 'recipe'; it has .*world"):
        DataConfig("minivoc").with_options(recipe="exact")
    with pytest.raises(ValueError, match="voc has no option 'world'; it has none"):
        VOC.with_options(world="harder")
    with pytest.raises(ValueError, match="the options of voc must be a DatasetOptions"):
        DataConfig("voc", options=SMALL)
    with pytest.raises(ValueError, match="unknown dataset 'mini'"):
        DataConfig("mini")


# Every dataset by the same code


@pytest.fixture
def roots(request) -> dict:
    return {"voc": "voc_with_all_masks", "camvid": "camvid_root", "cityscapes": "city_root"}


CONFIGS = {
    "minivoc": MINIVOC,
    "voc": VOC,
    "camvid": DataConfig("camvid", labelled=3),
    "cityscapes": DataConfig("cityscapes", labelled=2),
    "folder": DataConfig("folder", labelled=2),
    "digits": DataConfig("digits", labelled=30, at_most=9),
}


@pytest.fixture(params=CONFIGS)
def opened(request, roots, own_folder, tmp_path):
    """Configuration and folder of each dataset."""
    name = request.param
    if name == "folder":
        return CONFIGS[name], own_folder(tmp_path / "own", masks=6, boxed=range(8))
    return CONFIGS[name], request.getfixturevalue(roots[name]) if name in roots else None


def test_every_dataset_gives_its_four_lists(opened):
    config, root = opened
    data = Data(config, 1, root)
    names = data.names
    assert len(names["labelled"]) == config.labelled and set(names) == set(LISTS)
    learnt = {*names["labelled"], *names["unlabelled"]}
    assert len(learnt) == len(names["labelled"]) + len(names["unlabelled"])
    assert not learnt & {*data.source.names("val"), *data.source.names("test")}
    assert Data(config, 1, root).names == names
    assert Data(config, 1, root).digests == data.digests
    assert set(names["labelled"]) <= set(data.source.names("candidates"))
    for name in LISTS:
        images = getattr(data, name)
        assert images.names == names[name] and images.classes == data.classes
        assert len(images) > 0
        sample = images.sample(0)
        assert sample.image.dtype == np.uint8 and sample.image.shape[0] == 3
        assert (sample.mask is None) == (name == "unlabelled"), name
        if sample.mask is not None:
            assert set(np.unique(sample.mask)) <= {*range(len(data.classes)), VOID}


def test_another_seed_labels_other_images_of_every_dataset(opened):
    config, root = opened
    found = {frozenset(Data(config, seed, root).names["labelled"]) for seed in range(8)}
    assert len(found) > 1


def test_every_dataset_can_be_learnt_from_in_the_same_way(opened):
    config, root = opened
    data = Data(config, 1, root)
    has_boxes = bool(data.source.boxed.any())
    views = ViewConfig(crop=16, scale=(0.5, 1.5))
    what = ("box_maps", "allowed") if has_boxes else ("allowed",)
    batch = Loader(
        data.labelled.with_fields(*what), data.unlabelled.with_fields(*what), 3, 4, views, 0
    ).batch(1)
    classes = len(data.classes)
    for part, count in ((batch.labelled, 3), (batch.unlabelled, 4)):
        assert part.images.shape == (count, 3, 16, 16) and part.inside.dtype == torch.bool
        assert part.allowed.shape == (count, classes, 16, 16)
        assert (part.box_maps is not None) == has_boxes
        assert part.allowed[:, ~data.source.boxed].all()
        if not has_boxes:
            assert part.allowed.all()
    assert batch.labelled.masks.shape == (3, 16, 16) and batch.unlabelled.masks is None
    assert (batch.labelled.masks[~batch.labelled.inside] == VOID).all()


def test_boxes_are_those_of_the_images_that_somebody_looked_through(opened):
    config, root = opened
    data = Data(config, 1, root)
    expected = tuple(name for name in data.names["unlabelled"] if data.source.has_boxes(name))
    assert data.boxed.names == expected
    assert bool(expected) == (config.dataset not in ("camvid", "digits"))
    for number in range(min(len(data.boxed), 3)):
        assert data.boxed.sample(number).boxes is not None


def test_the_upper_bound_has_every_mask(opened):
    config, root = opened
    data = Data(config, 1, root)
    if config.dataset == "folder":  # nobody drew masks of what is left, to hide them
        own = Data(replace(config, labelled=0), 1, root)
        with pytest.raises(ValueError, match="has no mask"):
            _ = own.unlabelled_truth[0]
    everything = data.everything
    assert everything.names == (*data.labelled.names, *data.unlabelled.names)
    first = len(data.labelled)
    for number, name in enumerate(data.unlabelled.names[:4]):
        if name in ("my cat 6", "my cat 7"):
            continue
        np.testing.assert_array_equal(
            data.unlabelled_truth[number], everything.sample(first + number).mask
        )


def test_cityscapes_stuff_is_allowed_everywhere_and_things_in_their_boxes(city_root):
    data = Data(CONFIGS["cityscapes"], 1, city_root)
    part = data.unlabelled.with_fields("allowed").part([0])
    car = data.classes.index("car")
    assert data.source.boxed.sum() == 8 and data.source.boxed[car]
    assert part.allowed[0, car, 4:10, 5:15].all()
    assert part.allowed[0, car].sum() == 60
    assert part.allowed[0, data.classes.index("road")].all()
    true = np.asarray(data.unlabelled_truth)[0]
    assert (true[4:10, 5:15] == car).all()


def test_the_upper_bound_learns_from_labelled_and_unlabelled_images_in_one_batch():
    data = Data(MINIVOC, 5)
    loader = Loader(data.everything, None, 14, 0, ViewConfig(crop=32), seed=1)
    part = loader.batch(0).labelled
    assert set(part.names) == {*data.labelled.names, *data.unlabelled.names}
    assert part.masks.shape == (14, 32, 32) and part.box_maps is None


def test_images_that_nobody_looked_through_are_not_among_the_boxed(own_folder, tmp_path):
    """An ancillary learns from and is scored on images with boxes alone."""
    everywhere = own_folder(tmp_path / "a", masks=6, boxed=range(8))
    data = Data(DataConfig("folder"), 1, everywhere)
    assert all(data.source.has_boxes(name) for names in data.names.values() for name in names)
    assert data.boxed.names == data.unlabelled.names == ("my cat 6", "my cat 7")
    test = int(data.names["test"][0].split()[-1])
    gaps = own_folder(tmp_path / "b", masks=6, boxed=[i for i in range(7) if i != test])
    partly = Data(DataConfig("folder"), 1, gaps)
    assert not partly.source.has_boxes(partly.names["test"][0])
    assert partly.boxed.names == ("my cat 6",)
    with pytest.raises(ValueError, match="has no boxes"):
        partly.test.part([0])
    empty = Data(DataConfig("folder", unboxed="empty"), 1, gaps)
    assert (empty.test.part([0]).box_maps[:, 0] == 1).all()


def test_drawn_images_are_kept_between_seeds_and_read_like_files():
    one, other = Data(MINIVOC, 1), Data(MINIVOC, 2)
    assert one.names["labelled"] != other.names["labelled"]
    assert one.unlabelled.sample(0).image is other.unlabelled.sample(0).image
    assert one.digests["val"] == other.digests["val"]
