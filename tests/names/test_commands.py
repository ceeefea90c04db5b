"""Every command on a folder whose classes and files are named as badly as a file system allows.

Whatever is printed, by bars and messages too, is text; what is stored holds the names as they are.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import own_folder
import pytest
from hostile import (
    IN_A_FILE,
    IN_A_LIST,
    NAMES,
    assert_is_safe_in_a_spreadsheet,
    assert_is_text_for_a_terminal,
    cells_of_markdown,
    draw_folder,
)

from semiseg_lib import cli, recipes, studies
from semiseg_lib.cli import data, main
from semiseg_lib.core import escaping
from semiseg_lib.core.durable import read_json
from semiseg_lib.core.escaping import visible
from semiseg_lib.datasets.folder import FolderDataset, folder_lists, scan_folder
from semiseg_lib.datasets.labels import write_mask
from semiseg_lib.datasets.lists import read_published_list
from semiseg_lib.studies import Records, comparison
from semiseg_lib.studies.arms import Arm
from semiseg_lib.studies.comparison import Comparison, Row
from semiseg_lib.studies.entries import Entry

CLASSES = ("paper", *IN_A_LIST[:10], *IN_A_LIST[11:20])
FILES = (*IN_A_FILE, "plain", "other")
MASKED = len(FILES) - 3
NO_NAMES = {"voc", "sbd", "cityscapes", "camvid", "cifar10"}
"""Downloads: they print what their datasets declare."""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of a bad name, a work folder of a worse one, and small networks."""
    base = tmp_path_factory.mktemp("names")
    root = draw_folder(base / "<b>`$(x)` [y](z)|", CLASSES, FILES, MASKED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(base / "work \x1b[31m\u202e <i>"))
        patch.delenv("SEMISEG_DATA", raising=False)
        patch.setattr(recipes, "load", own_folder.load_instead(own_folder.profile()))
        yield base, root


@pytest.fixture
def semiseg(place, capsys):
    """Run a command; return what it prints, which is text, as what it says beside is."""
    def run(*arguments: object, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        ended = main([str(one) for one in arguments])
        said = capsys.readouterr()
        assert ended == code, said.err
        assert_is_text_for_a_terminal(said.out)
        assert_is_text_for_a_terminal(said.err, moving=True)
        return said.out, said.err

    return run


TWO = ("--labelled", 2, "--out")
OWN = ("--dataset", "folder", "--profile", "smoke", "--device", "cpu")


@pytest.fixture(scope="module")
def runs(place) -> dict[str, Path]:
    """The runs of the pipeline, and one of ELN, by method."""
    _, root = place
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):  # the bars of every stage
        assert main(["pipeline", *OWN, "--root", str(root)]) == 0
        assert main(["train", "eln", *OWN, "--root", str(root)]) == 0
    assert "step/s" in said.getvalue()
    assert_is_text_for_a_terminal(said.getvalue(), moving=True)
    stored = Path(os.environ["SEMISEG_WORK"]) / "runs"
    return {read_json(path / "config.json")["value"]["method"]["name"]: path
            for path in sorted(stored.iterdir())}


def tried() -> set[str]:
    """The commands that the tests of this file run: ``data check`` as one word."""
    text = Path(__file__).read_text(encoding="utf-8")
    names = [*cli.COMMANDS, *(f"data {name}" for name in data.commands())]
    spelt = {name: ", ".join(f'"{word}"' for word in name.split()) for name in names}
    return {name for name in names
            if f"semiseg({spelt[name]}" in text or f"main([{spelt[name]}" in text}


def test_every_command_is_tried_here():
    every = {*cli.COMMANDS, *(f"data {name}" for name in data.commands())}
    assert every - tried() == {f"data {name}" for name in NO_NAMES}


def test_the_folder_holds_what_it_should(place):
    found = scan_folder(place[1])
    assert found.classes == CLASSES and set(found.images) == set(FILES)
    assert "\x1b[31mred\x1b[0m\x07" in found.classes and len(found.masks) == MASKED


def test_data(semiseg, place):
    base, root = place
    out, _ = semiseg("data", "audit", "folder", "--root", root)
    assert all(visible(name) in out for name in CLASSES)
    out, _ = semiseg("data", "minivoc", *OWN[:-2], "--root", root)
    assert escaping.listed(CLASSES) in out and visible(root.name) in out
    listed = base / "list <i>.txt"
    out, _ = semiseg("data", "split", "folder", "--labelled", 5, "--out", listed, "--root", root)
    assert visible(listed) in out
    assert set(read_published_list(listed, FILES)) <= set(FILES)
    out, said = semiseg("data", "frames", base / "<b>.MXF", code=2)
    assert "<b>.MXF" in said


