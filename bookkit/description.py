"""Read book.yml, the description of the book, and derive tables of contents from it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bookkit.launch import Repository
from semiseg_lib.core.durable import atomic_write
from semiseg_lib.core.escaping import Markdown, markdown
from semiseg_lib.core.paths import CHECKOUT, shown
from semiseg_lib.notebook.tables import MISSING, Table

BOOK_FILE = CHECKOUT / "book.yml"
ALWAYS_TIMED = {"smoke", "laptop"}
SOMETIMES_TIMED = {"gpu", "paper"}
SOLUTIONS = "solutions/"
TABLE_START = "<!-- chapters:start -->"
TABLE_END = "<!-- chapters:end -->"


class BookError(ValueError):
    """Error in book.yml or in a file derived from it."""


@dataclass(frozen=True)
class Chapter:
    """One notebook: notebooks/`file`.py and its executed notebooks/`file`.ipynb.

    `minutes` maps smoke, laptop and perhaps other profiles to a running time; `needs` names
    notebooks that make what it uses.
    """

    file: str
    title: str
    question: str
    minutes: dict[str, float]
    needs: tuple[str, ...] = ()
    data: tuple[str, ...] = ()

    @property
    def number(self) -> str:
        """Return the two digits at the start of the file name."""
        return Path(self.file).name[:2]

    @property
    def entry(self) -> dict[str, str]:
        """Return its entry in the table of contents of sphinx_external_toc."""
        return {"file": self.file, "title": f"{self.number} {self.title}"}


@dataclass(frozen=True)
class Part:
    """A titled run of chapters."""

    title: str
    chapters: tuple[Chapter, ...]


@dataclass(frozen=True)
class Book:
    """The whole book, in reading order."""

    title: str
    subtitle: str
    home: str
    profiles: dict[str, str]
    parts: tuple[Part, ...]
    back_matter_title: str
    back_matter: tuple[str, ...]
    repository: Repository = Repository()
    solutions_title: str = ""
    solutions_minutes: dict[str, float] = field(default_factory=dict)

    @property
    def chapters(self) -> tuple[Chapter, ...]:
        """Return all chapters of all parts, in order."""
        return tuple(chapter for part in self.parts for chapter in part.chapters)

    @property
    def solutions(self) -> tuple[Chapter, ...]:
        """Return the solutions of each chapter's exercises, in order; () without their minutes."""
        return () if not self.solutions_minutes else tuple(
            Chapter(f"{SOLUTIONS}{chapter.file}", chapter.title, "", self.solutions_minutes,
                    (*chapter.needs, chapter.file), chapter.data)
            for chapter in self.chapters
        )

    @property
    def notebooks(self) -> tuple[Chapter, ...]:
        """Return all that is executed: the chapters, then the solutions."""
        return self.chapters + self.solutions

    def chapter(self, name: str) -> Chapter:
        """Return the chapter of a file name or number ("06", "06_self_correction").

        Raises BookError if there is none.
        """
        for chapter in self.chapters:
            if name in (chapter.file, chapter.number):
                return chapter
        known = ", ".join(chapter.file for chapter in self.chapters)
        raise BookError(f"no chapter {name!r} in book.yml; there are: {known}.")


