"""The results page holds what the records hold, and no number that somebody typed."""

import re
from dataclasses import replace

import pytest

from bookkit import BookError, conclusions, results
from semiseg_lib import recipes, studies
from semiseg_lib.core.durable import read_json
from semiseg_lib.studies import Records

MACHINE = {
    "device": "cpu", "gpu": "", "threads": 1, "processes": 1, "cpu": "a kind",
    "instructions": "AVX2", "overrides": {}, "libraries": {"torch": "2.13.0"},
}
TYPED = re.compile(r"(?<![\w-])\d[\d.,]*")
REGION = re.compile(r"<!-- ([\w-]+):start -->.*?<!-- \1:end -->", re.DOTALL)


def typed_numbers(text: str) -> list[str]:
    """Numbers outside the marked regions; chapter numbers, code and the name of VOC 2012 aside."""
    made = conclusions.REGION.sub("", REGION.sub("", text))
    text = re.sub(r"`[^`]*`|\[\d\d\]\([^)]*\)|VOC 2012", "", made)
    return TYPED.findall(text)


def record(arms: dict[str, list[float]], **machine) -> Records:
    made = [{"machine": {**MACHINE, **machine}, "code": "abc1234"}]
    rows = [
        {"arm": arm, "seed": 11 + i, "config": "x", "test": score, "labels": score + 1,
         "minutes": 2.0, "images a second": 10.0, "memory GB": 1.5, "made with": made,
         "commit": "abc1234"}
        for arm, scores in arms.items() for i, score in enumerate(scores)
    ]
    return Records(rows, "laptop")


@pytest.fixture
def stored(monkeypatch):
    """Let the study of photographs have these records."""

    def store(arms):
        monkeypatch.setattr(results.studies, "read", lambda name, profile: record(arms))

    return store


def test_the_page_shows_the_records(checkout):
    text = (checkout / "notebooks" / "results.md").read_text(encoding="utf-8")
    for (start, end), content in results.regions().items():
        shown = text.split(start)[1].split(end)[0]
        assert shown.strip() == content.strip(), "python -m bookkit table --write"


def test_no_number_is_typed_in(checkout):
    text = (checkout / "notebooks" / "results.md").read_text(encoding="utf-8")
    assert typed_numbers(text) == []
    assert typed_numbers(text + "\nIt reaches 71.3 %.") == ["71.3"]
    assert typed_numbers(text.replace("# Results", "# 100 Results")) == ["100"]


def test_every_stored_score_is_on_the_page(checkout):
    text = (checkout / "notebooks" / "results.md").read_text(encoding="utf-8")
    paths = sorted((checkout / "semiseg_lib" / "studies" / "measured").glob("photographs-*.json"))
    if not paths:
        pytest.skip("no record of the study of photographs is stored yet")
    for path in paths:
        content = read_json(path)
        rows = list(content["rows"].values()) or content["legacy"]["rows"]
        assert rows
        for row in rows:
            if len([other for other in rows if other["arm"] == row["arm"]]) == 1:
                assert f"{row['test']:.1f}" in text, f"{path.name}: {row['arm']}"


def test_one_seed_has_no_spread_and_makes_no_difference(stored):
    stored({"100 none": [60.04], "100 linear": [62.0]})
    text = results.measured("laptop")
    assert "Reduced run" in text and "1 seed (11)" in text and "no spread" in text
    rows = [line for line in text.splitlines() if re.match(r"\|\s+100 ", line)]
    assert len(rows) == 2 and " 60.0 |" in rows[0] and " 61.0 |" in rows[0]
    assert "±" not in "".join(rows) and "points" not in text


def test_seeds_are_averaged_and_paired(stored):
    stored({"100 none": [60.0, 61.0, 62.0], "100 linear": [62.0, 63.1, 63.9]})
    text = results.measured("laptop")
    assert "61.0\u00a0±\u00a01.0" in text and "63.0\u00a0±\u00a01.0" in text
    assert "3 seeds (11, 12, 13)" in text
    assert "linear minus none: +2.0 points (95 % interval +1.8 to +2.2, 3 seeds" in text
    stored({"100 none": [60.0, 61.0], "100 linear": [62.0, 63.1, 63.9]})
    assert "linear minus none" not in results.measured("laptop"), "other seeds do not pair"


def test_a_missing_record_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setattr(studies.records, "MEASURED", tmp_path)
    assert "semiseg study photographs --profile gpu --root DIR" in results.measured("gpu")


def test_the_conditions_come_from_profile_and_machine():
    profile, records = recipes.load("laptop", "voc"), record({"100 none": [60.0]})
    assert "192-px crops" in studies.conditions(records, profile, "photographs")
    smaller = replace(profile, augment=replace(profile.augment, crop=96))
    assert "96-px crops" in studies.conditions(records, smaller, "photographs")
    told = studies.conditions(records, profile, "photographs")
    assert told.startswith("Reduced run, no graphics card")
    assert "Machine: cpu (a kind, AVX2), 1 thread, 1 process, torch 2.13.0, code abc1234." in told
    lent = record({"100 none": [60.0]}, gpu="a card", device="cuda")
    told = studies.conditions(lent, profile, "photographs")
    assert told.startswith("Run on a graphics card") and "Machine: cuda (a card, AVX2)" in told
    mixed = replace(records, rows=records.rows + lent.rows)
    told = studies.conditions(mixed, profile, "photographs")
    assert told.startswith("Reduced run") and "Machine: 2 states of machine" in told
    assert "1 row: cuda (a card" in told


def test_rows_of_several_states_are_marked_below_the_table(stored, monkeypatch):
    both = [record({"100 none": [60.0, 61.0]}), record({"100 linear": [62.0, 63.1]}, threads=2)]
    rows = [row for one in both for row in one.rows]
    monkeypatch.setattr(results.studies, "read", lambda name, profile: Records(rows, "laptop"))
    text = results.measured("laptop")
    assert "The rows were made in 2 states of the machine" in text.splitlines()[-1]


def test_a_page_without_its_regions_is_refused(tmp_path):
    page = tmp_path / "results.md"
    page.write_text("# Results\n", encoding="utf-8")
    with pytest.raises(BookError, match="measured-gpu:start"):
        results.write_results_page(page)


@pytest.mark.parametrize(("scores", "said"), [
    ((70.5, 70.5), "Same test score to the last digit: 1; largest difference: 0.0 points."),
    ((70.5, 72.0), "Same test score to the last digit: 0; largest difference: 1.5 points."),
])
def test_runs_that_two_versions_trained_are_held_against_each_other(scores, said):
    rows = [{"identity": "a", "test": score, "made with": [{"code": code}]}
            for score, code in zip(scores, ("abc", "def"), strict=True)]
    expected = f"Runs that two versions of the code trained: 1. {said}"
    assert results.trained_twice(rows) == expected
    assert results.trained_twice(rows[:1]).startswith("No run")
