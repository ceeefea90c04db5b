"""Make the book from its sources."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import tyro

try:
    from bookkit import build, conclusions
except ModuleNotFoundError as error:
    raise SystemExit(f"The package {error.name} is missing, which the builder of the book needs: "
                     "run `make setup` in a copy of the repository.") from error
from bookkit.description import Book, BookError, chapter_table, load
from bookkit.gates import book_problems
from bookkit.notebook import ChapterFailed
from bookkit.schedule import default_jobs
from semiseg_lib.core.paths import CHECKOUT, shown, with_home
from semiseg_lib.core.terminal import say, write_utf8

Chapters = Annotated[
    tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(help="for example 06; none: all")
]
ProfileName = Annotated[
    str | None, tyro.conf.arg(help="smoke, laptop ...; unset: SEMISEG_PROFILE, else laptop")
]
Force = Annotated[bool, tyro.conf.arg(help="run again what is up to date")]
Outdated = Annotated[bool, tyro.conf.arg(help="also render outputs older than the code")]
Solutions = Annotated[bool, tyro.conf.arg(help="with the solutions of the exercises")]
Jobs = Annotated[int | None, tyro.conf.arg(
    help="how many chapters at once, each with one thread; unset: as many as there are cores, at "
    "most 4; 1 runs one after the other, with all threads"
)]


def make(profile: ProfileName = None, force: Force = False, jobs: Jobs = None) -> None:
    """Run every chapter, then build the HTML."""
    book, before = load(), build.stored_runs()
    minutes, executed = _executed(book, (), profile, force, jobs)
    notebooks = build.BUILD / "notebooks"
    say(build.summary(book, minutes, notebooks, build.html(notebooks)))
    say(build.trained_since(before, bool(executed)))


def execute(
    chapters: Chapters = (), profile: ProfileName = None, force: Force = False, jobs: Jobs = None
) -> None:
    """Run chapters into _build/notebooks."""
    before = build.stored_runs()
    _, executed = _executed(load(), chapters, profile, force, jobs)
    say(build.trained_since(before, bool(executed)))


def html(
    notebooks: Path = build.SOURCES, destination: Path = build.BUILD / "html",
    outdated: Outdated = False, solutions: Solutions = True,
) -> None:
    """Build the HTML from stored outputs."""
    page = build.html(notebooks, destination, outdated, solutions)
    say(f"Open the book: {page.resolve().as_uri()}")


def handout(destination: Path = build.BUILD / "handout") -> None:
    """For lecturers: write the chapters without links to solutions, with all that they link to."""
    book = load()
    written = build.hand_out(book, destination)
    others = len(written) - len(book.chapters)
    say(f"{len(book.chapters)} chapters, and {others} pictures and pages that they link to, are in "
        f"{shown(destination)}.")


def sync(chapters: Chapters = ()) -> None:
    """For authors: run chapters, store the outputs in notebooks/."""
    build.sync(load(), chapters)


def check() -> None:
    """For authors: check what is stored in notebooks/."""
    book = load()
    if problems := book_problems(book, build.SOURCES):
        raise BookError("\n".join(["the stored chapters are not in order:", *problems]))
    say(f"{len(book.notebooks)} notebooks are in order: {len(book.chapters)} chapters, the others "
        "with solutions.")


def table(write: bool = False) -> None:
    """Print README.md's chapter table.

    Args:
        write: bring README.md's tables, buttons and figure, the results and the references, the
            install cells of the notebooks and the conclusions in all texts up to date instead.
    """
    if write:
        book = load()
        state = "updated" if build.write_readme(book) else "up to date"
        say(f"README.md, results.md and references.md: {state}.")
        changed = [path.name for path in build.write_install_cells(book)]
        say(f"Install cells of notebooks: {', '.join(changed) or 'up to date'}.")
        changed = [path.name for path in conclusions.write()]
        say(f"Conclusions: {', '.join(changed) or 'up to date'}.")
    else:
        say(chapter_table(load()))


ACTIONS: Mapping[str, Callable[..., None]] = {
    "build": make, "execute": execute, "html": html, "sync": sync, "check": check,
    "handout": handout, "table": table,
}


def announce(book: Book, profile: str, jobs: int) -> None:
    """Print what a build takes with ``jobs`` chapters at a time."""
    minutes = sum(chapter.minutes.get(profile, 0) for chapter in book.notebooks)
    free = shutil.disk_usage(CHECKOUT).free / 1e9
    takes = f"about {minutes:.0f} minutes" if minutes else "a time that book.yml does not give"
    what = f"{len(book.chapters)} chapters and their solutions"
    say(f"{book.title}: {what}, profile {profile}: {takes}")
    say("one after the other; here one at a time," if jobs == 1
        else f"one after the other, less with {jobs} at a time as here,")
    say(f"less than 1 GB of disk ({free:.0f} GB free). A chapter already run is not run again.")


def _executed(
    book: Book, chapters: Sequence[str], profile: str | None, force: bool, jobs: int | None
) -> tuple[dict[str, float], list[str]]:
    profile = profile or os.environ.get("SEMISEG_PROFILE", "laptop")
    jobs = default_jobs() if jobs is None else jobs
    announce(book, profile, jobs)
    return build.execute(book, profile, chapters=chapters, force=force, jobs=jobs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one action; return 0 if it worked, 1 with a message if not, 130 after Ctrl-C."""
    write_utf8()
    arguments = sys.argv[1:] if arguments is None else arguments
    if any(one.startswith("--tyro-") for one in arguments):
        say("Stopped: these commands have no completion script.", sys.stderr)
        return 1
    try:
        tyro.extras.subcommand_cli_from_dict(
            dict(ACTIONS), args=[with_home(one) for one in arguments],
            prog="python -m bookkit", description=__doc__,
        )
    except (BookError, ChapterFailed, OSError, RuntimeError, ValueError) as error:
        say(f"\nStopped: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nStopped. The same command continues.", sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
