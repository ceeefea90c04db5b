"""The comparison against numbers done by hand: pairs, p-values, work of annotating, gaps."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bookkit import results
from semiseg_lib import studies
from semiseg_lib.cli import main
from semiseg_lib.recipes import load
from semiseg_lib.studies import comparison
from semiseg_lib.studies import records as stored_records
from semiseg_lib.studies.comparison import Difference, Row, difference, holm
from semiseg_lib.studies.entries import COMPARISONS, Entry
from semiseg_lib.studies.marks import NO_SETTINGS

LAPTOP = load("laptop")
SCORES = {
    ("unlabelled", "supervised"): {11: 50.0, 12: 52.0, 13: 51.0},
    ("unlabelled", "longer"): {11: 55.0, 12: 56.0, 13: 54.5, 14: 60.0},
    ("unlabelled", "fixmatch"): {14: 75.5, 13: 71.0, 12: 73.0, 11: 70.0},
    ("unlabelled", "cutmix-cps"): {13: 54.0, 15: 99.0, 11: 56.0},
    ("hurried", "linear"): {11: 75.0},
}


def made(threads: int = 1, code: str = "abc") -> list[dict]:
    """What one training says of itself."""
    machine = {"device": "cpu", "gpu": "", "threads": threads, "processes": 1, "cpu": "a kind",
               "instructions": "AVX2", "overrides": {}, "libraries": {"torch": "2.0"}}
    return [{"machine": machine, "code": code}]


def store(
    folder, profile, scores, legacy: str = "", made_with=None, test: str = "t", data: str = "d",
    weights: str = "",
) -> None:
    """Write records as a study would; with a commit, as one of earlier code did."""
    new = {"identity": "0", "images": {"test": test}, "data": data, "data of all arms": [data],
           "weights": {f"model {weights}": [arm for _, arm in scores]} if weights else {},
           "commit": "abc", "date": "2026-01-01T00:00:00+00:00", "made with": made_with or made()}
    for study, group in itertools.groupby(scores.items(), key=lambda item: item[0][0]):
        rows = [
            {"arm": arm, "seed": seed, "test": score,
             "config": studies.STUDIES[study][arm].fingerprint(profile),
             **({"minutes": 2.0 * seed} if study.startswith("voc") else {}),
             **({"legacy": legacy} if legacy else new)}
            for (_, arm), by_seed in group for seed, score in by_seed.items()
        ]
        path = folder / f"{study.replace(' ', '_')}-{profile.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        kinds = ([], rows) if legacy else (rows, [])
        content = stored_records._File(profile.name, kinds[0], {}, kinds[1])
        stored_records._store(path, content)


@pytest.fixture
def records(tmp_path, monkeypatch):
    """The records above, and no others."""
    monkeypatch.setattr(stored_records, "MEASURED", tmp_path)
    store(tmp_path, LAPTOP, SCORES)
    return tmp_path


@pytest.fixture
def found(records):
    return comparison.read("minivoc", LAPTOP)


def row(scores: dict[int, float], **given) -> Row:
    return Row(Entry("mine", "", ""), scores, **given)


def test_differences_are_paired_by_seed(found):
    """Against numpy: mean ± t · sd / √n of the differences of the shared seeds."""
    gain = found.differences("longer")["fixmatch"]
    by_hand = np.array([70.0, 73.0, 71.0, 75.5]) - np.array([55.0, 56.0, 54.5, 60.0])
    half = 3.182446305 * by_hand.std(ddof=1) / 2  # t of 3 degrees of freedom, √4
    assert gain.seeds == (11, 12, 13, 14) and gain.verdict == "better"
    assert gain.interval.mean == pytest.approx(by_hand.mean())
    assert gain.interval.low == pytest.approx(by_hand.mean() - half)
    assert gain.interval.high == pytest.approx(by_hand.mean() + half)
    t = by_hand.mean() / (by_hand.std(ddof=1) / 2)
    assert gain.p == pytest.approx(2 * stats.t.sf(t, 3))


def test_an_arm_in_fewer_seeds_is_compared_over_those_that_both_have(found):
    assert found.differences("longer")["cutmix-cps"].seeds == (11, 13)
    assert found.differences("longer")["cutmix-cps"].interval.mean == pytest.approx(0.25)
    assert found.rows["cutmix-cps"].values == [56.0, 54.0, 99.0]
    lines = {line["trained with"]: line for line in found.table()}
    assert lines["CutMix-CPS"]["seeds"] == "3"
    assert lines["CutMix-CPS"]["verdict"] == "cannot tell"


def test_one_shared_seed_tells_nothing(found):
    alone = found.differences("longer")["linear"]
    assert alone.interval is None and alone.verdict == "cannot tell" and alone.p == 1
    assert str(alone) == "–"


def test_a_difference_turned_round_changes_its_sign():
    one, other = row({1: 50.0, 2: 53.0, 3: 51.0}), row({1: 48.0, 2: 50.0, 3: 50.5})
    there, back = difference(one, other), difference(other, one)
    assert there.interval.mean == -back.interval.mean and there.p == pytest.approx(back.p)
    assert there.interval.low == pytest.approx(-back.interval.high)
    assert difference(one, one).p == 1 and difference(one, one).verdict == "cannot tell"


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.2]) == [0.2] and holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    p = np.random.default_rng(3).random(9) ** 3
    adjusted = np.array(holm(p))
    assert (adjusted >= p).all() and (adjusted <= np.minimum(9 * p, 1) + 1e-12).all()
    assert (np.argsort(adjusted[np.argsort(p)], kind="stable") == np.arange(9)).all()


def test_the_work_of_annotating_counts_boxes_by_their_share():
    assert row({}, masks=24, boxes=800).cost() == 124
    assert row({}, masks=24, boxes=800).cost(ratio=20) == 64
    assert row({}, masks=24, boxes=0).cost() == 24
    assert row({}, masks=24, boxes=None).cost() is None
    for ratio in (0, math.nan, math.inf):
        with pytest.raises(ValueError, match="ratio must be > 0"):
            row({}).cost(ratio)


def test_who_was_given_what(records):
    """In the hurried world: 24 masks for all, 800 unlabelled images whose boxes cost 100 masks."""
    store(records, LAPTOP, {
        ("hurried", "none"): {11: 70.0}, ("hurried", "all masks"): {11: 88.0},
        ("annotation", "longer"): {11: 65.0}, ("unlabelled", "supervised"): {11: 55.0},
        ("unlabelled", "pseudo"): {11: 55.0}, ("unlabelled", "cps"): {11: 55.0},
    })
    rows = comparison.read("minivoc", LAPTOP).rows
    assert {name: one.cost() for name, one in rows.items()} == {
        "supervised": 24, "pseudo": 24, "cps": 24, "none": 124, "more masks": 124,
        "all masks": 824,
    }
    assert {name: one.networks for name, one in rows.items()} == {
        "supervised": 1, "pseudo": 3, "cps": 2, "none": 2, "more masks": 1, "all masks": 1,
    }
    assert {name: one.steps for name, one in rows.items()} == {
        "supervised": "600", "pseudo": "600 + 500 + 500", "cps": "600 + 600 + 1000",
        "none": "400 + 1000", "more masks": "600 + 1000", "all masks": "1000",
    }


def test_missing_arms_are_left_out_and_named_with_their_command(found):
    assert set(found.rows) == {"supervised", "longer", "fixmatch", "cutmix-cps", "linear"}
    assert set(found.rows) | set(found.missing) == set(COMPARISONS["minivoc"])
    commands = found.commands()
    assert 'semiseg study context --profile laptop --seeds 11 12 13 14 15 --only' in commands[1]
    assert '"eln all pixels"' in commands[1] and "--root" not in "".join(commands)
    (unlabelled,) = (line for line in commands if "study unlabelled" in line)
    assert unlabelled.split("--only ")[1] == 'strong pseudo cps "boxes alone"'


def test_rows_of_another_configuration_are_missing(records):
    other = replace(
        LAPTOP, train_unlabelled=replace(LAPTOP.train_unlabelled, steps=7)
    )
    assert set(comparison.read("minivoc", other).rows) == {"supervised", "linear"}


def test_a_row_of_ones_own_takes_part(found):
    mine = row({11: 60.0, 12: 62.0, 13: 59.0}, masks=24)
    wider = found.with_row("mine", mine)
    assert wider.differences("longer")["mine"].seeds == (11, 12, 13)
    assert wider.table()[-1]["trained with"] == "mine" and "mine" not in found.rows


LEGACY = {
    ("hurried", "linear"): {11: 75.0, 12: 74.0, 13: 73.0},
    ("hurried", "none"): {11: 71.0, 12: 70.5, 13: 70.0},
}


def test_legacy_and_current_rows_are_never_in_one_interval(records):
    """Two legacy rows are compared with each other, a legacy one and a current one are not."""
    store(records, LAPTOP, LEGACY, legacy="abc1234")
    found = comparison.read("minivoc", LAPTOP)
    assert found.rows["linear"].legacy and not found.rows["longer"].legacy
    for one, other in (("linear", "longer"), ("longer", "linear")):
        gap = difference(found.rows[one], found.rows[other])
        assert (gap.seeds, gap.interval, gap.p) == ((), None, 1.0)
        assert gap.verdict == "cannot tell" and str(gap) == "–"
    assert found.differences("none")["linear"].seeds == (11, 12, 13)
    assert found.differences("none")["linear"].interval.mean == pytest.approx(3.5)
    lines = {line["trained with"]: line for line in found.table()}
    assert lines["boxes, linear corr. †"]["minus masks alone, longer"] == "–"
    assert lines["boxes, linear corr. †"]["verdict"] == "cannot tell"
    assert lines["FixMatch"]["verdict"] == "better"


def test_a_row_of_ones_own_is_not_compared_with_legacy_rows(records):
    store(records, LAPTOP, LEGACY, legacy="abc1234")
    found = comparison.read("minivoc", LAPTOP).with_row("mine", row({11: 60.0, 12: 62.0, 13: 59.0}))
    assert found.differences("none")["mine"].seeds == ()
    assert found.differences("none")["mine"].interval is None
    assert found.differences("longer")["mine"].seeds == (11, 12, 13)
    assert found.table("none")[-1]["minus boxes, uncorrected"] == "–"


def test_the_mark_stands_below_every_table_with_legacy_rows(records, tmp_path, capsys):
    assert comparison.read("minivoc", LAPTOP).mark == ""
    store(records, LAPTOP, LEGACY, legacy="abc1234")
    mark, out = "† legacy rows, made by commit abc1234:", tmp_path / "table.csv"
    found = comparison.read("minivoc", LAPTOP)
    assert found.commits == ("abc1234",) and found.mark.startswith(mark)
    assert replace(found, rows={"longer": found.rows["longer"]}).mark == ""
    assert main(["compare", "--profile", "laptop", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert mark in printed and "| boxes, linear corr. † |" in printed and "| FixMatch  " in printed
    legacy = pd.read_csv(out).set_index("row")["legacy"]
    assert legacy["linear"] and not legacy["longer"]
    assert mark in results.compared() and "boxes, linear corr.\u00a0†" in results.compared()
    assert "†" not in results.drawn_without_boxes("unlabelled")
    store(records, LAPTOP, {("context", "cac"): {11: 65.0, 12: 67.0}}, legacy="def5678")
    text = results.drawn_without_boxes("context")
    assert "† legacy rows, made by commit def5678:" in text and "better" not in text


def test_readme_and_measured_tables_show_the_mark(records):
    arms = ("strong", "constraint", "all masks longer")
    scores = {("ways", arm): {11: 75.0, 12: 74.5} for arm in arms}
    store(records, LAPTOP, scores)
    path = studies.record_path("ways", "laptop")
    stored = stored_records._stored(path)
    stored.rows[0]["made with"] = made(threads=2)
    stored_records._store(path, stored)
    text = results.results_table()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()
            if line.startswith("| ")][2:]
    assert [row[:2] for row in rows] == [["24 masks, strong views", "24"],
                                         ["24 + boxes as constraint", "124"],
                                         ["all 824 masks", "824"]]
    assert {row[2] for row in rows} == {"74.8\u00a0±\u00a00.4"} and text.endswith(
        studies.current("ways", LAPTOP).mark) and "2 states of the machine" in text
    voc = load("laptop", "voc")
    store(records, voc, {("voc unlabelled", "100 longer"): {11: 45.0}}, legacy="abc1234")
    text = results.measured("laptop", "voc unlabelled")
    assert "\u00a0† |" in text and text.endswith(studies.mark_of(["abc1234"]))


SETTINGS = ("masks", "work, in masks", "networks", "steps")


def test_the_settings_of_a_legacy_row_are_not_those_of_todays_recipe(records, tmp_path, capsys):
    """Which its records do not hold: dashes, and a note below every table."""
    store(records, LAPTOP, LEGACY, legacy="abc1234")
    found, out = comparison.read("minivoc", LAPTOP), tmp_path / "table.csv"
    lines = {line["trained with"]: line for line in found.table()}
    assert {lines["boxes, linear corr. †"][one] for one in SETTINGS} == {"–"}
    assert [lines["FixMatch"][one] for one in SETTINGS] == ["24", "24", "1", "600 + 1000"]
    assert found.rows["linear"].cost() is None and found.rows["linear"].boxes is None
    assert main(["compare", "--profile", "laptop", "--out", str(out)]) == 0
    assert NO_SETTINGS in capsys.readouterr().out
    frame = pd.read_csv(out).set_index("row")
    columns = ["masks", "images_with_boxes", "work_in_masks", "networks", "steps"]
    assert frame.loc["linear", columns].isna().all() and frame.loc["longer", columns].notna().all()
    assert NO_SETTINGS in results.compared()
    assert NO_SETTINGS not in results.drawn_without_boxes("unlabelled")
    store(records, LAPTOP, {("context", "cac"): {11: 65.0, 12: 67.0}}, legacy="def5678")
    text = results.drawn_without_boxes("context")
    assert NO_SETTINGS in text and "steps of" not in text
    voc = load("laptop", "voc")
    store(records, voc, {("voc unlabelled", "100 longer"): {11: 45.0}}, legacy="abc1234")
    text = results.measured("laptop", "voc unlabelled")
    assert NO_SETTINGS in text and f"{voc.augment.crop}-px" not in text


def test_todays_settings_stand_in_a_legacy_row_where_they_are_asked_for(records):
    store(records, LAPTOP, LEGACY, legacy="abc1234")
    found = comparison.read("minivoc", LAPTOP)
    filled = found.with_todays_settings()
    assert found.unknown == NO_SETTINGS and filled.unknown == ""
    line = {line["trained with"]: line for line in filled.table()}["boxes, linear corr. †"]
    assert [line[one] for one in SETTINGS] == ["24", "124", "2", "400 + 1000"]
    assert filled.rows["longer"] == found.rows["longer"]
    mine = found.with_row("mine", row({11: 60.0}, legacy=False)).with_todays_settings().rows["mine"]
    assert mine.masks is None and mine.cost() is None


LONGER_ELSEWHERE = {("annotation", "longer"): {11: 55.0, 12: 56.0, 13: 54.5, 15: 54.0}}
"""Rows of another state of the machine, beside those of the fixture."""


def test_rows_of_different_states_of_the_machine_are_not_paired_silently(records):
    """The difference is shown, with a sign; the seeds that it concerns are named."""
    found = comparison.read("minivoc", LAPTOP)
    assert found.differences("longer")["fixmatch"].apart == () and found.mark == ""
    store(records, LAPTOP, LONGER_ELSEWHERE, made_with=made(threads=2))
    found = comparison.read("minivoc", LAPTOP)
    gap, other = (found.differences("more masks")[name] for name in ("fixmatch", "cutmix-cps"))
    assert gap.apart == (11, 12, 13) and gap.seeds == (11, 12, 13)
    assert other.apart == (11, 13, 15)
    assert re.fullmatch(r"\+16\.2 \(\+1\d\.\d to \+1\d\.\d\) ‡", str(gap))
    assert gap.verdict == "better"
    assert found.differences("longer")["fixmatch"].apart == ()
    assert found.mark.startswith("‡ rows of seeds 11, 12, 13, 15 were made in different states")
    lines = {line["trained with"]: line for line in found.table("more masks")}
    assert lines["FixMatch"]["minus more masks, longer"] == str(gap)
    assert "‡" not in {line["trained with"]: line for line in found.table()}["FixMatch"].values()


def test_rows_of_different_versions_of_the_code_are_not_paired_silently(records):
    store(records, LAPTOP, LONGER_ELSEWHERE, made_with=made(code="def"))
    found = comparison.read("minivoc", LAPTOP)
    gap = found.differences("more masks")["fixmatch"]
    assert gap.apart == (11, 12, 13) and str(gap).endswith(" ‡")
    assert found.differences("longer")["fixmatch"].apart == ()
    assert "seeds 11, 12, 13, 15 were made in different states" in found.mark
    assert "or by different versions of the code" in found.mark
    assert "made by 2 versions of the code; " in found.mark


@pytest.mark.parametrize("files", [{"test": "other"}, {"data": "other"}])
def test_rows_of_other_files_are_not_paired(records, files, capsys):
    """A study that ran before a file changed and one that ran after it: no difference is shown."""
    one = {("unlabelled", "longer"): SCORES["unlabelled", "longer"]}
    two = {("hurried", "none"): {11: 40.0, 12: 41.0, 13: 40.5}}
    store(records, LAPTOP, one)
    store(records, LAPTOP, two)
    same = comparison.read("minivoc", LAPTOP)
    assert same.differences("longer")["none"].interval and not same.of_other_files
    together = studies.read_together(("hurried", "unlabelled"), LAPTOP)
    assert not any("files changed" in one.mark for one in together.values())

    store(records, LAPTOP, two, **files)
    found = comparison.read("minivoc", LAPTOP)
    assert found.differences("longer")["none"] == Difference((), None, 1.0)
    name, = found.of_other_files
    assert f"because files changed in between: {name}." in found.mark
    main(["compare", "--profile", "laptop"])
    assert "because files changed in between" in capsys.readouterr().out
    if "data" in files:
        marks = [one.mark for one in
                 studies.read_together(("hurried", "unlabelled"), LAPTOP).values()]
        assert all("because files changed in between" in mark for mark in marks)


def test_rows_that_began_with_other_encoder_weights_are_not_paired(tmp_path, monkeypatch):
    """The same network in two studies, whose file of weights was replaced in between."""
    monkeypatch.setattr(stored_records, "MEASURED", tmp_path)
    voc = load("laptop", "voc")
    one = {("voc unlabelled", "100 longer"): {1: 50.0, 2: 51.0, 3: 52.0}}
    two = {("photographs", "100 none"): {1: 40.0, 2: 41.0, 3: 40.5}}
    for weights, paired in (("first", True), ("second", False)):
        store(tmp_path, voc, one, weights="first")
        store(tmp_path, voc, two, weights=weights)
        found = comparison.read("voc", voc)
        names = [name for name, row in found.rows.items() if row.entry.study == "photographs"]
        against = next(name for name in found.rows if name not in names)
        assert all(bool(one.seeds) == paired
                   for one in found.differences(against, names).values()) and names
        together = studies.read_together(("voc unlabelled", "photographs"), voc)
        assert any("because files changed" in one.mark for one in together.values()) != paired


def test_seeds_that_a_later_version_added_are_told_though_every_pair_is_of_one(records):
    """Each difference is of one version, but their mean is not."""
    rows = stored_records._stored(records / "unlabelled-laptop.json").rows
    for row in rows:
        if row["seed"] > 12:
            row |= {"commit": "def", "made with": made(code="def")}
    stored_records._store(records / "unlabelled-laptop.json",
                          stored_records._File(LAPTOP.name, rows))
    found = comparison.read("minivoc", LAPTOP)
    assert found.differences("longer")["fixmatch"].apart == ()
    assert found.mark.startswith("The rows were made by 2 versions of the code; ")


def test_the_state_is_that_of_every_training(records):
    both = [*made(1), *made(2)]
    store(records, LAPTOP, LONGER_ELSEWHERE, made_with=both)
    assert comparison.read("minivoc", LAPTOP).differences("longer")["more masks"].apart == (
        11, 12, 13)
    one, other = (row({1: 1.0, 2: 2.0}, states={1: state, 2: "s"}) for state in ("a", "b"))
    assert difference(one, other).apart == (1,)
    assert difference(one, row({1: 1.0, 2: 2.0})).apart == (), "nothing is known of that row"
    alone = row({1: 1.0}, states={1: "b"})
    assert difference(one, alone) == comparison.Difference((1,), None, 1.0, (1,))


def test_the_command_and_the_pages_say_that_states_differ(records, tmp_path, capsys):
    note, out = "‡ rows of seeds 11, 12, 13, 15 were made in different states", tmp_path / "t.csv"
    store(records, LAPTOP, LONGER_ELSEWHERE, made_with=made(threads=2))
    arguments = ["compare", "--profile", "laptop", "--against", "more masks", "--out", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert note in printed and ") ‡ |" in printed
    frame = pd.read_csv(out).set_index("row")
    assert frame.loc["fixmatch", "seeds_of_another_state"] == 3
    assert note in results.compared()
    store(records, LAPTOP, {("context", "cac"): {11: 65.0, 12: 67.0}}, made_with=made(threads=2))
    text = results.drawn_without_boxes("context")
    assert "‡ rows of seeds 11, 12 were" in text and ")\u00a0‡ |" in text
    assert "‡" not in results.drawn_without_boxes("unlabelled")
    store(records, LAPTOP, {("hurried", "linear"): {11: 75.0}, **LEGACY}, legacy="abc1234")
    marks = comparison.read("minivoc", LAPTOP).mark
    assert marks.index("† legacy rows") < marks.index("‡ rows of seeds")


def test_without_its_baseline_nothing_is_compared(found):
    alone = replace(found, rows={"fixmatch": found.rows["fixmatch"]})
    assert alone.differences("longer") == {} and alone.table()[0]["verdict"] == "–"


@pytest.mark.parametrize("dataset", COMPARISONS)
def test_every_row_names_an_arm_that_there_is_and_a_control_of_its_table(dataset):
    entries, profile = COMPARISONS[dataset], load("laptop", dataset)
    assert len({(one.study, one.arm) for one in entries.values()}) == len(entries)
    assert len({one.text for one in entries.values()}) == len(entries)
    for name, one in entries.items():
        arm = studies.STUDIES[one.study][one.arm]
        assert one.control in {"", *entries} - {name}, name
        sees_boxes = comparison.learns_from_boxes(arm, profile)
        assert sees_boxes == ("boxes" in one.extra), name
        if one.networks:
            assert one.networks > comparison.networks(arm, profile), name


def test_the_command_prints_and_writes_the_table(records, tmp_path, capsys):
    out = tmp_path / "table.csv"
    assert main(["compare", "--profile", "laptop", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 5 and "+16.0 (+14.5 to +17.5)" in printed
    assert "semiseg study annotation" in printed and "Mean Teacher" in printed
    frame = pd.read_csv(out).set_index("row")
    assert frame.loc["fixmatch", "mean_iou"] == pytest.approx(0.72375)
    assert frame.loc["fixmatch", "minus"] == "longer" and np.isnan(frame.loc["longer", "p"])
    assert frame.loc["fixmatch", "difference"] == pytest.approx(0.16)
    assert frame.loc["fixmatch", "verdict"] == "better"
    assert frame.loc["cutmix-cps", "verdict"] == "cannot tell"
    assert frame["masks"].dtype == int, "no .0 where a spreadsheet counts"
    out = tmp_path / "table.md"
    arguments = ["--against", "supervised", "--ratio", "20", "--out", str(out)]
    assert main(["compare", "--profile", "laptop", *arguments]) == 0
    written = out.read_text(encoding="utf-8").replace("\u00a0", " ")
    assert written.strip() in capsys.readouterr().out
    assert "minus masks alone " in written


def test_the_document_has_fractions_and_null_where_nothing_is_known(records, capsys):
    def rows_printed() -> dict[str, dict]:
        capsys.readouterr()
        assert main(["compare", "--profile", "laptop", "--json"]) == 0
        return {row["row"]: row for row in json.loads(capsys.readouterr().out)["rows"]}

    rows = rows_printed()
    assert len({tuple(row) for row in rows.values()}) == 1, "the same keys in every row"
    gain, alone = rows["fixmatch"], rows["linear"]
    assert [gain[f"difference{part}"] for part in ("_low", "", "_high")] == pytest.approx(
        [0.145, 0.16, 0.175], abs=5e-4)
    assert gain["mean_iou_low"] < gain["mean_iou"] < gain["mean_iou_high"] < 1
    unknown = ("mean_iou_low", "mean_iou_sd", "difference", "p", "verdict", "minus")
    assert [alone[key] for key in unknown] == [None] * len(unknown) and alone["mean_iou"] == 0.75
    store(records, LAPTOP, LEGACY, legacy="abc1234")
    for key in ("masks", "images_with_boxes", "work_in_masks", "networks", "steps"):
        assert rows_printed()["linear"][key] is None


def test_one_seed_of_photographs_shows_what_it_cost_and_ranks_nothing(records, capsys):
    store(records, load("laptop", "voc"), {
        ("voc unlabelled", "100 longer"): {11: 45.0}, ("voc unlabelled", "100 cps"): {11: 49.0},
    })
    assert main(["compare", "--dataset", "voc", "--profile", "laptop"]) == 0
    printed = capsys.readouterr().out
    assert "minutes" in printed and "22.0" in printed and "One seed ranks nothing" in printed
    assert "verdict" not in printed and "--root DIR" in printed


def test_the_results_page_pairs_the_seeds_that_both_have(records):
    text = results.drawn_without_boxes("unlabelled")
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    names = [line.split("|")[1].strip() for line in lines]
    assert names == ["masks alone", "masks alone, as many more steps", "FixMatch", "CutMix-CPS"]
    assert "+16.0\u00a0(+14.5\u00a0to\u00a0+17.5)" in lines[2] and "better" in lines[2]
    assert "better" not in lines[0] and "11, 12, 13, 14, 15" in text
    assert "semiseg study context --profile laptop" in results.drawn_without_boxes("context")
    assert "+16.0\u00a0(+14.5\u00a0to\u00a0+17.5)" in results.compared()
    store(records, LAPTOP, {("context", "cac"): {11: 65.0, 12: 67.0}})
    assert "+10.5\u00a0(+4.1\u00a0to\u00a0+16.9)" in results.drawn_without_boxes("context")


@pytest.mark.parametrize("arguments, words", [
    (["--against", "strong"], "'strong' is not a row with records; choose from supervised"),
    (["--dataset", "camvid"], "no record is stored yet"),
])
def test_what_cannot_be_done_is_said(records, capsys, arguments, words):
    assert main(["compare", "--profile", "laptop", *arguments]) == 1
    assert words in capsys.readouterr().err
    with pytest.raises(ValueError, match="no comparison for 'mars'"):
        comparison.read("mars", LAPTOP)
