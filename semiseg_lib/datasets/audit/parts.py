"""What the audit speaks of: rules for files, what was seen in them, and findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.lists import read_published_list

Severity = Literal["OK", "NOTE", "FAIL"]
NamedBoxes = list[tuple[str, tuple[float, float, float, float]]]


@dataclass(frozen=True)
class Rules:
    """What a dataset's files should hold.

    Attributes:
        ids: {value in a mask: class name}; other values but ``void`` are mistakes.
        void: values that mean "no label".
        colours: {(red, green, blue): value} where the masks are colour images, else empty.
        palette: the (256, 3) colours that palette masks should have; None: any.
        read_boxes: reads an entry's boxes as [(class, (xmin, ymin, xmax, ymax))], counted from 1,
            both ends included, as VOC does.
        kind_of_unknown: names the kind of problem, given a mask's file and its unknown values.
        box_classes: the class names a box may have.
    """

    ids: Mapping[int, str]
    void: frozenset[int] = frozenset({VOID})
    colours: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    palette: np.ndarray | None = None
    read_boxes: Callable[[Entry], NamedBoxes] | None = None
    kind_of_unknown: Callable[[Path, list[int]], str] = lambda path, values: "unknown ids"
    box_classes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Entry:
    """The files of one image in one list; None for what nobody promised.

    Attributes:
        name: as the list names it.
        rules: what its files should hold.
        image, mask, boxes: the files.
    """

    name: str
    rules: Rules = field(repr=False, compare=False)
    image: Path
    mask: Path | None = None
    boxes: Path | None = None


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one file; ``kind`` is a key of ``findings.MENDS``."""

    kind: str
    file: Path
    detail: str = ""


@dataclass(frozen=True)
class Look:
    """What was seen.

    Attributes:
        entry: where.
        counts: int64 (256,) pixels of each value in the mask, None without a readable mask.
        kind: how the mask is stored: palette, grey or colour.
        digest: hash of the decoded image, None where it cannot be read.
        boxes: how many.
        problems: what is wrong.
    """

    entry: Entry
    counts: np.ndarray | None = None
    kind: str | None = None
    digest: bytes | None = None
    boxes: int = 0
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One line of the verdict.

    Attributes:
        severity: FAIL: learning or scoring would be wrong or stop; NOTE: to know; OK.
        where: the list or lists.
        what: what was found.
        files: the first few it was found in, with details.
        mend: what to do.
    """

    severity: Severity
    where: str
    what: str
    files: tuple[str, ...] = ()
    mend: str = ""

    def __str__(self) -> str:
        lines = [f"{self.severity:4}  {self.where}: {self.what}"]
        lines += [f"        {file}" for file in self.files]
        return "\n".join(lines + ([f"      → {self.mend}"] if self.mend else []))


@dataclass(frozen=True)
class Layout:
    """A dataset on disk, as the audit sees it.

    Attributes:
        title: its name and folder.
        lists: {list: its entries}.
        findings: what was noticed while the lists were read.
    """

    title: str
    lists: Mapping[str, tuple[Entry, ...]]
    findings: tuple[Finding, ...] = ()

    def with_palette(self, palette: np.ndarray | None) -> Layout:
        """Return the same layout; rules without a palette of their own get this one."""
        def completed(entry: Entry) -> Entry:
            if entry.rules.palette is not None:
                return entry
            return replace(entry, rules=replace(entry.rules, palette=palette))

        lists = {name: tuple(map(completed, entries)) for name, entries in self.lists.items()}
        return replace(self, lists=lists)


def listed_entries(
    lists: Sequence[Path], by_name: Mapping[str, Entry], rules: Rules, images: Path
) -> dict[str, tuple[Entry, ...]]:
    """Return the entries of further lists; a name that the dataset lacks will be found missing.

    Args:
        lists: files of names; the file's name is that of the list.
        by_name: the entries of the dataset's own lists.
        rules, images: what the files of an unknown name should hold, and where its image should be.
    """
    return {
        Path(path).stem: tuple(
            by_name.get(name) or Entry(name, rules, images / f"{name}.png")
            for name in read_published_list(Path(path))
        )
        for path in lists
    }