def test_what_is_wrong_with_a_folder_is_told_as_text(semiseg, place, tmp_path):
    root = draw_folder(tmp_path / "own", CLASSES[:3], FILES, 3)
    for name in IN_A_FILE:
        (root / "masks" / f"x{name}.png").write_bytes(b"")
    _, said = semiseg("data", "split", "folder", *TWO, tmp_path / "l", "--root", root, code=1)
    assert "masks have no image" in said
    out, _ = semiseg("data", "audit", "folder", "--root", root, code=1)
    assert "masks have no image" in out
    for path in (root / "masks").iterdir():
        path.write_bytes(b"") if path.name[0] != "x" else path.unlink()
    out, _ = semiseg("data", "audit", "folder", "--root", root, code=1)
    assert visible(f"{FILES[0]}.png") in out
    (root / "val.txt").write_text("\n".join(IN_A_FILE * 2), encoding="utf-8")
    _, said = semiseg("train", "supervised", *OWN, "--root", root, code=1)
    assert "twice" in said
    (root / "val.txt").write_text("\x1b[31mstranger\n", encoding="utf-8")
    _, said = semiseg("train", "supervised", *OWN, "--root", root, code=1)
    assert r"\x1b[31mstranger" in said


def spoil_a_box(root: Path) -> None:
    text = (root / "boxes.json").read_text(encoding="utf-8").replace('"bbox": [', '"bbox": [-99, ')
    (root / "boxes.json").write_text(text.replace(", 10]", "]"), encoding="utf-8")


