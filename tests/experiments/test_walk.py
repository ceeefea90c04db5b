"""No way to a result gives the old answer after an input has changed.

Each way is walked once, and again after each change of one input, on a copy of the dataset. `make
test` walks every way with a few changes; ``SEMISEG_WALK=all`` walks all of them.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from semiseg_lib import cli, experiments, methods
from semiseg_lib.cli import commands
from semiseg_lib.experiments import Run, self_correction
from semiseg_lib.experiments.identity import Inputs
from semiseg_lib.fingerprint import fingerprint
from semiseg_lib.paths import CHECKOUT

_spec = importlib.util.spec_from_file_location("ways", Path(__file__).with_name("ways.py"))
ways = sys.modules["ways"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(ways)

WALK_ALL = os.environ.get("SEMISEG_WALK") == "all"
SAMPLE = 2
"""Changes that each way meets in `make test`."""
SLOW = ("distributed",)


def steps() -> list[tuple[str, list[str]]]:
    """Return every way with the changes that it meets; in turn, where it does not meet all."""
    found, place = [], 0
    for name in ways.WAYS:
        if WALK_ALL:
            found.append((name, list(ways.CHANGES)))
        elif name not in SLOW:
            seen = [one for one, change in ways.CHANGES.items()
                    if change.seen_by in ways.WAYS[name].reads]
            found.append((name, [seen[(place + n) % len(seen)] for n in range(SAMPLE)]))
            place += SAMPLE
    return found


@pytest.mark.parametrize("name, changes", [pytest.param(*one, id=one[0]) for one in steps()])
def test_no_way_gives_the_old_answer(name, changes, tmp_path, monkeypatch):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("SEMISEG_PROFILE", "smoke")
    way, root = ways.WAYS[name], ways.draw(tmp_path / "first")
    before = way.take(ways.World(root, ways.tiny_profile()))
    assert before, "the walk found no folder of a result"
    wrong = {}
    for number, change in enumerate(dict.fromkeys(changes)):
        copy = shutil.copytree(root, tmp_path / f"copy{number}")
        world = ways.World(copy, ways.tiny_profile())
        if said := ways.outcome(way, ways.CHANGES[change], before, world):
            wrong[change] = said
    assert wrong == {}


def test_a_copied_dataset_leads_to_the_same_runs(tmp_path):
    root = ways.draw(tmp_path / "first")
    copy = shutil.copytree(root, tmp_path / "second")
    run = self_correction.primary(ways.tiny_profile(), 0)
    first, second = (Inputs(one).identity(run).digest for one in (root, copy))
    assert first == second


RUN = self_correction.conv_primary(ways.tiny_profile(), 0, methods.ConvPrimaryConfig())


@pytest.mark.parametrize("path", list(ways.leaves(RUN)), ids=".".join)
def test_every_option_of_a_run_is_known_to_be_one(path):
    """Each option of a run and of what is nested in it is walked by its class's own test."""
    owner = RUN
    for name in path[:-1]:
        owner = getattr(owner, name)
    assert path[-1] in {field.name for field in fields(owner)}
    assert fingerprint(replace(RUN, seed=1)) != fingerprint(RUN)


def test_every_storyline_is_walked():
    """A new function of a storyline must be added to the walk."""
    for module, known in ways.STORYLINES.items():
        assert ways.functions_of(module) - {"evaluate_labels"} == set(known)


def test_every_command_is_walked():
    """A new command, or a new method to train, must be added to the walk."""
    walked = {name.split()[0] for name in ways.COMMANDS}
    assert set(cli.COMMANDS) == walked | set(ways.NO_WAY)
    assert set(commands.TRAINABLE) == set(ways.TRAIN_COMMANDS) | set(ways.UNTRIED)


KNOWN = {
    "Identity", "Inputs", "Logits", "Machine", "MixedLogits", "PseudoLabels", "Run", "Trained",
    "corrected_logits", "evaluate_unlabelled", "networks_trained", "open_run", "resolve",
    "runs_behind",
}
"""The public names of ``semiseg_lib.experiments``: resolve and open_run are the ways, the rest
are values and what is read off them."""


def test_every_public_name_is_known_to_the_walk():
    assert set(experiments.__all__) == KNOWN
    assert {field.name for field in fields(Run)} == {
        "method", "train", "model", "views", "data", "seed", "draw", "masks", "labelled_logits",
        "unlabelled_logits", "start", "validation",
    }


def test_chapters_know_no_other_way():
    """A chapter comes to its runs by the names that are walked."""
    submodules = {"self_correction", "self_training", "semi_supervised", "training", "resolve",
                  "identity", "machine", "trained", "values", "labels"}
    for path in sorted((CHECKOUT / "notebooks").glob("[0-9]*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = getattr(node, "module", "") or ""
            if isinstance(node, ast.ImportFrom) and module == "semiseg_lib.experiments":
                assert {one.name for one in node.names} <= KNOWN | submodules, path.name
