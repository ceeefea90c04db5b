"""``semiseg compare``: all methods in one table, from the records of studies."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from semiseg_lib.core import escaping
from semiseg_lib.core.durable import atomic_write
from semiseg_lib.core.escaping import listed
from semiseg_lib.core.paths import shown
from semiseg_lib.core.terminal import give, say
from semiseg_lib.notebook.tables import results_table
from semiseg_lib.recipes import Profile
from semiseg_lib.studies import comparison
from semiseg_lib.studies.comparison import Comparison
from semiseg_lib.studies.entries import FAIR, MASK_OVER_BOXES

WRITERS = (".md", ".csv")


def print_comparison(
    dataset: str, profile: Profile, against: str = FAIR, ratio: float = MASK_OVER_BOXES,
    out: Path | None = None,
) -> None:
    """Print the table of a dataset and profile; write it to ``out`` as well if that is given.

    Raises:
        FileNotFoundError: there are no records.
        ValueError: ``out`` is neither .md nor .csv, or ``against`` is not a row with records.
    """
    if out is not None and out.suffix not in WRITERS:
        raise ValueError(f"{shown(out)}: the comparison is written as {' or '.join(WRITERS)}.")
    found = comparison.read(dataset, profile)
    if not found.rows:
        raise FileNotFoundError("\n".join(["no record is stored yet. Make them:",
                                           *found.commands()]))
    if against not in found.rows:
        raise ValueError(f"{against!r} is not a row with records; choose from "
                         f"{listed(found.rows)}.")
    frame = as_frame(found, against, ratio)
    give({"dataset": dataset, "profile": profile.name, "against": against, "ratio": ratio,
          "rows": frame.to_dict("records"), "missing": list(found.missing)},
         as_text(found, against, ratio))
    if out is not None:
        with atomic_write(out) as temporary:
            if out.suffix == ".csv":
                text = as_csv(frame)
            else:
                text = as_text(found, against, ratio, escape=escaping.markdown) + "\n"
            temporary.write_text(text, encoding="utf-8", newline="\n")
        say(f"written: {shown(out)}")


def as_text(
    found: Comparison, against: str = FAIR, ratio: float = MASK_OVER_BOXES,
    escape: Callable[[str], str] = escaping.visible,
) -> str:
    """Return the table, notes on it, and the commands that make missing rows.

    Args:
        found: the comparison.
        against: the row that the others are compared with.
        ratio: the time of a mask over that of an image's boxes.
        escape: what names are passed through: for the terminal, or ``escaping.markdown``.
    """
    rows = found.table(against, ratio)
    table = results_table(rows, plain=[title for row in rows for title in row])
    parts = [table.lines(escape)]
    seeds = ", ".join(map(str, found.seeds))
    parts.append(
        f"{escape(found.dataset)}, profile {escape(found.profile.name)}; seeds {seeds}; mean ± sd "
        f"over a row's seeds. Work: masks, and {ratio:g} images' boxes count as one mask."
        + (" Differences in points with their 95 % interval, paired over the seeds that both "
           "rows have." if len(found.seeds) > 1 else " One seed ranks nothing.")
    )
    parts += filter(None, (found.mark, found.unknown))
    if found.missing:
        names = "; ".join(escape(one.text) for one in found.missing.values())
        parts.append("\n".join([f"No records yet: {names}. Make them:", "",
                                *(f"    {line}" for line in found.commands())]))
    return "\n\n".join(parts)


def as_csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV for a spreadsheet, which takes no text in it for a formula."""
    safe = frame.rename(columns=escaping.csv).map(escaping.csv)
    return safe.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


def as_frame(
    found: Comparison, against: str = FAIR, ratio: float = MASK_OVER_BOXES
) -> pd.DataFrame:
    """Return one line per row, in full precision, for a spreadsheet."""
    differences, lines = found.differences(against), []
    for name, row in found.rows.items():
        level = row.interval
        line = {
            "row": name, "text": row.text, "legacy": row.legacy, "study": row.entry.study,
            "arm": row.entry.arm, "extra supervision": row.entry.extra,
            "masks": row.masks, "images with boxes": row.boxes, "work in masks": row.cost(ratio),
            "networks": row.networks or None, "steps": row.steps, "seeds": len(row.scores),
            "mean": level.mean, "sd": level.sd, "low": level.low, "high": level.high,
        }
        against_it = differences.get(name)
        if against_it and against_it.interval:
            mean, low, high, _, verdict = against_it.interval
            line |= {f"minus {against}": mean, "difference low": low, "difference high": high,
                     "p": against_it.p, "verdict": verdict,
                     "seeds of another state": len(against_it.apart)}
        measured = {key: sum(values) / len(values) for key, values in row.measured.items()}
        lines.append(line | measured)
    return pd.DataFrame(lines)
