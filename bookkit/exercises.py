"""Exercise notebooks for a class: the chapters without their solutions."""

from __future__ import annotations

import ast
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from bookkit.description import Book
from semiseg_lib.core.durable import atomic_write
from semiseg_lib.core.paths import CHECKOUT

SOLUTION, CHECK = "solution", "check"
STUB = "raise NotImplementedError(\"your turn\")"


def write_exercises(book: Book, destination: Path) -> list[Path]:
    """Write each chapter without solutions and outputs into ``destination``; return the files."""
    written = []
    for chapter in book.chapters:
        notebook = jupytext.read(CHECKOUT / "notebooks" / f"{chapter.file}.py")
        path = Path(destination) / f"{chapter.file}.ipynb"
        with atomic_write(path) as temporary:
            nbformat.write(without_solutions(notebook), temporary)
        written.append(path)
    return written


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """Replace the body of each cell tagged ``solution`` by a stub.

    The stub keeps each function's signature and docstring. The cell that checks it is tagged so
    that a headless run of the exercises continues after it fails.
    """
    for cell in notebook.cells:
        tags = cell.metadata.setdefault("tags", [])
        if SOLUTION in tags:
            cell.source = stub_of(cell.source)
            tags.append("raises-exception")
        elif CHECK in tags:
            tags.append("raises-exception")
    return notebook


def stub_of(source: str) -> str:
    """Return the functions of a solution with signature, docstring and a stub as body."""
    lines = source.splitlines()
    kept = []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        has_docstring = ast.get_docstring(node) is not None
        last = node.body[0].end_lineno if has_docstring else node.body[0].lineno - 1
        kept.append("\n".join([*lines[node.lineno - 1 : last], f"    {STUB}"]))
    return "\n\n\n".join(kept) or f"# Your answer here.\n{STUB}"
