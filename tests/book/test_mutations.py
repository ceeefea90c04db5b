"""The tests of the chapters can fail: a changed output and a broken library turn them red."""

import copy
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from bookkit import load
from bookkit.build import SOURCES
from bookkit.notebook import write_notebook

MEASURING = "02_measuring_segmentation"


def run_nbval(notebook: Path, **environment: str) -> str:
    """pytest's closing line for one notebook, tested the way that `make test` tests all."""
    (notebook.parent / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=240", "-q"]
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist"]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *plugins, notebook.name],
        cwd=notebook.parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    return finished.stdout.strip().splitlines()[-1]


def compared_cells(notebook):
    """Positions of the cells whose printed output nbval compares."""
    for position, cell in enumerate(notebook.cells):
        compared = "nbval-check-output" in cell.metadata.get("tags", [])
        if compared and any(output.get("text", "").strip() for output in cell.outputs):
            yield position


def shortest_checked():
    """The chapter whose first compared output comes after the fewest cells, cut after that cell."""
    found = []
    for chapter in load().chapters:
        path = SOURCES / f"{chapter.file}.ipynb"
        if path.is_file():
            notebook = nbformat.read(path, as_version=4)
            for position in compared_cells(notebook):
                notebook.cells = notebook.cells[: position + 1]
                found.append(notebook)
                break
    if not found:
        pytest.fail("no chapter has a printed output that nbval compares (nbval-check-output)")
    return min(found, key=lambda notebook: len(notebook.cells))


def test_a_changed_stored_output_turns_nbval_red(tmp_path):
    notebook = shortest_checked()
    write_notebook(notebook, tmp_path / "same.ipynb")
    closing = run_nbval(tmp_path / "same.ipynb")
    assert "passed" in closing and "failed" not in closing

    changed = copy.deepcopy(notebook)
    output = next(output for output in changed.cells[-1].outputs if output.get("text", "").strip())
    output.text = re.sub(r"\w", "#", output.text, count=1)
    write_notebook(changed, tmp_path / "changed.ipynb")
    assert "1 failed" in run_nbval(tmp_path / "changed.ipynb")


def test_a_broken_mean_iou_turns_the_measuring_chapter_red(tmp_path, checkout):
    shutil.copytree(checkout / "semiseg_lib", tmp_path / "semiseg_lib")
    shutil.copy(checkout / "book.yml", tmp_path)
    shutil.copy(SOURCES / f"{MEASURING}.ipynb", tmp_path)
    path = tmp_path / f"{MEASURING}.ipynb"
    closing = run_nbval(path, PYTHONPATH=str(tmp_path))
    assert "passed" in closing and "failed" not in closing

    metrics = tmp_path / "semiseg_lib" / "evaluation" / "metrics.py"
    broken = "\n\nEvaluation.mean_iou = property(lambda self: 0.123)\n"
    metrics.write_text(metrics.read_text(encoding="utf-8") + broken, encoding="utf-8")
    assert "failed" in run_nbval(path, PYTHONPATH=str(tmp_path))
