"""``semiseg compare``: all methods in one table, from the records of studies."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from semiseg_lib.core import escaping
from semiseg_lib.core.durable import atomic_write
from semiseg_lib.core.escaping import listed
from semiseg_lib.core.paths import shown
from semiseg_lib.core.terminal import give, say
from semiseg_lib.evaluation.statistics import Interval
from semiseg_lib.notebook.tables import results_table
from semiseg_lib.recipes import Profile
from semiseg_lib.studies import comparison
from semiseg_lib.studies.comparison import Comparison
from semiseg_lib.studies.entries import FAIR, MASK_OVER_BOXES

COSTS = {"minutes_last_stage": "minutes", "images_per_second": "images a second",
         "memory_gb": "memory GB"}
"""Recorded costs, the key of the document by the key of the record."""


def print_comparison(
    dataset: str, profile: Profile, against: str = FAIR, ratio: float = MASK_OVER_BOXES,
    out: Path | None = None,
) -> None:
    """Print the table of a dataset and profile; write it to ``out``, a .md or .csv file, as well.

    Raises:
        FileNotFoundError: there are no records.
        ValueError: ``against`` is not a row with records.
    """
    found = comparison.read(dataset, profile)
    if not found.rows:
        raise FileNotFoundError("\n".join(["no record is stored yet. Make them:",
                                           *found.commands()]))
    if against not in found.rows:
        raise ValueError(f"{against!r} is not a row with records; choose from "
                         f"{listed(found.rows)}.")
    rows = as_rows(found, against, ratio)
    give({"dataset": dataset, "profile": profile.name, "against": against, "ratio": ratio,
          "rows": rows, "missing": list(found.missing)},
         as_text(found, against, ratio))
    if out is not None:
        with atomic_write(out) as temporary:
            if out.suffix == ".csv":
                text = as_csv(rows)
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


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of the same keys as CSV for a spreadsheet, which takes no text for a formula."""
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerows([[*rows[0]], *([escaping.csv(cell) for cell in row.values()] for row in rows)])
    return file.getvalue()


def as_rows(
    found: Comparison, against: str = FAIR, ratio: float = MASK_OVER_BOXES
) -> list[dict[str, Any]]:
    """Return one row per method in full precision, all with the same keys, for a program.

    Scores and differences are fractions in [0, 1]; what is not known, or does not apply, is None.
    """
    differences, rows = found.differences(against), []
    costs = {key for row in found.rows.values() for key in row.measured}
    for name, row in found.rows.items():
        level, gain = row.interval, differences.get(name)
        if gain and gain.interval is None:
            gain = None
        rows.append({
            "row": name, "text": row.text, "legacy": row.legacy, "study": row.entry.study,
            "arm": row.entry.arm, "extra_supervision": row.entry.extra,
            "masks": row.masks, "images_with_boxes": row.boxes, "work_in_masks": row.cost(ratio),
            "networks": row.networks or None, "steps": row.steps or None,
            "seeds": len(row.scores), **_fractions("mean_iou", level),
            "mean_iou_sd": level.sd / 100 if level.runs > 1 else None,
            "minus": against if gain else None,
            **_fractions("difference", gain.interval if gain else None),
            "p": gain.p if gain else None, "verdict": gain.verdict if gain else None,
            "seeds_of_another_state": len(gain.apart) if gain else None,
            **{key: sum(values) / len(values) if (values := row.measured.get(title)) else None
               for key, title in COSTS.items() if title in costs},
        })
    return rows


def _fractions(name: str, interval: Interval | None) -> dict[str, float | None]:
    """Return the mean of an interval in percent and its ends as fractions; None for NaN."""
    parts = {name: "mean", f"{name}_low": "low", f"{name}_high": "high"}
    values = {key: getattr(interval, part) / 100 if interval else math.nan
              for key, part in parts.items()}
    return {key: None if math.isnan(value) else value for key, value in values.items()}
