"""Pages that are written from the program, or whose examples are run: command line, own folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bookkit import command_line
from semiseg_lib.cli import COMMANDS, main

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


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
