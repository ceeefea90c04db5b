"""Who stands beside whom in the comparison: rows of three tables, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Role = Literal["control", "method", "part", "bound"]
Extra = Literal[
    "nothing", "unlabelled images", "boxes of the unlabelled images", "more masks",
    "more masks, unlabelled images", "all masks",
]


@dataclass(frozen=True)
class Contender:
    """One row of a comparison: an arm of a study, and what was given to it.

    Attributes:
        text: its short name, for tables and figures.
        study, arm: where its records are.
        extra: what it learns from beyond the masks that all rows share.
        role: a method; a control without any further image; a part of a method, which says
            where its gain comes from; or an upper bound.
        control: the row that has all of this one but its idea, or where none was run, ``longer``,
            from which it differs in everything; "" for none.
        networks: how many networks it trains in all; None: counted from its method.
    """

    text: str
    study: str
    arm: str
    extra: Extra = "unlabelled images"
    role: Role = "method"
    control: str = ""
    networks: int | None = None


def _drawn() -> dict[str, Contender]:
    """24 masks in the world of hurried annotators."""
    return {
        "supervised": Contender("masks alone", "unlabelled", "supervised", "nothing", "control"),
        "longer": Contender("masks alone, longer", "unlabelled", "longer", "nothing", "control"),
        "strong": Contender("masks, strong views", "unlabelled", "strong", "nothing", "control"),
        "pseudo": Contender("pseudo-labels", "unlabelled", "pseudo", control="longer"),
        "mean-teacher": Contender("Mean Teacher", "context", "mean-teacher", control="longer"),
        "fixmatch": Contender("FixMatch", "unlabelled", "fixmatch", control="strong"),
        "cps": Contender("CPS", "unlabelled", "cps", control="longer"),
        "cutmix-cps": Contender("CutMix-CPS", "unlabelled", "cutmix-cps", control="boxes alone"),
        "cac": Contender("CAC", "context", "cac", control="crops alone"),
        "eln": Contender("ELN", "context", "eln", control="eln all pixels", networks=2),
        "s4mc": Contender("S4MC on FixMatch", "context", "s4mc", control="s4mc unrefined"),
        "cutmix-s4mc": Contender("S4MC on CutMix", "context", "cutmix-s4mc", control="longer"),
        "none": Contender("boxes, uncorrected", "hurried", "none",
                          "boxes of the unlabelled images", control="longer"),
        "linear": Contender("boxes, linear corr.", "hurried", "linear",
                            "boxes of the unlabelled images", control="none"),
        "more masks": Contender("more masks, longer", "annotation", "longer", "more masks",
                                "control"),
        "more masks, fixmatch": Contender(
            "more masks, FixMatch", "annotation", "fixmatch", "more masks, unlabelled images",
            control="more masks",
        ),
        "boxes alone": Contender("one network, pasted boxes", "unlabelled", "boxes alone",
                                 role="part", control="longer"),
        "crops alone": Contender("masks alone, CAC's crops", "context", "crops alone", "nothing",
                                 "part", control="longer"),
        "eln all pixels": Contender("ELN, every pixel trusted", "context", "eln all pixels",
                                    role="part", control="longer", networks=2),
        "s4mc unrefined": Contender("S4MC, no neighbours", "context", "s4mc unrefined",
                                    role="part", control="fixmatch"),
        "all masks": Contender("all masks", "hurried", "all masks", "all masks", "bound"),
    }


def _photographs(study: str, labelled: int, boxes: str = "") -> dict[str, Contender]:
    """The same masks for everybody, on real images; ``boxes`` is the study with boxes."""
    names = {
        "supervised": "masks alone", "longer": "masks alone, longer", "pseudo": "pseudo-labels",
        "fixmatch": "FixMatch", "cps": "CPS", "cutmix-cps": "CutMix-CPS", "cac": "CAC",
        "eln": "ELN", "s4mc": "S4MC on FixMatch",
    }
    rows = {
        name: Contender(text, study, f"{labelled} {name}", control="longer",
                        networks=2 if name == "eln" else None)
        for name, text in names.items()
    }
    for name in ("supervised", "longer"):
        rows[name] = Contender(names[name], study, f"{labelled} {name}", "nothing", "control")
    if boxes:
        for name, text in {"none": "boxes, uncorrected", "linear": "boxes, linear corr."}.items():
            rows[name] = Contender(text, boxes, f"{labelled} {name}",
                                   "boxes of the unlabelled images", control="longer")
    return rows


COMPARISONS: Mapping[str, Mapping[str, Contender]] = {
    "minivoc": _drawn(),
    "voc": _photographs("voc unlabelled", 100, boxes="photographs"),
    "camvid": _photographs("camvid unlabelled", 46),
}
"""The rows of each dataset's table, by name."""
