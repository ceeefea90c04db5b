"""The table of results in README.md, written from the stored records and never by hand."""

from __future__ import annotations

from semiseg_lib import profiles, studies
from semiseg_lib.tables import markdown_table, paired_interval

RESULTS_START, RESULTS_END = "<!-- results:start -->", "<!-- results:end -->"
SHOWN = ("supervised", "none", "linear", "all masks")


def results_table() -> str:
    """mIoU of the hurried world's arms, mean ± sd, and the paired gain of linear correction."""
    records = studies.read("hurried", profiles.load("laptop"))
    arms = studies.STUDIES["hurried"]
    rows = [
        {"trained on 24 masks and …": _WORDS[arm],
         "mIoU on test (%)": records.scores(arm), "seeds": str(len(records.seeds(arm)))}
        for arm in SHOWN if arm in arms
    ]
    gain = paired_interval(records.scores("linear"), records.scores("none"))
    return (
        f"{markdown_table(rows, plain=['mIoU on test (%)'])}\n\n"
        f"Self-correction gains {gain.mean:.1f} points over learning the same labels uncorrected "
        f"(95 % interval {gain.low:.1f} to {gain.high:.1f}, {gain.count} seeds, paired; laptop "
        "profile, mean ± sd above)."
    )


_WORDS = {
    "supervised": "nothing else",
    "none": "800 pictures with loose boxes, labels uncorrected",
    "linear": "800 pictures with loose boxes, **self-correcting**",
    "all masks": "800 more masks (the upper bound)",
}
