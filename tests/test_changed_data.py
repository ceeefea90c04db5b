"""Commands on images that have changed: never an old answer for new images, nothing lost.

The inputs are those that people have: masks that were mended in place, boxes that were corrected,
two datasets whose files have the same names, the wrong ``--root``, files that were cut off.
"""

from __future__ import annotations

import errno
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import own_folder
import pytest
from PIL import Image
from stopping import stopped_after

from semiseg_lib import recipes
from semiseg_lib.cli import main
from semiseg_lib.core import durable
from semiseg_lib.core.durable import read_json
from semiseg_lib.core.paths import CHECKOUT
from semiseg_lib.experiments import training

WEIGHTS, CHECKPOINT = "model.safetensors", "checkpoint.pt"
ON_CPU = ["--device", "cpu"]
FOLDER = ["--dataset", "folder", "--profile", "smoke", *ON_CPU]
TRAIN = ["train", "supervised", *FOLDER]


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """A work folder, and the smoke profile of a folder with a tiny network."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    monkeypatch.delenv("SEMISEG_DATA", raising=False)
    monkeypatch.setattr(recipes, "load", own_folder.load_instead(own_folder.profile()))
    return tmp_path / "work"


@pytest.fixture
def semiseg(work, capsys):
    """Run a command that must succeed; return what it prints and what it says beside."""
    def run(*arguments, root: Path | None = None) -> tuple[str, str]:
        where = ["--root", str(root)] if root else []
        assert main([*map(str, arguments), *where]) == 0, capsys.readouterr().err
        return capsys.readouterr()

    return run


@pytest.fixture
def refused(work, capsys):
    """Run a command that must be refused in a line; return that."""
    def run(*arguments, root: Path | None = None, code: int = 1) -> str:
        where = ["--root", str(root)] if root else []
        assert main([*map(str, arguments), *where]) == code, capsys.readouterr().out
        said = capsys.readouterr().err
        message, *hint = said[said.index("semiseg: "):].strip().splitlines()
        assert "Traceback" not in said
        assert hint == ([f"`semiseg {arguments[0]} --help` says what it takes."] * (code == 2))
        return message

    return run


def runs(work: Path, method: str = "") -> dict[str, Path]:
    """The run folders, by name."""
    return {path.name: path for path in sorted((work / "runs").glob(f"{method}*"))}


def run_in(printed: str) -> Path:
    """The run that a command names."""
    return Path(re.search(r"^run: (.*)$", printed, re.M)[1])


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder with its bytes and when it was written."""
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in sorted(folder.rglob("*")) if path.is_file()}


def evaluations(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "evaluations").iterdir())


# ----------------------------------------------------------------- labels that were mended in place

@pytest.mark.parametrize("more", [[], ["--no-resume"]], ids=["", "no-resume"])
def test_mended_masks_are_learnt_and_the_old_run_stays(work, tmp_path, semiseg, more):
    root = own_folder.draw(tmp_path / "own")
    own_folder.exchange(root)
    old = run_in(semiseg(*TRAIN, root=root).out)
    before = content(old)
    own_folder.exchange(root)
    printed, said = semiseg(*TRAIN, *more, root=root)
    new = run_in(printed)
    assert new != old and content(old) == before and len(runs(work)) == 2
    assert (new / WEIGHTS).read_bytes() != (old / WEIGHTS).read_bytes()
    assert f"{new.name} is not {old.name}: labelled images: 4 of 4 changed (p" in said
    assert "It is made anew, and the other one stays as it is." in said
    own_folder.exchange(root)
    printed, said = semiseg(*TRAIN, root=root)
    assert run_in(printed) == old and "step/s" not in said, "the first run is found again"


def test_a_picture_more_or_less_is_named(work, tmp_path, semiseg):
    root = own_folder.draw(tmp_path / "own", lists=True, masked=8)
    semiseg(*TRAIN, root=root)
    (root / "labelled.txt").write_text("p0\np2\np3\np4\n", encoding="utf-8")
    (root / "unlabelled.txt").write_text("p1\np5\n", encoding="utf-8")
    said = semiseg(*TRAIN, root=root).err
    assert "labelled images: 1 of 4 new (p4), 1 of 4 gone (p1)" in said


