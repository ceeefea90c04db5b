"""Pages written from the program, or whose examples are run: commands, recipes, own folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bookkit import command_line
from bookkit import recipes as recipes_page
from semiseg_lib import recipes
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


def test_the_page_of_the_recipes_holds_all_that_their_files_say():
    """Every sentence on what is not reproduced, every value with its source, place and note."""
    page = (NOTEBOOKS / f"{recipes_page.PAGE}.md").read_text(encoding="utf-8")
    assert recipes_page.BLOCK in page
    as_read = recipes_page.fill(page).replace("\u00a0", " ")
    filled = re.sub(r"\\(.)", r"\1", as_read)
    sections = filled.split("\n## ")[1:]
    assert recipes_page.BLOCK not in filled and len(sections) == len(recipes.of("paper"))
    for section, one in zip(sections, recipes.of("paper"), strict=True):
        assert f"`recipes/paper/{one.path.name}`" in section
        table, sentences = section.split("Not reproduced:")
        for difference in one.differs:
            only = f"(`{difference.method}` only) " if difference.method else ""
            assert f"- {only}{difference.sentence}" in sentences
        assert all(f"]({address})" in table for address in one.sources.values())
        for method in one.methods:
            for line in one.lines(method).values():
                for said in (line.place, line.note, line.differs):
                    assert said in table, f"{one.path.name}: {said}"
                assert line.published is None or f"| {line.published} " in table


def test_every_chapter_on_a_published_system_leads_to_its_recipe():
    for path in sorted(NOTEBOOKS.glob("1[1-6]_*.py")):
        assert f"({recipes_page.PAGE}.md)" in path.read_text(encoding="utf-8"), path.name
    readme = (NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    assert f"(notebooks/{recipes_page.PAGE}.md)" in readme


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
