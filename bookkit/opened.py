"""Note what a chapter's kernel opens or hands to another process.

The kernel runs this file before the first cell. It imports nothing of the library, for a module
that is there already is not opened again.
"""

import os
import sys

OPENED = "BOOKKIT_OPENED"
"""Environment variable with the file to which a line is added for every path that is noted."""


def note_opened() -> None:
    """Add the path of every file that this process opens from now on, modules among them.

    The words of a command that it starts are added as well.
    """
    noted, seen = os.environ[OPENED], set()

    def note(event: str, arguments: tuple) -> None:
        if event not in ("open", "subprocess.Popen"):
            return
        used = arguments[1] if event == "subprocess.Popen" else arguments[:1]
        for path in [os.fsdecode(one) for one in used if isinstance(one, str | bytes)]:
            if path != noted and path not in seen and "\n" not in path:
                seen.add(path)
                with open(noted, "a", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
                    file.write(f"{path}\n")

    sys.addaudithook(note)


if __name__ == "__main__" and OPENED in os.environ:
    note_opened()
    del note_opened
