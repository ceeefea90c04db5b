"""Exercises: the chapters ask, notebooks of their own answer, one check serves both."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import jupytext
import matplotlib
import pytest
from nbformat import NotebookNode

from bookkit import load
from semiseg_lib.core.paths import CHECKOUT
from semiseg_lib.notebook.checks import YOUR_TURN

NOTEBOOKS = CHECKOUT / "notebooks"
BOOK = load()
CHAPTERS = pytest.mark.parametrize("chapter", [one.file for one in BOOK.chapters])


def tagged(path: Path, tag: str) -> list[NotebookNode]:
    """Return the cells of a percent notebook that have a tag."""
    notebook = jupytext.read(path, fmt="py:percent")
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def functions(cells: list[NotebookNode]) -> dict[str, ast.FunctionDef]:
    """Return the functions that cells define, methods too, by name."""
    trees = [ast.parse(cell.source) for cell in cells]
    return {node.name: node for tree in trees for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)}


def answers(function: ast.FunctionDef) -> list[str]:
    """Return what a solution computes: its statements, and what it returns."""
    found = [node.value for node in ast.walk(function)
             if isinstance(node, ast.Return | ast.Assign | ast.AugAssign)]
    return [text for text in map(ast.unparse, found) if len(text) > 12]


@CHAPTERS
def test_a_chapter_asks_and_its_solutions_answer(chapter):
    asked = tagged(NOTEBOOKS / f"{chapter}.py", "exercise")
    solved = tagged(NOTEBOOKS / "solutions" / f"{chapter}.py", "solution")
    assert not tagged(NOTEBOOKS / f"{chapter}.py", "solution")
    assert len(asked) == len(solved) >= 1
    stubs, answered = functions(asked), functions(solved)
    assert stubs.keys() <= answered.keys()
    for name, stub in stubs.items():
        assert ast.unparse(stub.args) == ast.unparse(answered[name].args)
        assert ast.get_docstring(stub) == ast.get_docstring(answered[name])
        assert ast.unparse(stub.body[-1]) == f"raise NotImplementedError('{YOUR_TURN}')"


@CHAPTERS
def test_chapter_and_solutions_share_the_checks(chapter):
    asked, solved = (
        [cell.source for cell in tagged(path, "check")]
        for path in (NOTEBOOKS / f"{chapter}.py", NOTEBOOKS / "solutions" / f"{chapter}.py")
    )
    assert asked == solved
    number = int(chapter[:2])
    for place in range(1, 1 + len(tagged(NOTEBOOKS / f"{chapter}.py", "exercise"))):
        assert sum(f'checks.exercise("{number}.{place}")' in text for text in asked) == 1


@CHAPTERS
def test_a_chapter_does_not_hold_an_answer(chapter):
    notebook = jupytext.read(NOTEBOOKS / f"{chapter}.py", fmt="py:percent")
    first = next(number for number, cell in enumerate(notebook.cells)
                 if "exercise" in cell.metadata.get("tags", []))
    code = [ast.unparse(ast.parse(cell.source)) for cell in notebook.cells[first:]
            if cell.cell_type == "code"]
    solved = functions(tagged(NOTEBOOKS / "solutions" / f"{chapter}.py", "solution"))
    for function in solved.values():
        for answer in answers(function):
            assert not any(answer in text for text in code), answer


@CHAPTERS
def test_every_exercise_links_to_its_solution(chapter):
    notebook = jupytext.read(NOTEBOOKS / f"{chapter}.py", fmt="py:percent")
    link = f"(solutions/{chapter}.ipynb)"
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if "exercise" in cell.metadata.get("tags", []):
            above = notebook.cells[:notebook.cells.index(cell)]
            text = next(one.source for one in reversed(above) if one.cell_type == "markdown")
            assert link in text, before.source
    solutions = jupytext.read(NOTEBOOKS / "solutions" / f"{chapter}.py", fmt="py:percent")
    assert f"(../{chapter}.ipynb)" in solutions.cells[0].source


@CHAPTERS
def test_the_solutions_are_right_and_need_no_chapter(chapter, capsys, monkeypatch):
    """In a process of their own notebooks take three seconds longer each; as scripts none."""
    monkeypatch.chdir(NOTEBOOKS / "solutions")
    matplotlib.use("agg")
    runpy.run_path(str(NOTEBOOKS / "solutions" / f"{chapter}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    count = len(tagged(NOTEBOOKS / f"{chapter}.py", "exercise"))
    right = [f"✓ exercise {int(chapter[:2])}.{place + 1}: right" for place in range(count)]
    assert [line for line in printed.splitlines() if line.startswith(("✓", "○"))] == right


WRONG = {
    "01_data_preparation: lost_and_claimed": (
        "np.take_along_axis(maps,\n" + 29 * " " + "np.where(objects, mask, 0)[None].astype(int),\n"
        + 29 * " " + "axis=0)[0]", "maps[0] == 0"),
    "02_measuring_segmentation: weighted_iou": ("np.nan_to_num(class_iou(matrix))",
                                                "class_iou(matrix)"),
    "02_measuring_segmentation: resampled_difference": (
        "same_pictures[0] - same_pictures[1]", "same_pictures[1] - same_pictures[0]"),
    "05_ancillary_logits: most_confident_mistake": ("(confidence * wrong)", "wrong"),
    "06_self_correction: equivalent_alpha": ("return alpha / t", "return 1 / t"),
    "07_primary_training: pull": (".sum(dim=1) / 2", ".mean(dim=1)"),
    "09_real_photographs: stored_bytes": (" * bytes_each", ""),
    "13_cross_pseudo_supervision: cross_of_many": (
        "if place != number]", "if place == (number + 1) % len(labels)]"),
    "18_your_own_method: mean_entropy": ("/ inside.sum().clamp(min=1)", "/ inside.numel()"),
    "08_evaluation: worth_in_masks": ("return masks + (masks + unlabelled) / ratio",
                                      "masks + (masks + unlabelled) / ratio"),
}
"""A part of a solution, and what makes it wrong in a way that a reader may think of."""


@pytest.mark.parametrize("which", WRONG)
def test_a_wrong_answer_is_refused(which, monkeypatch):
    chapter, name = which.split(": ")
    right, wrong = WRONG[which]
    path = NOTEBOOKS / "solutions" / f"{chapter}.py"
    text = path.read_text(encoding="utf-8")
    assert text.count(right) == 1 and f"def {name}(" in text
    monkeypatch.chdir(path.parent)
    matplotlib.use("agg")
    with pytest.raises(AssertionError, match=rf"exercise {int(chapter[:2])}\.\d: not yet"):
        exec(compile(text.replace(right, wrong), str(path), "exec"), {"__name__": "__main__"})
