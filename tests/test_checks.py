"""Checks that a reader sees: they pass what is right, and nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import yaml

from semiseg_lib.notebook import checks
from semiseg_lib.notebook.checks import Claim, ClaimFailed, read_claims, same

CLAIMS = {
    "level": Claim("level", "It reaches 60 %.", level=60, within=10),
    "gain": Claim("gain", "It gains.", gain=2),
    "loss": Claim("loss", "It costs.", gain=-2),
    "on average": Claim("on average", "It gains on average.", gain=2, by_mean=True),
}


@pytest.fixture(autouse=True)
def made_up_claims(monkeypatch):
    """What ``checks.claim`` reads; ``read_claims`` of this file is still the book's."""
    monkeypatch.setattr(checks, "read_claims", lambda: CLAIMS)


@pytest.mark.parametrize("name, values", [
    ("level", [55, 60, 65]), ("level", [50, 50]), ("level", [70]), ("gain", [2.0, 2.2, 1.9]),
    ("gain", [1.1, 1.1]), ("loss", [-2.0, -2.2]), ("on average", [6, 0.1, 0.1]),
    ("on average", [4.0]),
])
def test_a_claim_that_holds_is_printed_with_both_numbers(capsys, name, values):
    for judge, evidence in (
        (lambda: checks.claim(name, values, asserts_claims=True), "this run: mean"),
        (lambda: checks.recorded(name, values), "the stored records: mean"),
    ):
        judge()
        printed = capsys.readouterr().out
        assert printed.startswith("✓") and CLAIMS[name].text in printed
        assert f"{evidence} {np.mean(values):.1f}" in printed and f"{len(values)} seeds" in printed


@pytest.mark.parametrize("name, values", [
    ("level", [49, 50]), ("level", [70, 71]),
    ("gain", [1.0, 1.0, 1.0]),         # no more than half is left
    ("gain", [-2.0, -2.2, -1.9]),      # the sign has changed
    ("gain", [6, 0.1, 0.1]),           # the interval reaches below zero
    ("gain", [4.0]),                   # one seed has no interval
    ("loss", [-1.0, -1.0]), ("loss", [2.0, 2.2]), ("on average", [0.9, 0.8]),
], ids=str)
def test_a_claim_that_fails_shows_what_was_expected_and_what_came(name, values):
    for judge, evidence in (
        (lambda: checks.claim(name, values, asserts_claims=True), "this run"),
        (lambda: checks.recorded(name, values), "the stored records"),
    ):
        with pytest.raises(ClaimFailed, match=rf"Expected .*but {evidence}: mean .*doctor") as got:
            judge()
        assert CLAIMS[name].text in str(got.value)


@pytest.mark.parametrize("entry", [
    {}, {"gain": 0}, {"gain": 1, "level": 2, "within": 1}, {"level": 2}, {"within": 2},
    {"level": 2, "within": 0}, {"level": 2, "within": 1, "by_mean": True},
], ids=str)
def test_a_claim_claims_a_gain_or_a_level(entry):
    with pytest.raises(ValueError, match="one: claim a gain that is not 0, or a level within"):
        Claim("one", "It is so.", **entry)


def test_a_short_profile_prints_and_does_not_judge(capsys):
    checks.claim("level", [3, 4], asserts_claims=False)
    assert "too short to judge" in capsys.readouterr().out


def test_an_unknown_claim_is_an_error_even_where_nothing_is_judged():
    with pytest.raises(KeyError):
        checks.claim("nonsense", [1, 2], asserts_claims=False)


@pytest.mark.parametrize("answer", [
    [1.0, 2.0], (1, 2), np.array([1.0, 2.0]), torch.tensor([1.0, 2.0]),
    torch.tensor([1.0, 2.0], requires_grad=True),
])
def test_same_accepts_an_equal_answer_in_any_form(answer):
    same(answer, torch.tensor([1.0, 2.0], requires_grad=True))


@pytest.mark.parametrize("answer", [
    [1.0, 2.01], [1.0], [[1.0, 2.0]], 1.0, None, float("nan"), [1.0, float("nan")], "one",
    {"x": 1}, [[1.0], [1.0, 2.0]],
], ids=str)
def test_same_refuses_everything_else_and_says_what_was_expected(answer):
    with pytest.raises(AssertionError, match=r"the corner: expected"):
        same(answer, np.array([1.0, 2.0]), "the corner")


def test_same_does_not_let_a_single_number_pass_for_a_map():
    """The classic: a mean where a map was wanted, equal to every value of the map."""
    with pytest.raises(AssertionError, match=r"expected the shape \(3, 3\), got \(\)"):
        same(0.0, np.zeros((3, 3)))


def test_an_exercise_is_right_wrong_or_not_written_yet(capsys):
    with checks.exercise("6.1"):
        same(1, 1)
    assert capsys.readouterr().out == "✓ exercise 6.1: right\n"
    with pytest.raises(AssertionError, match=r"exercise 6\.1: not yet\. expected 2"), \
            checks.exercise("6.1"):
        same(1, 2)
    with pytest.raises(AssertionError, match=r"6\.1: not yet\. It raises ValueError: no such"), \
            checks.exercise("6.1"):
        raise ValueError("no such class")
    with checks.exercise("6.1"):
        raise NotImplementedError(checks.YOUR_TURN)
    assert capsys.readouterr().out == "○ exercise 6.1: your turn\n"


def test_an_operation_that_a_device_lacks_is_not_taken_for_an_unwritten_answer():
    for manager in (checks.exercise, checks.after):
        with pytest.raises(NotImplementedError, match="MPS"), manager("6.1"):
            raise NotImplementedError("aten::foo is not implemented for MPS")


def test_what_follows_an_exercise_waits_for_it(capsys):
    with checks.after("6.2"):
        raise NotImplementedError(checks.YOUR_TURN)
    assert capsys.readouterr().out == "○ exercise 6.2: your turn\n"
    with checks.after("6.2"):
        pass
    assert capsys.readouterr().out == ""


def test_the_claims_of_the_book_have_a_sentence_and_a_band(checkout):
    claims = read_claims()
    assert claims.keys() == yaml.safe_load(
        (checkout / "semiseg_lib" / "notebook" / "claims.yml").read_text(encoding="utf-8")
    ).keys()
    for claim in claims.values():
        assert claim.text.endswith(".") and len(claim.text.split()) >= 5, claim
        assert claim.level is None or claim.within <= claim.level / 5, "says next to nothing"


def test_the_chapters_check_the_claims_that_there_are_and_no_others(checkout):
    """A chapter judges a claim by name, of its own runs or of records."""
    sources = [path.read_text("utf-8") for path in (checkout / "notebooks").glob("[0-9]*.py")]
    judged = re.compile(r"\bchecks\.(?:claim|recorded)\(\s*[\"']([^\"']+)")
    used = {name for text in sources for name in judged.findall(text)}
    assert used <= read_claims().keys()
    if len(sources) >= 9:
        assert used == read_claims().keys(), "a claim that no chapter checks"
