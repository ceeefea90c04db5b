"""A method is its room and one recipe: what is put into these folders is known everywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import semiseg_lib
from semiseg_lib import recipes
from semiseg_lib.core.durable import read_json

HERE = Path(__file__).resolve().parent
HELPERS = HERE.parent / "helpers"

ROOM = '''"""The squared error of a constant: a method that ships in this test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.methods.options import HardPixels
from semiseg_lib.methods.registry import Declared


@dataclass(frozen=True)
class FlatConfig(Configuration):
    """Options: weight of the unlabelled loss, average, hard pixels."""

    name: Literal["flat"] = "flat"
    weight: float = 1.0
    ema_decay: float = 0.9
    hard: HardPixels | None = None


DECLARED = (Declared(FlatConfig, "Flat", unlabelled=True),)
'''
METHOD = '''"""Flat probabilities on unlabelled images.

    (E1)  L_u = mean of squared logits
"""

from semiseg_lib.methods.base import SemiSupervised


class Flat(SemiSupervised):
    uses_all_weights = True

    def unlabelled_loss(self, labelled, unlabelled, progress, rng):
        logits, others = self.logits_together(labelled.images, unlabelled.images)
        return logits, others.square().mean()  # (E1)
'''
RECIPE = """base: laptop/minivoc
methods: [flat]

method.weight: 0.5
train_supervised.steps: 2
train_unlabelled.steps: 3
"""
PROGRAM = """
import sys
import semiseg_lib
from semiseg_lib import methods
assert semiseg_lib.__file__.startswith(sys.argv[1]), semiseg_lib.__file__
FlatConfig = methods.FlatConfig
(shipped,) = [one for one in methods.declared() if one.options is FlatConfig]
assert shipped.unlabelled
from semiseg_lib.cli import commands
from semiseg_lib.core.fingerprint import dump
from semiseg_lib.methods import registry
assert "flat" in commands.TRAINABLE
assert registry.read(dump(FlatConfig(weight=2.0))) == FlatConfig(weight=2.0)
assert methods.method_class(FlatConfig()).__name__ == "Flat"
try:
    methods.register(FlatConfig, methods.method_class(FlatConfig()))
except ValueError as error:
    assert "is already the name of semiseg_lib.methods.flat.FlatConfig" in str(error)
else:
    raise AssertionError("a shipped method was replaced")
sys.path.append(sys.argv[2])
import every_method
assert FlatConfig() in every_method.CONFIGS
"""
STUDY = """
import sys
import semiseg_lib
assert semiseg_lib.__file__.startswith(sys.argv[1]), semiseg_lib.__file__
from semiseg_lib import methods, recipes, studies
from semiseg_lib.cli import main
arms = studies.STUDIES["methods"]
smoke = recipes.load("smoke")
values = {name: arms[name].value(smoke, 1) for name in methods.named_options(unlabelled=True)}
assert values["flat"].method == methods.FlatConfig(weight=0.5)
assert "flat" not in smoke.unlabelled, "no file but its own names it"
assert {(one.train, one.data, one.views, one.model) for one in values.values()} == {
    (smoke.train_unlabelled, smoke.data, smoke.augment, smoke.model)}, "one budget for all"
assert main(["study", "methods", "--profile", "smoke", "--only", "flat", "--seeds", "1"]) == 0
(row,) = studies.read("methods", smoke).rows
assert row["arm"] == "flat" and row["config"] == arms["flat"].fingerprint(smoke)
assert main(["train", "flat", "--profile", "smoke", "--seed", "1", "--device", "cpu"]) == 0
"""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    """A copy of the library with one further room and one further recipe in it."""
    root = tmp_path_factory.mktemp("shipped")
    shutil.copytree(Path(semiseg_lib.__file__).parent, root / "semiseg_lib",
                    ignore=shutil.ignore_patterns("__pycache__"))
    room = root / "semiseg_lib" / "methods" / "flat"
    room.mkdir()
    (room / "__init__.py").write_text(ROOM, encoding="utf-8")
    (room / "method.py").write_text(METHOD, encoding="utf-8")
    (root / "semiseg_lib" / "recipes" / "smoke" / "flat.yml").write_text(RECIPE, encoding="utf-8")
    return root


def test_a_room_is_all_that_ships_a_method(shipped):
    """Commands, stored options, the contract tests know it; nothing may replace it."""
    subprocess.run([sys.executable, "-c", PROGRAM, str(shipped), str(HELPERS)], check=True,
                   cwd=shipped)


def test_it_keeps_the_contract(shipped):
    """The contract tests of its options pass, without a line about it in them."""
    tests = shipped / "tests" / "methods"
    tests.mkdir(parents=True)
    for source in (HERE / "conftest.py", HERE / "test_contract.py", HELPERS / "every_method.py"):
        shutil.copy(source, tests)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider",
         "--import-mode=importlib", "-o", f"pythonpath={tests}", "-k", "FlatConfig", str(tests)],
        cwd=shipped, capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stdout


def test_a_study_has_an_arm_of_it_and_its_rows_are_read_back(shipped, tmp_path):
    """Really run, in smoke; then trained by the command, with all that its own recipe says."""
    done = subprocess.run(
        [sys.executable, "-c", STUDY, str(shipped)], cwd=shipped, capture_output=True, text=True,
        env={**os.environ, "SEMISEG_WORK": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [read_json(path)["value"] for path in (tmp_path / "runs").glob("flat-*/config.json")]
    assert [one["method"]["weight"] for one in runs] == [0.5, 0.5]
    steps = {one["train"]["steps"] for one in runs}
    assert steps == {3, recipes.load("smoke").train_unlabelled.steps}
