"""The tables of README.md and of the results page, written from stored records, never by hand."""

from __future__ import annotations

from pathlib import Path

from bookkit.description import write_between
from semiseg_lib import recipes, studies
from semiseg_lib.core.escaping import markdown, shell
from semiseg_lib.core.paths import CHECKOUT
from semiseg_lib.evaluation.statistics import paired_interval
from semiseg_lib.notebook import published
from semiseg_lib.notebook.tables import markdown_table
from semiseg_lib.studies import Records, comparison
from semiseg_lib.studies.comparison import Row
from semiseg_lib.studies.entries import FAIR, MASK_OVER_BOXES, Entry
from semiseg_lib.studies.summary import COSTS, PHOTOGRAPHS

RESULTS_START, RESULTS_END = "<!-- results:start -->", "<!-- results:end -->"
RESULTS_PAGE = CHECKOUT / "notebooks" / "results.md"
DRAWN_STUDIES = {"unlabelled": "unlabelled-drawn", "context": "context-drawn"}
WITHOUT_BOXES = ("voc unlabelled", "camvid unlabelled")
STORY_STUDIES = ("search", "ways", "controls", "schedules", "training", "conditions", "curve",
              "colours", "convolutional")
"""The studies that ``make records`` makes, in this order: each uses the runs of those before it."""


def results_table() -> str:
    """Return what the same annotation hours buy on mini-VOC, mIoU as mean ± sd."""
    profile = recipes.load("laptop")
    records, arms = studies.current("ways", profile), studies.STUDIES["ways"]
    shown = {arm: text for arm, text in studies.SAME_HOURS.items() if records.seeds(arm)}
    work = {arm: comparison.work_in_masks(*comparison.masks_and_boxes(arms[arm], profile))
            for arm in shown}
    rows = [
        {"annotated": text, "work, in masks": f"{work[arm]:g}",
         "mIoU on test (%)": records.scores(arm), "seeds": str(len(records.seeds(arm)))}
        for arm, text in shown.items()
    ]
    return _with_mark(markdown_table(rows, plain=["mIoU on test (%)"]), records.mark)


def _with_mark(text: str, mark: str) -> str:
    """Return a table with the note of its marks below."""
    return f"{text}\n\n{mark}" if mark else text


def write_results_page(page: Path = RESULTS_PAGE) -> bool:
    """Update the marked regions of the results page; return True if the page changed.

    Raises:
        BookError: a region's marker lines are missing.
    """
    changed = [write_between(page, start, content, end)
               for (start, end), content in regions().items()]
    return any(changed)


def regions() -> dict[tuple[str, str], str]:
    """Return the content of the results page by its pair of marker lines."""
    contents = {
        "measured-gpu": measured("gpu"),
        "measured-laptop": measured("laptop"),
        "published-voc": published_table("voc"),
        "published-cityscapes": published_table("cityscapes"),
        "differences": differences(),
        "comparison-drawn": compared(),
        "records": work_of_records(),
    }
    contents |= {region: drawn_without_boxes(study) for study, region in DRAWN_STUDIES.items()}
    for study in WITHOUT_BOXES:
        for name in ("gpu", "laptop"):
            contents[f"{study.replace(' ', '-')}-{name}"] = measured(name, study)
    return {(f"<!-- {name}:start -->", f"<!-- {name}:end -->"): f"\n{content}\n"
            for name, content in contents.items()}


def work_of_records() -> str:
    """Return the runs of each study of the main story and their hours, each run counted once."""
    profile, minutes, rows, everything = recipes.load("laptop"), {}, [], []
    for study in STORY_STUDIES:
        made = studies.current(study, profile).rows
        everything += made
        new = {row["identity"]: row["minutes"] for row in made if row["identity"] not in minutes}
        minutes |= new
        rows.append({
            "study": study, "arms": str(len({row["arm"] for row in made})),
            "seeds": str(len({row["seed"] for row in made})), "rows": str(len(made)),
            "runs not in a study above": str(len(new)), "hours": f"{sum(new.values()) / 60:.1f}",
        })
    rows.append({"study": "together", "arms": "", "seeds": "", "rows": "",
                 "runs not in a study above": str(len(minutes)),
                 "hours": f"{sum(minutes.values()) / 60:.1f}"})
    return f"{markdown_table(rows)}\n\n{trained_twice(everything)}"


def trained_twice(rows: list[dict]) -> str:
    """Return how far runs that several versions of the code trained are apart, as a sentence.

    Args:
        rows: current rows.
    """
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for row in rows:
        versions = tuple(sorted({one["code"] for one in row["made with"]}))
        if "test" in row:
            found.setdefault(row["identity"], {})[versions] = row["test"]
    apart = [max(scores.values()) - min(scores.values())
             for scores in found.values() if len(scores) > 1]
    if not apart:
        return "No run was trained by two versions of the code."
    return (f"Runs that two versions of the code trained: {len(apart)}. Same test score to the "
            f"last digit: {apart.count(0.0)}; largest difference: {max(apart):.1f} points.")


def measured(name: str, study: str = PHOTOGRAPHS) -> str:
    """Return the table of a study of real images, or the command that makes its records.

    Args:
        name: the profile.
        study: the study.
    """
    profile = recipes.load(name, studies.dataset_of(study))
    try:
        records = studies.read(study, profile)
    except FileNotFoundError:
        return (f"*No record of this run is stored yet.* `semiseg study {shell(study)} --profile "
                f"{name} --root DIR` makes it.")
    rows = studies.score_rows(records, study)
    plain = ["mIoU on test (%)", *COSTS.values(), "mIoU of the labels (%)"]
    table = markdown_table(rows, plain=[title for title in plain if title in rows[0]])
    parts = [markdown(studies.conditions(records, profile, study)), table, *gains(records)]
    return _with_mark("\n\n".join(parts), records.mark)