def test_images_in_other_formats_of_the_same_name_are_others(work, tmp_path, semiseg):
    """Nothing but bytes counts: neither names nor times nor sizes."""
    root = own_folder.draw(tmp_path / "own")
    semiseg(*TRAIN, root=root)
    path = root / "masks" / "p0.png"
    status, mask = path.stat(), np.asarray(Image.open(path)).copy()
    mask[0, 0] = 1
    own_folder.write_mask(root, 0, mask)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "1 of 4 changed (p0)" in semiseg(*TRAIN, root=root).err
    assert len(runs(work)) == 2
    for each in (root / "images").iterdir():
        each.touch()
    semiseg(*TRAIN, root=root)
    moved = root.rename(tmp_path / "elsewhere")
    semiseg(*TRAIN, root=moved)
    assert len(runs(work)) == 2, "a copy of the same bytes is the same"


def test_corrected_boxes_give_new_logits_and_leave_the_ancillary_alone(work, tmp_path, semiseg):
    """What does not read these boxes is loaded; what builds on their labels is trained anew."""
    root = own_folder.draw(tmp_path / "own", count=10, masked=6, boxes=True)
    first = semiseg("pipeline", *FOLDER, root=root).out
    before = {name: content(path) for name, path in runs(work).items()}
    stored = {path.name: content(path) for path in (work / "logits").iterdir()}
    whole = np.zeros((own_folder.HEIGHT, own_folder.WIDTH), np.uint8)
    whole[2:-2, 2:-2] = 1
    for number in range(6, 10):
        own_folder.write_boxes(root, number, whole, own_folder.CLASSES)
    second, said = semiseg("pipeline", *FOLDER, root=root)
    assert {name: content(runs(work)[name]) for name in before} == before
    assert {name: content(work / "logits" / name) for name in stored} == stored
    new = sorted(name.rpartition("-")[0] for name in runs(work).keys() - before.keys())
    assert new == sorted(
        name.rpartition("-")[0] for name in before
        if "unlabelled" in read_json(work / "runs" / name / "lists.json")["made from"])
    assert len(new) == 3
    assert said.count("unlabelled logits: another one") == 3
    assert "unlabelled images: 4 of 4 changed (p6, p7, p8, …)" in said, "of the logits"
    assert len(list((work / "logits").iterdir())) == len(stored) + 1
    tables = [{line.split("|")[1].strip(): line.split("|")[4] for line in out.splitlines()
               if line.startswith("|")} for out in (first, second)]
    same = {name for name, run in tables[0].items() if tables[1][name] == run}
    assert {"supervised (masks alone)", "ancillary (sees boxes)"} <= same
    assert not [name for name in same if name.startswith("primary")]


def test_two_datasets_with_the_same_file_names_are_two_runs(work, tmp_path, semiseg):
    cats = own_folder.draw(tmp_path / "cats")
    cars = own_folder.draw(tmp_path / "cars", offset=40, classes=("background", "car", "truck"))
    first = semiseg(*TRAIN, root=cats).out
    second, said = semiseg(*TRAIN, root=cars)
    assert run_in(first) != run_in(second) and len(runs(work)) == 2
    assert "| disc " in first and "| car " in second and "| disc " not in second
    assert "class names: background, car, truck instead of background, disc, square" in said
    assert run_in(semiseg(*TRAIN, root=cats).out) == run_in(first)


def test_class_names_alone_make_another_run(work, tmp_path, semiseg):
    root = own_folder.draw(tmp_path / "own")
    first = run_in(semiseg(*TRAIN, root=root).out)
    (root / "classes.txt").write_text("background\nsquare\ndisc\n", encoding="utf-8")
    assert run_in(semiseg(*TRAIN, root=root).out) != first


# --------------------------------------------------------------------------------- semiseg evaluate

def test_other_classes_are_refused_whatever_is_said(work, tmp_path, semiseg, refused):
    root = own_folder.draw(tmp_path / "a")
    other = own_folder.draw(tmp_path / "b", offset=30, classes=("background", "car", "truck"))
    run = run_in(semiseg(*TRAIN, root=root).out)
    for more in ([], ["--other-data"]):
        said = refused("evaluate", run, *ON_CPU, *more, root=other)
        assert "the first difference is 1: disc / car" in said and "--root" in said
    assert evaluations(run) == [name for name in evaluations(run) if name.startswith("val")]


