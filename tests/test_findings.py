"""The book's conclusions: sentences that follow from records, and claims that they can refute."""

from __future__ import annotations

from dataclasses import replace

import pytest

from semiseg_lib import recipes, studies
from semiseg_lib.evaluation.statistics import paired_interval
from semiseg_lib.studies import Records, findings
from semiseg_lib.studies.findings import SAME, UNKNOWN, Finding, answer
from semiseg_lib.studies.main_story import CHOSEN, FIVE, NEVER_REPORTED, TEN

LAPTOP = recipes.load("laptop")
BASE = Finding("example", "one", "two", ("ways", "linear"), ("ways", "none"), smallest=1.0)


def records(differences) -> dict[str, Records]:
    """Records in which ``linear`` is ahead of ``none`` by these points, seed by seed."""
    rows = [{"arm": arm, "seed": seed, "test": 50 + 3 * seed + (arm == "linear") * difference}
            for seed, difference in enumerate(differences) for arm in ("none", "linear")]
    return {"ways": Records(rows, "laptop")}


def found(differences, claim=None):
    return answer(replace(BASE, claim=claim), records(differences), LAPTOP)


CLEAR, SMALL, WIDE = (4.0, 5.0, 6.0), (0.2, 0.3, 0.4), (-3.0, 1.0, 5.0)


@pytest.mark.parametrize(("differences", "verdict", "words"), [
    (CLEAR, "better", "test mIoU is 5.0 points higher than with two"),
    (tuple(-d for d in CLEAR), "worse", "test mIoU is 5.0 points lower than with two"),
    (SMALL, SAME, "test mIoU is the same to within 1 point (difference +0.3"),
    (WIDE, UNKNOWN, "We cannot tell whether test mIoU is higher with one or with two"),
])
def test_a_sentence_has_sign_interval_and_what_would_matter(differences, verdict, words):
    one = found(differences)
    interval = paired_interval(differences, [0.0] * len(differences))
    assert one.verdict == verdict and words in one.sentence and one.seeds == (0, 1, 2)
    assert f"95 % interval {interval.low:+.1f} to {interval.high:+.1f}, 3 seeds" in one.sentence
    assert ("1 point" in one.sentence) == (verdict in (SAME, UNKNOWN))


def test_an_effect_must_keep_its_sign_and_more_than_half_of_its_size():
    assert not found(CLEAR, 5.0).contradiction and not found(CLEAR, 9.9).contradiction
    halved = tuple(d / 2 for d in CLEAR)
    assert "claims a difference of +5 points" in found(halved, 5.0).contradiction
    assert "2.5 points higher" in found(halved, 5.0).sentence
    flipped = tuple(-d for d in CLEAR)
    assert "5.0 points lower" in found(flipped, 5.0).contradiction
    assert not found(flipped, -5.0).contradiction
    assert found(SMALL, 0.3).contradiction and found(WIDE, 1.0).contradiction


def test_claims_without_an_effect_can_be_refuted_too():
    assert not found(SMALL, SAME).contradiction and not found(WIDE, UNKNOWN).contradiction
    assert found(CLEAR, UNKNOWN).contradiction and found(CLEAR, SAME).contradiction
    assert found(WIDE, SAME).contradiction and found(SMALL, UNKNOWN).contradiction
    assert "has no claim" in found(CLEAR).contradiction


@pytest.mark.parametrize("changed", [{"smallest": 0}, {"claim": "better"}])
def test_an_invalid_finding_is_refused(changed):
    with pytest.raises(ValueError, match=f"example: .*{next(iter(changed))}"):
        replace(BASE, **changed)


def test_arms_without_shared_seeds_give_no_finding():
    alone = records(CLEAR)["ways"]
    rows = [row for row in alone.rows if row["arm"] == "none" or row["seed"] == 1]
    with pytest.raises(ValueError, match="share 1 seeds"):
        answer(BASE, {"ways": Records(rows, "laptop")}, LAPTOP)


def test_a_score_can_stand_deep_in_a_row():
    rows = [{"arm": "none", "seed": 3, "test": 1.0, "sources": {"own": {"mIoU": 7.0}}}]
    assert Records(rows, "laptop").by_seed("none", "sources", "own", "mIoU") == {3: 7.0}


@pytest.mark.parametrize("finding", findings.all_findings().values(), ids=lambda one: one.name)
def test_every_finding_asks_for_arms_that_are_there(finding):
    for study, arm, *_ in (finding.first, finding.second):
        assert arm in studies.STUDIES[study]


def test_choices_are_made_on_seeds_and_images_that_are_never_reported():
    trials = studies.STUDIES["search"].values()
    assert len(trials) >= 8 and {one.seeds for one in trials} == {NEVER_REPORTED}
    reported = {*TEN, *FIVE, *LAPTOP.seeds}
    assert not reported & {*NEVER_REPORTED}
    for name, study in studies.STUDIES.items():
        for one in study.values():
            assert name == "search" or not {*NEVER_REPORTED} & {*one.seeds_in(LAPTOP)}


def test_every_choice_is_the_best_trial_of_the_stored_search():
    found = studies.current("search", LAPTOP)
    trials: dict[str, dict[float, float]] = {}
    for name in studies.STUDIES["search"]:
        scores = found.by_seed(name, "val")
        assert scores.keys() == {*NEVER_REPORTED}
        choice, _, value = name.partition(", ")
        trials.setdefault(choice, {})[float(value)] = sum(scores.values())
    assert {choice: max(values, key=values.get) for choice, values in trials.items()} == CHOSEN


def test_an_end_near_zero_keeps_its_sign():
    """Or an interval that excludes 0 would read as if it held it."""
    one = found(CLEAR)
    near = replace(one, interval=replace(one.interval, mean=-1.7, low=-3.3, high=-0.02))
    assert near.verdict == "worse" and "-3.3 to -0.02," in near.sentence
    none = replace(one, interval=replace(one.interval, mean=0.0, low=-3.3, high=0.0))
    assert "-3.3 to +0.00," in none.sentence
