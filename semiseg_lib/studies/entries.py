"""The entries of the comparison: the rows of three tables, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MASK_OVER_BOXES = 8.0
"""Time of an image's mask over the time of its boxes. This is assumed; measure your own."""
FAIR = "longer"
"""The row that all others are compared with, masks alone with as many more steps."""
Role = Literal["control", "method", "part", "bound"]
Extra = Literal[
    "nothing", "unlabelled images", "boxes of the unlabelled images", "more masks",
    "more masks, unlabelled images", "all masks",
]


@dataclass(frozen=True)
class Entry:
    """One row of a comparison: an arm of a study and its supervision.

    Attributes:
        text: its short name, for tables and figures.
        study, arm: the study and the arm of its records.
        extra: supervision beyond the masks that all rows share.
        role: a method; a control without additional images; a part of a method (an ablation); or
            a bound, trained on all masks, which a method with stronger views may pass.
        control: the row that lacks only the idea of this one, or if none was run, ``longer``,
            from which it differs in everything; "" for none.
        networks: the number of networks it trains; None to count them from its method.
    """

    text: str
    study: str
    arm: str
    extra: Extra = "unlabelled images"
    role: Role = "method"
    control: str = ""
    networks: int | None = None


def _photographs(study: str, labelled: int, boxes: str = "") -> dict[str, Entry]:
    """Return the entries of real images; ``boxes`` is the study with boxes."""
    names = {
        "supervised": "masks alone", "longer": "masks alone, longer", "pseudo": "pseudo-labels",
        "fixmatch": "FixMatch", "cps": "CPS", "cutmix-cps": "CutMix-CPS", "cac": "CAC",
        "eln": "ELN", "s4mc": "S4MC on FixMatch",
    }
    rows = {
        name: Entry(text, study, f"{labelled} {name}", control="longer",
                    networks=2 if name == "eln" else None)
        for name, text in names.items()
    }
    for name in ("supervised", "longer"):
        rows[name] = Entry(names[name], study, f"{labelled} {name}", "nothing", "control")
    if boxes:
        for name, text in {"none": "boxes, uncorrected", "linear": "boxes, linear corr."}.items():
            rows[name] = Entry(text, boxes, f"{labelled} {name}",
                               "boxes of the unlabelled images", control="longer")
    return rows


COMPARISONS: Mapping[str, Mapping[str, Entry]] = {
    # 24 masks in the world of hurried annotators.
    "minivoc": {
        "supervised": Entry("masks alone", "unlabelled", "supervised", "nothing", "control"),
        "longer": Entry("masks alone, longer", "unlabelled", "longer", "nothing", "control"),
        "strong": Entry("masks, strong views", "unlabelled", "strong", "nothing", "control"),
        "pseudo": Entry("pseudo-labels", "unlabelled", "pseudo", control="longer"),
        "mean-teacher": Entry("Mean Teacher", "context", "mean-teacher", control="longer"),
        "fixmatch": Entry("FixMatch", "unlabelled", "fixmatch", control="strong"),
        "cps": Entry("CPS", "unlabelled", "cps", control="longer"),
        "cutmix-cps": Entry("CutMix-CPS", "unlabelled", "cutmix-cps", control="boxes alone"),
        "cac": Entry("CAC", "context", "cac", control="crops alone"),
        "eln": Entry("ELN", "context", "eln", control="eln all pixels", networks=2),
        "s4mc": Entry("S4MC on FixMatch", "context", "s4mc", control="s4mc unrefined"),
        "cutmix-s4mc": Entry("S4MC on CutMix", "context", "cutmix-s4mc", control="longer"),
        "none": Entry("boxes, uncorrected", "hurried", "none",
                      "boxes of the unlabelled images", control="longer"),
        "linear": Entry("boxes, linear corr.", "hurried", "linear",
                        "boxes of the unlabelled images", control="none"),
        "more masks": Entry("more masks, longer", "annotation", "longer", "more masks",
                            "control"),
        "more masks, fixmatch": Entry(
            "more masks, FixMatch", "annotation", "fixmatch", "more masks, unlabelled images",
            control="more masks",
        ),
        "boxes alone": Entry("one network, pasted boxes", "unlabelled", "boxes alone",
                             role="part", control="longer"),
        "crops alone": Entry("masks alone, CAC's crops", "context", "crops alone", "nothing",
                             "part", control="longer"),
        "eln all pixels": Entry("ELN, every pixel trusted", "context", "eln all pixels",
                                role="part", control="longer", networks=2),
        "s4mc unrefined": Entry("S4MC, no neighbours", "context", "s4mc unrefined",
                                role="part", control="fixmatch"),
        "all masks": Entry("all masks", "hurried", "all masks", "all masks", "bound"),
    },
    "voc": _photographs("voc unlabelled", 100, boxes="photographs"),
    "camvid": _photographs("camvid unlabelled", 46),
}
"""The rows of each dataset's table, by name."""