def load(path: Path = BOOK_FILE) -> Book:
    """Read and check the description of the book.

    Raises BookError, naming the file, the entry and the fix, if something is missing or wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise BookError(f"{shown(path)} is missing. Run this from a clone of the repository.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BookError(f"{shown(path)} is not valid YAML: {error}") from error
    where = shown(path)
    keys = {"title", "subtitle", "home", "profiles", "parts", "back_matter", "repository"}
    _check_keys(content, keys, {"solutions"}, where)
    solutions = content.get("solutions")
    parts = tuple(_part(entry, where) for entry in content["parts"])
    if solutions is not None:
        _check_keys(solutions, {"title", "minutes"}, set(), f"{where}, solutions")
    _check_keys(content["back_matter"], {"title", "pages"}, set(), f"{where}, back_matter")
    book = Book(
        title=content["title"],
        subtitle=content["subtitle"],
        home=content["home"],
        profiles=dict(content["profiles"]),
        parts=parts,
        back_matter_title=content["back_matter"]["title"],
        back_matter=tuple(content["back_matter"]["pages"]),
        repository=_repository(content["repository"], f"{where}, repository"),
        solutions_title=solutions["title"] if solutions else "",
        solutions_minutes=(
            _minutes(solutions["minutes"], f"{where}, solutions") if solutions else {}
        ),
    )
    _check_order(book, where)
    return book


def _repository(entry: Any, where: str) -> Repository:
    _check_keys(entry, {"url", "branch"}, {"jupyterhub", "buttons"}, where)
    values = {name: value for name, value in entry.items() if value is not None}
    if "buttons" in values:
        values["buttons"] = tuple(values["buttons"])
    for name in {"url", "jupyterhub"} & values.keys():
        values[name] = str(values[name]).rstrip("/").removesuffix(".git")
    try:
        return Repository(**values)
    except (TypeError, ValueError) as error:
        raise BookError(f"{where}: {error}.") from error


def _part(entry: Any, where: str) -> Part:
    _check_keys(entry, {"title", "chapters"}, set(), f"{where}, a part")
    return Part(entry["title"], tuple(_chapter(chapter, where) for chapter in entry["chapters"]))


def _chapter(entry: Any, where: str) -> Chapter:
    name = entry.get("file", "without a file") if isinstance(entry, dict) else "not a mapping"
    where = f"{where}, chapter {name}"
    _check_keys(entry, {"file", "title", "question", "minutes"}, {"needs", "data"}, where)
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", entry["file"]):
        raise BookError(f"{where}: a file is named like 06_self_correction, without a suffix.")
    return Chapter(
        file=entry["file"],
        title=entry["title"],
        question=entry["question"],
        minutes=_minutes(entry["minutes"], where),
        needs=tuple(entry.get("needs", ())),
        data=tuple(entry.get("data", ())),
    )


def _minutes(entry: Any, where: str) -> dict[str, float]:
    _check_keys(entry, ALWAYS_TIMED, SOMETIMES_TIMED, f"{where}, minutes")
    for profile, minutes in entry.items():
        if isinstance(minutes, bool) or not isinstance(minutes, int | float) or minutes <= 0:
            raise BookError(f"{where}: minutes of {profile} must be above 0, not {minutes!r}.")
    return {profile: float(minutes) for profile, minutes in entry.items()}


def _check_keys(entry: Any, required: set[str], optional: set[str], where: str) -> None:
    if not isinstance(entry, dict):
        raise BookError(f"{where}: expected a mapping, found {entry!r}.")
    if missing := sorted(required - entry.keys()):
        raise BookError(f"{where}: add {', '.join(missing)}.")
    if unknown := sorted(str(key) for key in entry.keys() - required - optional):
        known = ", ".join(sorted(required | optional))
        raise BookError(f"{where}: {', '.join(unknown)} is not known here; known: {known}.")


def _check_order(book: Book, where: str) -> None:
    seen: list[str] = []
    for chapter in book.chapters:
        if seen and chapter.number <= seen[-1][:2]:
            raise BookError(f"{where}: {chapter.file} must have a higher number than {seen[-1]}.")
        for needed in chapter.needs:
            if needed not in seen:
                raise BookError(f"{where}: {chapter.file} needs {needed}, which comes later.")
        seen.append(chapter.file)
    if not seen:
        raise BookError(f"{where}: there are no chapters; add one under parts.")


def toc(book: Book) -> dict[str, Any]:
    """Return the table of contents in the format of sphinx_external_toc."""
    parts = [
        {"caption": part.title, "chapters": [chapter.entry for chapter in part.chapters]}
        for part in book.parts
    ]
    if book.solutions:
        solutions = [one.entry for one in book.solutions]
        parts.append({"caption": book.solutions_title, "chapters": solutions})
    pages = [{"file": page} for page in book.back_matter]
    parts.append({"caption": book.back_matter_title, "chapters": pages})
    return {"format": "jb-book", "root": book.home, "parts": parts}


def chapter_table(book: Book) -> str:
    """Return the chapters as a Markdown table: number and title, question, minutes, needs.

    Where the repository has an address, the last column opens the chapter.
    """
    opens = bool(book.repository.url)
    rows = []
    for chapter in book.chapters:
        path = f"notebooks/{chapter.file}.ipynb"
        services = [f"[{name}]({to})" for name, to in book.repository.links(path).items()]
        rows.append((
            chapter.number, Markdown(f"[{markdown(chapter.title)}]({path})"), chapter.question,
            f"{chapter.minutes['laptop']:g}",
            ", ".join(name[:2] for name in chapter.needs) or MISSING,
            Markdown(", ".join(services)),
        ))
    total = sum(chapter.minutes["laptop"] for chapter in book.chapters)
    rows.append(("", "", Markdown("**the whole book**"), Markdown(f"**{total:g}**"), "", ""))
    titles = ("", "Chapter", "Question", "Minutes on a laptop", "Uses", "Open in")
    shown_columns = len(titles) if opens else len(titles) - 1
    return Table(titles[:shown_columns], tuple(row[:shown_columns] for row in rows)).lines(markdown)


def write_chapter_table(book: Book, readme: Path) -> bool:
    """Write the chapter table between its markers in `readme`; return True if it changed.

    Raises BookError if the markers are missing.
    """
    return write_between(readme, TABLE_START, chapter_table(book), TABLE_END)


def write_between(page: Path, start_line: str, content: str, end_line: str) -> bool:
    """Replace the text between two marker lines of a page; return True if it changed.

    Raises BookError if the markers are missing.
    """
    text = page.read_text(encoding="utf-8")
    before, start, rest = text.partition(start_line)
    _, end, after = rest.partition(end_line)
    if not (start and end):
        raise BookError(f"{shown(page)} needs the lines {start_line} and {end_line}.")
    return rewrite(page, f"{before}{start}\n{content}\n{end}{after}")


def rewrite(page: Path, text: str) -> bool:
    """Write a text into a file unless it is what stands there; return True if it changed."""
    if page.read_text(encoding="utf-8") == text:
        return False
    with atomic_write(page) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return True
