"""What a process looked for outside the work folder: the book's builder asks a chapter for it."""

from __future__ import annotations

import os
from pathlib import Path

LOOKED_FOR = "SEMISEG_LOOKED_FOR"
"""Environment variable with the file to which a line is added for everything that is looked for."""


def note(kind: str, name: str) -> None:
    """Add a line to the file that :data:`LOOKED_FOR` names, if it is set.

    Args:
        kind: ``dataset``, ``folder``, ``weights``, ``hub`` or ``package``.
        name: the dataset's name, followed by a blank and its root where that is not the
            environment's; the folder where it was found; the file of encoder weights; the
            encoder; or the package's module.
    """
    if path := os.environ.get(LOOKED_FOR):
        with Path(path).open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"{kind} {name}\n")
