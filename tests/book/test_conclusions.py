"""Sentences in the book's texts are those of the records, in pages and notebooks alike."""

from __future__ import annotations

import pytest

from bookkit import conclusions
from bookkit.description import BookError

SENTENCES = {"short": "It is so.", "long": "word " * 40 + "end."}


def test_a_sentence_is_put_between_its_markers_and_wrapped_alike_in_source_and_cell():
    cell = ("A\n\n<!-- finding: long -->\nold\nolder\n<!-- end -->\n\n"
            "- <!-- finding: short -->\n  <!-- end -->\n")
    source = "".join(f"# {line}".rstrip() + "\n" for line in cell.splitlines())
    filled = conclusions.sentences(cell, SENTENCES.__getitem__)
    lines = filled.splitlines()
    assert "older" not in filled and " ".join(lines[3:-5]) == SENTENCES["long"]
    assert max(map(len, lines)) <= conclusions.WIDTH
    assert lines[-3:] == ["- <!-- finding: short -->", "  It is so.", "  <!-- end -->"]
    in_source = conclusions.sentences(source, SENTENCES.__getitem__)
    assert [line.removeprefix("#").removeprefix(" ") for line in in_source.splitlines()] == lines
    assert conclusions.sentences(filled, SENTENCES.__getitem__) == filled
    for text in ("nothing", "in a line <!-- finding: short -->\n<!-- end -->"):
        assert conclusions.sentences(text, SENTENCES.__getitem__) == text


def test_an_unknown_finding_is_named_with_its_page(monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- finding: nonsense -->\n<!-- end -->\n", encoding="utf-8")
    monkeypatch.setattr(conclusions, "texts", lambda: [page])
    with pytest.raises(BookError, match=r"page\.md: there is no finding 'nonsense'"):
        conclusions.write()


def test_the_books_conclusions_are_those_of_its_records():
    assert not list(conclusions.problems())