def test_other_test_images_are_refused_by_name_unless_they_are_wanted(
    work, tmp_path, semiseg, refused
):
    """Both scores are kept then, each with its images."""
    root = own_folder.draw(tmp_path / "a")
    other = own_folder.draw(tmp_path / "b", offset=30)
    run = run_in(semiseg(*TRAIN, root=root).out)
    own = semiseg("evaluate", run, *ON_CPU, root=root).out
    said = refused("evaluate", run, *ON_CPU, root=other)
    assert re.search(r"the test images here are not those that belonged to .*: 1 of 1 changed "
                     r"\(p\d\)\. Name the folder of its data \(--root\), or add --other-data", said)
    kept = evaluations(run)
    others = semiseg("evaluate", run, *ON_CPU, "--other-data", root=other).out
    assert len(evaluations(run)) == len(kept) + 2 and set(kept) < set(evaluations(run))
    digests = [re.search(r"measured on 1 test images \(digest (\w{10})\), whole images", out)[1]
               for out in (own, others)]
    stored = [read_json(path) for path in (run / "evaluations").glob("test-*.json")]
    assert {one["images"][:10] for one in stored} == set(digests) and len(set(digests)) == 2
    assert all(one["count"] == 1 and one["split"] == "test" for one in stored)


def test_there_is_one_result_for_each_protocol_and_images(work, tmp_path, semiseg):
    """The same asked twice is one file; it says what was measured, by which code and where."""
    root = own_folder.draw(tmp_path / "own")
    run = run_in(semiseg(*TRAIN, root=root).out)
    protocols = ([], ["--flip"], ["--scales", "1", "2"], ["--window", "32", "--overlap", "0.5"])
    words = ["whole images", "whole images, also mirrored", "whole images, scales 1, 2",
             "windows of 32 pixels, overlap 0.5"]
    for protocol, word in zip(protocols, words, strict=True):
        for _ in range(2):
            printed = semiseg("evaluate", run, *ON_CPU, *protocol, root=root).out
            assert re.search(rf"measured on 1 test images \(digest \w+\), {word}\n", printed)
            assert re.search(r"^scores: .*evaluations/test-[0-9a-f]{8}\.json$", printed, re.M)
    names = [name for name in evaluations(run) if name.startswith("test")]
    assert len(names) == 8 and {name.rpartition(".")[2] for name in names} == {"json", "md"}
    stored = [read_json(path) for path in (run / "evaluations").glob("test-*.json")]
    assert len({str(one["protocol"]) for one in stored}) == 4
    assert all(one["commit"] and one["machine"]["threads"] and one["date"] for one in stored)
    semiseg("evaluate", run, *ON_CPU, "--split", "val", root=root)
    assert len(evaluations(run)) == 10, "those of val were stored by train"


def test_only_what_a_model_reads_makes_other_test_images(work, tmp_path, semiseg, refused):
    """Boxes of the test images are nothing to a model that sees none."""
    root = own_folder.draw(tmp_path / "own", boxes=True)
    blind = run_in(semiseg(*TRAIN, root=root).out)
    seeing = run_in(semiseg("train", "ancillary", *FOLDER, root=root).out)
    for number in range(6):
        mask = own_folder.scene(number)[1]
        own_folder.write_boxes(root, number, np.roll(mask, 1, axis=1), own_folder.CLASSES)
    semiseg("evaluate", blind, *ON_CPU, root=root)
    assert "1 of 1 changed" in refused("evaluate", seeing, *ON_CPU, root=root)


def test_a_run_that_can_only_be_read_is_scored_and_not_stored(
    work, tmp_path, semiseg, monkeypatch
):
    """As in a folder that a lecturer shares; also as root, whom no permission stops."""
    root = own_folder.draw(tmp_path / "own")
    run = run_in(semiseg(*TRAIN, root=root).out)
    shutil.rmtree(run / "evaluations")
    before = content(run)

    def refuse(folder: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for path in (*run.rglob("*"), run):
        path.chmod(0o555 if path.is_dir() else 0o444)
    monkeypatch.setattr(durable, "_make_folder", refuse)
    printed = semiseg("evaluate", run, *ON_CPU, root=root).out
    assert "mIoU on test:" in printed and "scores: not stored" in printed
    assert "is read-only" in printed and content(run) == before
    run.chmod(0o755)


# -------------------------------------------------------------------------- semiseg run, train anew

@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_run_is_made_again_from_its_file_in_a_fresh_work_folder(
    work, tmp_path, semiseg, monkeypatch, what
):
    """Bit by bit, with everything that it builds on; the file alone is enough."""
    root = own_folder.draw(tmp_path / "own", count=10, masked=6, boxes=True)
    first = run_in(semiseg("train", "primary", *FOLDER, root=root).out)
    source = first
    if what == "file":
        source = shutil.copy(first / "config.json", tmp_path / "sent.json")
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "fresh"))
    again = run_in(semiseg("run", source, *ON_CPU, root=root).out)
    assert again.parent == tmp_path / "fresh" / "runs" and again.name == first.name
    assert runs(tmp_path / "fresh").keys() == runs(work).keys()
    for name, path in runs(work).items():
        for member in (WEIGHTS, "config.json", "lists.json"):
            other = tmp_path / "fresh" / "runs" / name / member
            assert (path / member).read_bytes() == other.read_bytes()
    printed, said = semiseg("run", source, *ON_CPU, root=root)
    assert run_in(printed) == again and "step/s" not in said


