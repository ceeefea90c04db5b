"""`python -m bookkit ACTION`: make the book from its sources."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bookkit import build
from bookkit.description import Book, BookError, chapter_table, load
from bookkit.exercises import write_exercises
from bookkit.gates import book_problems
from bookkit.notebook import ChapterFailed
from bookkit.schedule import default_jobs
from semiseg_lib.core.paths import CHECKOUT, shown


def parser(profiles: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of the command line: one action and its options."""
    root = argparse.ArgumentParser(prog="python -m bookkit", description=__doc__)
    actions = root.add_subparsers(dest="action", required=True)
    for name, explanation in (
        ("build", "run every chapter, then build the HTML"),
        ("execute", "run chapters into _build/notebooks"),
    ):
        action = actions.add_parser(name, help=explanation)
        default = os.environ.get("SEMISEG_PROFILE", "laptop")
        action.add_argument("--profile", choices=profiles, default=default)
        action.add_argument("--force", action="store_true", help="run again what is up to date")
        action.add_argument(
            "--jobs", type=_positive, metavar="N",
            help="how many chapters at once, each with one thread (default: as many as there are "
            "cores, at most 4); 1 runs one after the other, with all threads",
        )
        if name == "execute":
            action.add_argument("chapters", nargs="*", help="for example 06; all without")
    page = actions.add_parser("html", help="build the HTML from stored outputs")
    page.add_argument("--notebooks", type=Path, default=build.SOURCES)
    page.add_argument("--destination", type=Path, default=build.BUILD / "html")
    sync = actions.add_parser("sync", help="authors: run chapters, store outputs in notebooks/")
    sync.add_argument("chapters", nargs="*", help="for example 06; all without")
    actions.add_parser("check", help="authors: check what is stored in notebooks/")
    exercises = actions.add_parser("exercises", help="lecturers: chapters without solutions")
    exercises.add_argument("--destination", type=Path, default=build.BUILD / "exercises")
    table = actions.add_parser("table", help="print README.md's chapter table")
    table.add_argument(
        "--write", action="store_true", help="bring README.md's tables and figure up to date"
    )
    return root


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} chapters at once: it must be >= 1")
    return number


def announce(book: Book, profile: str, jobs: int) -> None:
    """Print what a build takes with ``jobs`` chapters at a time."""
    minutes = sum(chapter.minutes.get(profile, 0) for chapter in book.chapters)
    free = shutil.disk_usage(CHECKOUT).free / 1e9
    takes = f"about {minutes:.0f} minutes" if minutes else "a time that book.yml does not give"
    print(f"{book.title}: {len(book.chapters)} chapters, profile {profile}: {takes}")
    print("one after the other; here one at a time," if jobs == 1
          else f"one after the other, less with {jobs} at a time as here,")
    print(f"less than 1 GB of disk ({free:.0f} GB free). A chapter already run is not run again.")


def act(options: argparse.Namespace, book: Book) -> None:
    """Run the action of the command line."""
    if options.action in ("build", "execute"):
        jobs = options.jobs or default_jobs()
        announce(book, options.profile, jobs)
        chapters = getattr(options, "chapters", None)
        before = build.stored_runs()
        minutes, executed = build.execute(
            book, options.profile, chapters=chapters, force=options.force, jobs=jobs
        )
        if options.action == "build":
            notebooks = build.BUILD / "notebooks"
            page = build.html(notebooks)
            print(build.summary(book, minutes, notebooks, page))
        print(build.trained_since(before, bool(executed)))
    elif options.action == "html":
        page = build.html(options.notebooks, options.destination)
        print(f"Open the book: {page.resolve().as_uri()}")
    elif options.action == "sync":
        build.sync(book, options.chapters)
    elif options.action == "check":
        if problems := book_problems(book, build.SOURCES):
            raise BookError("\n".join(["the stored chapters are not in order:", *problems]))
        print(f"{len(book.chapters)} chapters are in order.")
    elif options.action == "exercises":
        written = write_exercises(book, options.destination)
        print(f"{len(written)} exercise notebooks are in {shown(options.destination)}.")
    elif options.write:
        changed = build.write_readme(book)
        print("README.md and results.md: " + ("updated." if changed else "up to date."))
    else:
        print(chapter_table(book))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one action; return 0 if it worked, 1 with a message if not, 130 after Ctrl-C."""
    try:
        book = load()
        act(parser(list(book.profiles)).parse_args(arguments), book)
    except (BookError, ChapterFailed, OSError, RuntimeError, ValueError) as error:
        print(f"\nStopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The same command continues.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
