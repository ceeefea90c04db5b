"""Comparison of all methods: the records of several studies as rows of one table.

``semiseg compare`` prints it; the results page and chapter 17 use it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from operator import itemgetter

import numpy as np

from semiseg_lib import datasets, methods
from semiseg_lib.core.escaping import shell
from semiseg_lib.evaluation.statistics import (
    Interval,
    mean_and_interval,
    paired_interval,
)
from semiseg_lib.experiments.values import BoxLabels, fresh_networks
from semiseg_lib.recipes import Profile
from semiseg_lib.studies import marks, records
from semiseg_lib.studies.arms import Arm
from semiseg_lib.studies.catalogue import STUDIES
from semiseg_lib.studies.entries import COMPARISONS, FAIR, MASK_OVER_BOXES, Entry
from semiseg_lib.studies.marks import Files, State

OTHER_STATE = "‡"
"""Mark of a difference between rows made in different states of the machine or of the code."""
MEASURED = {"minutes, last stage": "minutes", "images a second": "images a second",
            "memory (GB)": "memory GB"}
"""Costs of a run that some records hold, the key in the record by the title in a table."""
UNKNOWN = "–"
"""What a table shows where something is not known."""


@dataclass(frozen=True)
class Row:
    """A row of the comparison with its records.

    Attributes:
        entry: the entry of the comparison.
        scores: seed -> mIoU on the test images in percent.
        masks: number of images with masks; None if unknown.
        boxes: number of further images with boxes; None if unknown.
        networks: number of networks trained; 0 if unknown.
        steps: training steps, stage by stage; "" if unknown.
        measured: recorded costs, one value per seed.
        legacy: whether earlier code made its records; never compared with current rows. They do
            not hold the settings that made them: masks, boxes, networks and steps are unknown.
        states: seed -> the state of machine and code that made its row, if known.
        files: seed -> the files behind its row, if known.
    """

    entry: Entry
    scores: Mapping[int, float]
    masks: int | None = None
    boxes: int | None = 0
    networks: int = 0
    steps: str = ""
    measured: Mapping[str, list[float]] = field(default_factory=dict)
    legacy: bool = False
    states: Mapping[int, State] = field(default_factory=dict)
    files: Mapping[int, Files] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return the entry's name, with the mark of a legacy row."""
        return self.entry.text + (f" {marks.SIGN}" if self.legacy else "")

    @property
    def values(self) -> list[float]:
        """Return the scores, seeds ascending."""
        return [self.scores[seed] for seed in sorted(self.scores)]

    @property
    def interval(self) -> Interval:
        """Return mean and 95 % interval over the seeds."""
        return mean_and_interval(self.values)

    def cost(self, ratio: float = MASK_OVER_BOXES) -> float | None:
        """Return :func:`work_in_masks`; None if the numbers are not known.

        Args:
            ratio: the time of a mask over that of an image's boxes, > 0.
        """
        return work_in_masks(self.masks, self.boxes, ratio)


@dataclass(frozen=True)
class Difference:
    """Difference of two rows, paired over the seeds that both have, made from the same files.

    Attributes:
        seeds: the shared seeds; none if one row is legacy and the other is not. Without those of
            which the two rows were scored on other test images, or made from files that changed.
        interval: mean difference in points with its 95 % interval and verdict; None for fewer
            than two shared seeds.
        p: two-sided p-value of the paired t test; 1 for fewer than two shared seeds.
        apart: the shared seeds whose two rows were made in different states of machine or code.
    """

    seeds: tuple[int, ...]
    interval: Interval | None
    p: float
    apart: tuple[int, ...] = ()

    @property
    def verdict(self) -> str:
        """Return "better", "worse" or "cannot tell"."""
        return self.interval.verdict if self.interval else "cannot tell"

    def __str__(self) -> str:
        if self.interval is None:
            return UNKNOWN
        found, sign = self.interval, f" {OTHER_STATE}" if self.apart else ""
        return f"{found.mean:+.1f} ({found.low:+.1f} to {found.high:+.1f}){sign}"


