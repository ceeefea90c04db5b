"""What a chapter shows inline is what the library runs: the two are compared by syntax tree.

A cell with the tag ``inline:package.module.name`` must define ``name`` just as the library does.
Only docstrings, type annotations and comments may differ.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import jupytext
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
PREFIX = "inline:"


class Bare(ast.NodeTransformer):
    """Takes docstrings and annotations out of a definition."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._without_docstring(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Name("annotation", ast.Load())
        return self.generic_visit(node)

    def _without_docstring(self, node):
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)


def definition(source: str, name: str) -> str | None:
    """The bare syntax tree of the function, class or constant ``name``; None if it is not there."""
    for node in ast.parse(source).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        names = [getattr(node, "name", None), *(getattr(one, "id", None) for one in targets)]
        if name in names:
            return ast.unparse(Bare().visit(node))
    return None


def difference(cell: str, dotted: str) -> str:
    """What keeps the cell from being the twin of the library's definition; "" if nothing does."""
    module, name = dotted.rsplit(".", 1)
    found = importlib.util.find_spec(module)
    if found is None:
        return f"there is no module {module}"
    ours = definition(Path(found.origin).read_text(encoding="utf-8"), name)
    shown = definition(cell, name)
    if ours is None or shown is None:
        return f"{name} is not defined in {module if ours is None else 'the cell'}"
    return "" if ours == shown else f"shown:\n{shown}\n\nin {module}:\n{ours}"


def twins() -> list[tuple[str, str, str]]:
    """(chapter, dotted path, cell source) of every cell that shows a piece of the library."""
    return [
        (path.stem, tag.removeprefix(PREFIX), cell.source)
        for path in sorted(NOTEBOOKS.glob("[0-9]*.py"))
        for cell in jupytext.read(path, fmt="py:percent").cells
        for tag in cell.metadata.get("tags", ()) if tag.startswith(PREFIX)
    ]


@pytest.mark.parametrize("chapter, dotted, cell", [
    pytest.param(*twin, id=f"{twin[0]}-{twin[1]}") for twin in twins()
])
def test_the_cell_is_what_the_library_runs(chapter, dotted, cell):
    assert difference(cell, dotted) == "", f"{chapter}: make the cell and the library equal again"


def test_the_book_shows_pieces_of_the_library_inline():
    if not list(NOTEBOOKS.glob("[0-9]*.py")):
        pytest.skip("there are no chapters yet")
    shown = {dotted for _, dotted, _ in twins()}
    assert "semiseg_lib.methods.self_correcting.method.linear_correction" in shown


SOUND = '''
def enlarge(logits, size):
    """Said in other words, and without annotations."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits  # with a comment
    return nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
'''
ENLARGE = "semiseg_lib.methods.losses.enlarge"


def test_only_words_may_differ():
    assert difference(SOUND, ENLARGE) == ""


@pytest.mark.parametrize("old, new", [
    ("align_corners=False", "align_corners=True"), ('"bilinear"', '"nearest"'),
    ("(logits, size):", "(logits, size=(2, 2)):"), ("[-2:]", "[2:]"),
    ("        return logits  # with a comment", "        pass"), ("def enlarge", "def grow"),
])
def test_a_doctored_twin_is_noticed(old, new):
    assert old in SOUND and difference(SOUND.replace(old, new), ENLARGE) != ""


def test_a_twin_of_nothing_is_noticed():
    assert difference(SOUND, "semiseg_lib.methods.losses.shrink") != ""
    assert difference(SOUND, "semiseg_lib.nowhere.enlarge") != ""
