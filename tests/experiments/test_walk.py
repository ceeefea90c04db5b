"""No way to a result gives the old answer after an input has changed.

Each way is walked once, and again after each change of one input, in place. `make test` walks every
way with a few changes, in turn; ``python tests/helpers/ways.py`` walks all of them.
"""

from __future__ import annotations

import ast
import shutil
import time
from copy import copy
from dataclasses import fields
from typing import Any, get_type_hints
from unittest import mock

import pytest
import ways
from reachable import another

from semiseg_lib import cli, experiments
from semiseg_lib.cli import commands
from semiseg_lib.cli.flags import TrainFlags
from semiseg_lib.core.fingerprint import digest, schema_of
from semiseg_lib.core.paths import CHECKOUT
from semiseg_lib.datasets import digest as digests
from semiseg_lib.experiments import Run, self_correction
from semiseg_lib.experiments.identity import Inputs

SAMPLE = 2
"""Changes that a way meets in `make test`; one that trains much meets one."""
SLOW = ("distributed",)


def steps() -> dict[str, list[str]]:
    """Return every way with the changes that it meets: in turn, those that it reads."""
    found, met = {}, dict.fromkeys(ways.CHANGES, 0)
    for name, way in ways.WAYS.items():
        if name not in SLOW:
            seen = [one for one in ways.CHANGES if ways.CHANGES[one].seen_by in way.reads]
            chosen = sorted(seen, key=met.get)[: max(SAMPLE // way.cost, 1)]
            met.update({one: met[one] + 1 for one in chosen})
            found[name] = chosen
    unread = ["hidden mask", *(one for one, times in met.items() if not times)]
    found["self_correction.supervised"] += unread  # none of them is read there
    return found


@pytest.mark.parametrize("name", steps())
def test_no_way_gives_the_old_answer(name, tmp_path):
    found = ways.walk(name, steps()[name], tmp_path)
    assert {change: said for change, said in found.items() if said.startswith(ways.WRONG)} == {}


def test_every_change_is_in_the_sample():
    assert {one for changes in steps().values() for one in changes} == set(ways.CHANGES)


@pytest.mark.parametrize("error, said", [
    (ValueError("an image is broken"), "wrong: ValueError: an image"),
    (KeyError("a"), "wrong: KeyError"),
    (ways.Failed("something else"), "wrong: Failed"), (SystemExit(2), "wrong: SystemExit"),
    (ValueError("Scores need the same classes in the same order: ..."), "refused"),
])
def test_only_a_named_refusal_is_right(tmp_path, error, said):
    way = ways.Way(mock.Mock(side_effect=error), ways.MASKS)
    world = ways.World(ways.draw(tmp_path / "data"), ways.tiny_profile())
    assert ways.outcome(way, ways.CHANGES["class name"], [], world).startswith(said)
    assert ways.outcome(way, ways.CHANGES["test image"], [], world).startswith(ways.WRONG)


def test_an_old_answer_and_a_needless_new_one_are_wrong(tmp_path):
    world = ways.World(ways.draw(tmp_path / "data"), ways.tiny_profile())
    way = ways.Way(lambda _: {"a"}, ways.MASKS)
    assert ways.outcome(way, ways.CHANGES["seed"], [{"a"}], world) == "wrong: an old answer"
    assert ways.outcome(way, ways.CHANGES["seed"], [{"b"}, {"a"}], world).startswith(ways.WRONG)
    assert ways.outcome(way, ways.CHANGES["test image"], [{"b"}], world).startswith(ways.WRONG)


@pytest.mark.parametrize("name, path", [
    ("labelled image", "images/p1.png"), ("labelled mask", "masks/p1.png"),
    ("labelled box", "boxes/p1.xml"), ("class name", "classes.txt"),
    ("weights file", ways.ENCODER),
])
def test_a_change_in_place_keeps_size_and_time_and_is_taken_back(tmp_path, name, path):
    root = ways.draw(tmp_path / "data")
    file, world = root / path, ways.World(root, ways.tiny_profile(), root / ways.ENCODER)
    before, status = file.read_bytes(), file.stat()
    with ways.changed(ways.CHANGES[name], world):
        now = file.stat()
        assert (now.st_size, now.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
        assert file.read_bytes() != before
    assert file.read_bytes() == before


def test_the_walk_meets_remembered_hashes(tmp_path, monkeypatch):
    """What does not change between two steps of the walk is not hashed again."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    monkeypatch.setattr(digests, "GRANULARITY_NS", ways.TICK_NS)
    world = ways.World(ways.draw(tmp_path / "data"), ways.tiny_profile())
    run, hashed = self_correction.supervised(world.profile, 0), []
    time.sleep(5 * ways.TICK_NS / 1e9)  # so that what was drawn just now is believed
    sha256 = digests._sha256
    monkeypatch.setattr(digests, "_sha256", lambda path: hashed.append(path.name) or sha256(path))
    first = Inputs(world.root).identity(run).digest
    hashed.clear()
    assert Inputs(world.root).identity(run).digest == first and hashed == []
    with ways.changed(ways.CHANGES["labelled image"], world):
        assert Inputs(world.root).identity(run).digest != first and hashed == ["p1.png"]


def test_a_run_is_reproduced_with_moved_encoder_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    root = ways.draw(tmp_path / "data")
    world = ways.World(root, ways.tiny_profile(), root / ways.ENCODER)
    first = ways.WAYS["weights file"].take(world)
    folder = tmp_path / "work" / "runs" / min(first)
    moved = world.weights.rename(tmp_path / "moved.safetensors")
    with pytest.raises(ways.Failed, match="no file of encoder weights"):
        ways.command(world, "run", str(folder), "--device", "cpu")
    said = ways.command(world, "run", str(folder), "--device", "cpu", "--weights", str(moved))
    assert set(ways.RESULT.findall(said)) == first


def test_a_copied_dataset_leads_to_the_same_runs(tmp_path):
    root = ways.draw(tmp_path / "first")
    copy = shutil.copytree(root, tmp_path / "second")
    run = self_correction.primary(ways.tiny_profile(), 0)
    first, second = (Inputs(one).identity(run).digest for one in (root, copy))
    assert first == second


def changed(value: Any, path: tuple[str | int, ...], hint: Any = None) -> tuple[Any, bool]:
    """Return a value that differs in one option, unchecked, and whether that one is set aside."""
    if not path:
        return another(value, hint), False
    name, *rest = path
    if isinstance(value, tuple):
        inner, aside = changed(value[name], tuple(rest))
        return (*value[:name], inner, *value[name + 1:]), aside
    inner, aside = changed(getattr(value, name), tuple(rest), get_type_hints(type(value))[name])
    found = copy(value)
    object.__setattr__(found, name, inner)
    return found, aside or (not rest and name in schema_of(type(value)).aside)


VALUES = {name: way.make for name, way in ways.WAYS.items() if way.make}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # a name has but one value
def test_every_option_of_every_storyline_counts(name):
    """Whatever a value is made from, at any depth, except what its class sets aside."""
    value = VALUES[name](ways.tiny_profile(), 0)
    own, wrong = digest(value), []
    for path in ways.leaves(value):
        other, aside = changed(value, path)
        if (digest(other) == own) != aside:
            wrong.append(".".join(map(str, path)))
    assert wrong == []


def test_every_storyline_is_walked():
    """A new function of a storyline must be added to the walk."""
    for module, known in ways.STORYLINES.items():
        assert ways.functions_of(module) - {"evaluate_labels"} == set(known)


def test_every_command_is_walked():
    """A new command, or a new method to train, must be added to the walk."""
    walked = {name.split()[0] for name in ways.COMMANDS}
    assert set(cli.COMMANDS) == walked | set(ways.NO_WAY)
    assert set(commands.TRAINABLE) == set(ways.TRAIN_COMMANDS) | set(ways.UNTRIED)


def test_every_public_function_that_gives_a_result_is_walked():
    """A new one must be added to the walk, or to those that are no way, with the reason."""
    found = {name for name, one in ways.callables_of(experiments) if ways.gives_result(one)}
    assert found == set(ways.WALKED) | set(ways.FROM_A_RESULT)
    assert set(ways.WALKED.values()) <= set(ways.WAYS) and all(ways.FROM_A_RESULT.values())


def test_every_public_function_that_is_handed_a_result_is_tried():
    """A new one may pair a result with images or labels of another one: say where that is tried."""
    found = {name for name, one in ways.callables_of(experiments) if ways.reads_result(one)}
    assert found == set(ways.READ_A_RESULT) and all(ways.READ_A_RESULT.values())


OPTIONS = {"method": "method", "train": "train", "data": "data", "model": "model",
           "augment": "views", "seed": "seed"}
"""Flags of `semiseg train METHOD`, each with the field of a run that it sets."""
DECIDE_NOTHING = {
    "machine": "where it is computed and where the images lie, whose bytes count",
    "resume": "whether what is there is used",
}


def test_every_flag_is_an_option_of_the_run_or_decides_nothing():
    assert {one.name for one in fields(TrainFlags)} == set(OPTIONS) | set(DECIDE_NOTHING)
    assert set(OPTIONS.values()) <= {one.name for one in fields(Run)}


def test_flags_that_decide_nothing_lead_to_the_same_run(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    world = ways.World(ways.draw(tmp_path / "data"), ways.tiny_profile())
    first = ways.COMMANDS["train supervised"].take(world)
    for more in (["--workers", "1"], ["--no-resume"]):
        way = ways._command("train", "supervised", *more, reads=ways.MASKS)
        assert way.take(world) == first, more


WAYS_ROUND = {"semiseg_lib.training.run_folder", "semiseg_lib.training.loop",
              "semiseg_lib.stores.logits", "semiseg_lib.stores.pseudo_labels",
              "semiseg_lib.experiments.training"}
"""What trains, writes and reads below the ways that are walked."""
SHOWN = {"TrainConfig", "fit", "make_accelerator", "make_optimizer", "RunFolder",  # 03, by hand
         "LogitsStore", "StaleLogits"}  # chapter 05, how a store refuses other logits


def test_chapters_know_no_other_way():
    """A chapter comes to its runs by the names that are walked."""
    for path in sorted((CHECKOUT / "notebooks").glob("[0-9]*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in WAYS_ROUND:
                assert {one.name for one in node.names} <= SHOWN, path.name
