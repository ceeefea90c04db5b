"""Run the chapters, render the book, and (authors) store the chapters' outputs."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import nbformat
import yaml

from bookkit import gates, markup
from bookkit.description import (
    BOOK_FILE,
    SOLUTIONS,
    Book,
    BookError,
    Chapter,
    load,
    rewrite,
    toc,
    write_between,
    write_chapter_table,
)
from bookkit.inputs import are_unchanged, states_of
from bookkit.launch import INSTALL_TAG
from bookkit.notebook import (
    ChapterFailed,
    as_stored,
    first_figure,
    numbered,
    run_chapter,
    tagged,
    tagged_text,
    unhidden,
    without_solutions,
    write_notebook,
)
from bookkit.results import (
    RESULTS_END,
    RESULTS_START,
    results_table,
    write_results_page,
)
from bookkit.schedule import default_jobs, run_together
from semiseg_lib.core.durable import Damaged, atomic_write, read_json, write_json
from semiseg_lib.core.paths import CHECKOUT, shown, work_root
from semiseg_lib.core.terminal import say
from semiseg_lib.stores.store import MANIFEST

SOURCES = CHECKOUT / "notebooks"
BUILD = CHECKOUT / "_build"
LEDGER = "executed.json"
MADE = ".made_by_bookkit"  # lists the pages of the last build in their folder
RESULT_TAG = "book-result"
NAME_WIDTH = 42  # of the longest notebook
LAUNCH_START = "<!-- launch:start -->"
LAUNCH_END = "<!-- launch:end -->"
INSTALL_SOURCE = re.compile(
    rf'^(# %%[^\n]* tags=\["{INSTALL_TAG}"[^\n]*\n).*?\n(?=# %%)', flags=re.MULTILINE | re.DOTALL
)


def chosen_chapters(book: Book, names: Sequence[str] | None) -> list[Chapter]:
    """Return chapters and their solutions, in reading order; all without names or numbers."""
    wanted = {book.chapter(name).number for name in names or ()}
    return [one for one in book.notebooks if not wanted or one.number in wanted]


def execute(
    book: Book,
    profile: str,
    destination: Path = BUILD / "notebooks",
    chapters: Sequence[str] | None = None,
    force: bool = False,
    jobs: int | None = None,
) -> tuple[dict[str, float], list[str]]:
    """Run chapters into `destination`; return the minutes of each, and those that were run now.

    The committed notebooks stay as they are. A chapter that was run before with the same source,
    library and profile, and with the same files of the datasets that it looked for, is skipped
    unless `force`.

    Args:
        book: all chapters.
        profile: the profile of their runs.
        destination: folder of the executed notebooks and of the ledger of what was run.
        chapters: names or numbers; () for all.
        force: run chapters again that are up to date.
        jobs: number of chapters at once, each with one thread; a single one uses all threads.
            None for what fits this machine.

    Raises:
        ChapterFailed: a cell raised an error. No further chapter was started.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"{jobs} chapters at once: it must be >= 1.")
    if profile not in book.profiles:
        raise ValueError(f"no profile {profile!r}; book.yml has: {', '.join(book.profiles)}.")
    wanted = chosen_chapters(book, chapters)
    (destination / SOLUTIONS).mkdir(parents=True, exist_ok=True)
    ledger = _read_ledger(destination / LEDGER)
    minutes: dict[str, float] = {}
    used: dict[str, dict[str, str]] = {}
    states = {
        chapter.file: {"profile": profile, "hash": _source_hash(SOURCES / f"{chapter.file}.py")}
        for chapter in wanted
    }
    for name, state in states.items():
        done = ledger.get(name, {})
        unchanged = {key: done.get(key) for key in state} == state
        same_data = "data" in done and are_unchanged(done["data"])
        whole = done.get("sha256") == _sha256(destination / f"{name}.ipynb")
        if unchanged and same_data and whole and not force:
            minutes[name] = done["minutes"]
            _say(name, f"already run ({done['minutes']:.1f} min)")
    missing = [chapter for chapter in wanted if chapter.file not in minutes]
    jobs = max(min(jobs or default_jobs(), len(missing)), 1)
    stop = Event()

    def run(chapter: Chapter) -> float:
        _say(chapter.file, f"expected {_expected(chapter, profile)}")
        source, target = SOURCES / f"{chapter.file}.py", destination / f"{chapter.file}.ipynb"
        with TemporaryDirectory() as folder:
            opened = Path(folder) / "opened.txt"
            opened.touch()
            started_ns = time.time_ns()
            try:
                spent = _run_into(source, target, profile, threads=1 if jobs > 1 else None,
                                  stop=stop, opened=opened)
            except ChapterFailed:
                _say(chapter.file, "failed; no further chapter is started")
                raise
            lines = opened.read_text("utf-8", "surrogateescape").splitlines()
        used[chapter.file] = states_of(lines, started_ns)
        return spent

    with closing(run_together(missing, run, jobs, stop)) as ended:
        for chapter, spent in ended:
            minutes[chapter.file] = spent
            _say(chapter.file, f"done in {spent:.1f} min")
            ledger[chapter.file] = {
                **states[chapter.file], "minutes": round(spent, 2), "data": used[chapter.file],
                "sha256": _sha256(destination / f"{chapter.file}.ipynb"),
            }
            write_json(destination / LEDGER, ledger)
    return ({chapter.file: minutes[chapter.file] for chapter in wanted},
            [chapter.file for chapter in missing])


