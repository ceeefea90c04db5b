"""A chapter is there at once: its first cells load nothing that only later cells may need."""

import json
import subprocess
import sys

import pytest

from bookkit import load
from bookkit.launch import INSTALL_TAG

FIRST_CELLS = """
import json, sys
for code in json.loads(sys.argv[1]):
    exec(code, globals())
heavy = ("timm", "torchvision.models", "nbformat", "jupytext", "matplotlib.pyplot", "sklearn")
print([name for name in heavy if name in sys.modules])
"""


def first_cells(checkout, chapter: str) -> list[str]:
    """The code of a chapter up to the cell that begins it."""
    notebook = json.loads((checkout / "notebooks" / f"{chapter}.ipynb").read_text("utf-8"))
    found = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and INSTALL_TAG not in cell["metadata"].get("tags", []):
            found.append("".join(cell["source"]))
            if "chapter.begin(" in found[-1]:
                return found
    raise AssertionError(f"{chapter} never begins")


@pytest.mark.parametrize("chapter", ["03_supervised_baseline", "08_evaluation", "17_comparison"])
def test_the_cells_that_begin_a_chapter_load_no_encoder_no_figure_and_no_jupyter(
    checkout, chapter, monkeypatch, tmp_path
):
    monkeypatch.setenv("SEMISEG_PROFILE", "smoke")
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CELLS, json.dumps(first_cells(checkout, chapter))],
        capture_output=True, text=True, check=True, cwd=checkout / "notebooks",
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_chapter_has_such_cells(checkout):
    assert all(first_cells(checkout, one.file) for one in load().chapters)
