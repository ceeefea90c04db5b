"""Exercises: the chapters ask, notebooks of their own answer, one check serves both."""

from __future__ import annotations

import ast
from pathlib import Path

import jupytext
import matplotlib
import pytest
from nbformat import NotebookNode
from wrong_answers import WRONG

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


ANSWERS_OF_OTHERS = {"softmax", "log_softmax", "cross_entropy", "roc_auc_score"}


@CHAPTERS
def test_a_check_compares_with_numbers_and_not_with_an_answer_of_another_library(chapter):
    """A function of this library, which the chapter has shown, may stand there."""
    for cell in tagged(NOTEBOOKS / f"{chapter}.py", "check"):
        nodes = [*ast.walk(ast.parse(cell.source))]
        defined = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)} | {
            node.targets[0].id: node.value for node in nodes
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}
        for same in nodes:
            if isinstance(same, ast.Call) and ast.unparse(same.func) == "checks.same":
                used = [*ast.walk(same.args[1])]
                used += [node for one in used if isinstance(one, ast.Name) and one.id in defined
                         for node in ast.walk(defined[one.id])]
                called = {one.attr for one in used if isinstance(one, ast.Attribute)}
                assert not called & ANSWERS_OF_OTHERS, ast.unparse(same)


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
def test_right_solutions_pass_without_the_chapter_and_wrong_ones_do_not(
    chapter, capsys, monkeypatch
):
    """In a process of their own notebooks take three seconds longer each; run here none."""
    monkeypatch.chdir(NOTEBOOKS / "solutions")
    matplotlib.use("agg")
    cells = jupytext.read(NOTEBOOKS / "solutions" / f"{chapter}.py", fmt="py:percent").cells
    names, accepted, printed = {"__name__": "__main__"}, [], ""
    place, solution = 0, ""
    for cell in (one for one in cells if one.cell_type == "code"):
        tags = cell.metadata.get("tags", [])
        if "solution" in tags:
            place, solution = place + 1, ast.unparse(ast.parse(cell.source))
        exercise = f"{int(chapter[:2])}.{place}"
        if "check" in tags and f'checks.exercise("{exercise}")' in cell.source:
            assert WRONG[exercise]
            for right, wrong in WRONG[exercise]:
                assert solution.count(right) == 1, f"{exercise}: {right}"
                try:
                    exec(f"{solution.replace(right, wrong)}\n{cell.source}", {**names})
                except AssertionError as error:
                    assert f"exercise {exercise}: not yet." in str(error)
                else:
                    accepted.append(f"{exercise}: {wrong} in place of {right}")
                capsys.readouterr()
        exec(cell.source, names)
        printed += capsys.readouterr().out
    right = [f"✓ exercise {int(chapter[:2])}.{number + 1}: right" for number in range(place)]
    assert [line for line in printed.splitlines() if line.startswith(("✓", "○"))] == right
    assert accepted == [] and place == len(tagged(NOTEBOOKS / f"{chapter}.py", "exercise"))
