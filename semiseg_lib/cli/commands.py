"""The commands: each function is one, its docstring the help, its arguments the flags.

A function imports what needs torch, so that help and wrong flags are answered without it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any, Literal

import tyro

from semiseg_lib import datasets, experiments, methods, recipes, studies
from semiseg_lib.cli.flags import (
    Common,
    CommonFlags,
    ConfigArgument,
    ImageArgument,
    ProtocolFlags,
    RunArgument,
    StudyArgument,
    TrainFlags,
    WrongUse,
    check_encoder_of,
    choose_groups,
    command,
    existing,
    optional_groups,
    typed,
)
from semiseg_lib.core.durable import Damaged, locked, move
from semiseg_lib.core.paths import reading_root, shown, work_root, working_in
from semiseg_lib.core.seeds import check_seed
from semiseg_lib.core.terminal import give, say
from semiseg_lib.evaluation.options import WHOLE_IMAGE
from semiseg_lib.experiments import Machine, Run, semi_supervised
from semiseg_lib.experiments import self_correction as story
from semiseg_lib.recipes import Profile
from semiseg_lib.studies.entries import COMPARISONS, FAIR, MASK_OVER_BOXES
from semiseg_lib.training.options import TrainConfig

TRAINABLE = tuple(methods.named_options())


def train(arguments: Sequence[str]) -> None:
    """Train one method, or continue where an interrupted run left off; then score it on val."""
    chooser = argparse.ArgumentParser(
        prog="semiseg train", description=train.__doc__, allow_abbrev=False,
        add_help=not set(TRAINABLE) & set(arguments),  # the help of a method is the next parser's
    )
    chooser.add_argument("method", choices=TRAINABLE, help="what to train; then --help for more")
    chooser.add_argument("--profile", help=f"{', '.join(recipes.names())}: where the defaults "
                         "come from; unset: SEMISEG_PROFILE, else laptop")
    chooser.add_argument("--dataset", default="minivoc", choices=datasets.names(),
                         help="minivoc (drawn), voc, cityscapes, camvid, your own folder; to "
                              "classify small images: digits, cifar10; or a registered one")
    chosen, rest = chooser.parse_known_args(_method_first(arguments))
    with typed():
        profile = recipes.load(chosen.profile, chosen.dataset, chosen.method)
    if chosen.method == "pseudo-label":
        run = _train_rounds
    else:
        run = _train_stage if chosen.method in recipes.STAGES else _train_unlabelled
    run(chosen.method, profile, rest)


def _method_first(arguments: Sequence[str]) -> list[str]:
    """Return a command line with the method, which may stand behind flags, in front.

    Raises:
        WrongUse: behind flags stand several words that may be the method, or none.
    """
    methods_named = [one for one in arguments if one in TRAINABLE]
    behind = arguments[:1] and arguments[0].startswith("-") and not {"-h", "--help"} & {*arguments}
    if behind and len(methods_named) != 1:
        raise WrongUse("name the method before any flag: `semiseg train METHOD --FLAG ...`; "
                       f"methods: {', '.join(TRAINABLE)}.")
    if not methods_named or arguments[0] in TRAINABLE or not arguments[0].startswith("-"):
        return list(arguments)
    place = arguments.index(methods_named[0])
    return [methods_named[0], *arguments[:place], *arguments[place + 1:]]


def _train_stage(name: str, profile: Profile, rest: Sequence[str]) -> None:
    """Train a run of the main storyline."""
    stage, train = name.removeprefix("conv-"), recipes.STAGES[name]
    method = getattr(profile, name.replace("-", "_"))
    flags = _flags(name, profile, method, getattr(profile, train), rest)
    profile = _changed(profile, flags, {stage: flags.method, train: flags.train})
    run = getattr(story, stage)(profile, flags.seed)
    _train_and_report(run, profile, flags)


def _train_rounds(name: str, profile: Profile, rest: Sequence[str]) -> None:
    """Train the teacher and all students of iterated pseudo-labelling."""
    train = recipes.STAGES[name]
    flags = _flags(name, profile, profile.rounds, getattr(profile, train), rest)
    profile = _changed(profile, flags, {"rounds": flags.method, train: flags.train})
    from semiseg_lib.cli.report import report

    done = list(experiments.pseudo_labelling.rounds(
        profile, flags.seed, machine=flags.machine, anew=not flags.resume
    ))
    report(done[-1].best, "val", profile.protocol)


def _train_unlabelled(name: str, profile: Profile, rest: Sequence[str]) -> None:
    """Train a method that learns from unlabelled images, after what it starts from."""
    flags = _flags(name, profile, profile.unlabelled[name], profile.train_unlabelled, rest)
    started = {  # what this machine can do holds for the supervised start as well
        field: getattr(flags.train, field) for field in ("precision", "accumulate", "compile")
        if getattr(flags.train, field) != getattr(profile.train_unlabelled, field)
    }
    profile = _changed(profile, flags, {
        "train_unlabelled": flags.train,
        "train_supervised": replace(profile.train_supervised, **started),
    })
    run = semi_supervised.learn(profile, flags.seed, flags.method)
    _train_and_report(run, profile, flags)


def _train_and_report(run: Run, profile: Profile, flags: TrainFlags) -> None:
    from semiseg_lib.cli.report import report

    trained = experiments.resolve(run, flags.machine, anew=not flags.resume)
    report(trained, "val", profile.protocol)


def _flags(
    name: str, profile: Profile, method: Any, train: TrainConfig, rest: Sequence[str]
) -> TrainFlags:
    """Return the command line's flags, with the profile's values as defaults."""
    default = TrainFlags(method, train, profile.data, profile.model, profile.augment)
    prog = f"semiseg train {name}"
    default, rest = choose_groups(default, rest, prog)
    states = ", ".join(
        f"{path} ({'none' if value is None else 'used'})"
        for path, (value, _) in optional_groups(default).items()
    )
    description = (
        f"Train {name}, or continue; defaults are those of the profile {profile.name}. "
        "--profile and --dataset choose others: see `semiseg train --help`."
        + (f" Groups of options that may be left out or added: {states}. `--GROUP none` leaves "
           "one out, `--GROUP default` or any `--GROUP.OPTION` adds it." if states else "")
    )
    with typed():
        flags = tyro.cli(
            TrainFlags[type(method)], default=default, args=rest, prog=prog,
            config=(tyro.conf.AvoidSubcommands,), description=description,
        )
    if flags.data.published:
        existing(Path(flags.data.published))
    check_encoder_of(flags.model)
    return flags


def _changed(profile: Profile, flags: TrainFlags, changed: dict[str, Any]) -> Profile:
    """Return the profile that a command line describes."""
    return replace(profile, data=flags.data, model=flags.model, augment=flags.augment, **changed)


@command
def run(
    file: ConfigArgument, root: Path | None = None, workers: int = 0,
    other_data: bool = False, resume: bool = True, weights: tuple[Path, ...] = (),
    device: Literal["cpu"] | None = None,
) -> None:
    """Make the run again that a run's config.json describes, and all that it builds on.

    Args:
        file: the config.json of a run, or the run's folder.
        root: the folder that holds the dataset; unset: SEMISEG_DATA, else datasets/ in the work
            folder.
        workers: processes that read images ahead.
        other_data: train also where the images here are not those of the file.
        resume: load a finished run, or continue an interrupted one; --no-resume trains it anew.
        weights: where the files of the encoders' weights lie now; unset: where they lay.
        device: cpu, or unset for the best there is.
    """
    from semiseg_lib.experiments.refusals import refuse_other_inputs
    from semiseg_lib.experiments.trained import read_run, with_weights_at
    from semiseg_lib.training.run_folder import CONFIG, RunFolder, read_description

    with typed():
        machine = Machine(device, root, workers)
    path = file / CONFIG if file.is_dir() else file
    try:
        description = RunFolder.open(file).description if file.is_dir() else read_description(file)
    except Damaged:  # of a damaged manifest the config.json beside it still says what it was
        description = read_description(path)
    value = read_run(description, path)
    if weights:
        description = {**description, "value": with_weights_at(description, weights)}
        value = read_run(description, path)
    if not other_data:
        refuse_other_inputs(description, path, value, experiments.Inputs(machine.root))
    trained = experiments.resolve(value, machine, anew=not resume)
    folder = trained.folder.path
    give({"run": folder, "config": folder / CONFIG}, f"run: {shown(folder)}")


@command
def logits(common: CommonFlags = Common()) -> None:
    """Store the ancillary's logits of all unlabelled images."""
    logits = story.logits(common.chosen("ancillary"), common.seed)
    store = experiments.resolve(logits, common.machine)
    give({"path": store.folder, "images": len(store.names),
          "bytes_per_image": store.bytes_per_image},
         f"{len(store.names)} images, {store.bytes_per_image / 1000:.1f} kB each, in "
         f"{shown(store.folder)}")


