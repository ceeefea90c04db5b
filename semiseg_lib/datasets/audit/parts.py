"""Types of the audit: rules, entries, inspections, problems, findings and layouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from semiseg_lib.core.escaping import visible
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.lists import read_published_list

Severity = Literal["OK", "NOTE", "FAIL"]
NamedBoxes = list[tuple[str, tuple[float, float, float, float]]]


@dataclass(frozen=True)
class Rules:
    """The expected content of a dataset's files.

    Attributes:
        ids: {value in a mask: class name}; other values except ``void`` are errors.
        void: values that mean "no label".
        colours: {(red, green, blue): value} if the masks are colour images, else empty.
        palette: the expected colours (256, 3) of palette masks; None for any.
        read_boxes: reads an entry's boxes as [(class, (xmin, ymin, xmax, ymax))], counted from 1,
            both ends included, as VOC does.
        kind_of_unknown: maps the unknown values of a mask to the kind of problem.
        box_classes: the allowed class names of boxes.
    """

    ids: Mapping[int, str]
    void: frozenset[int] = frozenset({VOID})
    colours: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    palette: np.ndarray | None = None
    read_boxes: Callable[[Entry], NamedBoxes] | None = None
    kind_of_unknown: Callable[[list[int]], str] = lambda values: "unknown ids"
    box_classes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Entry:
    """The files of one image in one list; None for files that are not expected.

    Attributes:
        name: its name in the list.
        rules: the expected content of its files.
        image, mask, boxes: the files.
    """

    name: str
    rules: Rules = field(repr=False, compare=False)
    image: Path
    mask: Path | None = None
    boxes: Path | None = None


@dataclass(frozen=True)
class Problem:
    """A problem with one file.

    Attributes:
        kind: a key of ``findings.HINTS``.
        file: the file.
        detail: what exactly is wrong, where the kind does not say it.
    """

    kind: str
    file: Path
    detail: str = ""


@dataclass(frozen=True)
class Inspection:
    """The result of inspecting one entry.

    Attributes:
        entry: the inspected entry.
        counts: int64 (256,), pixels of each value in the mask; None without a readable mask.
        kind: mode of the mask: palette, grey or colour.
        digest: hash of the decoded image; None if it cannot be read.
        boxes: number of boxes.
        problems: all problems.
    """

    entry: Entry
    counts: np.ndarray | None = None
    kind: str | None = None
    digest: bytes | None = None
    boxes: int = 0
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One finding of the audit.

    Attributes:
        severity: FAIL: training or scoring would be wrong or fail; NOTE: for information; OK.
        where: the list or lists.
        what: the finding.
        files: the first few affected files, with details.
        hint: the fix.
    """

    severity: Severity
    where: str
    what: str
    files: tuple[str, ...] = ()
    hint: str = ""

    def __str__(self) -> str:
        lines = [f"{self.severity:4}  {self.where}: {self.what}"]
        lines += [f"        {file}" for file in self.files]
        lines += [f"      → {self.hint}"] if self.hint else []
        return "\n".join(map(visible, lines))


@dataclass(frozen=True)
class Layout:
    """The files of a dataset to audit.

    Attributes:
        title: name and folder of the dataset.
        lists: {list: its entries}.
        findings: findings from reading the lists.
    """

    title: str
    lists: Mapping[str, tuple[Entry, ...]]
    findings: tuple[Finding, ...] = ()


def listed_entries(
    lists: Sequence[Path], by_name: Mapping[str, Entry], rules: Rules, images: Path
) -> dict[str, tuple[Entry, ...]]:
    """Return the entries of further lists; the audit reports unknown names as missing.

    Args:
        lists: files of names; the stem of the file is the name of the list.
        by_name: the entries of the dataset's own lists.
        rules, images: rules and image folder for unknown names.
    """
    return {
        Path(path).stem: tuple(
            by_name.get(name) or Entry(name, rules, images / f"{name}.png")
            for name in read_published_list(Path(path))
        )
        for path in lists
    }
