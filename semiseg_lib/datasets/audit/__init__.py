"""The audit of a dataset: every file is inspected, every finding has a fix."""

from .findings import Histogram
from .parts import Entry, Finding, Inspection, Layout, NamedBoxes, Problem, Rules, listed_entries
from .report import Report, audit_dataset, audit_layout, histogram

__all__ = [
    "Entry",
    "Finding",
    "Histogram",
    "Inspection",
    "Layout",
    "NamedBoxes",
    "Problem",
    "Report",
    "Rules",
    "audit_dataset",
    "audit_layout",
    "histogram",
    "listed_entries",
]
