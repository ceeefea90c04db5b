"""A dataset of somebody else's: one module, registered in a notebook or installed as a package."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from semiseg_lib import datasets
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.cli import main
from semiseg_lib.cli.predict import predict_files
from semiseg_lib.core.durable import read_json
from semiseg_lib.datasets import dataset as registry
from semiseg_lib.datasets.audit import audit_dataset
from semiseg_lib.datasets.dataset import SHIPPED, Dataset
from semiseg_lib.datasets.labels import VOID, read_mask
from semiseg_lib.experiments import Inputs, Machine, resolve, self_correction, semi_supervised
from semiseg_lib.experiments.trained import read_run
from semiseg_lib.recipes import Profile, load
from semiseg_lib.training.run_folder import RunFolder

PAGE = Path(__file__).resolve().parents[1] / "notebooks" / "your_own_dataset.md"
MODULE = re.search(r"`mine.py`:\n\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[1]
"""The file of the page: a reader, a source, a declaration, and here options and an audit."""

PARTS = {"candidates": 6, "unlabelled": 6, "val": 4, "test": 4}
HEIGHT, WIDTH = 40, 56
SEED = 5


def write_images(root: Path) -> Path:
    """Draw circles and squares on paper, in a layout that no other dataset has."""
    folder, rng = root / "mine-1.0", np.random.default_rng(3)
    (folder / "shots").mkdir(parents=True)
    rows, places = [], np.mgrid[:HEIGHT, :WIDTH]
    for part, count in PARTS.items():
        for number in range(count):
            name, mask = f"{('left', 'right')[number % 2]}-{part}-{number}", np.zeros(2, np.uint8)
            x, y, radius = rng.integers(10, 18), rng.integers(12, 26), rng.integers(5, 9)
            mask = np.where((places[1] - x) ** 2 + (places[0] - y) ** 2 <= radius**2, 1, 0)
            top, left, side = rng.integers(2, 20), rng.integers(30, 40), rng.integers(8, 14)
            mask[top:top + side, left:left + side] = 2
            mask[:1] = VOID
            colours = np.array([[220, 220, 200], [200, 60, 60], [60, 60, 200]])[mask % VOID]
            image = (colours + rng.integers(-20, 20, colours.shape)).astype(np.uint8)
            Image.fromarray(image).save(folder / "shots" / f"{name}.png")
            Image.fromarray(mask.astype(np.uint8)).save(folder / f"{name}-areas.png")
            boxes = [(1, x - radius, y - radius, x + radius + 1, y + radius + 1),
                     (2, left, top, left + side, top + side)]
            np.savetxt(folder / f"{name}.boxes", boxes, fmt="%d")
            rows.append(f"{name},{part}\n")
    (folder / "who.csv").write_text("".join(rows), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """A folder with the module, as pip would have installed it."""
    folder = tmp_path_factory.mktemp("site-packages")
    (folder / "mine.py").write_text(MODULE, encoding="utf-8")
    info = folder / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        f"[{registry.GROUP}]\nmine = mine:DATASET\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def mine(package, work) -> ModuleType:
    """The module, its declaration registered as in a notebook; all forgotten afterwards."""
    spec = importlib.util.spec_from_file_location("mine", package / "mine.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mine", module)
        patch.setenv("SEMISEG_WORK", str(work))
        patch.delenv("SEMISEG_DATA", raising=False)
        patch.setattr(registry, "_registered", {})
        spec.loader.exec_module(module)
        datasets.register(module.DATASET)
        yield module


@pytest.fixture(scope="module")
def profile(mine) -> Profile:
    return load("smoke", "mine")


@pytest.fixture(scope="module")
def machine(root) -> Machine:
    return Machine("cpu", root)


def labelled_pixels(images) -> int:
    return sum(int((images.sample(i).mask != VOID).sum()) for i in range(len(images)))


def test_what_a_user_writes_is_short():
    assert len([line for line in MODULE.splitlines() if line.strip()]) <= 90


def test_the_images_are_read_with_their_labels(mine, root):
    data = Data(DataConfig("mine", labelled=4), 1, root)
    assert [len(data.names[name]) for name in data.names] == [4, 6, 4, 4]
    assert data.classes == mine.CLASSES and data.source.boxed.tolist() == [False, True, True]
    part = data.labelled.with_fields("box_maps", "allowed").part(range(4))
    assert part.images.shape == (4, 3, HEIGHT, WIDTH) and part.box_maps.shape[1] == 3
    # Every object lies in its box, so the box channels cover the masks and allow them.
    for label in (1, 2):
        assert bool((part.box_maps[:, label][part.masks == label] == 1).all())
        assert bool(part.allowed[:, label][part.masks == label].all())
    assert data.unlabelled.part([0]).masks is None and len(data.boxed) == 6
    assert np.asarray(data.unlabelled_truth).shape == (6, HEIGHT, WIDTH)
    assert data.labelled.digest != data.unlabelled.digest
    other = Data(DataConfig("mine", keep=("paper", "square")), 1, root)
    assert other.classes == ("paper", "square") and other.source.boxed.tolist() == [False, True]
    assert set(np.unique(other.test.masks)) == {0, 1, VOID}
    with pytest.raises(ValueError, match=r"mine does not support data\.val"):
        Data(DataConfig("mine", val="others"), 1, root)
    with pytest.raises(FileNotFoundError, match=r"mine was not found: .* neither mine-1\.0"):
        Data(DataConfig("mine"), 1, root / "mine-1.0" / "shots")


def test_all_stages_and_a_method_without_boxes_train_on_it(profile, machine, mine):
    runs = {
        "supervised": self_correction.supervised(profile, SEED),
        "ancillary": self_correction.ancillary(profile, SEED),
        "primary": self_correction.primary(profile, SEED),
        "fixmatch": semi_supervised.learn(profile, SEED, profile.unlabelled["fixmatch"]),
    }
    trained = {name: resolve(run, machine) for name, run in runs.items()}
    data = Data(profile.data, SEED, machine.root)
    pixels = labelled_pixels(data.test)
    assert pixels == 4 * (HEIGHT - 1) * WIDTH
    for name, one in trained.items():
        assert one.run == runs[name] and one.run.method.name == name
        assert one.classes == mine.CLASSES
        learnt = {part: getattr(data, part) for part in one.method.learns_from(one.run.method)}
        if name != "ancillary":
            learnt = {part: images.without_boxes() for part, images in learnt.items()}
        known, lists = one.folder.description["inputs"], read_json(one.folder.path / "lists.json")
        assert list(lists["scored on"]["test"]) == list(data.names["test"])
        assert known["classes"] == list(mine.CLASSES)
        for part, images in learnt.items():
            assert known["images"][part] == images.digest
            assert list(lists["made from"][part]) == list(data.names[part])
        scores = one.evaluate()
        assert scores.confusion.sum() == pixels and scores.classes == mine.CLASSES
        stored = RunFolder.open(one.folder.path)
        assert read_run(stored.description, one.folder.path) == one.run
    assert len({one.folder.path for one in trained.values()}) == 4
    logits = resolve(self_correction.logits(profile, SEED), machine)
    assert logits.names == data.boxed.names == data.unlabelled.names


def test_its_options_are_part_of_a_run(profile, mine, root):
    left = replace(profile, data=profile.data.with_options(camera="left"))
    names = Data(left.data, SEED, root).names
    assert [len(names[name]) for name in names] == [3, 3, 2, 2]
    inputs = Inputs(root)
    both, one_eye = (inputs.identity(self_correction.supervised(one, SEED))
                     for one in (profile, left))
    assert both.digest != one_eye.digest and both.options_digest != one_eye.options_digest
    with pytest.raises(ValueError, match="dataset mine has no option 'lens'; it has camera"):
        profile.data.with_options(lens="wide")
    with pytest.raises(ValueError, match="the options of voc must be a DatasetOptions"):
        DataConfig("voc", options=mine.MineOptions())


def test_a_changed_file_leads_to_another_run_and_is_named(profile, mine, tmp_path, capsys):
    machine = Machine("cpu", write_images(tmp_path))
    run = self_correction.supervised(profile, SEED)
    before = resolve(run, machine)
    changed = before.data.names["labelled"][1]
    Image.new("L", (WIDTH, HEIGHT), 1).save(tmp_path / "mine-1.0" / f"{changed}-areas.png")
    capsys.readouterr()
    after = resolve(run, machine)
    said = capsys.readouterr().err
    assert after.run == before.run and after.folder.path != before.folder.path
    assert before.folder.finished and before.folder.path.name in said
    labelled = len(before.data.names["labelled"])
    assert f"labelled images: 1 of {labelled} changed ({changed})" in said


def test_the_audit_finds_what_is_wrong(mine, root, tmp_path):
    report = audit_dataset("mine", root)
    assert not report.failed and set(report.histograms) == set(PARTS)
    assert report.histograms["test"].names == mine.CLASSES
    copied = write_images(tmp_path)
    mask = np.full((HEIGHT, WIDTH), 9, np.uint8)
    Image.fromarray(mask).save(copied / "mine-1.0" / "left-val-0-areas.png")
    (copied / "mine-1.0" / "shots" / "left-test-0.png").unlink()
    said = "\n".join(map(str, audit_dataset("mine", copied).findings))
    assert "left-val-0-areas.png (9)" in said and "left-test-0.png" in said


def test_the_audit_expects_the_palette_of_the_rules(mine, tmp_path, monkeypatch):
    """A mask that was saved from its colours can look right and hold other ids."""
    palette = np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1)
    palette[:3] = (250, 250, 240), (200, 0, 0), (0, 0, 200)
    monkeypatch.setattr(mine, "Rules", partial(mine.Rules, palette=palette))
    path = write_images(tmp_path) / "mine-1.0" / "left-val-0-areas.png"
    mask = np.asarray(Image.open(path))
    for colours, said in (
        (palette[[0, 1, 2]], []),
        (palette[[0, 2, 1]], [("FAIL", "right colours but hold other ids")]),
        ([(1, 2, 3), *palette[1:3]], [("NOTE", "a palette of their own")]),
    ):
        stored = Image.fromarray(mask, mode="P")
        stored.putpalette(np.concatenate([colours, palette[3:]]).ravel().tolist())
        stored.save(path)
        found = audit_dataset("mine", tmp_path).findings
        assert [(one.severity, words) for one in found for words in
                ("right colours but hold other ids", "a palette of their own")
                if words in str(one)] == said


def test_images_of_one_s_own_are_segmented(profile, machine, root, tmp_path):
    trained = resolve(self_correction.supervised(profile, SEED), machine)
    written = predict_files(
        trained.method, trained.classes, root / "mine-1.0" / "shots", tmp_path / "out")
    assert len(written) == sum(PARTS.values())
    assert read_mask(written[0], 3).shape == (HEIGHT, WIDTH)


def test_its_options_are_flags(mine, root, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "supervised", "--dataset", "mine", "--profile", "smoke", "--help"])
    assert stopped.value.code in (0, None)
    said = capsys.readouterr().out
    assert "--data.options.camera" in said and "both,left,right" in said
    assert "--data.options.world" not in said and "--data.options.recipe" not in said
    arguments = ["train", "supervised", "--dataset", "mine", "--profile", "smoke", "--root",
                 str(root), "--device", "cpu", "--data.options.camera", "right"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    folder = Path(printed.split("run: ")[1].splitlines()[0].strip())
    stored = read_json(folder / "config.json")
    assert stored["value"]["data"]["options"] == {"camera": "right"} and "square" in printed
    assert read_run(stored, folder).data.options == mine.MineOptions("right")


def test_a_dataset_without_audit_and_an_unknown_one_are_refused(mine, root, capsys):
    datasets.register(replace(mine.DATASET, name="unaudited", audit=None))
    assert main(["data", "audit", "unaudited", "--root", str(root)]) == 1
    said = capsys.readouterr().err
    assert "the dataset unaudited has no audit; choose from minivoc, voc" in said
    assert said.count("mine") >= 1 and "Traceback" not in said
    for arguments in (["data", "audit", "theirs"], ["data", "--dataset", "theirs"],
                      ["data", "split", "theirs", "--labelled", "2", "--out", "list.txt"],
                      ["pipeline", "--dataset", "theirs", "--profile", "smoke"]):
        assert main(arguments) == 2, arguments
        said = capsys.readouterr().err
        assert "unknown dataset 'theirs'; choose from minivoc, voc" in said and "mine" in said
    with pytest.raises(SystemExit) as stopped:
        main(["train", "supervised", "--dataset", "theirs"])
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert all(name in said for name in (*SHIPPED, "mine", "theirs"))


@dataclass(frozen=True)
class Shell:
    """The command line in a process of its own, which finds the package on its path."""

    package: Path
    work: Path

    def __call__(self, *commands: list) -> list[str]:
        """What each command prints, one after the other."""
        environment = {key: value for key, value in os.environ.items() if key != "SEMISEG_DATA"}
        checkout = Path(__file__).resolve().parents[1]
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(self.package), str(checkout)]),
            "SEMISEG_WORK": str(self.work), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1",
        }
        arguments = json.dumps([[str(word) for word in command] for command in commands])
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, arguments], capture_output=True,
            text=True, encoding="utf-8", env=environment, cwd=self.work, timeout=400, check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr
        return done.stdout.split("=====")[:-1]


COMMANDS = """
import json, sys
from semiseg_lib.cli import main
for command in json.loads(sys.argv[1]):
    if code := main(command):
        sys.exit(code)
    print("=====")
