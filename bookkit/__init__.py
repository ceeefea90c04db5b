"""The builder of the book: describe, run, render; `python -m bookkit --help`."""

from bookkit.description import (
    Book,
    BookError,
    Chapter,
    Part,
    chapter_table,
    load,
    toc,
    write_chapter_table,
)

__all__ = [
    "Book",
    "BookError",
    "Chapter",
    "Part",
    "chapter_table",
    "load",
    "toc",
    "write_chapter_table",
]
