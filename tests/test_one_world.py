"""The laptop run is the photographs' code: the lines that training executes, compared."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import semiseg_lib
from semiseg_lib import methods, recipes
from semiseg_lib.batches import loader, weak_view
from semiseg_lib.batches.options import ViewConfig
from semiseg_lib.datasets.labels import write_mask
from semiseg_lib.experiments import Machine, Run, identity, resolve
from semiseg_lib.experiments.self_correction import primary, supervised
from semiseg_lib.experiments.semi_supervised import learn
from semiseg_lib.recipes import Profile

LIBRARY = Path(semiseg_lib.__file__).parent
SHARED = ViewConfig(crop=48, scale=(0.5, 1.5), brightness=0.3, contrast=0.3, saturation=0.3)
CLASSES = ("background", "cat", "dog")

Lines = set[tuple[str, str, int]]
"""File, function and line number of everything that was executed."""


@contextmanager
def traced(lines: Lines) -> Iterator[None]:
    """Collect what the library executes meanwhile; the datasets' readers and networks left out.

    So is how a path is printed, which a reader asks before it knows whether it has to complain.
    """
    left_out = tuple(str(LIBRARY / one) for one in ("datasets", "models", "core/paths.py"))

    def on_line(frame, event, _):
        code = frame.f_code
        lines.add((Path(code.co_filename).name, code.co_qualname, frame.f_lineno))
        return on_line

    def on_call(frame, event, _):
        name = frame.f_code.co_filename
        is_ours = name.startswith(str(LIBRARY)) and not name.startswith(left_out)
        return on_line if is_ours else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Made files in VOC's layout: images of several sizes, two classes, boxes around both."""
    root = tmp_path_factory.mktemp("photographs")
    folder, rng = root / "VOCdevkit" / "VOC2012", np.random.default_rng(0)
    names = {"train": range(8), "sbd_extra": range(8, 16), "val": range(16, 20)}
    for part in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "Annotations",
                 "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True)
    for image_set, numbers in names.items():
        for number in numbers:
            draw(folder, f"p{number}", (60 + number, 84 - number), rng)
        listed = "".join(f"p{number}\n" for number in numbers)
        (folder / "ImageSets" / "Segmentation" / f"{image_set}.txt").write_text(listed)
    return root


def draw(folder: Path, name: str, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Noise with a cat in its left half and a dog in its right half."""
    height, width = size
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "JPEGImages" / f"{name}.jpg")
    mask = np.zeros(size, np.uint8)
    annotation = ElementTree.Element("annotation")
    for label, left in (("cat", 5), ("dog", width // 2 + 5)):
        mask[10:40, left : left + 20] = {"cat": 8, "dog": 12}[label]  # their ids in VOC
        entry = ElementTree.SubElement(annotation, "object")
        ElementTree.SubElement(entry, "name").text = label
        box = ElementTree.SubElement(entry, "bndbox")
        for side, edge in {"xmin": left + 1, "ymin": 11, "xmax": left + 20, "ymax": 40}.items():
            ElementTree.SubElement(box, side).text = str(edge)
    for masks in ("SegmentationClass", "SegmentationClassAug"):
        write_mask(mask, folder / masks / f"{name}.png")
    ElementTree.ElementTree(annotation).write(folder / "Annotations" / f"{name}.xml")


DATASETS = ("minivoc", "voc")
TRAINED: dict[str, Callable[[Profile, int], Run]] = {
    "supervised": supervised,
    "fixmatch": lambda profile, seed: learn(profile, seed, profile.unlabelled["fixmatch"]),
    "primary": primary,
}


def profile_of(dataset: str, augment: ViewConfig | None = None) -> Profile:
    """The smoke profile of a dataset; both train the same network as long, and store as often."""
    mine, other = recipes.load("smoke", dataset), recipes.load("smoke", "minivoc")
    trains = {
        name: replace(value, steps=2, checkpoint_seconds=1e9)
        for name, value in vars(other).items() if name.startswith("train_")
    }
    data = mine.data if dataset == "minivoc" else replace(mine.data, labelled=6, keep=CLASSES)
    same = {"augment": augment, "logits_bits": 8} if augment else {}
    return replace(mine, data=data, model=other.model, **same, **trains)


def executed(profile: Profile, train: Callable, root: Path, seed: int) -> Lines:
    """What runs from image sets to batches and in the loop, for one training from the start."""
    lines: Lines = set()
    for remembered in (weak_view._places, weak_view._between, loader._order):
        remembered.cache_clear()  # or the second one would not run what the first one has
    identity._blueprints.clear()
    with traced(lines):
        resolve(train(profile, seed), Machine("cpu", root))
    return lines


def in_files(lines: Lines, *files: str) -> Lines:
    """The lines of some files, but for what a network's own learning rates decide."""
    return {(file, function, number) for file, function, number in lines
            if file in files and not function.startswith("Method.parameter_groups")}


FILES = ("image_set.py", "loader.py", "weak_view.py", "colours.py", "part.py", "boxes.py",
         "strong_view.py", "cutmix.py", "loop.py", "checkpoints.py", "run_folder.py", "store.py",
         "base.py", "losses.py", "averaging.py", "method.py", "logits.py",
         "resolving.py", "training.py", "trained.py", "values.py", "self_correction.py",
         "semi_supervised.py")


@pytest.fixture(scope="module")
def ran(root, tmp_path_factory) -> dict[tuple[str, str, str], Lines]:
    """What every training executed, by dataset, views (the same ones, or its own) and name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(tmp_path_factory.mktemp("work")))
        for one in methods.declared():  # what a process does once is done before
            one.load()
        for dataset in DATASETS:
            resolve(primary(profile_of(dataset, SHARED), 0), Machine("cpu", root))
        return {
            (dataset, views, name): executed(profile_of(dataset, augment), train, root, seed)
            for seed, (views, augment) in enumerate({"same": SHARED, "own": None}.items(), 1)
            for dataset in DATASETS for name, train in TRAINED.items()
        }


@pytest.mark.parametrize("name", list(TRAINED))
def test_with_the_same_views_both_execute_the_same_lines(name, ran):
    """Given one configuration of views, nothing but the reader differs."""
    assert {*FILES} <= {path.name for path in LIBRARY.rglob("*.py")}
    drawn, photographs = (in_files(ran[dataset, "same", name], *FILES) for dataset in DATASETS)
    assert len(photographs) > 150
    assert sorted(photographs - drawn) == sorted(drawn - photographs) == []


def test_with_their_own_views_the_differences_are_few_and_named(ran, capsys):
    """Each with its own profile: the same functions, but for what the list says."""
    functions = {
        dataset: {(file, function) for name in TRAINED
                  for file, function, _ in ran[dataset, "own", name]}
        for dataset in DATASETS
    }
    drawn, photographs = (functions[dataset] for dataset in DATASETS)
    with capsys.disabled():
        for dataset, only in zip(DATASETS, (drawn - photographs, photographs - drawn), strict=True):
            listed = ", ".join(f"{file}: {function}" for file, function in sorted(only))
            print(f"\nfunctions that only {dataset} runs: {listed or 'none'}", end="")
    assert drawn - photographs == set()
    # A mirrored view shows its image everywhere, and a drawn image is not resized.
    assert {function.split(".<")[0] for _, function in photographs - drawn} <= {
        "View.inside", "make_torchvision_importable", "note"}


def test_a_line_that_only_one_of_them_runs_would_be_noticed(ran):
    lines = [in_files(ran["minivoc", views, "supervised"], *FILES) for views in ("same", "own")]
    assert lines[0] != lines[1], "one mirrors images at their edge, the other pads them"
