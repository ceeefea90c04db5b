"""Equations have the same numbers and symbols in a method's file, its chapter and the notation.

The head of ``semiseg_lib/methods/ROOM/method.py`` numbers them and lists their symbols, the
notation says in which chapters they stand. What is ``yhat``, ``utilde``, ``thetabar``, ``l`` in a
head is ``\\hat y``, ``\\tilde u``, ``\\bar\\theta``, ``\\ell`` in LaTeX.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
METHODS = ROOT / "semiseg_lib" / "methods"
ROOMS = sorted(path.parent.name for path in METHODS.glob("*/__init__.py"))
NOTATION = (ROOT / "notebooks" / "notation.md").read_text(encoding="utf-8")
GREEK = {"alpha", "beta", "gamma", "eta", "theta", "kappa", "lambda", "rho", "tau", "Omega"}
NAME = re.compile(r"([A-Za-z]+'?)(?:_(\{[^{}]*\}|\(\d\)|\w+))?")
DISPLAY = re.compile(r"\$\$(.*?)\$\$|```\{math\}\n(.*?)```", re.S)
TAG = re.compile(r"\\tag\{([^}]*)\}")


def head(room: str) -> str:
    return ast.get_docstring(ast.parse((METHODS / room / "method.py").read_text(encoding="utf-8")))


def equations(room: str) -> dict[int, str]:
    """Return the equations of a head by number, each with its further lines."""
    found: dict[int, str] = {}
    current = None
    for line in head(room).splitlines():
        if start := re.match(r" {4}\(E(\d+)\)  (.*)", line):
            current = int(start[1])
            assert current not in found, f"{room} has two equations (E{current})"
            found[current] = start[2]
        elif current and line.startswith(" " * 10):
            found[current] += " " + line.strip()
        else:
            current = None
    return found


def split_place(equation: str) -> tuple[str, str]:
    """Return an equation and the file in ``semiseg_lib`` that its end names, or ""."""
    found = re.fullmatch(r"(.*),? +in (\S+\.py)", equation)
    return (found[1].rstrip(", "), found[2]) if found else (equation, "")


def cited(source: str) -> set[int]:
    """Return the numbers of the equations in the comments that stand on lines of code."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    found = set()
    for token in tokens:
        if token.type == tokenize.COMMENT and token.line[:token.start[1]].strip():
            found |= {int(number) for number in re.findall(r"\(E(\d+)\)", token.string)}
    return found


def symbols(room: str) -> list[tuple[str, ...]]:
    """Return the symbols of each row of a head's table."""
    lines = head(room).splitlines()
    rules = [n for n, line in enumerate(lines) if re.fullmatch("=+  =+  =+", line)]
    assert len(rules) == 3 and rules[0] + 2 == rules[1], f"{room}: not one table of symbols"
    assert lines[rules[0] + 1].split() == ["symbol", "shape", "meaning"], room
    width = lines[rules[0]].index(" ")
    names = (line[:width].strip() for line in lines[rules[1] + 1:rules[2]])
    return [tuple(name.split(", ")) for name in names if name]


def used(text: str, listed: set[str]) -> list[str]:
    """Return the names in an equation, in order; a subscript belongs to a name that is listed so.

    ``alpha_t`` is one name if the table has it; ``p_{i,c}`` is ``p``, ``i`` and ``c``.
    """
    found = []
    for base, subscript in NAME.findall(text):
        inner = subscript.strip("{}")
        first, *others = inner.split(",")
        if f"{base}_{first}" in listed:
            base, inner = f"{base}_{first}", ",".join(others)
        found += [base, *used(inner, listed)]
    return found


def is_symbol(name: str) -> bool:
    """Whether a name must be in the table: all but words, such as ``argmax``, ``over``, ``sum``."""
    return (
        len(name.rstrip("'")) == 1 or name in GREEK or "_" in name or name != name.lower()
        or name.endswith(("hat", "tilde", "bar"))
    )


def numbers_of(room: str) -> list[tuple[tuple[str, ...], list[int]]]:
    """Return each row of a head's table, with the numbers of the equations that use it."""
    rows = symbols(room)
    listed = {name for row in rows for name in row}
    by_number = {n: set(used(split_place(text)[0], listed)) for n, text in equations(room).items()}
    return [(row, [n for n, names in by_number.items() if names & set(row)]) for row in rows]


def plain(latex: str) -> str:
    """Return LaTeX in the spelling of the heads."""
    text = re.sub(r"\\(tag|text)\{[^}]*\}", " ", latex)
    text = re.sub(r"\\(?:mathrm|mathcal)\{([^}]*)\}", r"\1", text)
    text = re.sub(r"\\(hat|tilde|bar) *\\?([A-Za-z]+)", r"\2\1", text)
    text = text.replace(r"\ell", "l").replace(r"\sigma", "sigmoid")
    return re.sub(r"\\[,;:!{}]?", " ", text).replace("$", "")


def section(room: str) -> str:
    """Return the section of the notation whose heading names a method and its chapters."""
    found = re.search(rf"^### [^\n]*\(`{room}`, .*?(?=^##|\Z)", NOTATION, flags=re.M | re.S)
    assert found, f"notation.md has no heading with (`{room}`, chapter ...)"
    return found[0]


