"""Note what a chapter's kernel opens: the kernel runs this file before the first cell.

It imports nothing of the library, for a module that is there already is not opened again.
"""

import os
import sys

OPENED = "BOOKKIT_OPENED"
"""Environment variable with the file to which a line is added for every file that is opened."""


def note_opened() -> None:
    """Add the path of every file that this process opens from now on, modules among them."""
    noted, seen = os.environ[OPENED], set()

    def note(event: str, arguments: tuple) -> None:
        if event != "open" or not isinstance(arguments[0], str | bytes):
            return
        path = os.fsdecode(arguments[0])
        if path != noted and path not in seen:
            seen.add(path)
            with open(noted, "a", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
                file.write(f"{path}\n")

    sys.addaudithook(note)


if __name__ == "__main__" and OPENED in os.environ:
    note_opened()
    del note_opened
