"""The rows of a study's records, as they are read: their scores, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from semiseg_lib.studies import marks


@dataclass(frozen=True)
class Records:
    """The scores of one study, all current or all legacy.

    Attributes:
        rows: one dict for each arm and seed: ``arm``, ``seed``, ``config`` and the scores; of
            current rows also ``identity``, ``images``, ``data``, ``data of all arms``, ``weights``,
            ``commit``, ``date`` and ``made with``.
        profile: the profile that made them.
        legacy: the commits that made legacy rows, sorted; () for current rows.
        left_out: the number of stored rows that are left out, by reason.
        of_other_files: the studies read together with this one that were made from other files.
    """

    rows: list[dict]
    profile: str
    legacy: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    of_other_files: tuple[str, ...] = ()

    @property
    def sign(self) -> str:
        """Return the suffix of a row's name, `` †`` for legacy rows, else ""."""
        return f" {marks.SIGN}" if self.legacy else ""

    @property
    def mark(self) -> str:
        """Return the note under a table of these rows; "" for current rows of one state."""
        if self.legacy:
            return marks.mark_of(self.legacy)
        states = [marks.state_of(row) for row in self.rows]
        said = (marks.mark_of_files(self.of_other_files),
                marks.mark_of_machines(one.machine for one in states),
                marks.mark_of_code(one.code for one in states))
        return " ".join(filter(None, said))

    @property
    def left_out_text(self) -> str:
        """Return a sentence on the stored rows that are left out and why; "" for none."""
        if not self.left_out:
            return ""
        said = ", ".join(f"{count} {why}" for why, count in self.left_out.items())
        return f"Stored rows that are left out: {said}."

    @property
    def made_with(self) -> str:
        """Return the states of the machine and the versions of the code that made the rows."""
        if self.legacy:
            return "unknown; legacy rows do not say what made them"
        return marks.states_in_words(self.rows)

    @property
    def on_gpu(self) -> bool:
        """Return whether every row was made on a GPU."""
        return not self.legacy and all(
            one["machine"]["gpu"] for row in self.rows for one in row["made with"]
        )

    def scores(self, arm: str, score: str = "test") -> list[float]:
        """Return one score of an arm in percent, seeds ascending."""
        rows = sorted((r for r in self.rows if r["arm"] == arm), key=lambda r: r["seed"])
        return [row[score] for row in rows if score in row]

    def by_seed(self, arm: str, *place: str) -> dict[int, float]:
        """Return one score of an arm in percent, by seed, ascending.

        Args:
            arm: the arm.
            place: the keys that lead to the score in a row, such as ``("sources", "own", "mIoU")``;
                none for the test mIoU.

        Raises:
            KeyError: a row has no such score.
        """
        found = {}
        for row in sorted((r for r in self.rows if r["arm"] == arm), key=lambda r: r["seed"]):
            value = row
            for key in place or ("test",):
                value = value[key]
            found[row["seed"]] = value
        return found

    def seeds(self, arm: str) -> list[int]:
        """Return the seeds of an arm, ascending."""
        return sorted(row["seed"] for row in self.rows if row["arm"] == arm)