def displays(room: str) -> list[tuple[int, str]]:
    """Return number and LaTeX of every numbered display in the chapters of a method."""
    found = []
    for chapter in re.findall(r"\d\d", section(room).splitlines()[0]):
        (path,) = (ROOT / "notebooks").glob(f"{chapter}_*.py")
        prose = re.sub(r"^# ?", "", path.read_text(encoding="utf-8"), flags=re.M)
        assert prose.count(r"\tag{") == sum(
            len(TAG.findall(a or b)) for a, b in DISPLAY.findall(prose)
        ), f"{path.name}: a number outside of a display"
        for display in (a or b for a, b in DISPLAY.findall(prose)):
            for number in TAG.findall(display):
                assert re.fullmatch(r"E\d+", number), f"{path.name}: a number {number}"
                # Sphinx puts lines into a "split", in which MathJax refuses a number.
                assert r"\\" not in display, f"{path.name}: {number} stands at several lines"
                found.append((int(number[1:]), display))
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_the_head_lists_every_symbol_of_its_equations_once(room):
    names = [name for row in symbols(room) for name in row]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)
    found = {name for text in equations(room).values()
             for name in used(split_place(text)[0], set(names))}
    assert {name for name in found if is_symbol(name)} - set(names) == set(), "not in the table"
    assert set(names) - found == set(), "in no equation"


@pytest.mark.parametrize("room", ROOMS)
def test_the_chapter_has_every_number_of_the_room_and_no_other(room):
    assert {number for number, _ in displays(room)} == set(equations(room))


@pytest.mark.parametrize("room", ROOMS)
def test_the_chapter_writes_an_equation_with_the_symbols_of_the_room(room):
    listed = {name for row in symbols(room) for name in row}
    for number, display in displays(room):
        ours, theirs = (
            [name for name in used(text, listed) if is_symbol(name)]
            for text in (split_place(equations(room)[number])[0], plain(display))
        )
        assert ours[0] == theirs[0], f"(E{number}) begins with {ours[0]}, not {theirs[0]}"
        assert set(theirs) <= set(ours), f"(E{number}): {set(theirs) - set(ours)}"


@pytest.mark.parametrize("room", ROOMS)
def test_the_notation_lists_the_symbols_with_the_numbers_of_their_equations(room):
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in section(room).splitlines() if line.startswith("| $")
    ]
    assert [
        (tuple(name.strip(" {}").replace("_{", "_") for name in plain(row[0]).split(", ")),
         [int(n) for n in re.findall(r"E(\d+)", row[-1])])
        for row in rows
    ] == numbers_of(room)


@pytest.mark.parametrize("room", ROOMS)
def test_a_line_of_code_cites_every_equation(room):
    """In the file of the method, or in the one that the equation names."""
    source = (METHODS / room / "method.py").read_text(encoding="utf-8")
    assert cited(source) <= set(equations(room))
    for number, equation in equations(room).items():
        place = split_place(equation)[1]
        if place:
            source_there = (METHODS.parent / place).read_text(encoding="utf-8")
            assert number in cited(source_there), f"no line of {place} cites (E{number})"
        else:
            assert number in cited(source), f"no line cites (E{number}), and it names no file"


def test_a_number_in_a_docstring_or_on_a_line_of_its_own_cites_nothing():
    assert cited('"""Return (E1)."""\n# (E2) comes next\nx = 1  # x of (E3), (E4)\n') == {3, 4}
    assert split_place("a = b,    in methods/averaging.py") == ("a = b", "methods/averaging.py")
    assert split_place("a = b in F") == ("a = b in F", "")


def test_the_letters_that_all_methods_share_have_one_shape():
    shared = NOTATION.partition("## What all methods share")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| (\$[^|]*\$) \| [^|]* \| ([^|]*) \|", shared, flags=re.M))
    assert len(rows) == 7
    for room in ROOMS:
        for names, shape in re.findall(r"^\| (\$[^|]*\$) \| ([^|]*) \|", section(room), flags=re.M):
            for name in names.split(", "):
                assert rows.get(name, shape) == shape, f"{room}: {name} is {shape}"


@pytest.mark.parametrize("room", ROOMS)
def test_the_names_in_the_code_are_names_of_the_room(room):
    source = "".join(path.read_text(encoding="utf-8") for path in (METHODS / room).glob("*.py"))
    found = re.search(r"^In the code, .*?\.$", section(room), flags=re.M | re.S)
    names = re.findall(r"`(\w+)[^`]*`", found[0]) if found else []
    assert [name for name in names if not re.search(rf"\b{name}\b", source)] == []


@pytest.mark.parametrize("latex, spelled", [
    (r"\hat y_i = \arg\max_c q_{i,c}", "yhat i c q i c"),
    (r"\tilde u = S(u), \qquad \bar\theta_{r-1}", "utilde S u thetabar r"),
    (r"w_\mathrm{con}\, \ell'_{i, \hat y_i}", "w_con l' i yhat i"),
    (r"\sum_{i \in \Omega} p_{(1)} \text{ L } \tag{E1}", "i Omega p_(1)"),
])
def test_symbols_are_read_from_latex(latex, spelled):
    names = used(plain(latex), {"w_con", "p_(1)"})
    assert [name for name in names if is_symbol(name)] == spelled.split()
