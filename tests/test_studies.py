"""Studies: what their records hold, when they go stale, and that the committed ones are whole."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args
from unittest import mock

import own_folder
import pytest
import torch
from flips import each_flip

from bookkit import conclusions
from semiseg_lib import methods, recipes, studies
from semiseg_lib.cli import commands, flags, main
from semiseg_lib.core.durable import Damaged, read_json, write_json
from semiseg_lib.core.fingerprint import fingerprint
from semiseg_lib.core.fingerprint import load as load_value
from semiseg_lib.core.paths import CHECKOUT, work_root
from semiseg_lib.core.provenance import code_version, state_of_machine
from semiseg_lib.evaluation.options import Protocol
from semiseg_lib.experiments import Inputs, Machine, Run, resolve, self_correction, training
from semiseg_lib.experiments.inventory import inventory
from semiseg_lib.experiments.semi_supervised import learn
from semiseg_lib.methods import SupervisedConfig, registry
from semiseg_lib.methods.supervised.method import Supervised
from semiseg_lib.models import ModelConfig
from semiseg_lib.recipes import load
from semiseg_lib.studies import Arm, Rounds, findings, scores
from semiseg_lib.studies import records as stored_records
from semiseg_lib.studies.catalogue import photo_arms, unlabelled_photo_arms
from semiseg_lib.studies.main_story import NEVER_REPORTED

RECORDS = CHECKOUT / "semiseg_lib" / "studies" / "measured"
REDUCED = {
    "photographs": (list(photo_arms(100)), 1),
    "voc unlabelled": (list(unlabelled_photo_arms("voc", 100)), 1),
    "camvid unlabelled": (list(unlabelled_photo_arms("camvid", 46)), 1),
    "search": (list(studies.STUDIES["search"]), len(NEVER_REPORTED)),
}
"""Studies of which the laptop profile holds a part only: these arms, with so many seeds."""
ARMS = len(studies.STUDIES["controls"])
FURTHER = ("ensemble", "second round")
"""Of the same study, beside ``none`` and ``linear``."""
KINDS = {
    "supervised": ("unlabelled", "supervised"), "longer": ("unlabelled", "longer"),
    "fixmatch": ("unlabelled", "fixmatch"), "rounds": ("unlabelled", "pseudo"),
    "ancillary": ("hurried", "ancillary"), "primary": ("hurried", "linear"),
    "all masks": ("hurried", "all masks"), "second round": ("controls", "second round"),
    "on its way": ("training", "linear 30%"), "trial": ("search", "alpha, 0.5"),
    "conv": ("convolutional", "24 conv"), "warm": ("convolutional", "24 warm linear"),
}
"""An arm of every kind that a study has."""
WITH_LABELS = ("ancillary", "primary", "second round", "conv", "warm", "on its way")
COSTS = ("minutes", "images a second", "memory GB")
OF_EVERY_ROW = (
    "arm", "seed", "config", "identity", "classes", "images", "data", "data of all arms", "weights",
    "commit", "date", "made with",
)
COMMITTED = {name: studies.record_path(name, "laptop") for name in studies.STUDIES}
LEGACY_HASHES = {
    "camvid_unlabelled-laptop": "fe5f5d392d038d9b34edd855449a3508055d04673b8a70f1c7a604dcf25bf436",
    "photographs-laptop": "923e6e98fe5f24725fc918fc2d92f0e4dd55ec241f334dfa30c766756a3c59c1",
    "voc_unlabelled-laptop": "558a292361f2cfcbb1b838f2dd207696b04f2dcc63444154253b3f386f15b5b6",
}
"""What the legacy rows of the committed files are. No change of the library changes these."""
LEGACY_COSTS = {
    "cost-laptop": "0187d1691c9744d120bea99190c638cb13cf5b5e4fe80370791ec8c4d63e055c",
}
"""The same of the methods' costs, which were measured by the code of an earlier version, too."""
SEALED = "07dc073"
"""The last commit whose files held these rows without a seal."""


def machine_state(threads: int = 1) -> dict:
    """The state of a machine, made up."""
    return {"device": "cpu", "gpu": "", "threads": threads, "processes": 1, "cpu": "a kind",
            "instructions": "AVX2", "overrides": {}, "libraries": {"torch": "2.0"},
            "build": "0", "system": "Linux"}


def made(threads: int = 1, code: str = "abc") -> list[dict]:
    """What one training says of itself."""
    return [{"machine": machine_state(threads), "code": code}]


@dataclass(frozen=True)
class MineConfig(SupervisedConfig):
    """Options of a method that is registered and not shipped."""

    name: Literal["mine"] = "mine"


@pytest.fixture
def records(tmp_path, monkeypatch):
    """Records go to a folder of their own."""
    folder = tmp_path / "measured"
    monkeypatch.setattr(stored_records, "MEASURED", folder)
    return folder


@pytest.fixture
def runs(records, monkeypatch) -> list[tuple[str, int]]:
    """Arms are not run: their scores are made up, and who was asked for is noted."""
    asked = []

    def run(arm, _profile, seed, _machine=None):
        asked.append((arm.text, seed))
        return {"test": 50.0 + seed, "labels": 40.0 + len(arm.text), "made with": made()}

    monkeypatch.setattr(Arm, "run", run)
    return asked