@command
def evaluate(
    run: RunArgument, split: Literal["val", "test"] = "test",
    protocol: ProtocolFlags = WHOLE_IMAGE, root: Path | None = None, other_data: bool = False,
    device: Literal["cpu"] | None = None,
) -> None:
    """Score a finished run, last and best weights; keeps the scores in its folder evaluations.

    Args:
        run: the run's folder.
        split: the images to score it on.
        protocol: how an image is predicted.
        root: the folder that holds the dataset; unset: SEMISEG_DATA, else datasets/ in the work
            folder.
        other_data: score it also on other images than those that belong to the run.
        device: cpu, or unset for the best there is.
    """
    from semiseg_lib.cli.report import report

    trained = experiments.open_run(run, Machine(device, root), other_data=other_data)
    report(trained, split, protocol)


@command
def predict(
    source: ImageArgument, run: Path, out: Path,
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
    from semiseg_lib.cli.predict import predict_files

    trained = experiments.open_run(run, device).chosen()
    written = predict_files(trained.method, trained.classes, source, out, protocol)
    give({"run": run, "weights": trained.which, "classes": list(trained.classes),
          "labels": written},
         f"{len(written)} images segmented with the {trained.which} weights of {shown(run)}; "
         f"labels and overlays are in {shown(out)}")


@command
def pipeline(common: CommonFlags = Common()) -> None:
    """Run all stages: data, supervised baseline, ancillary, logits, primary; then compare them."""
    profile, seed, machine = common.chosen("primary"), common.seed, common.machine
    from semiseg_lib.notebook.tables import results_table

    own, learnt = profile.primary, profile.conv_primary
    runs = {
        "supervised (masks alone)": story.supervised(profile, seed),
        "ancillary (sees boxes)": story.ancillary(profile, seed),
        "primary, no correction": story.primary(profile, seed, replace(own, correction="none")),
        "primary, linear correction": story.primary(profile, seed),
        "primary, convolutional correction": story.primary(profile, seed, learnt),
    }
    inputs = experiments.Inputs(machine.root)
    for value in runs.values():
        inputs.identity(value)  # refuses what cannot be trained before anything is
    trained = {name: experiments.resolve(value, machine) for name, value in runs.items()}
    scores = {name: one.evaluate("test", profile.protocol) for name, one in trained.items()}
    give({"split": "test", "models": [
        {"model": name, "mean_iou": scores[name].mean_iou, "seconds": one.record["seconds"],
         "run": one.folder.path} for name, one in trained.items()
    ]}, results_table([
        {"model": name, "mIoU (%)": f"{100 * scores[name].mean_iou:.1f}",
         "minutes": f"{one.record['seconds'] / 60:.1f}", "run": shown(one.folder.path)}
        for name, one in trained.items()
    ]))


@command
def study(
    name: StudyArgument, seeds: tuple[int, ...] = (), only: tuple[str, ...] = (),
    profile: str | None = None, root: Path | None = None, workers: int = 0,
    anew: bool = False, device: Literal["cpu"] | None = None,
) -> None:
    """Run a study with several seeds and store its records: in the work folder, or in a checkout of
    the book with the records that the book shows.

    Args:
        name: ways (to use boxes, masks and unlabelled images), conditions (of the boxes), curve
            (of the number of masks), colours (strong views), training (labels on the way), search
            (for the choices behind these), schedules (alpha over the training), controls (of the
            corrected label), convolutional (learnt correction); hurried, annotation, unlabelled,
            context (what the comparison reads), methods (all of it, briefly); on photographs:
            photographs, "voc unlabelled", "camvid unlabelled".
        seeds: the seeds; none given: those of each arm, or else the profile's.
        only: the arms to run; none given: all.
        profile: smoke, laptop ...; unset: SEMISEG_PROFILE, else laptop.
        root: the folder that holds the dataset; unset: SEMISEG_DATA, else datasets/ in the work
            folder.
        workers: processes that read images ahead.
        anew: make rows again that are there, from runs that are trained anew, in a folder of their
            own; after an interruption the same command goes on there.
        device: cpu, or unset for the best there is.
    """
    with typed():
        if profile is not None:
            recipes.of(profile)  # before the arms, which import torch
        if unknown := set(only) - studies.STUDIES[name].keys():
            raise ValueError(f"{min(unknown)!r} is not an arm of {name!r}; it has "
                             f"{', '.join(studies.STUDIES[name])}.")
        for seed in seeds:
            check_seed(seed)
        machine = Machine(device, reading_root(root), workers)
        chosen = recipes.load(profile, studies.dataset_of(name))
    from semiseg_lib.notebook.tables import results_table

    path = studies.record_path(name, chosen.name)
    with _making_anew(path.stem) if anew else nullcontext():
        records = studies.run(name, chosen, seeds or None, machine, only, anew, path)
    every = studies.STUDIES[name]
    split = studies.reads(next(iter(every.values())).score).split
    arms = {key: arm for key, arm in every.items() if records.seeds(key)}
    notes = [note for note in (records.mark, records.left_out_text) if note]
    if (served := studies.read(name, chosen)).legacy:
        notes.append(f"Chapters and tables still show the stored rows of this study: {served.mark}")
    table = results_table([
        {"arm": key, "what": arm.text, f"mIoU on {split} (%)": records.scores(key, split),
         "seeds": str(records.seeds(key))} for key, arm in arms.items()
    ], plain=[f"mIoU on {split} (%)"])
    give({"study": name, "records": path, "split": split, "arms": [
        {"arm": key, "text": arm.text, "seeds": records.seeds(key),
         "mean_iou": [score / 100 for score in records.scores(key, split)]}
        for key, arm in arms.items()
    ], "made_with": records.made_with, "notes": notes},
         "\n".join([str(table), f"records: {shown(path)}", f"made with: {records.made_with}",
                    *notes]))


@contextmanager
def _making_anew(records: str) -> Iterator[None]:
    """Work in a folder where nothing is found but what an interrupted call of this kind made.

    It is renamed in the end, so that the next call finds nothing.

    Args:
        records: the name of the records that are made.
    """
    from accelerate import PartialState

    folder = work_root() / "anew" / records
    main = PartialState().is_main_process
    with locked(folder) if main else nullcontext():
        if main and folder.is_dir():
            say(f"An interrupted call left runs in {shown(folder)}: going on from there.",
                sys.stderr)
        with working_in(folder):
            yield
        PartialState().wait_for_everyone()
        if main and folder.is_dir():
            move(folder, folder.with_name(f"{folder.name}-{datetime.now(UTC):%Y-%m-%d-%H%M%S-%f}"))


@command
def compare(
    dataset: Literal["minivoc", "voc", "camvid"] = "minivoc", profile: str | None = None,
    against: str = FAIR, ratio: float = MASK_OVER_BOXES, out: Path | None = None,
) -> None:
    """Print all methods side by side, from the records of studies; nothing is trained.

    Args:
        dataset: the dataset of the table.
        profile: smoke, laptop ...; unset: SEMISEG_PROFILE, else laptop.
        against: the key of the row that the others are compared with, paired by seed; --json lists
            the keys.
        ratio: time to draw a mask over the time to draw an image's boxes.
        out: also write the table to FILE.md, as printed, or FILE.csv, in full precision.
    """
    with typed():
        chosen = recipes.load(profile, dataset)
        if against not in COMPARISONS[dataset]:
            raise ValueError(f"{against!r} is not a row of the comparison; choose from "
                             f"{', '.join(COMPARISONS[dataset])}.")
        if not 0 < ratio < inf:
            raise ValueError(f"--ratio is {ratio:g}; the time of a mask over that of boxes is a "
                             "number > 0.")
        if out is not None and out.suffix not in (".md", ".csv"):
            raise ValueError(f"{shown(out)}: the comparison is written as .md or .csv.")
    from semiseg_lib.cli.compare import print_comparison

    print_comparison(dataset, chosen, against, ratio, out)


@command
def visualize(
    source: ImageArgument, run: Path, out: Path, truth: Path | None = None,
    device: Literal["cpu"] | None = None,
) -> None:
    """Draw image, prediction, error map and kept labels of a run of `eln`.

    Args:
        source: an image file.
        run: the folder of a finished run of eln.
        out: the figure, a .png file.
        truth: the image's mask of class ids, drawn beside the prediction.
        device: cpu, or unset for the best available device.
    """
    with typed():
        if out.suffix.lower() != ".png":
            raise ValueError(f"{shown(out)}: the figure is written as a .png file.")
        if out.resolve() in {path.resolve() for path in (source, truth) if path}:
            raise ValueError(f"{shown(out)} is an input; choose another name for the figure.")
    from semiseg_lib.cli.visualize import write_figure

    write_figure(source, run, out, truth, device)


@command
def doctor() -> int:
    """Check this machine: versions, device, memory, datasets."""
    from semiseg_lib.cli.doctor import main

    return main()