def test_a_file_is_not_followed_on_other_images_unless_that_is_wanted(
    work, tmp_path, semiseg, refused
):
    root = own_folder.draw(tmp_path / "own")
    first = run_in(semiseg(*TRAIN, root=root).out)
    own_folder.exchange(root, [0, 1])
    said = refused("run", first, *ON_CPU, root=root)
    assert re.search(r"config\.json describes a run that learnt from something else than what is "
                     r"here: labelled images: 2 of 4 changed \(p0, p1\)\.", said)
    assert "--root" in said and "--other-data" in said and len(runs(work)) == 1
    alone = shutil.copy(first / "config.json", tmp_path / "sent.json")
    assert "labelled images: others" in refused("run", alone, *ON_CPU, root=root)
    second = run_in(semiseg("run", first, "--other-data", *ON_CPU, root=root).out)
    assert second != first and len(runs(work)) == 2
    assert run_in(semiseg(*TRAIN, root=root).out) == second


@pytest.mark.parametrize("by", ["train", "run"])
def test_no_resume_trains_a_finished_run_again(work, tmp_path, semiseg, by):
    """The same bits, written anew; without it nothing is written."""
    root = own_folder.draw(tmp_path / "own")
    run = run_in(semiseg(*TRAIN, root=root).out)
    command = TRAIN if by == "train" else ["run", run, *ON_CPU]
    before = content(run)
    assert run_in(semiseg(*command, root=root).out) == run
    now = content(run)
    assert {name: now[name] for name in now if "evaluations" not in name} == {
        name: before[name] for name in before if "evaluations" not in name}
    printed, said = semiseg(*command, "--no-resume", root=root)
    after = content(run)
    assert run_in(printed) == run and "step/s" in said
    for name in (WEIGHTS, "config.json", "lists.json"):
        assert after[name][0] == before[name][0] and after[name][1] != before[name][1]
    assert len(runs(work)) == 1


