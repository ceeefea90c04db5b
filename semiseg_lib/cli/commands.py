"""The commands: each function is one, its docstring the help, its arguments the flags."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import tyro

from semiseg_lib import profiles, studies
from semiseg_lib.cli.flags import Common, CommonFlags, TrainFlags
from semiseg_lib.paths import atomic_write, shown
from semiseg_lib.predicting import predict_files
from semiseg_lib.runs import RunFolder
from semiseg_lib.stages import Pipeline, RunConfig, Trained
from semiseg_lib.tables import markdown_table

TRAINABLE = ("supervised", "ancillary", "primary")


def data(common: CommonFlags = Common()) -> None:
    """Draw the pictures of mini-VOC (or find them drawn) and show what there is."""
    pools = common.pipeline().data
    rows = [
        {"list": name, "pictures": str(len(getattr(pools, name).names)), "masks": masks}
        for name, masks in (("labelled", "yes"), ("weak", "no, boxes only"), ("val", "yes"),
                            ("test", "yes"))
    ]
    print(markdown_table(rows))
    print(f"classes: {', '.join(pools.classes)}\nfolder:  {shown(pools.folder)}")


def train(arguments: Sequence[str]) -> None:
    """Train one method, or continue where an interrupted run left off; then score it on val."""
    chooser = argparse.ArgumentParser(prog="semiseg train", description=train.__doc__,
                                      add_help="--help" not in arguments[1:])
    chooser.add_argument("method", choices=TRAINABLE, help="what to train; then --help for more")
    chooser.add_argument("--profile", help="smoke, laptop ...: where the defaults come from")
    chosen, rest = chooser.parse_known_args(arguments)
    profile, name = profiles.load(chosen.profile), chosen.method
    default = TrainFlags(
        getattr(profile, name), getattr(profile, f"train_{name}"),
        profile.data, profile.model, profile.augment,
    )
    flags = tyro.cli(
        TrainFlags[type(default.method)], default=default, args=rest, prog=f"semiseg train {name}",
        description=f"{train.__doc__} Defaults are those of the profile {profile.name}.",
    )
    changed = {name: flags.method, f"train_{name}": flags.train}
    pipeline = Pipeline(
        replace(profile, data=flags.data, model=flags.model, augment=flags.augment, **changed),
        flags.seed, flags.device,
    )
    _report(pipeline, getattr(pipeline, name)(), "val")


def logits(common: CommonFlags = Common()) -> None:
    """Store the ancillary's logits of all weak pictures."""
    store = common.pipeline().logits()
    print(f"{len(store.names)} pictures, {store.bytes_per_picture / 1000:.1f} kB each, in "
          f"{shown(store.folder)}")


def evaluate(
    run: tyro.conf.Positional[Path], split: Literal["val", "test"] = "test",
    device: Literal["cpu"] | None = None,
) -> None:
    """Score a finished run; writes evaluation-SPLIT.json and .md into its folder.

    Args:
        run: the run's folder.
        split: the pictures to score it on.
        device: cpu, or unset for the best there is.
    """
    pipeline, trained = _open(run, device)
    _report(pipeline, trained, split)


def predict(
    source: tyro.conf.Positional[Path], run: Path, out: Path, device: Literal["cpu"] | None = None
) -> None:
    """Segment pictures: for each a palette PNG of class ids and an overlay to look at.

    Args:
        source: a picture, or a folder of pictures.
        run: the folder of a finished run of a model that needs no boxes.
        out: where to write.
        device: cpu, or unset for the best there is.
    """
    _, trained = _open(run, device)
    written = predict_files(trained.method, trained.record["classes"], source, out)
    print(f"{len(written)} pictures segmented; labels and overlays are in {shown(out)}")


def pipeline(common: CommonFlags = Common()) -> None:
    """Run all stages: data, supervised baseline, ancillary, logits, primary; then compare them."""
    stages = common.pipeline()
    trained = {
        "supervised (masks alone)": stages.supervised(),
        "ancillary (sees boxes)": stages.ancillary(),
        "primary, no correction": stages.primary(studies.NONE),
        "primary, self-correcting": stages.primary(),
    }
    rows = [
        {"model": name, "mIoU (%)": f"{studies.percent(stages.evaluate(one)):.1f}",
         "minutes": f"{one.record['seconds'] / 60:.1f}", "run": shown(one.folder.path)}
        for name, one in trained.items()
    ]
    print(markdown_table(rows))


def study(
    name: tyro.conf.Positional[str], seeds: tuple[int, ...] = (), profile: str | None = None,
    device: Literal["cpu"] | None = None,
) -> None:
    """Run a study with several seeds and store its records.

    Args:
        name: tight, hurried, schedules, controls or "label errors".
        seeds: the seeds; none given: the profile's.
        profile: smoke, laptop ...; unset: SEMISEG_PROFILE, else laptop.
        device: cpu, or unset for the best there is.
    """
    if name not in studies.STUDIES:
        raise ValueError(f"there is no study {name!r}; there are {', '.join(studies.STUDIES)}.")
    chosen = profiles.load(profile)
    records = studies.run(name, chosen, seeds or None, device)
    rows = [
        {"arm": arm.text, "mIoU on test (%)": records.scores(key), "seeds": str(records.seeds(key))}
        for key, arm in studies.STUDIES[name].items() if records.scores(key)
    ]
    print(markdown_table(rows, plain=["mIoU on test (%)"]))
    print(f"records: {shown(studies.record_path(name, chosen.name))}")


def _open(run: Path, device: str | None) -> tuple[Pipeline, Trained]:
    """A finished run with the data it was trained on."""
    folder = RunFolder(run)
    config = folder.read_config(RunConfig)
    chosen = replace(
        profiles.load("laptop"), data=config.data, model=config.model, augment=config.augment
    )
    pipeline = Pipeline(chosen, config.seed, device)
    return pipeline, pipeline.open(folder, config)


def _report(pipeline: Pipeline, trained: Trained, split: str) -> None:
    """Print the scores of a run, and keep them beside it."""
    scores = pipeline.evaluate(trained, split)
    table = markdown_table([
        {key: value if isinstance(value, str) else f"{value:.1f}" for key, value in row.items()}
        for row in scores.rows()
    ])
    summary = f"mIoU on {split}: {studies.percent(scores):.1f} %"
    folder = trained.folder.path
    with atomic_write(folder / f"evaluation-{split}.md") as temporary:
        temporary.write_text(f"{table}\n\n{summary}\n", encoding="utf-8")
    with atomic_write(folder / f"evaluation-{split}.json") as temporary:
        temporary.write_text(json.dumps({
            "split": split, "mean_iou": scores.mean_iou, "pixel_accuracy": scores.pixel_accuracy,
            "classes": scores.classes, "confusion": scores.confusion.tolist(),
        }), encoding="utf-8")
    print(f"{table}\n{summary}\nrun: {shown(folder)}")