@dataclass(frozen=True)
class Comparison:
    """The rows of one dataset's table.

    Attributes:
        dataset: minivoc, voc or camvid.
        profile: the profile of the records.
        rows: the rows that have records, by name.
        missing: the entries that have none.
        commits: the commits whose code made the legacy rows, sorted.
    """

    dataset: str
    profile: Profile
    rows: Mapping[str, Row]
    missing: Mapping[str, Entry]
    commits: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """Return the note below the table; "" if no row is legacy and one state made them all."""
        legacy = any(row.legacy for row in self.rows.values())
        said = [marks.mark_of(self.commits if legacy else ())]
        if seeds := _apart(self.rows.values()):
            said.append(
                f"{OTHER_STATE} rows of seed{'s' * (len(seeds) > 1)} "
                f"{', '.join(map(str, seeds))} were made in different states of the machine "
                "(processor, threads, libraries) or by different versions of the code: part of "
                "such a difference is rounding, which training amplifies, or the work of the code."
            )
        said.append(marks.mark_of_files(self.of_other_files))
        said.append(marks.mark_of_code(
            state.code for row in self.rows.values() for state in row.states.values()
        ))
        return " ".join(filter(None, said))

    @property
    def of_other_files(self) -> tuple[str, ...]:
        """Return the names of the rows made from other files than the first current row."""
        current = [row for row in self.rows.values() if row.files]
        return tuple(row.entry.text for row in current if _strangers(current[0], row))

    @property
    def unknown(self) -> str:
        """Return the note on settings that a table shows as dashes; "" if all are known."""
        unknown = any(row.legacy and row.masks is None for row in self.rows.values())
        return marks.NO_SETTINGS if unknown else ""

    def with_todays_settings(self) -> Comparison:
        """Return the comparison with the settings of today's recipes in its legacy rows."""
        return replace(self, rows={
            name: _with_settings(row, self.profile) if row.legacy else row
            for name, row in self.rows.items()
        })

    def with_row(self, name: str, row: Row) -> Comparison:
        """Return the comparison with a further row, such as a method of your own.

        Args:
            name: the row's, a new one.
            row: its scores.
        """
        return replace(self, rows={**self.rows, name: row})

    def of_role(self, *roles: str) -> dict[str, Row]:
        """Return the rows of the given roles, in the table's order."""
        return {name: row for name, row in self.rows.items() if row.entry.role in roles}

    def differences(
        self, against: str, names: Collection[str] | None = None
    ) -> dict[str, Difference]:
        """Return each row minus ``against``, by name; {} if that has no records.

        Args:
            against: the name of the row that is subtracted.
            names: of the rows; None for all others.
        """
        if against not in self.rows:
            return {}
        other = self.rows[against]
        return {name: difference(row, other) for name, row in self.rows.items()
                if name != against and (names is None or name in names)}

    def commands(self) -> list[str]:
        """Return the commands that make the missing rows, one line per study."""
        arms: dict[str, list[str]] = {}
        for one in self.missing.values():
            arms.setdefault(one.study, []).append(one.arm)
        root = " --root DIR" if datasets.find(self.dataset).needs_root else ""
        seeds = " ".join(map(str, self.seeds or self.profile.seeds))
        return [
            f"semiseg study {shell(study)} --profile {self.profile.name}{root} "
            f"--seeds {seeds} --only {' '.join(map(shell, names))}"
            for study, names in arms.items()
        ]

    @cached_property
    def seeds(self) -> list[int]:
        """Return every seed that some row has, ascending."""
        return sorted({seed for row in self.rows.values() for seed in row.scores})

    def table(self, against: str = FAIR, ratio: float = MASK_OVER_BOXES) -> list[dict]:
        """Return rows for :func:`~semiseg_lib.notebook.tables.results_table`; scores in percent.

        Args:
            against: the row that the others are compared with, paired by seed.
            ratio: the time of a mask over that of an image's boxes.
        """
        found, lines = self.differences(against), []
        versus = self.rows[against].entry.text if against in self.rows else against
        several = len(self.seeds) > 1
        for name, row in self.rows.items():
            cost = row.cost(ratio)
            line = {
                "trained with": row.text, "extra supervision": row.entry.extra,
                "masks": UNKNOWN if row.masks is None else str(row.masks),
                "work, in masks": UNKNOWN if cost is None else f"{cost:.0f}",
                "networks": str(row.networks or UNKNOWN), "steps": row.steps or UNKNOWN,
                "mIoU on test (%)": row.values, "seeds": str(len(row.scores)),
            }
            if several:
                line[f"minus {versus}"] = str(found.get(name, UNKNOWN))
                line["verdict"] = found[name].verdict if name in found else UNKNOWN
            costs = {title: row.measured.get(key) for title, key in MEASURED.items()}
            lines.append(line | {title: value for title, value in costs.items() if value})
        return lines


def read(
    dataset: str, profile: Profile, entries: Mapping[str, Entry] | None = None
) -> Comparison:
    """Read the records of every study that a comparison uses.

    Args:
        dataset: minivoc, voc or camvid.
        profile: the profile of the records.
        entries: the rows by name; None for the book's.

    Raises:
        ValueError: there is no comparison for this dataset.
    """
    if entries is None:
        if dataset not in COMPARISONS:
            raise ValueError(
                f"there is no comparison for {dataset!r}; there are {', '.join(COMPARISONS)}."
            )
        entries = COMPARISONS[dataset]
    stored = {study: _stored_rows(study, profile)
              for study in {one.study for one in entries.values()}}
    rows, commits = {}, set()
    for name, one in entries.items():
        own = sorted((r for r in stored[one.study] if r["arm"] == one.arm), key=itemgetter("seed"))
        if own:
            rows[name] = _row(one, own, profile)
            commits.update(marks.commits_of(own))
    missing = {name: one for name, one in entries.items() if name not in rows}
    return Comparison(dataset, profile, rows, missing, tuple(sorted(commits)))


