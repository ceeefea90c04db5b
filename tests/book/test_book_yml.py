"""book.yml is read and checked, and what is derived from it stays in step."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import bookkit as book_package
from bookkit import BookError, load
from bookkit.description import TABLE_END, TABLE_START
from semiseg_lib import recipes


@pytest.fixture(scope="module")
def book():
    return load()


@pytest.fixture
def edited(tmp_path, checkout):
    """Write book.yml with one change; `edit` gets its content."""

    def write(edit):
        content = yaml.safe_load((checkout / "book.yml").read_text(encoding="utf-8"))
        edit(content)
        path = tmp_path / "book.yml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


def first_chapter(content):
    return content["parts"][0]["chapters"][0]


def test_every_notebook_is_listed_and_every_listed_one_exists(book, checkout):
    for suffix in (".py", ".ipynb"):
        for folder, listed in ((".", book.chapters), ("solutions", book.solutions)):
            found = sorted((checkout / "notebooks" / folder).glob(f"[0-9]*{suffix}"))
            assert [path.stem for path in found] == [Path(one.file).name for one in listed]


def test_every_page_is_listed_and_every_listed_one_exists(book, checkout):
    found = {path.stem for path in (checkout / "notebooks").glob("*.md")}
    assert found == {book.home, *book.back_matter}


def test_the_readme_shows_the_current_chapter_table(book, checkout):
    text = (checkout / "README.md").read_text(encoding="utf-8")
    shown = text.split(TABLE_START)[1].split(TABLE_END)[0].strip()
    assert shown == book_package.chapter_table(book), "python -m bookkit table --write"


def test_the_profiles_are_those_of_the_library(book):
    assert set(book.profiles) == set(recipes.names())


def test_the_table_of_contents_holds_every_page_once_in_order(book):
    toc = book_package.toc(book)
    listed = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    assert toc["root"] == book.home
    assert listed == [*(one.file for one in book.notebooks), *book.back_matter]


def test_a_chapter_is_found_by_number_and_by_name(book):
    assert book.chapter("06") is book.chapter("06_self_correction")
    with pytest.raises(BookError, match=r"no chapter '99'.*06_self_correction"):
        book.chapter("99")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.pop("title"), "add title"),
        (lambda c: c.update(colour="red"), "colour is not known"),
        (lambda c: c.update(parts=[]), "there are no chapters"),
        (lambda c: first_chapter(c).pop("question"), "00_start_here: add question"),
        (lambda c: first_chapter(c).update(file="start.ipynb"), "named like 06_self_correction"),
        (lambda c: first_chapter(c)["minutes"].pop("smoke"), "minutes: add smoke"),
        (lambda c: first_chapter(c)["minutes"].update(tpu=1), "minutes: tpu is not known"),
        (lambda c: first_chapter(c)["minutes"].update(laptop="two"), "above 0, not 'two'"),
        (lambda c: first_chapter(c)["minutes"].update(laptop=0), "above 0, not 0"),
        (lambda c: first_chapter(c).update(needs=["08_evaluation"]), "which comes later"),
        (lambda c: c["parts"][1]["chapters"].reverse(), "must have a higher number"),
        (lambda c: c["parts"].append("a part"), "expected a mapping"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_mistake_is_named(edited, edit, message):
    path = edited(edit)
    with pytest.raises(BookError, match=message) as raised:
        load(path)
    assert "book.yml" in str(raised.value)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(BookError, match=r"absent\.yml is missing"):
        load(tmp_path / "absent.yml")
    broken = tmp_path / "broken.yml"
    broken.write_text("title: [", encoding="utf-8")
    with pytest.raises(BookError, match=r"broken\.yml is not valid YAML"):
        load(broken)


def test_the_table_is_written_between_its_markers_only(book, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{TABLE_START}\nold\n{TABLE_END}\nafter\n", encoding="utf-8")
    assert book_package.write_chapter_table(book, readme)
    assert not book_package.write_chapter_table(book, readme)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    one_less = replace(book, parts=book.parts[:-1])
    assert book_package.write_chapter_table(one_less, readme)
    readme.write_text("no markers", encoding="utf-8")
    with pytest.raises(BookError, match="needs the lines"):
        book_package.write_chapter_table(book, readme)


def test_the_minutes_in_a_chapters_header_are_those_of_book_yml(checkout):
    line = re.compile(r"\*\*Minutes\*\*: about \d+ to read and do; "
                      r"the code takes (\S+) in `laptop`, (\S+) in `smoke`")
    found = {}
    for chapter in load().chapters:
        text = (checkout / "notebooks" / f"{chapter.file}.py").read_text(encoding="utf-8")
        if said := line.search(text):
            found[chapter.file] = {"laptop": float(said[1]), "smoke": float(said[2])}
            assert found[chapter.file] == {name: chapter.minutes[name]
                                           for name in ("laptop", "smoke")}
    story = {chapter.file for chapter in load().chapters if chapter.number <= "10"}
    assert len(story) == 11 and story <= found.keys()
