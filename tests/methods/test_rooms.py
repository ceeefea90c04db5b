"""A method is its room: what is put into the folder is known everywhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import semiseg_lib

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
assert methods.kind(FlatConfig()).__name__ == "Flat"
try:
    methods.register(FlatConfig, methods.kind(FlatConfig()))
except ValueError as error:
    assert "is the name of semiseg_lib.methods.flat.FlatConfig already" in str(error)
else:
    raise AssertionError("a shipped method was replaced")
sys.path.append(sys.argv[2])
import every_method
assert FlatConfig() in every_method.CONFIGS
"""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    """A copy of the library with one further room in it."""
    root = tmp_path_factory.mktemp("shipped")
    shutil.copytree(Path(semiseg_lib.__file__).parent, root / "semiseg_lib",
                    ignore=shutil.ignore_patterns("__pycache__"))
    room = root / "semiseg_lib" / "methods" / "flat"
    room.mkdir()
    (room / "__init__.py").write_text(ROOM, encoding="utf-8")
    (room / "method.py").write_text(METHOD, encoding="utf-8")
    return root


def test_a_room_is_all_that_ships_a_method(shipped):
    """Commands, stored options, the contract tests know it; nothing may replace it."""
    here = Path(__file__).parent
    subprocess.run([sys.executable, "-c", PROGRAM, str(shipped), str(here)], check=True,
                   cwd=shipped)


def test_it_keeps_the_contract(shipped):
    """The contract tests of its options pass, without a line about it in them."""
    tests = shipped / "tests" / "methods"
    tests.mkdir(parents=True)
    for name in ("conftest.py", "every_method.py", "test_contract.py"):
        shutil.copy(Path(__file__).parent / name, tests)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider",
         "--import-mode=importlib", "-k", "FlatConfig", str(tests)],
        cwd=shipped, capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stdout
