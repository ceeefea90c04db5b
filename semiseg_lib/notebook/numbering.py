"""The numbers of a chapter's figures, such as 6.3: in class one says which is meant."""

from __future__ import annotations

_chapter = ""
_numbers: dict[str, int] = {}


def start(chapter: str) -> None:
    """Begin with figure 1 of a chapter.

    Args:
        chapter: its file name, which begins with its number; figures have none in any other.
    """
    global _chapter
    _chapter = str(int(chapter[:2])) if chapter[:2].isdigit() else ""
    _numbers.clear()


def label(alt: str) -> str:
    """Return "Figure 6.3" for the third text of chapter 6, also when it is shown again; or ""."""
    number = _numbers.setdefault(alt, len(_numbers) + 1)
    return f"Figure {_chapter}.{number}" if _chapter else ""
