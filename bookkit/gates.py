"""Rules for stored chapters, checked by `python -m bookkit check` and the tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from bookkit import conclusions, markup, rests_on
from bookkit.description import Book
from bookkit.launch import INSTALL_TAG, Repository
from bookkit.notebook import as_stored, numbered, tagged, unhidden

LONGEST_CELL_LINES = 25
LONGEST_LINE = 78
LARGEST_NOTEBOOK_BYTES = 1_500_000
LARGEST_BOOK_BYTES = 8_000_000
SHORTEST_ALT = 15
PARAMETERS = ("profile", "seed", "device")

# A base64 character before the slash means that it is image data and not a path.
MACHINE_PATH = re.compile(
    r"(?<![\w+/.=-])/(?:home|Users|tmp|root|work|private|var/folders)/\S*"
    r"|(?<!\w)[A-Z]:\\+(?:Users|Windows|Temp|Program)\S*"
)
PRINTED_MARKUP = {
    "colours of a terminal": re.compile(r"\x1b\["),
    "Markdown": re.compile(r"\*\*\w[^*\n]*\*\*|\[[^\]\n]+\]\((?:https?:|[\w/.]+\.(?:md|ipynb))"),
}

ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")


def chapter_problems(source: Path) -> list[str]:
    """Return the problems of the chapter whose percent source is `source`."""
    stored = source.with_suffix(".ipynb")
    for path in (source, stored):
        if not path.is_file():
            return [f"{path.name} is missing: write the source, then make sync"]
    notebook = nbformat.read(stored, as_version=4)
    problems = [*notebook_problems(notebook)]
    if differing := first_difference(jupytext.read(source, fmt="py:percent"), notebook):
        problems.append(f"{source.name} and {stored.name} differ at {differing}: make sync")
    if older := rests_on.problem(notebook, source):
        problems.append(older)
    if stored.stat().st_size > LARGEST_NOTEBOOK_BYTES:
        problems.append(f"{stored.stat().st_size} bytes, over {LARGEST_NOTEBOOK_BYTES}")
    return [f"{source.stem}: {problem}" for problem in problems]


def notebook_problems(notebook: NotebookNode) -> Iterator[str]:
    """Yield the problems of one executed notebook."""
    yield from _execution(notebook)
    yield from _parameters(notebook)
    for number, cell in enumerate(notebook.cells):
        for path in MACHINE_PATH.findall(_all_text(cell)):
            yield f"cell {number} names a folder of one machine: {path}"
        if ADDRESS.search(_all_text(cell)):
            yield f"cell {number} shows an object by its address; show its value"
        if cell.cell_type == "code":
            yield from _size(number, cell)
        else:
            yield from (f"cell {number}: {found}" for found in _markup(cell.source))
        yield from _images(number, cell)
        for output in cell.get("outputs", []):
            for what, pattern in PRINTED_MARKUP.items():
                if pattern.search(output.get("text", "")):
                    yield f"cell {number} prints {what}, which is shown as it stands"
    if as_stored(notebook) != notebook:
        yield "volatile metadata, ids or progress bars are stored: make sync"


def install_problems(source: Path, repository: Repository) -> list[str]:
    """Return the problems of the cell with which the code of a chapter or of solutions begins.

    It installs the library where it is missing, from the repository's address.
    """
    notebook = jupytext.read(source, fmt="py:percent")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if len(tagged(notebook, INSTALL_TAG)) != 1 or code[:1] != tagged(notebook, INSTALL_TAG):
        return [f"{source.stem}: the first code cell, and no other, must have the tag install"]
    if code[0].source != repository.install_cell():
        return [f"{source.stem}: the install cell is not that of book.yml: bookkit table --write"]
    return []


def _size(number: int, cell: NotebookNode) -> Iterator[str]:
    lines = cell.source.splitlines()
    if len(lines) > LONGEST_CELL_LINES:
        yield f"cell {number} has {len(lines)} lines, over {LONGEST_CELL_LINES}"
    if INSTALL_TAG in cell.metadata.get("tags", []):  # an address may be long
        return
    for line in lines:
        if len(line) > LONGEST_LINE:
            yield f"cell {number}: a line of {len(line)} characters: {line.strip()[:40]} ..."


def _markup(text: str) -> Iterator[str]:
    from bookkit import citations  # needs the packages of the extra "book", the rest does not

    yield from markup.problems(text)
    yield from citations.problems(text)


def first_difference(source: NotebookNode, stored: NotebookNode) -> str:
    """Return where the cells differ first in kind, tags or text; "" if they do not."""
    ours, theirs = ([_identity(cell) for cell in book.cells] for book in (source, stored))
    for number, (left, right) in enumerate(zip(ours, theirs, strict=False)):
        if left != right:
            return f"cell {number}"
    return "" if len(ours) == len(theirs) else f"the count of cells ({len(ours)}, {len(theirs)})"


def _identity(cell: NotebookNode) -> tuple[str, str, tuple[str, ...]]:
    return cell.cell_type, cell.source.strip(), tuple(cell.metadata.get("tags", ()))


def _execution(notebook: NotebookNode) -> Iterator[str]:
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    counts = [cell.execution_count for cell in code]
    if not code:
        yield "there is no code cell"
    if counts != list(range(1, len(code) + 1)):
        yield f"the cells were not run once each, in order (counts {counts}): make sync"
    for cell in code:
        may_raise = "raises-exception" in cell.metadata.get("tags", [])
        for output in cell.outputs:
            if output.output_type == "error" and not may_raise:
                yield f"the cell run as {cell.execution_count} ended in {output.ename}"


def _parameters(notebook: NotebookNode) -> Iterator[str]:
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        yield f"{len(cells)} cells have the tag parameters; there must be one"
        return
    for name in PARAMETERS:
        if not re.search(rf"^{name}\b.*=", cells[0].source, flags=re.MULTILINE):
            yield f"the parameters cell does not set {name}"


def _images(number: int, cell: NotebookNode) -> Iterator[str]:
    if cell.cell_type == "markdown" and re.search(r"!\[\s*\]\(", cell.source):
        yield f"cell {number}: an image in the text has no alt text"
    for output in cell.get("outputs", []):
        for mime in output.get("data", {}):
            alt = output.get("metadata", {}).get(mime, {}).get("alt", "")
            if mime.startswith("image/") and len(alt) < SHORTEST_ALT:
                yield f"cell {number}: a figure has no alt text that describes it ({alt!r})"


def _all_text(cell: NotebookNode) -> str:
    texts = [cell.source]
    for output in cell.get("outputs", []):
        texts += [output.get("text", ""), *output.get("traceback", [])]
        for mime, content in output.get("data", {}).items():
            if not mime.startswith("image/"):
                texts.append(content if isinstance(content, str) else repr(content))
    return "\n".join(texts)


def book_problems(book: Book, folder: Path) -> list[str]:
    """Return the problems of the chapters in `folder`, and the files missing in book.yml."""
    listed = {folder / one.file for one in book.notebooks}
    problems = [
        f"{path.name} is not listed in book.yml"
        for path in sorted([*folder.glob("[0-9]*"), *folder.glob("solutions/[0-9]*")])
        if path.suffix in (".py", ".ipynb") and path.with_suffix("") not in listed
    ]
    for page in (book.home, *book.back_matter):
        if not (folder / f"{page}.md").is_file():
            problems.append(f"{page}.md is listed in book.yml and missing")
    for chapter in book.notebooks:
        problems += chapter_problems(folder / f"{chapter.file}.py")
    for source in numbered(folder, ".py"):
        problems += install_problems(source, book.repository)
    problems += conclusions.problems()
    if (size := stored_bytes(folder)) > LARGEST_BOOK_BYTES:
        problems.append(f"the notebooks have {size} bytes together, over {LARGEST_BOOK_BYTES}")
    return problems


def stored_bytes(folder: Path) -> int:
    """Return the size of all notebooks in `folder` and below, without hidden ones."""
    return sum(path.stat().st_size for path in unhidden(folder, "*.ipynb"))


def outdated(book: Book, notebooks: Path, sources: Path) -> list[str]:
    """Return a sentence per chapter whose executed notebook is older than what it rests on.

    Args:
        book: all chapters.
        notebooks: the folder of the executed notebooks.
        sources: the folder of the chapters' percent sources.
    """
    found = ((chapter.file, rests_on.problem(
        nbformat.read(notebooks / f"{chapter.file}.ipynb", as_version=4),
        sources / f"{chapter.file}.py")) for chapter in book.notebooks)
    return [f"{name}: {problem}" for name, problem in found if problem]
