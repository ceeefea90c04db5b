"""The audit of a dataset: every file looked at, every finding with its mend."""

from .findings import Histogram
from .parts import Entry, Finding, Layout, Look, NamedBoxes, Problem, Rules, listed_entries
from .report import Report, check_dataset, check_layout, histogram

__all__ = [
    "Entry",
    "Finding",
    "Histogram",
    "Layout",
    "Look",
    "NamedBoxes",
    "Problem",
    "Report",
    "Rules",
    "check_dataset",
    "check_layout",
    "histogram",
    "listed_entries",
]
