"""Sentences in the book's texts are those of the records, in pages and notebooks alike."""

from __future__ import annotations

import shutil

import pytest

from bookkit import conclusions
from bookkit.description import BookError
from semiseg_lib.core.durable import read_json, write_json
from semiseg_lib.evaluation.statistics import BETTER, WORSE
from semiseg_lib.recipes import load
from semiseg_lib.studies import comparison, findings, records

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


@pytest.mark.parametrize("length", range(80, 100))
def test_no_line_begins_with_a_percent_sign(length):
    """It would be a comment of MyST."""
    text = conclusions.sentences("- <!-- finding: x -->\n  <!-- end -->\n",
                                 lambda _: f"{'x' * length} 95 % interval")
    assert not any(line.strip().startswith("%") for line in text.splitlines())
    assert "95 % interval" in " ".join(text.split())


def test_an_unknown_finding_is_named_with_its_page(monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- finding: nonsense -->\n<!-- end -->\n", encoding="utf-8")
    monkeypatch.setattr(conclusions, "texts", lambda: [page])
    with pytest.raises(BookError, match=r"page\.md: there is no finding 'nonsense'"):
        conclusions.write()


def test_the_books_conclusions_are_those_of_its_records():
    assert not list(conclusions.problems())


@pytest.mark.parametrize(("kept", "side"), [(0.45, "higher"), (-1, "lower")],
                         ids=["halved", "flipped"])
def test_an_effect_that_is_halved_or_flipped_in_a_record_turns_sentence_and_claim_red(
    monkeypatch, tmp_path, kept, side
):
    """In a copy of the book's records: what the boxes are worth, in chapter 00 and others."""
    copy = tmp_path / "measured"
    shutil.copytree(records.MEASURED, copy)
    monkeypatch.setattr(records, "MEASURED", copy)
    stored = records.record_path("ways", "laptop")
    assert stored.parent == copy
    content = {key: value for key, value in read_json(stored).items() if key != "sha256"}
    scores = {(row["arm"], row["seed"]): row for row in content["rows"].values()}
    for (arm, seed), row in scores.items():
        if arm == "none":
            control = scores["longer", seed]["test"]
            row["test"] = control + kept * (row["test"] - control)
    write_json(stored, content)
    found = [*conclusions.problems()]
    assert any("00_start_here.py: a conclusion is not that of the records" in one for one in found)
    (said,) = (one for one in found if one.startswith("boxes-over-masks: the records say"))
    assert side in said and "but the book claims a difference of" in said


def test_most_differences_of_ten_seeds_stay_after_holm_over_the_whole_book():
    """As chapter 08 says beside its table."""
    asked = findings.find_all(findings.all_findings(), load("laptop"))
    adjusted = comparison.holm([one.interval.p for one in asked.values()])
    stay = [p < 0.05 for p, one in zip(adjusted, asked.values(), strict=True)
            if len(one.seeds) == 10 and one.verdict in (BETTER, WORSE)]
    assert len(stay) >= 15 and sum(stay) >= 0.75 * len(stay)