SPOILT = {
    "a mask too many": lambda root: (root / "images" / f"{FILES[0]}.png").unlink(),
    "a mask of other ids": lambda root: write_mask(np.full((48, 12), 99, np.uint8),
                                                   root / "masks" / f"{FILES[0]}.png"),
    "a mask of another size": lambda root: write_mask(np.zeros((3, 3), np.uint8),
                                                      root / "masks" / f"{FILES[0]}.png"),
    "an image that is none": lambda root: (root / "images" / f"{FILES[0]}.png").write_bytes(b"x"),
    "a text among the images": lambda root: (root / "images" / "\x1b[1m.txt").write_bytes(b"x"),
    "a box of another class": lambda root: (root / "classes.txt").write_text(
        "paper\n\x1b[31mred\nx\n", encoding="utf-8"),
    "a class twice": lambda root: (root / "classes.txt").write_text("a\na\n", encoding="utf-8"),
    "a box outside": spoil_a_box,
    "a list without masks": lambda root: (root / "val.txt").write_text(
        "\n".join(FILES), encoding="utf-8"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_is_raised_is_text_already(tmp_path, how):
    """In a notebook or a script nothing stands between an error and the reader."""
    root = draw_folder(tmp_path / "root \x1b[2J\n", CLASSES[:16], FILES[::-1], len(FILES))
    assert folder_lists(root, 0) and len(list(FolderDataset(root))) == len(FILES)
    SPOILT[how](root)
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        folder_lists(root, 0)
        list(FolderDataset(root))
    assert_is_text_for_a_terminal(str(raised.value))


@pytest.mark.parametrize("name", ["a\nb", "c\u2028d", "e\x85f", "g\udce9"])
def test_a_file_name_that_no_list_can_hold_is_refused(semiseg, tmp_path, name):
    root = draw_folder(tmp_path / "own", CLASSES[:3], ["a", "b", "c", "d"], 4)
    (root / "images" / "a.png").rename(root / "images" / f"{name}.png")
    _, said = semiseg("data", "split", "folder", *TWO, tmp_path / "l", "--root", root, code=1)
    assert f"no list can name {visible(name)}.png" in said


def test_train_and_what_is_stored(semiseg, runs, place):
    out, _ = semiseg("train", "supervised", *OWN, "--root", place[1])
    assert all(visible(name) in out for name in CLASSES)
    out, _ = semiseg("evaluate", runs["supervised"], "--split", "test", "--root", place[1],
                     code=2)  # the argument of a bad name is refused
    for path in runs["supervised"].rglob("*.json"):
        raw = path.read_bytes()
        assert raw.isascii() and not set(raw) & {*range(10), *range(11, 32)}, path.name
    reports = sorted((runs["supervised"] / "evaluations").glob("val-*"))
    assert {path.suffix for path in reports} == {".json", ".md"}
    assert tuple(read_json(reports[0])["classes"]) == CLASSES
    cells = cells_of_markdown(reports[1].read_text(encoding="utf-8"))
    assert {visible(name) for name in CLASSES} <= set(cells)
    config = json.loads((runs["supervised"] / "config.json").read_text(encoding="utf-8"))
    assert tuple(config["inputs"]["classes"]) == CLASSES


def test_runs_logits_pipeline(semiseg, place):
    out, _ = semiseg("pipeline", *OWN, "--root", place[1])
    assert r"work \x1b[31m\u202e <i>/runs/" in out
    out, _ = semiseg("logits", *OWN, "--root", place[1])
    assert "kB each" in out
    (Path(os.environ["SEMISEG_WORK"]) / "runs" / "<img src=x>\x1b[2J\r|").mkdir()
    out, _ = semiseg("runs", "--root", place[1])
    assert "supervised" in out and r"In " in out


def test_a_finished_run_is_used_from_a_folder_of_another_name(
    semiseg, runs, place, tmp_path, monkeypatch
):
    """Arguments cannot hold control characters; tags, Markdown and a shell's signs they can."""
    _, root = place
    there = tmp_path / "<img src=x> $(x)"
    there.symlink_to(Path(os.environ["SEMISEG_WORK"]))
    monkeypatch.setenv("SEMISEG_WORK", str(there))
    supervised, eln = (there / "runs" / runs[name].name for name in ("supervised", "eln"))
    out, _ = semiseg("evaluate", supervised, "--split", "test", "--root", root)
    assert all(visible(name) in out for name in CLASSES)
    out, _ = semiseg("run", supervised, "--root", root, "--device", "cpu")
    assert visible(supervised) in out
    out, _ = semiseg("predict", root / "images", "--run", supervised, "--out", tmp_path / "<p>")
    assert f"{len(FILES)} images segmented" in out
    assert {path.stem for path in (tmp_path / "<p>").glob("*.png")} == {
        *FILES, *(f"{name}_overlay" for name in FILES)}
    image = root / "images" / f"{FILES[0]}.png"
    figure = tmp_path / "<f>.png"
    out, _ = semiseg("visualize", image, "--run", eln, "--out", figure, "--device", "cpu")
    assert figure.is_file() and visible(figure) in out
    _, said = semiseg("predict", root / "masks" / "<none>", "--run", supervised, "--out",
                      tmp_path / "q", code=2)
    assert "<none>" in said


@pytest.mark.parametrize("bad", ["\x1b[31mx", "a\rb", "\u202egnp.x", "\x9b2J"])
def test_an_argument_that_shows_nothing_is_refused_before_a_parser_repeats_it(semiseg, bad):
    for arguments in (("train", bad), ("evaluate", "x", f"--{bad}"), (bad,), ("data", bad)):
        _, said = semiseg(*arguments, code=2)
        assert said.startswith("semiseg: the argument ") and visible(bad) in said


def test_study_and_compare(semiseg, monkeypatch, tmp_path):
    arms = {name: Arm(name, lambda profile, seed: None) for name in NAMES}
    machine = {"device": "cpu", "gpu": "", "threads": 1, "processes": 1, "cpu": NAMES[0],
               "instructions": NAMES[16], "overrides": {}, "libraries": {"torch": "2"}}
    made = [{"machine": machine, "code": NAMES[17]}]
    rows = [{"arm": name, "seed": 1, "test": 50.0, "made with": made, "commit": NAMES[0]}
            for name in NAMES]
    monkeypatch.setitem(studies.STUDIES, "schedules", arms)
    monkeypatch.setattr(studies, "run", lambda *_: Records(rows, "smoke"))
    monkeypatch.setattr(studies, "read", lambda *_: Records(rows, "smoke"))
    out, _ = semiseg("study", "schedules", "--profile", "smoke")
    assert all(visible(name) in out for name in NAMES)
    table = Comparison("minivoc", recipes.load("smoke"), {
        name: Row(Entry(name, name, name), {1: 50.0, 2: 51.0}) for name in ("longer", *NAMES)
    }, {"x": Entry("$(x)", "$(x)", "`x`")})
    monkeypatch.setattr(comparison, "read", lambda *_: table)
    for suffix in (".md", ".csv"):
        path = tmp_path / f"table{suffix}"
        out, _ = semiseg("compare", "--profile", "smoke", "--out", path)
        assert all(visible(name) in out for name in NAMES) and "'$(x)'" in out
        text = path.read_text(encoding="utf-8")
        cells = cells_of_markdown(text) if suffix == ".md" else [
            row[0] for row in assert_is_safe_in_a_spreadsheet(text)]
        escape = visible if suffix == ".md" else escaping.csv
        assert {escape(name) for name in NAMES} <= set(cells)
    _, said = semiseg("compare", "--against", "<b>", code=2)
    assert "'<b>' is not a row" in said


def test_doctor(semiseg, place, monkeypatch):
    monkeypatch.setenv("SEMISEG_DATA", str(place[1]))
    out, _ = semiseg("doctor")
    assert "no known dataset" in out