@pytest.fixture
def own(records, tmp_path, monkeypatch):
    """A study of one arm on a folder of one's own: its folder, its profile, a machine."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    arm = Arm("masks alone", self_correction.supervised, dataset="folder")
    monkeypatch.setattr(stored_records, "STUDIES", {"schedules": {"supervised": arm}})
    root = own_folder.draw(tmp_path / "own")
    return root, own_folder.profile(), Machine("cpu", root)


def test_a_study_runs_every_arm_with_every_seed_once(runs):
    arms, smoke = studies.STUDIES["controls"], load("smoke")
    found = studies.run("controls", smoke)
    assert sorted(runs) == sorted((arm.text, seed) for arm in arms.values() for seed in smoke.seeds)
    for arm in arms:
        assert found.seeds(arm) == sorted(smoke.seeds)
        assert found.scores(arm) == [50.0 + seed for seed in sorted(smoke.seeds)]
    studies.run("controls", smoke, seeds=(99, *smoke.seeds))
    assert {seed for _, seed in runs[len(arms) * len(smoke.seeds):]} == {99}
    assert studies.read("controls", smoke).seeds("none") == [*sorted(smoke.seeds), 99]


def test_a_study_that_was_stopped_goes_on_where_it_was(runs, monkeypatch):
    run = Arm.run

    def stopped(*arguments):
        if len(runs) == 3:
            raise KeyboardInterrupt
        return run(*arguments)

    monkeypatch.setattr(Arm, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        studies.run("controls", load("smoke"), seeds=(1,))
    assert len(studies.read("controls", load("smoke")).rows) == 3
    monkeypatch.setattr(Arm, "run", run)
    studies.run("controls", load("smoke"), seeds=(1,))
    assert len(runs) == len(set(runs)) == ARMS


def test_rows_are_made_again_where_that_is_asked_for(runs):
    smoke = load("smoke")
    studies.run("controls", smoke, seeds=(1,))
    studies.run("controls", smoke, seeds=(1,), only=("none",), anew=True)
    assert len(runs) == ARMS + 1 and runs[-1] == runs[0]
    assert len(studies.read("controls", smoke).rows) == ARMS


def test_a_score_that_an_arm_lacks_is_left_out():
    rows = [{"arm": "a", "seed": 2, "test": 5.0}, {"arm": "a", "seed": 1, "test": 4.0, "x": 1.0}]
    found = studies.Records(rows, "smoke")
    assert found.scores("a") == [4.0, 5.0] and found.scores("a", "x") == [1.0]
    assert found.scores("b") == [] and found.seeds("a") == [1, 2]


@pytest.mark.parametrize("change", ["steps", "options", "boxes", "width", "protocol"])
def test_records_go_stale_with_whatever_decides_the_scores(runs, monkeypatch, change):
    smoke = load("smoke")
    studies.run("controls", smoke, seeds=(1,))
    arms = dict(studies.STUDIES["controls"])
    if change == "options":
        recipe = studies.primary(studies.linear(end=0.25))
        arms["linear"] = replace(arms["linear"], make=recipe)
    elif change == "boxes":
        arms["linear"] = replace(
            arms["linear"], data_options={"unlabelled_boxes": studies.MISSED}
        )
    elif change == "steps":
        smoke = replace(smoke, train_primary=replace(smoke.train_primary, steps=7))
    elif change == "protocol":
        smoke = replace(smoke, protocol=Protocol(flip=True))
    else:
        smoke = replace(smoke, model=replace(smoke.model, width=5))
    monkeypatch.setattr(stored_records, "STUDIES", {"controls": arms})
    if change in ("options", "boxes"):
        fresh = studies.read("controls", smoke)
        assert fresh.seeds("linear") == [] and fresh.seeds("none") == [1]
        assert fresh.left_out == {stored_records.OTHER_SETTINGS: 1}
    else:
        with pytest.raises(FileNotFoundError, match=r"other settings.*semiseg study"):
            studies.read("controls", smoke)
    before = len(runs)
    studies.run("controls", smoke, seeds=(1,))
    assert len(runs) - before == (1 if change in ("options", "boxes") else ARMS)


def test_words_about_a_profile_leave_its_records_alone(runs):
    smoke = load("smoke")
    studies.run("controls", smoke, seeds=(1,))
    reworded = replace(smoke, purpose="other words", seeds=(1, 2, 3), asserts_claims=True)
    assert studies.read("controls", reworded).seeds("none") == [1]


def test_arms_of_a_study_differ():
    for name, arms in studies.STUDIES.items():
        profile = load("laptop", studies.dataset_of(name))
        prints = {arm.fingerprint(profile) for arm in arms.values()}
        words = {(arm.text, arm.labelled) for arm in arms.values()}
        assert len(prints) == len(arms) == len(words), name


def test_the_help_of_the_command_names_every_study():
    words = " ".join(commands.study.__doc__.split())
    assert [name for name in studies.STUDIES if name not in words] == []


def test_records_that_are_not_there_name_the_command(records):
    with pytest.raises(FileNotFoundError, match=r"voc_unlabelled-smoke.*'voc unlabelled' --prof"):
        studies.read("voc unlabelled", load("smoke", "voc"))


def test_an_arm_names_its_method_by_the_name_that_commands_know(monkeypatch):
    """With the profile's options; a profile with a recipe per system has none for a study."""
    smoke = load("smoke")
    for name, options in smoke.unlabelled.items():
        assert Arm(name, studies.method(name)).value(smoke, 3) == learn(smoke, 3, options)
    changed = Arm("off", studies.method("cutmix-cps", weight=0.0)).value(smoke, 3)
    assert changed == learn(smoke, 3, replace(smoke.unlabelled["cutmix-cps"], weight=0.0))
    bare = replace(smoke, unlabelled={})
    assert Arm("cac", studies.method("cac")).value(bare, 3) == learn(
        smoke, 3, smoke.unlabelled["cac"]
    )
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    methods.register(MineConfig, Supervised)
    mine = Arm("mine", studies.method("mine", ema_decay=0.5)).value(smoke, 3)
    assert mine == learn(smoke, 3, MineConfig(ema_decay=0.5))
    with pytest.raises(methods.UnknownMethod, match="'nonsense' is not known here"):
        Arm("nonsense", studies.method("nonsense")).value(smoke, 3)
    with pytest.raises(ValueError, match="'primary' is a stage of a storyline"):
        studies.method("primary")
    with pytest.raises(ValueError, match="'paper' has a recipe per system for 'voc'"):
        Arm("cac", studies.method("cac")).value(load("paper", "voc"), 3)