def difference(one: Row, other: Row) -> Difference:
    """Return one row minus another, paired over the seeds that both have.

    A legacy row and a current one share no seeds: two versions of the code are not compared.

    Args:
        one, other: rows with the scores of each seed.
    """
    if one.legacy != other.legacy:
        return Difference((), None, 1.0)
    seeds = tuple(sorted((one.scores.keys() & other.scores.keys()) - _strangers(one, other)))
    apart = _apart((one, other))
    if len(seeds) < 2:
        return Difference(seeds, None, 1.0, apart)
    interval = paired_interval(*([row.scores[seed] for seed in seeds] for row in (one, other)))
    p = interval.p
    return Difference(seeds, interval, p if np.isfinite(p) else 1.0, apart)


def _apart(rows: Iterable[Row]) -> tuple[int, ...]:
    """Return the seeds whose rows were made in different states of machine or code, ascending."""
    states: dict[int, set[State]] = {}
    for row in rows:
        for seed, state in row.states.items():
            states.setdefault(seed, set()).add(state)
    return tuple(sorted(seed for seed, known in states.items() if len(known) > 1))


def _strangers(one: Row, other: Row) -> set[int]:
    """Return the shared seeds of which two rows were made from other files."""
    return {seed for seed in one.files.keys() & other.files.keys()
            if one.files[seed].differ(other.files[seed])}


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for multiple tests by Holm's step-down procedure.

    The smallest of m is multiplied by m, the next by m − 1 and so on, without falling below the one
    before it. Rejecting at adjusted values <= 0.05 limits the probability of *any* false rejection
    to 5 %.

    Args:
        p_values: of the tests, in any order.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()


def training_steps(arm: Arm, profile: Profile) -> str:
    """Return the steps of all runs behind an arm's model, such as ``600 + 1000``.

    A round of pseudo-labelling (pretraining and fine-tuning of a student) is one number.

    Args:
        arm: of a study.
        profile: the profile that made its records.
    """
    steps: list[int] = []
    for run in arm.runs(profile):
        if getattr(run.method, "stage", "") == "fine-tune":
            steps[-1] += run.steps
        else:
            steps.append(run.steps)
    return " + ".join(map(str, steps))


def networks(arm: Arm, profile: Profile) -> int:
    """Return the number of networks trained from fresh weights, in turn or together.

    Args:
        arm: of a study.
        profile: the profile that made its records.
    """
    return sum(map(fresh_networks, arm.runs(profile)))


def learns_from_boxes(arm: Arm, profile: Profile) -> bool:
    """Return whether boxes of unlabelled images have a part in what an arm's model learns.

    They may be read by an ancillary, forbid classes, or become labels by a rule.

    Args:
        arm: of a study.
        profile: the profile that made its records.
    """
    return any(
        methods.method_class(run.method).uses_boxes or getattr(run.method, "constrain", False)
        or isinstance(run.unlabelled_logits, BoxLabels)
        for run in arm.runs(profile)
    )


def masks_and_boxes(arm: Arm, profile: Profile) -> tuple[int, int | None]:
    """Return the numbers of images with masks, and of further ones with boxes, behind an arm.

    The second is None if it is not known before the images are opened.

    Args:
        arm: of a study.
        profile: the profile that made its records.
    """
    data = arm.profile(profile).data
    masks, unlabelled = data.labelled, data.count_unlabelled()
    if any(run.masks == "all" for run in arm.runs(profile)):  # the hidden ones too
        masks += unlabelled or 0
    return masks, unlabelled if learns_from_boxes(arm, profile) else 0


def work_in_masks(
    masks: int | None, boxes: int | None, ratio: float = MASK_OVER_BOXES
) -> float | None:
    """Return the annotation work in masks: masks + images with boxes / ``ratio``.

    Boxes of images that have masks are free.

    Args:
        masks, boxes: numbers of images; with None the work is not known.
        ratio: the time of a mask over that of an image's boxes, > 0.

    Raises:
        ValueError: ``ratio`` is not positive.
    """
    if not 0 < ratio < inf:
        raise ValueError(f"ratio must be > 0 (time of a mask / of boxes), got {ratio}")
    return None if masks is None or boxes is None else masks + boxes / ratio


def _row(entry: Entry, own: list[dict], profile: Profile) -> Row:
    row = Row(
        entry=entry, scores={row["seed"]: row["test"] for row in own}, boxes=None,
        measured={key: [row[key] for row in own if key in row] for key in MEASURED.values()
                  if any(key in row for row in own)},
        legacy=any("legacy" in row for row in own),
        states={row["seed"]: marks.state_of(row) for row in own if "legacy" not in row},
        files=records.files_of(own, entry.study, profile),
    )
    return row if row.legacy else _with_settings(row, profile)


def _with_settings(row: Row, profile: Profile) -> Row:
    """Return a row with the settings of its arm's recipe, as it is today."""
    arm = STUDIES[row.entry.study][row.entry.arm]
    masks, boxes = masks_and_boxes(arm, profile)
    return replace(
        row, masks=masks, boxes=boxes,
        networks=row.entry.networks or networks(arm, profile), steps=training_steps(arm, profile),
    )


def _stored_rows(study: str, profile: Profile) -> list[dict]:
    if study not in STUDIES:
        return []
    try:
        return records.read(study, profile).rows
    except FileNotFoundError:
        return []
