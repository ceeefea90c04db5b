"""``semiseg runs``: list what is stored; ``semiseg runs prune``: remove what is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from semiseg_lib.core.paths import shown, work_root

if TYPE_CHECKING:
    from semiseg_lib.experiments.inventory import Item


def list_runs(root: Path | None = None) -> None:
    """List runs, logits and pseudo-labels: fresh, stale and why, damaged, orphaned; and sizes.

    Every file is read and checked; nothing is changed.

    Args:
        root: the folder that holds the datasets; unset: SEMISEG_DATA.
    """
    from semiseg_lib.experiments.inventory import inventory, prunable

    items = inventory(root)
    _print(items)
    if found := prunable(items):
        print(f"{len(found)} of them, {_megabytes(found)}, would not be used as they are, or lack "
              "what they were made from; `semiseg runs prune` shows and removes those.")


def prune(root: Path | None = None, yes: bool = False) -> None:
    """Show what no command would use as it is, or whose source is gone; ask, and remove it.

    Args:
        root: the folder that holds the datasets; unset: SEMISEG_DATA.
        yes: remove without asking.
    """
    from semiseg_lib.experiments.inventory import inventory, prunable, remove

    found = prunable(inventory(root))
    if not found:
        print(f"Nothing to remove in {shown(work_root())}.")
        return
    _print(found)
    if not yes and not _agreed(f"Remove these {len(found)}, {_megabytes(found)}? [y/N] "):
        print("Nothing was removed.")
        return
    removed = [item for item in found if remove(item)]
    print(f"Removed {len(removed)}, {_megabytes(removed)}.")
    if len(removed) < len(found):
        print(f"Kept {len(found) - len(removed)} that were written again meanwhile.")


def main(arguments: Sequence[str]) -> int:
    """List what is stored: fresh, stale, damaged or left over; `semiseg runs prune` removes."""
    pruning = list(arguments[:1]) == ["prune"]
    command, rest = (prune, arguments[1:]) if pruning else (list_runs, arguments)
    tyro.cli(command, args=list(rest), prog=f"semiseg runs{' prune' if pruning else ''}")
    return 0


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # no terminal to ask
        print()
        return False


def _print(items: Sequence[Item]) -> None:
    from semiseg_lib.notebook.tables import markdown_table

    rows = [
        {"what": f"{item.path.parent.name}/{item.path.name}", "state": item.state,
         "MB": f"{item.size / 1e6:.1f}", "why": item.why or "–"}
        for item in items
    ]
    print(f"In {shown(work_root())}:")
    print(markdown_table(rows) if rows else "nothing is stored yet.")


def _megabytes(items: Sequence[Item]) -> str:
    return f"{sum(item.size for item in items) / 1e6:.1f} MB"