def test_a_study_on_validation_masks_prints_their_score(records, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    command = ["study", "search", "--profile", "smoke", "--seeds", "5", "--only", "alpha, 0.5"]
    assert main([*command, "--device", "cpu"]) == 0
    assert "mIoU on val (%)" in capsys.readouterr().out
    assert main([*command, "--device", "cpu", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["split"] == "val" and 0 < said["arms"][0]["mean_iou"][0] < 1


def test_the_command_line_knows_every_study():
    """Its names stand there once more, so that they are known without importing torch."""
    assert sorted(get_args(flags.Study)) == sorted(studies.STUDIES)


def test_an_unknown_study_or_arm_is_refused(records):
    with pytest.raises(KeyError, match="nonsense"):
        studies.run("nonsense", load("smoke"))
    with pytest.raises(ValueError, match=r"'nonsense' is not an arm of .*; it has none, linear"):
        studies.run("controls", load("smoke"), only=("none", "nonsense"))


# ------------------------------------------------------------------------ what a row says of itself

def test_every_kind_of_arm_scores_in_percent_and_its_row_says_what_made_it(
    records, tmp_path, monkeypatch
):
    """Really run, in smoke."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    arms = {name: replace(studies.STUDIES[study][arm], labelled=None)
            for name, (study, arm) in KINDS.items()}
    all_arms = [arm for study in studies.STUDIES.values() for arm in study.values()]
    assert {arm.score for arm in arms.values()} == {arm.score for arm in all_arms}
    monkeypatch.setattr(stored_records, "STUDIES", {"all": arms})
    smoke = load("smoke")
    found = studies.run("all", smoke, seeds=(5,), machine="cpu")
    here = [{"machine": state_of_machine(), "code": code_version()}]
    inputs = Inputs()
    for row in found.rows:
        assert 0 < row["val" if row["arm"] == "trial" else "test"] < 100 and row["seed"] == 5
        assert ("labels" in row) == (row["arm"] in WITH_LABELS)
        value = arms[row["arm"]].value(smoke, 5)
        run = value.first if isinstance(value, Rounds) else value
        identity, data = inputs.identity(run), inputs.data(run)
        assert row["identity"] == identity.digest and row["classes"] == list(data.classes)
        read = scores.images_read(arms[row["arm"]].score, value, data)
        assert read["test"] == data.test.without_boxes().digest
        assert row["images"] == {**identity.images, **read}
        assert row["commit"] == code_version() and row["made with"] == here
        assert datetime.fromisoformat(row["date"]).tzinfo is not None
        assert all(row[cost] > 0 for cost in COSTS)
    (rounds,) = (row for row in found.rows if row["arm"] == "rounds")
    numbers = range(1, smoke.rounds.count + 1)
    expected = {f"{what} {n}" for what in ("student", "labels", "kept") for n in numbers}
    assert expected == set(rounds) - {"test", *OF_EVERY_ROW, *COSTS}
    assert all(0 < rounds[key] <= 100 for key in expected)
    assert list(read_json(records / "all-smoke.json")["rows"].values()) == found.rows
    again = resolve(self_correction.supervised(smoke, 5), "cpu").evaluate()
    assert found.scores("supervised") == [100 * again.mean_iou]


def test_the_description_of_the_options_stands_in_the_file(runs, records):
    """Under its ``config``, which can be computed from it; it stays as long as its rows."""
    smoke = load("smoke")
    studies.run("controls", smoke, seeds=(1, 2), only=("none", "linear"))
    stored = read_json(records / "controls-smoke.json")
    assert stored["recipes"].keys() == {row["config"] for row in stored["rows"].values()}
    for arm in ("none", "linear"):
        expected = studies.STUDIES["controls"][arm]
        recipe = stored["recipes"][expected.fingerprint(smoke)]
        value = load_value(Run, recipe["value"], records)
        protocol = load_value(Protocol, recipe["protocol"], records)
        assert value == expected.value(smoke, 0) and protocol == smoke.protocol
        bits = recipe["logits_bits"]
        config = fingerprint({"value": value, "protocol": protocol, "logits_bits": bits})
        assert config == expected.fingerprint(smoke)
    longer = replace(smoke, train_primary=replace(smoke.train_primary, steps=7))
    for seed in (1, 2):
        studies.run("controls", longer, seeds=(seed,), only=("none",))
    recipes = read_json(records / "controls-smoke.json")["recipes"]
    further = studies.STUDIES["controls"]["none"].fingerprint(longer)
    assert recipes.keys() == {*stored["recipes"], further}


@pytest.mark.filterwarnings("ignore:.*was made with threads:UserWarning")
def test_made_with_tells_of_the_trainings_and_not_of_the_reader(own, monkeypatch):
    """Trained under two threads and read under one: two. Of a run with a start: both."""
    _, profile, machine = own
    kept = torch.get_num_threads()
    arms = {"supervised": studies.STUDIES["unlabelled"]["supervised"],
            "longer": studies.STUDIES["unlabelled"]["longer"]}
    monkeypatch.setattr(stored_records, "STUDIES", {"schedules": arms})
    try:
        torch.set_num_threads(2)
        resolve(self_correction.supervised(profile, 1), machine)
        torch.set_num_threads(1)
        found = studies.run("schedules", profile, seeds=(1,), machine=machine)
    finally:
        torch.set_num_threads(kept)
    threads = {row["arm"]: [one["machine"]["threads"] for one in row["made with"]]
               for row in found.rows}
    assert threads == {"supervised": [2], "longer": [2, 1]}
    assert "2 threads" in found.made_with and "1 thread," in found.made_with


def number_the_trainings(monkeypatch) -> None:
    """Let every training say that it had one thread more than the one before."""
    count = itertools.count(1)
    module = sys.modules["semiseg_lib.experiments.resolving"]
    monkeypatch.setattr(module, "state_of_machine", lambda: machine_state(next(count)))


@pytest.mark.filterwarnings("ignore:.*was made with:UserWarning")
def test_of_rounds_every_training_is_told(own, tmp_path, monkeypatch):
    """Also those of the second round, whose teacher nobody knows before the first is done."""
    machine = Machine("cpu", own_folder.draw(tmp_path / "hidden", masked=8, lists=True))
    profile = own[1]
    number_the_trainings(monkeypatch)
    short = profile.train_supervised
    plan = replace(profile.rounds, count=2, keep_better=False, pretrain=short, finetune=short)
    value = Rounds.of(replace(profile, rounds=plan), 1, plan.selection)
    found = scores.rounds(value, replace(profile, rounds=plan), machine)["made with"]
    assert len({one["machine"]["threads"] for one in found}) == len(found) == 5
    assert {one["code"] for one in found} == {code_version()}


@pytest.mark.filterwarnings("ignore:.*was made with:UserWarning")
def test_what_builds_on_a_run_that_is_gone_is_refused(own):
    """Nobody knows any more what it was made with."""
    _, profile, machine = own
    longer = studies.STUDIES["unlabelled"]["longer"].value(profile, 1)
    start = resolve(longer.start[0], machine)
    resolve(longer, machine)
    start.folder.store.delete()
    with pytest.raises(FileNotFoundError, match=f"{start.folder.path.name} is gone.*--anew"):
        scores.scored(longer, profile, machine)


def test_rows_of_several_states_of_the_machine_are_told(runs, monkeypatch):
    smoke, states = load("smoke"), iter([made(1), made(1), made(2), [*made(1), *made(2)]])
    monkeypatch.setattr(Arm, "run", lambda *_: {"test": 1.0, "made with": next(states)})
    for arm in ("none", "linear"):
        found = studies.run("controls", smoke, seeds=(1,), only=(arm,))
    assert found.made_with.startswith("cpu (a kind, AVX2), 1 thread, ")
    assert found.made_with.endswith(f"code abc, scored by code {code_version()}")
    assert found.mark == ""
    found = studies.run("controls", smoke, seeds=(1,), only=("none", "linear", *FURTHER))
    assert found.made_with.startswith("3 states of machine and code: 2 rows: cpu (a kind")
    assert "; 1 row: cpu (a kind, AVX2), 2 threads" in found.made_with
    assert "code abc and cpu (a kind, AVX2), 2 threads" in found.made_with
    assert found.mark.startswith("The rows were made in 3 states of the machine")
    assert "rounding" in found.mark and "versions of the code" not in found.mark
    assert not found.on_gpu


@pytest.mark.parametrize("by", ["training", "score"])
def test_rows_of_several_versions_of_the_code_are_served_and_told(runs, monkeypatch, capsys, by):
    """As when seeds are added a month later: which versions, how many rows, and what to do."""
    smoke, code = load("smoke"), iter(["abc", "abc", "def"])

    def run(_arm, _profile, seed, _machine=None):
        version = next(code)
        monkeypatch.setattr(stored_records, "code_version", lambda: version)
        return {"test": 50.0 + seed, "made with": made(code=version if by == "training" else "abc")}

    monkeypatch.setattr(Arm, "run", run)
    found = studies.run("controls", smoke, seeds=(1, 2), only=("none",))
    assert found.mark == "" and "scored by" not in found.made_with
    found = studies.run("controls", smoke, seeds=(3,), only=("none",))
    assert found.scores("none") == [51.0, 52.0, 53.0] and found.left_out == {}
    assert found.mark.startswith("The rows were made by 2 versions of the code; ")
    assert "`semiseg study NAME --anew`" in found.mark and "rounding" not in found.mark
    assert found.made_with.startswith("2 states of machine and code: 2 rows: cpu (a kind")
    assert "rounding" not in found.made_with
    command = ["study", "controls", "--profile", "smoke", "--only", "none", "--seeds", "1"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert found.mark in printed and "Chapters and tables still show" not in printed


# ------------------------------------------------------------------------------ images that changed

def test_a_row_of_other_images_is_made_again(own):
    """Its run is trained anew, and the old row is left out."""
    root, profile, machine = own
    first = studies.run("schedules", profile, seeds=(1,), machine=machine)
    assert studies.run("schedules", profile, seeds=(1,), machine=machine) == first
    own_folder.exchange(root)
    second = studies.run("schedules", profile, seeds=(1,), machine=machine)
    (old,), (new,) = first.rows, second.rows
    assert new["identity"] != old["identity"] and new["config"] == old["config"]
    assert new["images"]["labelled"] != old["images"]["labelled"]
    assert second.left_out == {stored_records.OTHER_IMAGES: 1}
    assert len(list((work_root() / "runs").iterdir())) == 2


def test_rows_of_other_test_images_are_left_out_and_made_again(own):
    """No table mixes rows that were scored on different images."""
    root, profile, machine = own
    studies.run("schedules", profile, seeds=(1, 2), machine=machine)
    last = sorted(Inputs(root).data(self_correction.supervised(profile, 1)).names["test"])
    own_folder.exchange(root, [int(name.removeprefix("p")) for name in last])
    found = studies.run("schedules", profile, seeds=(1,), machine=machine)
    assert found.seeds("supervised") == [1]
    assert found.left_out_text == ("Stored rows that are left out: 2 made from other images than "
                                   "the newest row.")
    assert studies.read("schedules", profile) == found
    found = studies.run("schedules", profile, seeds=(2,), machine=machine)
    assert found.seeds("supervised") == [1, 2]
    assert found.left_out == {stored_records.OTHER_IMAGES: 2}
    own_folder.exchange(root, [int(name.removeprefix("p")) for name in last])
    found = studies.run("schedules", profile, seeds=(1,), machine=machine)
    assert found.seeds("supervised") == [1, 2]  # the old images are back, and so is their row
    assert found.left_out == {stored_records.OTHER_IMAGES: 2}


def test_a_run_keeps_the_rows_of_other_settings_and_arms(runs, records):
    """Rows made with one setting are served again once that setting is back."""
    smoke = load("smoke")
    longer = replace(smoke, train_primary=replace(smoke.train_primary, steps=7))
    first = studies.run("controls", smoke, seeds=(1, 2))
    other = studies.run("controls", longer, seeds=(1,), only=("none",))
    assert [row["seed"] for row in other.rows] == [1]
    assert other.left_out == {stored_records.OTHER_SETTINGS: len(first.rows)}
    count = len(runs)
    again = studies.run("controls", smoke, seeds=(1, 2))
    assert len(runs) == count and again.rows == first.rows
    assert again.left_out == {stored_records.OTHER_SETTINGS: 1}
    stored = read_json(records / "controls-smoke.json")["rows"]
    assert len(stored) == len(first.rows) + 1
    assert set(stored) == {stored_records._key(row) for row in (*first.rows, *other.rows)}


def test_the_newest_row_is_the_last_one_even_where_the_clock_was_set_back(records):
    smoke = load("smoke")
    config = studies.STUDIES["controls"]["none"].fingerprint(smoke)
    rows = [current_row("none", seed, config) for seed in (1, 2)]
    rows[1] |= {"images": {"test": "other"}, "date": "2001-01-01T00:00:00+00:00"}
    store(records, "controls", [], rows)
    found = studies.read("controls", smoke)
    assert found.rows == rows[1:] and found.left_out == {stored_records.OTHER_TEST: 1}


def test_arms_in_two_worlds_are_served_together(records):
    """Each world has a test set; of one world no two are mixed."""
    smoke, arms = load("smoke"), studies.STUDIES["conditions"]
    hurried, harder = "tight, loose, none", "harder world, none"
    seen = {"data of all arms": ["d", "e"]}
    rows = [current_row(arm, seed, arms[arm].fingerprint(smoke)) | seen | there
            for arm, seed, there in (
                (hurried, 1, {"data": "d", "images": {"test": "old"}}),
                (hurried, 2, {"data": "d", "images": {"test": "new"}}),
                (harder, 1, {"data": "e", "images": {"test": "harder"}}))]
    store(records, "conditions", [], rows)
    found = studies.read("conditions", smoke)
    assert found.rows == rows[1:] and found.left_out == {stored_records.OTHER_TEST: 1}


@pytest.fixture
def two_arms(own, tmp_path, monkeypatch):
    """A study of two arms on a folder with lists of its own: its folder, a profile, a machine."""
    arms = {"a": Arm("masks alone", self_correction.supervised, dataset="folder"),
            "b": Arm("two masks", self_correction.supervised, dataset="folder", labelled=2)}
    monkeypatch.setattr(stored_records, "STUDIES", {"schedules": arms})
    root = own_folder.draw(tmp_path / "listed", masked=8, lists=True)
    return root, own[1], Machine("cpu", root)


def pairs(found: studies.Records) -> set[tuple[str, int]]:
    """The arms and seeds of the rows that are served."""
    assert len({(row["arm"], row["seed"]) for row in found.rows}) == len(found.rows)
    return {(row["arm"], row["seed"]) for row in found.rows}


def test_no_read_mixes_rows_of_two_states_of_the_data(two_arms, records):
    """Masks change, and one row is made again: it stands alone until the others are, too."""
    root, profile, machine = two_arms
    first = studies.run("schedules", profile, seeds=(0, 1), machine=machine)
    everyone = {(arm, seed) for arm in "ab" for seed in (0, 1)}
    assert pairs(first) == everyone and first.left_out == {}
    assert len({row["data"] for row in first.rows}) == 1
    own_folder.exchange(root, own_folder.LISTS["labelled"])
    found = studies.run("schedules", profile, seeds=(0,), machine=machine, only=("b",))
    assert pairs(found) == {("b", 0)} and studies.read("schedules", profile) == found
    assert found.left_out == {stored_records.OTHER_IMAGES: 4}
    assert "4 made from other images" in found.left_out_text
    stored = list(read_json(records / "schedules-smoke.json")["rows"].values())
    assert stored == [*first.rows, *found.rows]
    whole = studies.run("schedules", profile, seeds=(0, 1), machine=machine)
    assert pairs(whole) == everyone and found.rows[0] in whole.rows
    assert whole.left_out == {stored_records.OTHER_IMAGES: 4}
    stored = list(read_json(records / "schedules-smoke.json")["rows"].values())
    assert stored[:4] == first.rows and len(stored) == 8


def test_rows_are_served_again_once_their_data_are_back(two_arms):
    root, profile, machine = two_arms
    first = studies.run("schedules", profile, seeds=(0, 1), machine=machine)
    own_folder.exchange(root, own_folder.LISTS["labelled"])
    second = studies.run("schedules", profile, seeds=(0, 1), machine=machine)
    own_folder.exchange(root, own_folder.LISTS["labelled"])
    back = studies.run("schedules", profile, seeds=(1,), machine=machine, only=("b",))
    assert pairs(back) == pairs(first) and back.left_out == {stored_records.OTHER_IMAGES: 4}
    for row in first.rows:
        assert row in back.rows or (row["arm"], row["seed"]) == ("b", 1)
    for arm in "ab":
        assert back.scores(arm) == first.scores(arm)
    assert not any(row in back.rows for row in second.rows)
    assert len(list((work_root() / "runs").iterdir())) == 8  # nothing was trained a third time


def test_an_arm_that_joins_leaves_the_rows_of_the_others(runs, monkeypatch):
    """Also one on other data: what the others draw from is as it was."""
    smoke, arms = load("smoke"), studies.STUDIES["conditions"]
    one, other = "tight, loose, none", "tight, tight, none"
    monkeypatch.setattr(stored_records, "STUDIES", {"schedules": {one: arms[one]}})
    first = studies.run("schedules", smoke, seeds=(1,))
    both = {name: arms[name] for name in (one, other)}
    monkeypatch.setattr(stored_records, "STUDIES", {"schedules": both})
    found = studies.run("schedules", smoke, seeds=(1,))
    assert len(runs) == 2 and found.rows[0] == first.rows[0] and found.left_out == {}
    old, new = found.rows
    assert old["data"] != new["data"]
    assert new["data of all arms"] == sorted([old["data"], new["data"]])


def test_a_changed_state_that_only_one_arm_reads_keeps_the_rows_of_the_other(records):
    """What decides is what the newest row has seen, whichever arm it is of."""
    smoke, arms = load("smoke"), studies.STUDIES["conditions"]
    loose, tight = "tight, loose, none", "tight, tight, none"
    configs = {arm: arms[arm].fingerprint(smoke) for arm in (loose, tight)}
    seen = {"data of all arms": ["d", "e"]}
    rows = [current_row(loose, 1, configs[loose]) | seen,
            current_row(tight, 1, configs[tight]) | {**seen, "data": "e"},
            current_row(tight, 2, configs[tight]) | {"data": "f", "data of all arms": ["d", "f"]}]
    store(records, "conditions", [], rows)
    found = studies.read("conditions", smoke)
    assert found.rows == [rows[0], rows[2]] and found.left_out == {stored_records.OTHER_IMAGES: 1}


def test_a_row_that_does_not_say_its_data_is_left_out_and_stays(runs, records):
    smoke = load("smoke")
    config = studies.STUDIES["controls"]["none"].fingerprint(smoke)
    silent = current_row("none", 1, config)
    del silent["data"], silent["data of all arms"]
    store(records, "controls", [], [silent])
    with pytest.raises(FileNotFoundError):
        studies.read("controls", smoke)
    found = studies.run("controls", smoke, seeds=(1,), only=("none",))
    assert len(runs) == 1 and found.left_out == {stored_records.OTHER_IMAGES: 1}
    assert silent in read_json(records / "controls-smoke.json")["rows"].values()


@pytest.fixture
def pretrained(runs, tmp_path, monkeypatch):
    """A study of two arms that start with encoder weights and one that does not, and a machine.

    The function takes the file of the weights and returns the profile.
    """
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))

    def from_scratch(profile, seed):
        return replace(self_correction.supervised(profile, seed), model=ModelConfig(width=2))

    arms = {"a": Arm("a", self_correction.supervised, dataset="folder"),
            "b": Arm("b", self_correction.supervised, dataset="folder", labelled=2),
            "scratch": Arm("from scratch", from_scratch, dataset="folder")}
    monkeypatch.setattr(stored_records, "STUDIES", {"schedules": arms})
    root = own_folder.draw(tmp_path / "own", masked=8, lists=True)

    def profile(path: Path):
        network = ModelConfig("deeplab", encoder="test_resnet", weights=str(path))
        return replace(own_folder.profile(), model=network)

    return profile, Machine("cpu", root)


@pytest.mark.parametrize("place", ["the same", "another"])
def test_rows_of_other_encoder_weights_are_left_out_and_made_again(pretrained, tmp_path, place):
    """Whether the file itself was changed or the recipe names another one; rows come back, too."""
    profile, machine = pretrained
    first = tmp_path / "first.pt"
    second = first if place == "the same" else tmp_path / "second.pt"
    first.write_bytes(b"first")
    found = studies.run("schedules", profile(first), seeds=(1, 2), machine=machine)
    everyone = {(arm, seed) for arm in ("a", "b", "scratch") for seed in (1, 2)}
    assert pairs(found) == everyone and found.left_out == {}
    key = "model " + hashlib.sha256(b"first").hexdigest()
    assert all(row["weights"] == {key: ["a", "b"]} for row in found.rows)
    second.write_bytes(b"second")
    found = studies.run("schedules", profile(second), seeds=(3,), machine=machine, only=("a",))
    assert pairs(found) == {("a", 3), ("scratch", 1), ("scratch", 2)}
    assert found.left_out_text == ("Stored rows that are left out: 4 started with other encoder "
                                   "weights than the newest row.")
    assert studies.read("schedules", profile(second)) == found
    found = studies.run("schedules", profile(second), seeds=(1, 2), machine=machine)
    assert pairs(found) == everyone | {("a", 3)} and found.left_out == {
        stored_records.OTHER_WEIGHTS: 4}
    first.write_bytes(b"first")
    found = studies.run("schedules", profile(first), seeds=(1,), machine=machine, only=("b",))
    assert pairs(found) == everyone
    assert found.left_out == {stored_records.OTHER_WEIGHTS: 5}


def test_rows_that_do_not_say_their_encoder_weights_are_left_out_beside_those_that_do(
    pretrained, records, tmp_path
):
    """Rows of networks from random weights have none to say; of an earlier version, none does."""
    profile, machine = pretrained
    (tmp_path / "first.pt").write_bytes(b"first")
    profile = profile(tmp_path / "first.pt")
    rows = studies.run("schedules", profile, seeds=(1,), machine=machine).rows
    silent = [{key: one for key, one in row.items() if key != "weights"} for row in rows]
    store(records, "schedules", [], silent)
    assert studies.read("schedules", profile).rows == silent
    found = studies.run("schedules", profile, seeds=(2,), machine=machine, only=("a",))
    assert pairs(found) == {("a", 2), ("scratch", 1)}
    assert found.left_out == {stored_records.OTHER_WEIGHTS: 2}


def test_an_arm_runs_where_the_encoder_weights_of_the_others_are_not(pretrained, tmp_path):
    profile, machine = pretrained
    path = tmp_path / "first.pt"
    path.write_bytes(b"first")
    first = studies.run("schedules", profile(path), seeds=(1,), machine=machine)
    path.unlink()
    found = studies.run("schedules", profile(path), seeds=(2,), machine=machine, only=("scratch",))
    assert pairs(found) == pairs(first) | {("scratch", 2)} and found.rows[-1]["weights"] == {}


def test_encoder_weights_that_change_while_an_arm_runs_are_noticed(
    pretrained, records, tmp_path, monkeypatch
):
    profile, machine = pretrained
    path = tmp_path / "first.pt"
    path.write_bytes(b"first")
    run = Arm.run

    def changing(*arguments):
        path.write_bytes(b"second")
        return run(*arguments)

    monkeypatch.setattr(Arm, "run", changing)
    with pytest.raises(ValueError, match="the encoder weights of 'a' changed while it ran"):
        studies.run("schedules", profile(path), seeds=(1,), machine=machine)
    assert not records.exists()


WRITES_A_ROW = """
import sys
from pathlib import Path
from semiseg_lib.recipes import load
from semiseg_lib.studies import records
path, seed = Path(sys.argv[1]), int(sys.argv[2])
read = records._stored
def waiting(path):
    found = read(path)
    print("read", flush=True)
    sys.stdin.readline()
    return found
records._stored = waiting if seed == 1 else read
config = records.STUDIES["controls"]["none"].fingerprint(load("smoke"))
row = {"arm": "none", "seed": seed, "config": config, "images": {"test": "t"}, "data": "d",
       "data of all arms": ["d"]}
records._store_row(path, "controls", load("smoke"), row)
"""


def test_processes_with_other_work_folders_lose_no_rows(records, tmp_path):
    """The second waits until the first, which has read the file, has written it."""
    def start(seed: int) -> subprocess.Popen:
        environment = {**os.environ, "SEMISEG_WORK": str(tmp_path / f"work {seed}")}
        command = [sys.executable, "-c", WRITES_A_ROW, str(records / "controls-smoke.json")]
        return subprocess.Popen([*command, str(seed)], env=environment, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    first = start(1)
    assert first.stdout.readline() == "read\n"
    second = start(2)
    assert "Another process is at work on" in second.stderr.readline()
    first.communicate("go on\n", timeout=60)
    second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0)
    assert studies.read("controls", load("smoke")).seeds("none") == [1, 2]
    ignored = subprocess.run(
        ["git", "check-ignore", str(RECORDS / ".controls-smoke.json.lock")], cwd=CHECKOUT,
        capture_output=True,
    )
    assert ignored.returncode in (0, 128)  # 128: no git here


def test_where_no_images_are_rows_are_taken_as_they_are(own, tmp_path):
    _, profile, machine = own
    first = studies.run("schedules", profile, seeds=(1,), machine=machine)
    away = replace(machine, root=tmp_path / "nowhere")
    assert studies.run("schedules", profile, seeds=(1,), machine=away) == first
    with pytest.raises(FileNotFoundError):
        studies.run("schedules", profile, seeds=(2,), machine=away)


CHOOSING = replace(own_folder.profile().rounds, keep_better=True)
READING = {
    "supervised": (self_correction.supervised, scores.scored),
    "ancillary": (self_correction.ancillary, scores.with_labels),
    "chosen rounds": (
        lambda p, seed: Rounds.of(replace(p, rounds=CHOOSING), seed, CHOOSING.selection),
        scores.rounds,
    ),
    "all teach": (
        lambda p, seed: Rounds.of(
            replace(p, rounds=replace(CHOOSING, keep_better=False)), seed, CHOOSING.selection
        ),
        scores.rounds,
    ),
}


@pytest.mark.parametrize("arm, changed, reads", [
    ("supervised", "hidden masks", False), ("supervised", "val", False),
    ("supervised", "test boxes", False), ("ancillary", "hidden masks", True),
    ("ancillary", "boxes", True), ("ancillary", "test boxes", True), ("ancillary", "val", False),
    ("chosen rounds", "hidden masks", True), ("chosen rounds", "val", True),
    ("all teach", "hidden masks", True), ("all teach", "val", False),
    ("all teach", "boxes", False),
])
def test_a_row_is_made_again_where_the_data_have_changed_and_says_what_its_score_reads(
    runs, tmp_path, monkeypatch, arm, changed, reads
):
    """Training reads neither hidden masks nor, here, the validation images."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    recipe, score = READING[arm]
    arms = {arm: Arm(arm, recipe, score, dataset="folder")}
    monkeypatch.setattr(stored_records, "STUDIES", {"schedules": arms})
    root = own_folder.draw(tmp_path / "own", masked=8, boxes=True, lists=True)
    profile, machine = own_folder.profile(), Machine("cpu", root)
    (old,) = studies.run("schedules", profile, seeds=(1,), machine=machine).rows
    studies.run("schedules", profile, seeds=(1,), machine=machine)
    assert len(runs) == 1
    if changed in ("hidden masks", "val"):
        own_folder.exchange(root, {"hidden masks": (4, 5), "val": (6,)}[changed])
    else:
        number = {"boxes": 4, "test boxes": 7}[changed]
        _, mask = own_folder.scene(number + 1)
        own_folder.write_boxes(root, number, mask, own_folder.CLASSES)
    (new,) = studies.run("schedules", profile, seeds=(1,), machine=machine).rows
    assert len(runs) == 2 and new["data"] != old["data"]
    assert ((new["identity"], new["images"]) != (old["identity"], old["images"])) == reads


def test_the_bits_of_logits_decide_the_scores_that_read_labels():
    """Of a run that learns from no logits, they decide nothing else."""
    smoke = load("smoke")
    other = replace(smoke, logits_bits=24 - smoke.logits_bits)
    for arm, differs in (("ancillary", True), ("supervised", False)):
        one = studies.STUDIES["hurried"][arm]
        assert (one.fingerprint(smoke) != one.fingerprint(other)) == differs


def test_every_score_says_what_it_reads(monkeypatch):
    all_arms = [arm for study in studies.STUDIES.values() for arm in study.values()]
    assert {arm.score for arm in all_arms} == scores.READS.keys()

    def own_score(_value, _profile, _machine):
        return {}

    with pytest.raises(ValueError, match="the inputs of the score 'own_score' are not declared"):
        Arm("mine", self_correction.supervised, own_score).fingerprint(load("smoke"))


@pytest.mark.parametrize("split, words", [("labelled", "labelled"), ("test", "test")])
def test_images_that_change_while_an_arm_runs_are_noticed(own, records, monkeypatch, split, words):
    """Nothing is stored: nobody knows which of the two was learnt from."""
    root, profile, machine = own
    run = Arm.run
    names = Inputs(root).data(self_correction.supervised(profile, 1)).names[split]

    def changing(*arguments):
        found = run(*arguments)
        own_folder.exchange(root, [int(name.removeprefix("p")) for name in names])
        return found

    monkeypatch.setattr(Arm, "run", changing)
    with pytest.raises(ValueError, match=f"the .*{words}.* of 'supervised' changed while it ran"):
        studies.run("schedules", profile, seeds=(1,), machine=machine)
    assert not records.exists()


# ------------------------------------------------------------------------------------ damaged files

def test_any_changed_bit_of_a_file_is_noticed(runs, records, monkeypatch):
    """With the file's name and a fix."""
    smoke = load("smoke")
    monkeypatch.setattr(stored_records, "is_tracked", lambda _: True)  # git, a thousand times
    store(records, "controls", legacy_rows(["none"]))
    studies.run("controls", smoke, seeds=(1,))
    path = records / "controls-smoke.json"
    whole = studies.read("controls", smoke)
    with each_flip(path, 1000) as flips:
        for _ in flips:
            with pytest.raises(Damaged, match=r"controls-smoke\.json.*version control") as said:
                studies.read("controls", smoke)
            assert "Delete" not in str(said.value)
    assert studies.read("controls", smoke) == whole
    path.write_bytes(path.read_bytes()[:-5])
    for act in (studies.read, studies.current, studies.run):
        with pytest.raises(Damaged, match=r"controls-smoke\.json"):
            act("controls", smoke)
    assert len(runs) == ARMS


def test_any_changed_bit_of_the_measured_costs_is_noticed(tmp_path, monkeypatch):
    """As the benchmark writes them, and with the command that makes them again."""
    monkeypatch.setattr(stored_records, "is_tracked", lambda _: False)  # git, 200 times
    spec = importlib.util.spec_from_file_location("costs", CHECKOUT / "benchmarks" / "methods.py")
    benchmark = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = benchmark  # its dataclasses look their module up
    spec.loader.exec_module(benchmark)
    path, rows = tmp_path / "cost-smoke.json", {"supervised": {"ratio": 1.0, "peak bytes": None}}
    options = mock.Mock(dataset="minivoc", blocks=15, steps=8)
    benchmark.write(path, rows, load("smoke"), options)
    assert studies.read_costs(path)["rows"] == rows
    with each_flip(path, 200) as flips:
        for _ in flips:
            with pytest.raises(Damaged, match=r"cost-smoke\.json.* `python benchmarks/methods.py`"):
                studies.read_costs(path)
    assert studies.read_costs(path)["blocks"] == 15
    with pytest.raises(FileNotFoundError):
        studies.read_costs(tmp_path / "cost-gpu.json")


@pytest.mark.parametrize("problem", ["bytes", "format", "legacy rows"])
def test_the_fix_of_a_file_is_one_that_works(records, problem):
    """Where git has the file, it is not deleted: that would throw its legacy rows away."""
    store(records, "controls", legacy_rows(["none"]))
    path = records / "controls-smoke.json"
    content = read_json(path)
    if problem == "bytes":
        path.write_bytes(path.read_bytes()[:-5])
    elif problem == "format":
        write_json(path, {**content, "format": 1})
    else:
        content["legacy"]["rows"].pop()
        write_json(path, content)
    with pytest.raises(Damaged, match="Delete it and make it again with `semiseg study`"):
        studies.read("controls", load("smoke"))
    for arguments in (["init", "-q"], ["add", path.name]):
        subprocess.run(["git", "-C", str(records), *arguments], check=True)
    with pytest.raises(Damaged, match="Take the file from the version control") as said:
        studies.read("controls", load("smoke"))
    assert "Delete" not in str(said.value)


def test_a_file_of_another_format_is_refused(records):
    records.mkdir(parents=True)
    write_json(records / "controls-smoke.json", {"format": 1, "rows": {}})
    with pytest.raises(Damaged, match="has format 1, but this version reads 2"):
        studies.read("controls", load("smoke"))


@pytest.mark.parametrize("change", ["score", "gone", "further", "order", "commit"])
def test_a_changed_legacy_row_is_refused_even_where_the_seal_of_the_file_is_right(records, change):
    store(records, "controls", legacy_rows(["none", "linear"]))
    path = records / "controls-smoke.json"
    content = read_json(path)
    rows = content["legacy"]["rows"]
    if change == "score":
        rows[0]["test"] += 1e-9
    elif change == "commit":
        rows[0]["legacy"] = "1234567"
    elif change == "order":
        rows.reverse()
    elif change == "gone":
        rows.pop()
    else:
        rows.append(rows[0])
    write_json(path, content)
    with pytest.raises(Damaged, match=r"the legacy rows of .*controls-smoke\.json are not those"):
        studies.read("controls", load("smoke"))


# -------------------------------------------------------------------------------------- legacy rows

def legacy_rows(arms, seeds=(1, 2), commit="abc1234") -> list[dict]:
    """Rows of earlier code; one score has more digits than most programs write."""
    return [{"arm": arm, "seed": seed, "config": "0ldc0de", "test": 30.123456789012345 + seed,
             "labels": 20.0, "legacy": commit} for arm in arms for seed in seeds]


def current_row(arm: str, seed: int, config: str = "0ther") -> dict:
    """A row that says what made it, of some settings."""
    return {"arm": arm, "seed": seed, "config": config, "test": 1.0, "identity": "0",
            "images": {"test": "t"}, "data": "d", "data of all arms": ["d"], "weights": {},
            "commit": "abc", "date": "2026-01-01T00:00:00+00:00", "made with": made()}


def store(folder, name: str, legacy: list[dict], rows=(), profile: str = "smoke") -> None:
    """Write records as a study would."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace(' ', '_')}-{profile}.json"
    stored_records._store(path, stored_records._File(profile, list(rows), {}, legacy))


def test_legacy_rows_are_served_with_their_mark(records):
    rows = legacy_rows(["none"], commit="def5678") + legacy_rows(["linear"])
    store(records, "controls", rows, [current_row("none", 3)])
    found = studies.read("controls", load("smoke"))
    assert found.rows == rows and found.legacy == ("abc1234", "def5678")
    assert found.left_out == {stored_records.OTHER_SETTINGS: 1}
    assert found.mark.startswith("† legacy rows, made by commits abc1234, def5678")
    assert found.sign == " †" and found.seeds("none") == [1, 2]
    assert found.made_with.startswith("unknown; legacy rows") and not found.on_gpu


def test_current_rows_have_no_mark(runs):
    found = studies.run("controls", load("smoke"), seeds=(1,))
    assert (found.legacy, found.mark, found.sign) == ((), "", "")
    assert found.left_out == {} and found.left_out_text == ""
    assert studies.read("controls", load("smoke")) == found


def test_rows_of_an_arm_that_is_gone_are_left_out(records):
    store(records, "controls", legacy_rows(["none", "gone"]), [current_row("gone", 1)])
    found = studies.read("controls", load("smoke"))
    assert {row["arm"] for row in found.rows} == {"none"}
    assert found.left_out == {stored_records.NO_ARM: 3}
    assert found.left_out_text == ("Stored rows that are left out: 3 of arms that the study no "
                                   "longer has.")


def test_no_read_mixes_legacy_and_current_rows(records, runs):
    """Arm by arm and seed by seed: legacy rows until the current ones cover all of them."""
    old, smoke = legacy_rows(["none", "linear"]), load("smoke")
    store(records, "controls", old)
    steps = [("none", 1), ("linear", 1), ("none", 2), ("linear", 2)]
    for number, (arm, seed) in enumerate(steps):
        found = studies.read("controls", smoke)
        assert found.rows == old
        assert sum(found.left_out.values()) == number
        studies.run("controls", smoke, seeds=(seed,), only=(arm,))
    found = studies.read("controls", smoke)
    assert found.legacy == () and {(row["arm"], row["seed"]) for row in found.rows} == set(steps)
    assert not any("legacy" in row for row in found.rows) and found.left_out == {}


def test_a_legacy_row_never_counts_as_done(records, runs):
    """Not even one whose config is today's fingerprint."""
    smoke = load("smoke")
    rows = legacy_rows(["none", "linear"], seeds=(1,))
    for row in rows:
        row["config"] = studies.STUDIES["controls"][row["arm"]].fingerprint(smoke)
    store(records, "controls", rows)
    with pytest.raises(FileNotFoundError, match="other settings"):
        studies.current("controls", smoke)
    found = studies.run("controls", smoke, seeds=(1,))
    assert len(runs) == len(studies.STUDIES["controls"]) == len(found.rows)
    assert found.scores("none") == [51.0] and found.legacy == ()
    assert studies.current("controls", smoke) == found


def test_new_rows_stand_beside_the_legacy_ones(records, runs):
    """Those of a lost arm too, to the last digit."""
    old = legacy_rows(["none", "gone", "linear"])
    store(records, "controls", old, [current_row("none", 1)])
    path = records / "controls-smoke.json"
    text = json.dumps(old)
    sealed = read_json(path)["legacy"]
    for seeds in ((1,), (1, 2)):
        found = studies.run("controls", load("smoke"), seeds=seeds, only=("none",))
        assert text in path.read_text(encoding="utf-8") and "31.123456789012344" in text
        stored = read_json(path)
        assert stored["legacy"] == sealed
        assert list(stored["rows"].values()) == [current_row("none", 1), *found.rows]
        assert found.seeds("none") == list(seeds)


def test_studies_of_one_table_are_of_one_kind(records, runs):
    smoke = load("smoke")
    names = ("hurried", "controls", "schedules")
    with pytest.raises(FileNotFoundError, match="hurried-smoke"):
        studies.read_together(names, smoke)
    old = legacy_rows(["none"], seeds=(1,))
    store(records, "hurried", old)
    store(records, "controls", legacy_rows(["none"], seeds=(1,), commit="def5678"))
    studies.run("hurried", smoke, seeds=(1,), only=("none",))
    studies.run("schedules", smoke, seeds=(1,), only=("none",))
    assert studies.read("hurried", smoke).legacy == ()
    found = studies.read_together(names, smoke)
    assert {name: one.legacy for name, one in found.items()} == {
        "hurried": ("abc1234",), "controls": ("def5678",),
    }
    assert found["hurried"].rows == old
    studies.run("controls", smoke, seeds=(1,), only=("none",))
    found = studies.read_together(names, smoke)
    assert list(found) == list(names) and not any(one.legacy for one in found.values())


def test_the_command_says_that_legacy_rows_are_still_shown(records, runs, capsys):
    store(records, "controls", legacy_rows(["none", "linear"]), [current_row("linear", 7)])
    command = ["study", "controls", "--profile", "smoke", "--only", "none", "--seeds"]
    assert main([*command, "1"]) == 0
    printed = capsys.readouterr().out
    assert "| none " in printed and "51.0" in printed and "31.1" not in printed
    assert "† legacy rows, made by commit abc1234" in printed
    assert "made with: cpu (a kind, AVX2), 1 thread, " in printed
    assert main(["study", "controls", "--profile", "smoke", "--seeds", "1", "2"]) == 0
    assert "†" not in capsys.readouterr().out


def test_the_command_says_which_rows_are_left_out(records, runs, capsys):
    smoke = load("smoke")
    studies.run("controls", smoke, seeds=(1,))
    stored = stored_records._stored(records / "controls-smoke.json")
    store(records, "controls", [], [*stored.rows, current_row("gone", 1), current_row("none", 9)])
    assert main(["study", "controls", "--profile", "smoke", "--seeds", "1"]) == 0
    assert ("Stored rows that are left out: 1 of arms that the study no longer has, 1 made with "
            "other settings than today's.") in capsys.readouterr().out


@pytest.fixture
def command(own, monkeypatch):
    """The command that runs the study of the fixture ``own`` with one seed."""
    root, profile, _ = own
    monkeypatch.setattr(recipes, "load", own_folder.load_instead(profile))
    monkeypatch.setattr(studies, "STUDIES", stored_records.STUDIES)
    return ["study", "schedules", "--profile", "smoke", "--root", str(root), "--device", "cpu",
            "--seeds", "1"]


def test_anew_makes_rows_in_a_work_folder_of_its_own(own, command, capsys):
    """The run that is there is not read; the new row takes the place of the old one."""
    _, profile, _ = own
    work = work_root()
    assert main(command) == 0
    (run,) = (work / "runs").iterdir()
    first = studies.read("schedules", profile)
    before = {path: path.read_bytes() for path in run.iterdir()}
    assert main(command) == 0 and studies.read("schedules", profile) == first
    assert main([*command, "--anew"]) == 0
    assert "made with: cpu" in capsys.readouterr().out
    (again,) = (work / "anew").glob("*/runs/*")
    assert again.name == run.name
    assert (again / "model.safetensors").read_bytes() == before[run / "model.safetensors"]
    assert {path: path.read_bytes() for path in run.iterdir()} == before
    second = studies.read("schedules", profile)
    assert second.scores("supervised") == first.scores("supervised")
    assert second.rows[0]["identity"] == first.rows[0]["identity"]
    assert second.rows[0]["minutes"] != first.rows[0]["minutes"]
    assert work_root() == work


def test_outside_the_checkout_rows_that_are_made_anew_stand_beside_the_others(
    command, own, capsys, monkeypatch
):
    """The records lie in the work folder then, not in the folder of the new runs."""
    _, profile, _ = own
    monkeypatch.setattr(stored_records, "in_checkout", lambda: False)
    assert main([*command, "--anew"]) == 0
    path = work_root() / "records" / "schedules-smoke.json"
    assert f"records: {path.as_posix()}" in capsys.readouterr().out and path.is_file()
    first = studies.read("schedules", profile)
    assert main([*command, "--anew"]) == 0
    assert studies.read("schedules", profile).rows[0]["minutes"] != first.rows[0]["minutes"]
    assert not list((work_root() / "anew").rglob("*-smoke.json"))


def test_anew_looks_into_no_shared_folder(command, monkeypatch, tmp_path):
    assert main(command) == 0
    monkeypatch.setenv("SEMISEG_SHARED", str(work_root()))
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "student"))
    assert main([*command, "--anew"]) == 0
    assert list((tmp_path / "student" / "anew").glob("*/runs/*/model.safetensors"))


def test_an_interrupted_call_anew_goes_on_where_it_was(own, command, capsys, monkeypatch):
    """What it trained is not trained again; the next call after it begins from nothing."""
    command = [*command, "--anew"]
    trained, fit = [], training.fit
    monkeypatch.setattr(
        training, "fit", lambda *args, **named: trained.append(1) or fit(*args, **named)
    )
    with monkeypatch.context() as patch:
        patch.setattr(stored_records, "_store_row", mock.Mock(side_effect=KeyboardInterrupt))
        assert main(command) == 130
    (left,) = (work_root() / "anew").iterdir()
    assert len(trained) == 1 and len(list(left.glob("runs/*"))) == 1
    assert "anew/schedules-smoke/runs/" in {str(item.path.relative_to(work_root()))[:26]
                                          for item in inventory(own[0])}
    assert main(command) == 0 and len(trained) == 1
    assert "going on from there" in capsys.readouterr().err and not left.exists()
    assert main(command) == 0 and len(trained) == 2


# -------------------------------------------------------------------------------- committed records

@pytest.mark.parametrize("name", [name for name in studies.STUDIES if name != "methods"])
def test_the_committed_records_are_complete(name):
    """Each arm of the study, three or more seeds, the same for all.

    Further rows, of other settings or images, may be stored beside them. No chapter reads the study
    ``methods``, whose arms follow from the rooms.
    """
    if not RECORDS.is_dir():
        pytest.skip("semiseg_lib/studies/measured is not there yet: semiseg study NAME makes it")
    found = studies.read(name, load("laptop", studies.dataset_of(name)))
    arms, wanted = REDUCED.get(name, (list(studies.STUDIES[name]), 3))
    seeds = {arm: found.seeds(arm) for arm in arms}
    shared = set.intersection(*map(set, seeds.values()))
    assert len(shared) >= wanted, f"make them again: semiseg study {name!r}; seeds now: {seeds}"
    score = "val" if name == "search" else "test"
    assert all(0 < row[score] < 100 for row in found.rows)
    assert all(commit in found.mark for commit in found.legacy)
    for row in found.rows:
        assert "legacy" in row or row.keys() >= set(OF_EVERY_ROW)


def test_every_finding_stands_in_a_text_with_a_claim():
    assert findings.all_findings().keys() == conclusions.used()
    assert [one.name for one in findings.all_findings().values() if one.claim is None] == []


def test_nobody_alters_the_committed_legacy_rows():
    """Neither their numbers nor the seal around them; a study that has none needs no entry."""
    if not RECORDS.is_dir():
        pytest.skip("semiseg_lib/studies/measured is not there yet: semiseg study NAME makes it")
    found = {}
    for path in sorted(RECORDS.glob("*.json")):
        content = read_json(path)
        if path.stem in LEGACY_COSTS:
            rows = list(content["rows"].values())
            legacy = {"rows": rows, "hash": stored_records.legacy_hash(rows)}
        else:
            legacy = content["legacy"]
        assert stored_records.legacy_hash(legacy["rows"]) == legacy["hash"]
        assert all(row["legacy"] for row in legacy["rows"])
        if legacy["rows"]:
            found[path.stem] = legacy["hash"]
    assert found == LEGACY_HASHES | LEGACY_COSTS


def git(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True)


@pytest.mark.parametrize("stem", LEGACY_HASHES)
def test_the_legacy_rows_are_those_of_the_history(stem):
    """Row by row and digit by digit, as the last commit without seals had them."""
    shown = git("show", f"{SEALED}:notebooks/records/{stem}.json")
    if shown.returncode:
        pytest.skip(f"the commit {SEALED} is not here")
    then, now = json.loads(shown.stdout), read_json(RECORDS / f"{stem}.json")
    assert now["legacy"]["rows"] == then["rows"] and now["profile"] == then["profile"]
    assert json.dumps(now["legacy"]["rows"]) == json.dumps(then["rows"])
    assert now["legacy"]["machine"] == then["machine"]


def test_the_commits_of_legacy_rows_are_in_the_history():
    shallow = git("rev-parse", "--is-shallow-repository")
    if shallow.returncode or shallow.stdout.strip() != "false" or not RECORDS.is_dir():
        pytest.skip("no git history here, or a part of it only")
    commits = {row["legacy"] for path in COMMITTED.values() if path.is_file()
               for row in read_json(path)["legacy"]["rows"]}
    assert commits
    assert [one for one in sorted(commits)
            if git("merge-base", "--is-ancestor", one, "HEAD").returncode] == []
