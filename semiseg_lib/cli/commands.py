"""The commands: each function is one, its docstring the help, its arguments the flags."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import tyro

from semiseg_lib import datasets, profiles, studies
from semiseg_lib.cli.flags import Common, CommonFlags, ProtocolFlags, TrainFlags
from semiseg_lib.cli.report import report, say
from semiseg_lib.inference import WHOLE_IMAGE, Protocol
from semiseg_lib.launch import Machine, RunConfig, Trained, open_run
from semiseg_lib.methods import ConvPrimaryConfig
from semiseg_lib.paths import shown
from semiseg_lib.predicting import predict_files
from semiseg_lib.profiles import Profile
from semiseg_lib.rounds import Rounds
from semiseg_lib.runs import RunFolder
from semiseg_lib.stages import Pipeline
from semiseg_lib.tables import markdown_table
from semiseg_lib.train import TrainConfig
from semiseg_lib.unlabelled import learn

STAGES = ("supervised", "ancillary", "primary", "conv-primary")
UNLABELLED = (
    "fixmatch", "cps", "cutmix-cps", "cac", "eln", "s4mc", "cutmix-s4mc", "mean-teacher",
)
TRAINABLE = (*STAGES, "pseudo-label", *UNLABELLED)


def train(arguments: Sequence[str]) -> None:
    """Train one method, or continue where an interrupted run left off; then score it on val."""
    chooser = argparse.ArgumentParser(prog="semiseg train", description=train.__doc__,
                                      add_help="--help" not in arguments[1:])
    chooser.add_argument("method", choices=TRAINABLE, help="what to train; then --help for more")
    chooser.add_argument("--profile", help="smoke, laptop ...: where the defaults come from")
    chooser.add_argument("--dataset", default="minivoc", choices=datasets.names(),
                         help="minivoc (drawn), voc, cityscapes, camvid, your own folder; to "
                              "classify small images: digits, cifar10; or a registered one")
    chosen, rest = chooser.parse_known_args(arguments)
    profile = profiles.load(chosen.profile, chosen.dataset, chosen.method)
    run = _train_stage if chosen.method in STAGES else _train_unlabelled
    run(chosen.method, profile, rest)


def _train_stage(name: str, profile: Profile, rest: Sequence[str]) -> None:
    """A stage of the main storyline."""
    stage = name.removeprefix("conv-")
    learnt = ConvPrimaryConfig(ema_decay=profile.primary.ema_decay)
    method = learnt if name == "conv-primary" else getattr(profile, stage)
    flags = _flags(name, profile, method, getattr(profile, f"train_{stage}"), rest)
    changed = {stage: flags.method, f"train_{stage}": flags.train}
    pipeline = _pipeline(profile, flags, changed)
    report(pipeline, getattr(pipeline, stage)(), "val")


def _train_unlabelled(name: str, profile: Profile, rest: Sequence[str]) -> None:
    """A method that learns from unlabelled images; what it starts from is trained first."""
    if name == "pseudo-label":
        flags = _flags(name, profile, profile.rounds, profile.train_supervised, rest)
        pipeline = _pipeline(
            profile, flags, {"rounds": flags.method, "train_supervised": flags.train}
        )
        report(pipeline, Rounds(pipeline).run()[-1].best, "val")
        return
    if name not in profile.unlabelled:
        raise ValueError(
            f"the profile {profile.name!r} has no {name} for {profile.data.dataset!r}; it has "
            f"{', '.join(profile.unlabelled)}."
        )
    flags = _flags(name, profile, profile.unlabelled[name], profile.train_unlabelled, rest)
    started = {  # what this machine can do holds for the supervised start as well
        field: getattr(flags.train, field) for field in ("precision", "accumulate", "compile")
        if getattr(flags.train, field) != getattr(profile.train_unlabelled, field)
    }
    pipeline = _pipeline(profile, flags, {
        "train_unlabelled": flags.train,
        "train_supervised": replace(profile.train_supervised, **started),
    })
    report(pipeline, learn(pipeline, flags.method), "val")


def _flags(
    name: str, profile: Profile, method: Any, train: TrainConfig, rest: Sequence[str]
) -> TrainFlags:
    """The command line, with the profile's values where it says nothing."""
    default = TrainFlags(method, train, profile.data, profile.model, profile.augment)
    return tyro.cli(
        TrainFlags[type(method)], default=default, args=rest, prog=f"semiseg train {name}",
        description=f"Train {name}, or continue; defaults are the profile's, {profile.name}.",
    )


def _pipeline(profile: Profile, flags: TrainFlags, changed: dict[str, Any]) -> Pipeline:
    """The stages that a command line describes."""
    profile = replace(
        profile, data=flags.data, model=flags.model, augment=flags.augment, **changed
    )
    return Pipeline(profile, flags.seed, flags.machine)


