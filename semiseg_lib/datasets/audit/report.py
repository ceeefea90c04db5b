"""The audit of a dataset: inspection of every file, and the report of all findings.

Wrong ids, palettes and lists train without an error and silently lower the score; run the audit
first on any dataset, above all on your own images.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from semiseg_lib.core.paths import shown
from semiseg_lib.core.terminal import progress_bar
from semiseg_lib.datasets.dataset import find, usable

from .findings import FAILS, HINTS, Histogram
from .image import inspect, missing
from .parts import Entry, Finding, Inspection, Layout, Problem, Rules

SHOWN = 3
MUCH_VOID = 0.3


@dataclass(frozen=True)
class Report:
    """The result of an audit.

    Attributes:
        title: name and folder of the dataset.
        findings: most severe first.
        histograms: {list: histogram of its masks}.
    """

    title: str
    findings: tuple[Finding, ...]
    histograms: Mapping[str, Histogram]

    @property
    def failed(self) -> bool:
        """Return whether anything must be fixed before training."""
        return any(finding.severity == "FAIL" for finding in self.findings)


def audit_dataset(
    dataset: str, root: Path | None = None, lists: Sequence[Path] = (),
    sample: int | None = None, workers: int | None = None, progress: bool = False,
) -> Report:
    """Audit every image, mask and box that the lists of a dataset name.

    Args:
        dataset: the name of a dataset that declares an audit.
        root: the folder of the dataset or a parent folder.
        lists: further lists of names to audit, such as your own labelled list.
        sample: number of images to inspect per list; None for all. Missing files are always
            reported for all.
        workers: number of threads; None for up to 4.
        progress: show a progress bar.

    Raises:
        FileNotFoundError: the dataset or a list is missing.
        ValueError: the dataset is unknown, or has no audit.
    """
    declared = find(dataset)
    if declared.audit is None:
        audited = [one.name for one in usable() if one.audit is not None]
        raise ValueError(
            f"the dataset {dataset} has no audit; choose from {', '.join(audited)}."
        )
    layout = declared.audit(declared.folder(root), lists)
    return audit_layout(layout, sample, workers, progress)


def audit_layout(
    layout: Layout, sample: int | None = None, workers: int | None = None, progress: bool = False
) -> Report:
    """Audit every image, mask and box of a layout; see :func:`audit_dataset`.

    Args:
        layout: the files to audit, and their rules.
        sample, workers, progress: as for :func:`audit_dataset`.
    """
    inspected = {name: _sampled(entries, sample) for name, entries in layout.lists.items()}
    distinct = list(dict.fromkeys(entry for entries in inspected.values() for entry in entries))
    with ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1)) as pool:
        seen = progress_bar(pool.map(inspect, distinct),
                            total=len(distinct), unit=" images", disable=None if progress else True)
        looks = dict(zip(distinct, seen, strict=True))
    findings, histograms = [*layout.findings], {}
    for name, entries in layout.lists.items():
        of_list = [looks[entry] for entry in inspected[name]]
        findings += _list_findings(name, entries, of_list)
        if any(one.counts is not None for one in of_list):
            histograms[name] = histogram(of_list, entries[0].rules)
            findings += _histogram_findings(name, histograms[name])
    findings += _shared_names(layout) + _duplicate_content(inspected, looks)
    if not layout.lists and not findings:
        findings.append(Finding("FAIL", "lists", "there are no lists, so nothing was audited"))
    order = {"FAIL": 0, "NOTE": 1, "OK": 2}
    findings.sort(key=lambda finding: order[finding.severity])
    return Report(layout.title, tuple(findings), histograms)


def histogram(looks: Iterable[Inspection], rules: Rules) -> Histogram:
    """Return the histogram of classes; values with the same class name are one class.

    Args:
        looks: what was found in each file.
        rules: the class of each value.
    """
    names = tuple(dict.fromkeys(rules.ids.values()))
    row_of = np.full(256, len(names) + 1)
    row_of[list(rules.void)] = len(names)
    for value, name in rules.ids.items():
        row_of[value] = names.index(name)
    pixels = np.zeros(len(names) + 2, dtype=np.int64)
    images, masks = pixels.copy(), 0
    for one in looks:
        if one.counts is not None:
            found = np.bincount(row_of, weights=one.counts, minlength=len(pixels)).astype(np.int64)
            pixels, images, masks = pixels + found, images + (found > 0), masks + 1
    return Histogram(names, pixels, images, masks)


def _sampled(entries: tuple[Entry, ...], sample: int | None) -> tuple[Entry, ...]:
    if sample is None or sample >= len(entries):
        return entries
    generator = np.random.default_rng(0)
    chosen = generator.choice(len(entries), size=sample, replace=False)
    return tuple(entries[i] for i in np.sort(chosen))


def _list_findings(
    name: str, entries: Sequence[Entry], looks: Sequence[Inspection]
) -> list[Finding]:
    """Return the findings of one list: its counts, and one finding per kind of problem."""
    by_kind: dict[str, list[Problem]] = defaultdict(list)
    for entry in entries:
        for problem in missing(entry):
            by_kind[problem.kind].append(problem)
    for one in looks:
        for problem in one.problems:
            by_kind[problem.kind].append(problem)
    stored = sorted({one.kind for one in looks if one.kind})
    masks = sum(one.counts is not None for one in looks)
    counted = (
        f"{len(entries)} images, {len(looks)} inspected; {masks} masks"
        + (f" ({' and '.join(stored)})" if stored else "")
        + f", {sum(one.boxes for one in looks)} boxes"
    )
    findings = [Finding("OK", name, counted)]
    if len(stored) > 1:
        findings.append(Finding("NOTE", name, f"masks are stored in {len(stored)} ways: "
                                f"{', '.join(stored)}", hint="Check that they share one source."))
    for kind, problems in by_kind.items():
        what, hint = HINTS[kind]
        files = [shown(p.file) + (f" ({p.detail})" if p.detail else "") for p in problems[:SHOWN]]
        files += [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        severity = "FAIL" if kind in FAILS else "NOTE"
        findings.append(Finding(severity, name, f"{len(problems)} {what}", tuple(files), hint))
    return findings


def _histogram_findings(name: str, found: Histogram) -> list[Finding]:
    findings = []
    absent = [one for one, count in zip(found.names, found.images, strict=False) if not count]
    if absent:
        findings.append(Finding(
            "NOTE", name, f"no pixel of {', '.join(absent)}",
            hint="Such a class has no score here, and cannot be learnt from these masks.",
        ))
    void = found.shares[len(found.names)]
    if void > MUCH_VOID:
        findings.append(Finding(
            "NOTE", name, f"{100 * void:.0f} % of all pixels are void",
            hint="Losses and scores ignore void; check that this is intended.",
        ))
    return findings


def _held_out(name: str) -> bool:
    return name.startswith(("val", "test"))


def _shared_names(layout: Layout) -> list[Finding]:
    """Return a finding per pair of lists that share training and held-out images."""
    findings = []
    # A list with a suffix in brackets has other masks of the same images.
    for one, other in combinations([name for name in layout.lists if " (" not in name], 2):
        names = {entry.name for entry in layout.lists[other]}
        shared = [entry.name for entry in layout.lists[one] if entry.name in names]
        if not shared or not (_held_out(one) or _held_out(other)):
            continue
        joint = [name for name in (one, other) if name.startswith("trainval")]
        findings.append(Finding(
            "NOTE" if joint else "FAIL", f"{one} and {other}",
            f"{len(shared)} images are in both", tuple(shared[:SHOWN]),
            f"As its name says; never train on {joint[0]} and score on its images." if joint else
            "Remove them from one list, or the score is measured on training images.",
        ))
    return findings


def _duplicate_content(
    inspected: Mapping[str, Sequence[Entry]], looks: Mapping[Entry, Inspection]
) -> list[Finding]:
    """Return findings for identical pixels under two names; similar images are not detected."""
    owners: dict[bytes, dict[str, str]] = defaultdict(dict)
    for name, entries in inspected.items():
        for entry in entries:
            digest = looks[entry].digest
            if digest and (entry.name not in owners[digest] or _held_out(name)):
                owners[digest][entry.name] = name
    found: dict[bool, list[str]] = defaultdict(list)
    for names in owners.values():
        if len(names) > 1:
            leaks = len({_held_out(where) for where in names.values()}) > 1
            found[leaks].append(" = ".join(f"{n} ({where})" for n, where in names.items()))
    return [
        Finding(
            "FAIL" if leaks else "NOTE", "all lists",
            f"{len(pairs)} images occur under two names"
            + (", one for training and the other held out" if leaks else ""),
            tuple(pairs[:SHOWN]), "Take one of the two out of its list.",
        )
        for leaks, pairs in found.items()
    ]