def stored_runs() -> dict[Path, int]:
    """Return when each run in the work folder was finished, by its manifest."""
    found = (work_root() / "runs").glob(f"*/{MANIFEST}")
    return {path: path.stat().st_mtime_ns for path in found}


def trained_since(before: Mapping[Path, int], executed: bool = True) -> str:
    """Return a sentence on how many runs were trained since :func:`stored_runs` was called.

    Args:
        before: what was stored then.
        executed: whether a chapter was executed since, so that runs were asked for.
    """
    new = [path for path, time in stored_runs().items() if before.get(path) != time]
    if not new and not executed:
        return ("Nothing was trained, for no chapter was executed: its source, the library and the "
                "data that it looked for are as they were.")
    if not new:
        return "Nothing was trained: every run that was asked for was on disk."
    return (f"Trained: {len(new)} run{'s' * (len(new) > 1)}, in {shown(work_root() / 'runs')}. "
            "The same command finds them next time.")


def _read_ledger(path: Path) -> dict[str, dict]:
    """Return what was run, by chapter; {} if the ledger is missing or damaged."""
    try:
        return read_json(path)
    except (FileNotFoundError, Damaged):
        return {}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def _say(chapter: str, what: str) -> None:
    """Print a line about a chapter, above the progress bars."""
    say(f"{chapter:<{NAME_WIDTH}} {what}")


def _expected(chapter: Chapter, profile: str) -> str:
    minutes = chapter.minutes.get(profile)
    return f"{minutes:g} min" if minutes else "time not known in this profile"


def _run_into(
    source: Path,
    target: Path,
    profile: str,
    threads: int | None = None,
    stop: Event | None = None,
    opened: Path | None = None,
) -> float:
    """Run one chapter, write it to `target`, and return its minutes."""
    if not source.is_file():
        raise FileNotFoundError(
            f"{shown(source)} is missing: write the chapter or take it out of book.yml."
        )
    try:
        notebook, seconds = run_chapter(source, profile, threads, stop, opened)
    except ChapterFailed as error:
        partial = target.with_suffix(".failed.ipynb")
        write_notebook(error.partial, partial)
        raise ChapterFailed(
            f"{error}\nThe notebook up to there: {shown(partial)}", error.partial
        ) from error
    write_notebook(notebook, target)
    return seconds / 60


def _source_hash(source: Path) -> str:
    """Return a hash of the chapter and the library, which both decide its outputs.

    Of the library every file counts: recipes, claims, records and published numbers too.
    """
    library = CHECKOUT / "semiseg_lib"
    digest = hashlib.sha256(source.read_bytes() if source.is_file() else b"")
    for path in unhidden(library, "*"):
        name = path.relative_to(library)
        if path.is_file() and "__pycache__" not in name.parts:
            digest.update(name.as_posix().encode("utf-8") + path.read_bytes())
    return digest.hexdigest()


