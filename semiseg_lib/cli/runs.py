"""``semiseg runs``: list what is stored; ``semiseg runs prune``: remove what is not needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from semiseg_lib.cli.flags import command, no_help_of_unknown
from semiseg_lib.core.paths import shown, work_root
from semiseg_lib.core.terminal import give, say

if TYPE_CHECKING:
    from semiseg_lib.experiments.inventory import Item


@command
def list_runs(root: Path | None = None) -> None:
    """List runs, logits and pseudo-labels: fresh, stale and why, damaged, orphaned; and sizes.

    Every file is read and checked; nothing is changed. `semiseg runs prune` shows what no command
    would use as it is, asks, and removes it.

    Args:
        root: the folder that holds the datasets; unset: SEMISEG_DATA, else datasets/ in the work
            folder.
    """
    from semiseg_lib.experiments.inventory import inventory, prunable

    items = inventory(root)
    found = prunable(items)
    give({"work": work_root(), "items": [
        {"path": one.path, "state": one.state, "bytes": one.size, "why": one.why,
         "prunable": one in found} for one in items
    ]}, _table(items))
    if found:
        say(f"{len(found)} of them, {_megabytes(found)}, would not be used as they are, or lack "
            "what they were made from; `semiseg runs prune` shows and removes those.")


@command
def prune(root: Path | None = None, yes: bool = False) -> None:
    """Show what no command would use as it is, or whose source is gone; ask, and remove it.

    Args:
        root: the folder that holds the datasets; unset: SEMISEG_DATA, else datasets/ in the work
            folder.
        yes: remove without asking.
    """
    from semiseg_lib.experiments.inventory import inventory, prunable, remove

    found, removed = prunable(inventory(root)), []
    if not found:
        said = f"Nothing to remove in {shown(work_root())}."
    elif not yes and not _agreed(found):
        said = "Nothing was removed."
    else:
        removed = [item for item in found if remove(item)]
        said = f"Removed {len(removed)}, {_megabytes(removed)}."
        if len(removed) < len(found):
            said += f" Kept {len(found) - len(removed)} that were written again meanwhile."
    give({"work": work_root(), "removed": [one.path for one in removed],
          "kept": [one.path for one in found if one not in removed]}, said)


def main(arguments: Sequence[str]) -> int:
    """List what is stored: fresh, stale, damaged or left over; `semiseg runs prune` removes."""
    pruning = list(arguments[:1]) == ["prune"]
    chosen, rest = (prune, arguments[1:]) if pruning else (list_runs, arguments)
    rest = no_help_of_unknown(rest, ())
    tyro.cli(chosen, args=rest, prog=f"semiseg runs{' prune' if pruning else ''}")
    return 0


def _agreed(items: Sequence[Item]) -> bool:
    """Show items and ask whether to remove them, on standard error as any question."""
    say(f"{_table(items)}\nRemove these {len(items)}, {_megabytes(items)}? [y/N]", sys.stderr)
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:  # no terminal to ask
        return False


def _table(items: Sequence[Item]) -> str:
    """Return the items as a table under the name of the work folder."""
    from semiseg_lib.notebook.tables import results_table

    rows = [
        {"what": f"{item.path.parent.name}/{item.path.name}", "state": item.state,
         "MB": f"{item.size / 1e6:.1f}", "why": item.why or "–"}
        for item in items
    ]
    return f"In {shown(work_root())}:\n{results_table(rows) if rows else 'nothing is stored yet.'}"


def _megabytes(items: Sequence[Item]) -> str:
    return f"{sum(item.size for item in items) / 1e6:.1f} MB"
