"""The scripts in examples/: short, one a method, and each of them runs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from semiseg_lib import methods

CHECKOUT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((CHECKOUT / "examples").glob("*.py"))


def test_every_method_has_a_script():
    rooms = {path.parent.name for path in Path(methods.__file__).parent.glob("*/method.py")}
    assert rooms == {path.stem for path in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_fits_on_a_page(script: Path):
    lines = script.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 80
    assert [line for line in lines if len(line) > 78] == []
    assert f"python examples/{script.name}" in "\n".join(lines), "its docstring has the command"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_runs_and_prints_a_score(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    runpy.run_path(str(script))
    scores = [float(one) for one in re.findall(r"mIoU: (\S+)", capsys.readouterr().out)]
    assert scores
    assert all(0 < score <= 1 for score in scores)