def hand_out(book: Book, destination: Path) -> list[Path]:
    """Write the stored chapters without links to solutions, and what they link to; return all.

    The pages are plain Markdown: what the book fills in when it is built is filled in here.

    Args:
        book: all chapters.
        destination: the folder to write to.

    Raises:
        FileNotFoundError: a notebook, or what a chapter or a page links to, is missing.
    """
    from bookkit.pages import FILLED  # needs the packages of the extra "book", the rest does not

    written = _copy_notebooks(book, destination, SOURCES, solutions=False)
    texts = [cell.source for path in written for cell in nbformat.read(path, as_version=4).cells
             if cell.cell_type == "markdown"]
    while texts:
        for name in sorted({*markup.linked_files(texts.pop())}):
            copy = destination / name
            if copy in written:
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(SOURCES / name, copy)
            written.append(copy)
            if copy.suffix == ".md":
                page = copy.read_text(encoding="utf-8")
                texts.append(FILLED[copy.stem](page) if copy.stem in FILLED else page)
                copy.write_text(texts[-1], encoding="utf-8", newline="\n")
    return written


def _copy_notebooks(
    book: Book, destination: Path, notebooks: Path, solutions: bool
) -> list[Path]:
    """Copy the executed notebooks of a folder; return the files.

    Args:
        book: all chapters.
        destination: the folder to copy to.
        notebooks: the folder of the executed notebooks.
        solutions: whether with the solutions; without them no chapter leads to one.

    Raises:
        FileNotFoundError: a notebook is missing.
    """
    written = []
    for one in book.notebooks if solutions else book.chapters:
        source, copy = (Path(folder) / f"{one.file}.ipynb" for folder in (notebooks, destination))
        if not source.is_file():
            raise FileNotFoundError(
                f"{shown(source)} is missing: run `python -m bookkit execute` first."
            )
        notebook = nbformat.read(source, as_version=4)
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_notebook(notebook if solutions else without_solutions(notebook), copy)
        written.append(copy)
    return written


