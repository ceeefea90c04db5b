"""Pages that are written from the program, or whose examples are run: command line, own folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bookkit import command_line
from semiseg_lib.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"


def test_the_page_of_the_command_line_shows_every_command_and_its_flags():
    page = (NOTEBOOKS / f"{command_line.PAGE}.md").read_text(encoding="utf-8")
    assert command_line.BLOCK in page
    filled = command_line.fill(page)
    for name in COMMANDS:
        assert f"## `semiseg {name}`" in filled and f"usage: semiseg {name}" in filled
    for flag in ("--no-resume", "--method.threshold", "--other-data", "--split", "--against",
                 "--yes", "--train.steps", "--list PATH", "--seeds"):
        assert flag in filled, flag
    assert str(Path.home()) not in filled and command_line.BLOCK not in filled


def test_the_example_of_the_own_folder_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    page = (NOTEBOOKS / "own_folder.md").read_text(encoding="utf-8")
    names, said = {}, ""
    for language, code in re.findall(r"^```(python|bash)\n(.*?)^```$", page, re.M | re.S):
        if language == "python":
            exec(code, names)
            continue
        for line in code.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "semiseg" and main(arguments) == 0
    said = capsys.readouterr().out
    assert "ready to train on" in said and said.count("mIoU on val") == 2
    assert re.search(r"mIoU \d+\.\d %, run: fixmatch-", said)


@pytest.mark.parametrize("word", ["classes.txt", "boxes.json", "labelled.txt", "255", "bbox"])
def test_the_folder_form_stands_in_the_book(word):
    assert word in (NOTEBOOKS / "own_folder.md").read_text(encoding="utf-8")


def missing_paths(text: str) -> list[str]:
    """Return the paths in a text that neither the checkout nor ``semiseg_lib`` has.

    A path begins with a folder of one of the two, or is the target of a link. Parts in capitals
    stand for any name.
    """
    roots = (ROOT, ROOT / "semiseg_lib")
    folders = {path.name for root in roots for path in root.iterdir() if path.is_dir()}
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    paths = re.findall(r"(?<![\w./-])[\w.-]+(?:/[\w.-]*)+", text)
    named = [path.rstrip(".") for path in paths if path.split("/")[0] in folders]
    return sorted(
        path for path in {*links, *named}
        if not any((root / path).exists() for root in roots)
        and not any(Path(part).stem.isupper() for part in path.split("/"))
    )


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_path_that_it_names_is_there(name):
    assert missing_paths((ROOT / name).read_text(encoding="utf-8")) == []


def test_a_path_that_is_not_there_would_be_noticed():
    text = "`tests/fingerprints.json` [x](data/nothing.md) `core/paths.py` https://a/b and/or"
    assert missing_paths(text) == ["data/nothing.md", "tests/fingerprints.json"]