def drawn_without_boxes(study: str = "unlabelled") -> str:
    """Return the table of methods without boxes on mini-VOC, each against its control."""
    profile = recipes.load("laptop")
    arms = studies.STUDIES[study]
    entries = {key: Entry(arm.text, study, key) for key, arm in arms.items()}
    entries.setdefault(FAIR, Entry("", "unlabelled", FAIR))
    found = comparison.read("minivoc", profile, entries)
    rows = {key: row for key, row in found.rows.items() if row.entry.study == study}
    if not rows:
        return (f"*No record of these runs is stored yet.* `semiseg study {study} --profile "
                f"{profile.name}` makes it.")
    lines, control = [], found.rows.get(FAIR)
    for key, row in rows.items():
        gap = _fair_difference(key, row, control)
        lines.append({"model": row.text, "mIoU on test (%)": row.values,
                      "seeds": str(len(row.scores)), "against as many more steps": gap[0],
                      "verdict": gap[1]})
    train = profile.train_unlabelled
    seeds = sorted({seed for row in rows.values() for seed in row.scores})
    settings = f"Drawn images. {found.unknown}" if found.unknown else (
        f"Drawn images, world {profile.data.options.world}: {profile.data.labelled} masks; "
        f"{profile.train_supervised.steps} steps on the masks, then {train.steps} steps of "
        f"{train.images} images for every method."
    )
    return _with_mark(
        f"{markdown_table(lines, plain=['mIoU on test (%)'])}\n\n"
        f"{settings} Seeds {', '.join(map(str, seeds))}; mean ± sd, and the mean difference in "
        "points with its 95 % interval, paired over the seeds that both have.",
        found.mark,
    )


def _fair_difference(key: str, row: Row, control: Row | None) -> tuple[str, str]:
    """Return the difference to as many more steps on the masks, and its verdict, or dashes."""
    if control is None or key in ("supervised", FAIR):
        return "–", "–"
    gap = comparison.difference(row, control)
    return str(gap), gap.verdict if gap.interval else "–"


def compared() -> str:
    """Return the table of all methods on mini-VOC, and the commands that make missing rows."""
    found = comparison.read("minivoc", recipes.load("laptop"))
    left_out = {"masks", *comparison.MEASURED}
    rows = [{key: value for key, value in line.items() if key not in left_out}
            for line in found.table()]
    missing = ["Not there yet:", *(f"`{line}`" for line in found.commands())]
    return "\n\n".join([
        markdown_table(rows, plain=["mIoU on test (%)"]),
        f"Work of annotating in masks; {MASK_OVER_BOXES:g} images' boxes count as one. "
        "Differences in points with their 95 % interval, paired over the seeds that both rows "
        "have; each line is taken alone.",
        *filter(None, (found.mark, found.unknown)),
        *(missing if found.missing else []),
    ])


def gains(records: Records) -> list[str]:
    """Return a sentence per labelled count: linear and convolutional minus none, if paired."""
    sentences = []
    for key, arm in studies.STUDIES[PHOTOGRAPHS].items():
        correction = key.removeprefix(f"{arm.labelled} ")
        none = f"{arm.labelled} none"
        if correction not in ("linear", "conv") or len(records.seeds(key)) < 2:
            continue
        if records.seeds(key) == records.seeds(none):
            gain = paired_interval(records.scores(key), records.scores(none))
            sentences.append(
                f"{arm.labelled} masks, {correction} minus none: {gain.mean:+.1f} points (95 % "
                f"interval {gain.low:+.1f} to {gain.high:+.1f}, {gain.runs} seeds, paired): "
                f"{gain.verdict}."
            )
    return sentences


def published_table(dataset: str) -> str:
    """Return the table of published scores on one dataset, marked as such."""
    content = published.read()
    scores, source = content["results"][dataset], content["source"]
    rows = [
        {f"{scores['title']}: mIoU (%)": model,
         **{f"{count} masks": f"{value:.2f}"
            for count, value in zip(scores["labelled"], values, strict=True)}}
        for model, values in scores["rows"].items()
    ]
    others = ", ".join(f"{markdown(name)} {value:.2f}" for name, value in scores["others"].items())
    return (
        f"{markdown_table(rows)}\n\n"
        f"**Published, not measured here**; source: [{source['text']}]({source['link']}). "
        f"{scores['classes']} classes; {scores['pictures']}. In the same setting: {others}."
    )


def differences() -> str:
    """Return the table of differences between this book's runs and the published ones."""
    ours = {name: recipes.load(name, "voc") for name in ("laptop", "gpu", "paper")}
    scores = published.read()["results"]["voc"]
    return markdown_table([
        {"": what, "published, VOC": theirs, **{name: show(p) for name, p in ours.items()}}
        for what, theirs, show in (
            ("classes", str(scores["classes"]),
             lambda p: str(len(p.data.keep) or scores["classes"])),
            ("images", "all of VOC and SBD",
             lambda p: "those with the animals" if p.data.keep else "all of VOC and SBD"),
            ("encoder", "Xception-65 (recalled)", lambda p: p.model.encoder),
            ("crop", "513 (recalled)", lambda p: str(p.augment.crop)),
            ("steps of the primary", "not given", lambda p: str(p.train_primary.steps)),
            ("images per step", "16 (recalled)", lambda p: str(p.train_primary.images)),
        )
    ])