def html(
    notebooks: Path = SOURCES, destination: Path = BUILD / "html", outdated: bool = False,
    solutions: bool = True,
) -> Path:
    """Render the executed notebooks of a folder and the book's pages; return the home page.

    The pages replace those of the last build when all are made, and not before. Other files of
    the destination stay.

    Args:
        notebooks: the folder of the executed notebooks.
        destination: the folder of the pages.
        outdated: whether to render outputs that are older than the code as well.
        solutions: whether with the solutions of the exercises.

    Raises:
        BookError: outputs are older than the code, or it is not known what they rest on.
        FileNotFoundError: a notebook is missing.
        RuntimeError: Sphinx warned, after all warnings were shown.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}-") as folder:
        staging, built = Path(folder, "source"), Path(folder, "html")
        _stage(staging, notebooks, outdated, solutions)
        command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q", "-b", "html",
                   "-d", str(Path(folder, "doctrees")), str(staging), str(built)]
        if subprocess.run(command, check=False).returncode != 0:
            raise RuntimeError("the HTML was not built: see Sphinx's warnings above.")
        _publish(built, destination)
    return destination / "index.html"


def _stage(staging: Path, notebooks: Path, outdated: bool, solutions: bool) -> None:
    """Write what Sphinx reads; the arguments are those of :func:`html`."""
    staging.mkdir()
    for page in [*SOURCES.glob("*.md"), *SOURCES.glob("*.bib"), SOURCES / "conf.py"]:
        shutil.copy(page, staging)
    shutil.copytree(SOURCES / "_static", staging / "_static", ignore=shutil.ignore_patterns(".*"))
    content = yaml.safe_load(BOOK_FILE.read_text(encoding="utf-8"))
    if not solutions:
        content.pop("solutions", None)
    (staging / BOOK_FILE.name).write_text(yaml.safe_dump(content), encoding="utf-8")
    book = load(staging / BOOK_FILE.name)
    _copy_notebooks(book, staging, notebooks, solutions=bool(book.solutions))
    if not outdated and (older := gates.outdated(book, staging, SOURCES)):
        raise BookError("\n".join([
            "not published:", *older, "To render it all the same: python -m bookkit html --outdated"
        ]))


def _publish(built: Path, destination: Path) -> None:
    """Put a build in the place of the last one, whose files are listed; leave all other files."""
    made = {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
    listed = destination / MADE
    before = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    shutil.copytree(built, destination, dirs_exist_ok=True)
    for old in [destination / name for name in set(before) - made]:
        old.unlink(missing_ok=True)
        for folder in old.relative_to(destination).parents:
            if (destination / folder).is_dir() and not any((destination / folder).iterdir()):
                (destination / folder).rmdir()
    with atomic_write(listed) as temporary:
        temporary.write_text("\n".join(sorted(made)), encoding="utf-8")


def summary(book: Book, minutes: dict[str, float], notebooks: Path, page: Path) -> str:
    """Return the summary of a build: minutes by chapter, result table, address of the HTML."""
    lines = ["", f"{'notebook':<{NAME_WIDTH}} minutes"]
    lines += [f"{name:<{NAME_WIDTH}} {spent:7.1f}" for name, spent in minutes.items()]
    lines += [f"{'together':<{NAME_WIDTH}} {sum(minutes.values()):7.1f}"]
    for chapter in reversed(book.chapters):
        path = notebooks / f"{chapter.file}.ipynb"
        result = tagged_text(nbformat.read(path, as_version=4), RESULT_TAG)
        if result:
            lines += ["", f"Result, from {chapter.file}:", result]
            break
    lines += ["", f"Open the book: {page.resolve().as_uri()}"]
    return "\n".join(lines)


def sync(book: Book, chapters: Sequence[str] | None = None) -> None:
    """Run chapters in the laptop profile and store the outputs in notebooks/ (authors).

    Write each committed .ipynb from its .py, then README.md's tables and figure.
    """
    write_install_cells(book)
    for chapter in chosen_chapters(book, chapters):
        source = SOURCES / f"{chapter.file}.py"
        minutes = _run_into(source, source.with_suffix(".ipynb"), "laptop")
        source.with_suffix(".failed.ipynb").unlink(missing_ok=True)
        expected = chapter.minutes["laptop"]
        say(f"{chapter.file:<{NAME_WIDTH}} {minutes:5.1f} min (book.yml: {expected:g})")
    write_readme(book)


def write_readme(book: Book, readme: Path = CHECKOUT / "README.md") -> bool:
    """Update README.md, the results and the references; return True if the text of one changed."""
    from bookkit import citations  # needs the packages of the extra "book", the rest does not

    first = nbformat.read(SOURCES / f"{book.chapters[0].file}.ipynb", as_version=4)
    with atomic_write(SOURCES / "_static" / "result.png") as temporary:
        temporary.write_bytes(first_figure(first))
    badges = book.repository.badges(f"notebooks/{book.chapters[0].file}.ipynb")
    return any([
        write_chapter_table(book, readme),
        write_between(readme, LAUNCH_START, badges, LAUNCH_END),
        write_results_page(),
        citations.write_page(),
        write_between(readme, RESULTS_START, results_table(), RESULTS_END),
    ])


def write_install_cells(book: Book) -> list[Path]:
    """Put the repository's address into the notebooks' install cells; return the changed files.

    Sources and stored notebooks are changed alike, and nothing else of them.
    """
    cell = book.repository.install_cell()
    changed = [source for source in numbered(SOURCES, ".py") if rewrite(source, INSTALL_SOURCE.sub(
        lambda found: f"{found[1]}{cell}\n\n", source.read_text(encoding="utf-8")
    ))]
    for stored in numbered(SOURCES, ".ipynb"):
        notebook = nbformat.read(stored, as_version=4)
        outdated = [one for one in tagged(notebook, INSTALL_TAG) if one.source != cell]
        for one in outdated:
            one.source = cell
        if outdated:
            write_notebook(as_stored(notebook), stored)
            changed.append(stored)
    return changed


def write_toc(book: Book, path: Path) -> None:
    """Write the table of contents for sphinx_external_toc (JSON is YAML)."""
    path.write_text(json.dumps(toc(book), indent=1), encoding="utf-8")