"""


def test_an_installed_package_serves_every_command(package, root, tmp_path):
    """Nothing is imported or registered by hand: the entry point is enough."""
    shell = Shell(package, tmp_path)
    checked, split, trained = shell(
        ["data", "audit", "mine", "--root", root],
        ["data", "split", "mine", "--root", root, "--labelled", 3, "--out", "three.txt"],
        ["train", "supervised", "--dataset", "mine", "--profile", "smoke", "--root", root,
         "--device", "cpu", "--data.published", "three.txt"],
    )
    assert "Mine" in checked and "ready to train on" in checked and "Terms: mine." in checked
    assert all(name in checked for name in ("paper", "circle", "square"))
    names = (tmp_path / "three.txt").read_text(encoding="utf-8").split()
    assert "3 of 6 images" in split and "all 3 classes occur" in split and len(set(names)) == 3
    assert "mIoU on val:" in trained and "circle" in trained and "square" in trained
    run = Path(trained.split("run: ")[1].splitlines()[0].strip())
    assert list(read_json(run / "lists.json")["made from"]["labelled"]) == names
    scored, predicted = shell(
        ["evaluate", run, "--root", root, "--device", "cpu"],
        ["predict", root / "mine-1.0" / "shots", "--run", run, "--out", "out", "--device", "cpu"],
    )
    assert "mIoU on test:" in scored and "circle" in scored and "square" in scored
    assert f"{sum(PARTS.values())} images segmented" in predicted
    assert set(np.unique(read_mask(tmp_path / "out" / "left-test-0.png", 3))) <= {0, 1, 2}


def test_a_plain_declaration_needs_no_options_and_no_audit():
    """The least that somebody writes: three fields."""
    declared = Dataset("mine", "Shapes on paper", lambda request, root, seed: None)
    assert declared.options is datasets.DatasetOptions and declared.audit is None
    assert declared.needs_root and not declared.cached and not declared.downloads