HELPERS = Path(own_folder.__file__).parent
KILLED = """
import os, signal, sys
import own_folder
from semiseg_lib import recipes
from semiseg_lib.cli import main
from semiseg_lib.experiments import places

recipes.load = own_folder.load_instead(own_folder.profile())
places.move = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_no_resume_killed_before_the_new_run_is_in_place_is_carried_on(work, tmp_path, semiseg):
    """The old run is gone, the new one is finished: the same command puts it there."""
    root = own_folder.draw(tmp_path / "own")
    run = run_in(semiseg(*TRAIN, root=root).out)
    before = content(run)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *TRAIN, "--root", str(root), "--no-resume"], check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(HELPERS)])},
        capture_output=True, timeout=300,
    )
    assert done.returncode == -signal.SIGKILL and not run.exists()
    printed, said = semiseg(*TRAIN, root=root)
    assert run_in(printed) == run and "step/s" not in said
    assert content(run)[WEIGHTS][0] == before[WEIGHTS][0]


@pytest.mark.parametrize("content", ["nothing", "text", "old", "later"])
def test_a_file_that_describes_no_run_is_refused(work, tmp_path, refused, content):
    path = tmp_path / "config.json"
    if content == "text":
        path.write_text("train supervised", encoding="utf-8")
    if content == "old":
        path.write_text('{"method": {}, "data": {}}', encoding="utf-8")
    if content == "later":
        durable.write_json(path, {"schema": 99, "kind": "run"})
    words = {"nothing": "config.json is missing", "text": "config.json is damaged",
             "old": "by an earlier version", "later": "has schema 99; this version of semiseg_lib "
                                                      "reads schema 1"}
    for place in (tmp_path, path):
        code = 1 if place.exists() else 2
        assert words[content] in refused("run", place, *ON_CPU, code=code)


# -------------------------------------------------------------------------- files that were cut off

def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def another_program(path: Path) -> None:
    with path.open("wb") as file:
        pickle.dump({"a": print}, file)


@pytest.mark.parametrize("spoil", [cut, another_program], ids=["cut", "another"])
def test_a_spoilt_checkpoint_is_set_aside_and_the_run_goes_on(
    work, tmp_path, semiseg, monkeypatch, spoil
):
    """From the one before it, or from the start; the result is that of a run without a break."""
    root = own_folder.draw(tmp_path / "own")
    command = [*TRAIN, "--train.steps", "6", "--train.checkpoint-seconds", "0"]
    whole = run_in(semiseg(*command, root=root).out)
    expected = (whole / WEIGHTS).read_bytes()
    shutil.rmtree(whole)
    for names in ([CHECKPOINT], [CHECKPOINT, "checkpoint-before.pt"]):
        with monkeypatch.context() as patch:
            patch.setattr(training, "fit", stopped_after(3))
            assert main([*command, "--root", str(root)]) == 130
        for name in names:
            spoil(whole / name)
        said = semiseg(*command, root=root).err
        for name in names:
            assert f"It is set aside as {name}.damaged" in said
        assert (whole / WEIGHTS).read_bytes() == expected
        shutil.rmtree(whole)


@pytest.mark.parametrize("spoil", [cut, another_program], ids=["cut", "another"])
@pytest.mark.parametrize("more", [[], ["--no-resume"]], ids=["", "no-resume"])
def test_spoilt_weights_are_named_and_made_again_by_the_same_command(
    work, tmp_path, semiseg, refused, spoil, more
):
    root = own_folder.draw(tmp_path / "own")
    run = run_in(semiseg(*TRAIN, root=root).out)
    expected = (run / WEIGHTS).read_bytes()
    spoil(run / WEIGHTS)
    out = tmp_path / "out"
    for command in (["evaluate", run], ["predict", root / "images", "--run", run, "--out", out]):
        said = refused(*command, *ON_CPU)
        assert run.name in said and "` makes the run again" in said
    printed, said = semiseg(*TRAIN, *more, root=root)
    assert run_in(printed) == run and (run / WEIGHTS).read_bytes() == expected
    aside = run.with_name(f"{run.name}.damaged")
    if more:
        assert not aside.exists() and "set aside" not in said
    else:
        assert aside.is_dir() and f"set aside as {aside.as_posix()}" in said
    semiseg("evaluate", run, *ON_CPU, root=root)


# ---------------------------------------------------------------------------- predict, old versions

def test_predict_works_on_any_images_and_needs_no_dataset(work, tmp_path, semiseg):
    """Images of other sizes, formats and modes; the data of the run are gone."""
    root = own_folder.draw(tmp_path / "own")
    run = run_in(semiseg(*TRAIN, root=root).out)
    shutil.rmtree(root)
    source, out = tmp_path / "mine", tmp_path / "out"
    source.mkdir()
    generator = np.random.default_rng(0)
    kinds = {"grey.png": "L", "wide.jpg": "RGB", "clear.png": "RGBA", "p0.png": "RGB"}
    for number, (name, mode) in enumerate(kinds.items()):
        pixels = generator.integers(0, 256, (33 + 10 * number, 57, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(source / name)
    printed = semiseg("predict", source, "--run", run, "--out", out, *ON_CPU).out
    assert "4 images segmented" in printed
    for number, name in enumerate(kinds):
        with Image.open(out / f"{Path(name).stem}.png") as label:
            assert label.size == (57, 33 + 10 * number)


def write_old_run(folder: Path) -> Path:
    """A run as earlier versions stored it: without its inputs, without a manifest."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        '{\n  "method": {\n    "name": "supervised"\n  },\n  "data": {},\n  "seed": 0\n}',
        encoding="utf-8")
    (folder / "record.json").write_text('{"history": []}', encoding="utf-8")
    (folder / WEIGHTS).write_bytes(bytes(64))
    return folder


def test_a_run_of_an_earlier_version_is_refused_with_the_way_on(work, tmp_path, refused):
    run = write_old_run(work / "runs" / "supervised-0123456789")
    commands = [
        ["evaluate", run], ["run", run], ["predict", tmp_path, "--run", run, "--out", tmp_path],
        ["visualize", run / WEIGHTS, "--run", run, "--out", tmp_path / "figure.png"],
    ]
    before = content(run)
    for command in commands:
        said = refused(*command, *ON_CPU)
        assert "config.json was written by an earlier version" in said
        assert "Train it again; `semiseg runs prune` removes the old run." in said
    assert content(run) == before


def test_training_beside_old_runs_trains_and_leaves_them(work, tmp_path, semiseg):
    old = write_old_run(work / "runs" / "supervised-0123456789")
    before = content(old)
    root = own_folder.draw(tmp_path / "own")
    new = run_in(semiseg(*TRAIN, root=root).out)
    assert new != old and content(old) == before