def logits(common: CommonFlags = Common()) -> None:
    """Store the ancillary's logits of all unlabelled images."""
    store = common.pipeline().logits()
    print(f"{len(store.names)} images, {store.bytes_per_image / 1000:.1f} kB each, in "
          f"{shown(store.folder)}")


def evaluate(
    run: tyro.conf.Positional[Path], split: Literal["val", "test"] = "test",
    protocol: ProtocolFlags = WHOLE_IMAGE, root: Path | None = None,
    device: Literal["cpu"] | None = None,
) -> None:
    """Score a finished run, last and best weights; writes evaluation-SPLIT.json and .md beside it.

    Args:
        run: the run's folder.
        split: the images to score it on.
        protocol: how an image is predicted.
        root: the folder that holds the dataset; unset: SEMISEG_DATA.
        device: cpu, or unset for the best there is.
    """
    pipeline, trained = _open(run, Machine(device, root), protocol)
    report(pipeline, trained, split)


def predict(
    source: tyro.conf.Positional[Path], run: Path, out: Path,
    protocol: ProtocolFlags = WHOLE_IMAGE,
    device: Literal["cpu"] | None = None,
) -> None:
    """Segment images: for each a palette PNG of class ids and an overlay to look at.

    Args:
        source: an image, or a folder of images.
        run: the folder of a finished run of a model that needs no boxes.
        out: where to write.
        protocol: how an image is predicted.
        device: cpu, or unset for the best there is.
    """
    folder = RunFolder(run)
    trained = open_run(folder, folder.read_config(RunConfig), device)
    written = predict_files(trained.method, trained.record["classes"], source, out, protocol)
    print(f"{len(written)} images segmented; labels and overlays are in {shown(out)}")


def pipeline(common: CommonFlags = Common()) -> None:
    """Run all stages: data, supervised baseline, ancillary, logits, primary; then compare them."""
    stages = common.pipeline()
    stages.need_boxes("unlabelled")
    own = stages.profile.primary
    learnt = ConvPrimaryConfig(ema_decay=own.ema_decay)
    trained = {
        "supervised (masks alone)": stages.supervised(),
        "ancillary (sees boxes)": stages.ancillary(),
        "primary, no correction": stages.primary(replace(own, correction="none")),
        "primary, linear correction": stages.primary(),
        "primary, convolutional correction": stages.primary(learnt),
    }
    rows = [
        {"model": name, "mIoU (%)": f"{studies.percent(stages.evaluate(one)):.1f}",
         "minutes": f"{one.record['seconds'] / 60:.1f}", "run": shown(one.folder.path)}
        for name, one in trained.items()
    ]
    say(markdown_table(rows))


def study(
    name: tyro.conf.Positional[str], seeds: tuple[int, ...] = (), only: tuple[str, ...] = (),
    profile: str | None = None, root: Path | None = None, workers: int = 0,
    device: Literal["cpu"] | None = None,
) -> None:
    """Run a study with several seeds and store its records.

    Args:
        name: tight, hurried, schedules, controls, "label errors", convolutional, unlabelled,
            context, annotation; with photographs: photographs, "voc unlabelled",
            "camvid unlabelled".
        seeds: the seeds; none given: the profile's.
        only: the arms to run; none given: all.
        profile: smoke, laptop ...; unset: SEMISEG_PROFILE, else laptop.
        root: the folder that holds the dataset; unset: SEMISEG_DATA.
        workers: processes that read images ahead.
        device: cpu, or unset for the best there is.
    """
    if name not in studies.STUDIES:
        raise ValueError(f"there is no study {name!r}; there are {', '.join(studies.STUDIES)}.")
    chosen = profiles.load(profile, studies.dataset_of(name))
    machine = Machine(device, root, workers)
    records = studies.run(name, chosen, seeds or None, machine, only)
    rows = [
        {"arm": key, "what": arm.text, "mIoU on test (%)": records.scores(key),
         "seeds": str(records.seeds(key))}
        for key, arm in studies.STUDIES[name].items() if records.scores(key)
    ]
    print(markdown_table(rows, plain=["mIoU on test (%)"]))
    print(f"records: {shown(studies.record_path(name, chosen.name))}")
    if mark := studies.read(name, chosen).mark:
        print(f"Chapters and tables still show the stored rows of this study: {mark}")


def _open(run: Path, machine: Machine, protocol: Protocol) -> tuple[Pipeline, Trained]:
    """A finished run with the data it was trained on."""
    folder = RunFolder(run)
    config = folder.read_config(RunConfig)
    chosen = replace(
        profiles.load("laptop"), data=config.data, model=config.model, augment=config.augment,
        protocol=protocol,
    )
    pipeline = Pipeline(chosen, config.seed, machine)
    if config.lists and pipeline.data.lists_digest != config.lists:
        raise ValueError(
            f"the lists of {config.data.dataset} here are not those of the run; compare with "
            f"{shown(folder.path / 'lists.json')}, or name the folder it was trained on (--root)."
        )
    return pipeline, pipeline.open(folder, config)
