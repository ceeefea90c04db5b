"""Every way to a result, and every input that one can change: what the walk takes its steps from.

Run as a program it walks all of them, or those that are named, prints a table of what came of it,
and fails where a way gave an old answer: ``python tests/helpers/ways.py [WAY ...]``.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any, get_overloads
from unittest import mock
from xml.etree import ElementTree

import numpy as np
import own_folder
import torch
from PIL import Image
from safetensors.torch import save
from stopping import stopped_after

from semiseg_lib import cli, recipes, studies
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.options import DataConfig, ViewConfig
from semiseg_lib.core.paths import CHECKOUT, work_root
from semiseg_lib.datasets import digest as digests
from semiseg_lib.experiments import (
    MixedLogits,
    PseudoLabels,
    Run,
    pseudo_labelling,
    resolve,
    resolving,
    self_correction,
    semi_supervised,
    training,
)
from semiseg_lib.experiments.machine import Machine
from semiseg_lib.experiments.trained import open_run
from semiseg_lib.methods import ConvPrimaryConfig
from semiseg_lib.models import ModelConfig, encoders
from semiseg_lib.notebook.tables import markdown_table
from semiseg_lib.recipes import Profile
from semiseg_lib.stores import logits as logits_store
from semiseg_lib.studies import records

SIDE = 32
LISTS = {"labelled": range(4), "unlabelled": range(4, 8), "val": range(8, 10),
         "test": range(10, 12)}
RESULT = re.compile(r"(?:runs|logits|pseudo_labels)/([\w-]+-[0-9a-f]{10}-[0-9a-f]{10})")
ENCODER = "encoder.safetensors"
NETWORK = ModelConfig("deeplab", encoder="test_resnet", decoder_width=8)
REFUSALS = re.compile("|".join((
    r"Scores need the same classes in the same order",
    r"images here are not those that belonged to",
    r"learnt from something else than what is here",
    r"has changed since the dataset was opened",
)))
"""What a refusal says that names the input which is another one; no other error is right."""
TICK_NS = 10_000_000
"""The walk believes what is remembered of files this much older than the record, in place of
seconds: else the files that it has just drawn would all be hashed again."""


@dataclass
class World:
    """A dataset on disk, a work folder, a profile and a seed.

    Attributes:
        root: the folder that holds the dataset.
        profile: the numbers.
        weights: what an encoder starts with.
        seed: of every run.
        parent, start, teacher: which draw of fresh weights the run has whose logits are read, that
            is started with, that labels.
        minivoc: the world of mini-VOC.
    """

    root: Path
    profile: Profile
    weights: Path = Path(ENCODER)
    seed: int = 0
    parent: int = 0
    start: int = 0
    teacher: int = 0
    minivoc: str = "harder"

    @property
    def machine(self) -> Machine:
        return Machine("cpu", self.root)


def tiny_profile() -> Profile:
    """The smoke profile of a folder of one's own, with a network that trains in a second."""
    smoke = recipes.load("smoke", "folder")
    short = {
        name: replace(getattr(smoke, name), steps=2, batch_labelled=2, validate_every=0,
                      batch_unlabelled=2 * (name in ("train_primary", "train_unlabelled")))
        for name in ("train_supervised", "train_ancillary", "train_primary", "train_start",
                     "train_unlabelled")
    }
    rounds = replace(smoke.rounds, count=1, pretrain=short["train_supervised"],
                     finetune=short["train_supervised"])
    return replace(
        smoke, model=ModelConfig(width=2), augment=ViewConfig(crop=SIDE), rounds=rounds,
        data=DataConfig("folder"), unlabelled={
            name: one for name, one in smoke.unlabelled.items() if name in ("fixmatch", "cps")
        }, **short,
    )


def draw(root: Path) -> Path:
    """Write a folder of one's own with masks, boxes and lists."""
    for name in ("images", "masks", "boxes"):
        (root / name).mkdir(parents=True)
    (root / "classes.txt").write_text("ground\ndisc\nsquare\n", encoding="utf-8")
    generator = np.random.default_rng(0)
    for which, numbers in LISTS.items():
        write_list(root, which, numbers)
        for number in numbers:
            write_image(root, number, generator)
            write_box(root, number, 20)
            write_mask(root, number, 20)  # of the unlabelled ones it is hidden
    (root / ENCODER).write_bytes(encoder_weights())
    return root


@cache
def encoder_weights() -> bytes:
    """The file of a small encoder's weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return save(encoders.timm.create_model(NETWORK.encoder).state_dict())


def write_list(root: Path, which: str, numbers: Any) -> None:
    text = "".join(f"p{number}\n" for number in numbers)
    (root / f"{which}.txt").write_text(text, encoding="utf-8")


def write_image(root: Path, number: int, generator: np.random.Generator) -> None:
    noise = generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    # Without compression an image keeps its size whatever is on it.
    Image.fromarray(noise).save(root / "images" / f"p{number}.png", compress_level=0)


def write_mask(root: Path, number: int, edge: int) -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[4:edge, 4:20] = 1 + number % 2
    Image.fromarray(mask).save(root / "masks" / f"p{number}.png", compress_level=0)


def write_box(root: Path, number: int, edge: int) -> None:
    annotation = ElementTree.Element("annotation")
    entry = ElementTree.SubElement(annotation, "object")
    ElementTree.SubElement(entry, "name").text = ("disc", "square")[number % 2]
    box = ElementTree.SubElement(entry, "bndbox")
    for side, place in {"xmin": 5, "ymin": 5, "xmax": 20, "ymax": edge}.items():
        ElementTree.SubElement(box, side).text = str(place)
    ElementTree.ElementTree(annotation).write(root / "boxes" / f"p{number}.xml")


# ------------------------------------------------------------------------------ what can change

@dataclass(frozen=True)
class Change:
    """One input that changes.

    Attributes:
        apply: changes a world in place.
        seen_by: what reads this input; see ``Way.reads``.

    Of a file that keeps its size the modification time is restored: see :func:`changed`.
    """

    apply: Callable[[World], None]
    seen_by: str


def _option(seen_by: str, change: Callable[[Profile], Profile]) -> Change:
    def apply(world: World) -> None:
        world.profile = change(world.profile)

    return Change(apply, seen_by)


def _train(name: str, **changed: Any) -> Callable[[Profile], Profile]:
    return lambda p: replace(p, **{name: replace(getattr(p, name), **changed)})


def _rename_class(world: World) -> None:
    (world.root / "classes.txt").write_text("ground\nball\nsquare\n", encoding="utf-8")
    for path in (world.root / "boxes").iterdir():
        path.write_text(path.read_text(encoding="utf-8").replace("disc", "ball"), encoding="utf-8")


def _set(**changed: Any) -> Callable[[World], None]:
    return lambda world: vars(world).update(changed)


def _move(world: World) -> None:
    """The same files at another place; whoever went there last is replaced."""
    there = world.root.with_name("elsewhere")
    shutil.rmtree(there, ignore_errors=True)
    world.root = shutil.copytree(world.root, there)


def _move_and_change(world: World) -> None:
    _move(world)
    write_mask(world.root, 1, 14)


def _move_weights(world: World) -> None:
    world.weights = shutil.copy(world.weights, world.root / "moved.safetensors")


def _change_weights(world: World) -> None:
    content = world.weights.read_bytes()
    world.weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@contextmanager
def changed(change: Change, world: World) -> Iterator[World]:
    """Change an input in place, with sizes and times kept as far as can be; take it back then."""
    files = {path: (path.read_bytes(), path.stat())
             for path in world.root.rglob("*") if path.is_file()}
    other = replace(world)
    change.apply(other)
    for path, (_, status) in files.items():
        now = path.stat()
        if now.st_size == status.st_size and now.st_mtime_ns != status.st_mtime_ns:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    try:
        yield other
    finally:
        for path, (content, status) in files.items():
            if path.read_bytes() != content:
                path.write_bytes(content)
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: Mapping[str, Change] = {
    "labelled mask": Change(lambda w: write_mask(w.root, 1, 12), "labelled"),
    "labelled image": Change(
        lambda w: write_image(w.root, 1, np.random.default_rng(9)), "labelled"),
    "labelled box": Change(lambda w: write_box(w.root, 1, 12), "labelled boxes"),
    "unlabelled image": Change(
        lambda w: write_image(w.root, 5, np.random.default_rng(9)), "unlabelled"),
    "unlabelled box": Change(lambda w: write_box(w.root, 5, 12), "unlabelled boxes"),
    "list of labelled images": Change(lambda w: write_list(w.root, "labelled", [0, 1, 3]),
                                      "labelled"),
    "list of unlabelled images": Change(lambda w: write_list(w.root, "unlabelled", [4, 5, 7]),
                                        "unlabelled"),
    "hidden mask": Change(lambda w: write_mask(w.root, 5, 12), "hidden"),
    "class name": Change(_rename_class, "classes"),
    "val image": Change(lambda w: write_image(w.root, 8, np.random.default_rng(9)), "val"),
    "test image": Change(lambda w: write_image(w.root, 10, np.random.default_rng(9)), "test"),
    "test mask": Change(lambda w: write_mask(w.root, 10, 12), "test"),
    "place of the dataset": Change(_move, "nobody"),
    "labelled mask at another place": Change(_move_and_change, "labelled"),
    "weights file": Change(_change_weights, "weights"),
    "place of the weights file": Change(_move_weights, "nobody"),
    "parent run": Change(_set(parent=1), "parent"),
    "start run": Change(_set(start=1), "start"),
    "teacher": Change(_set(teacher=1), "teacher"),
    "option of another dataset": Change(_set(minivoc="hurried"), "minivoc"),
    "seed": Change(_set(seed=1), "seed"),
    "option of the network": _option("network", lambda p: replace(p, model=ModelConfig(width=3))),
    "option of the views": _option("views and data", _train("augment", flip=0.25)),
    "option of the data": _option("views and data", _train("data", unboxed="empty")),
    "training of the masks alone": _option(
        "supervised training", _train("train_supervised", lr=7e-4)),
    "method of the masks alone": _option("supervised method", _train("supervised", ema_decay=0.5)),
    "training of the ancillary": _option("ancillary", _train("train_ancillary", lr=7e-4)),
    "method of the ancillary": _option("ancillary", _train("ancillary", ema_decay=0.5)),
    "training of the primary": _option("primary training", _train("train_primary", lr=7e-4)),
    "method of the primary": _option("primary method", _train("primary", ema_decay=0.5)),
    "method of the convolutional primary": _option(
        "convolutional method", _train("conv_primary", ema_decay=0.5)),
    "bits of the logits": _option(
        "logits", lambda p: replace(p, logits_bits=24 - p.logits_bits)),
    "training without boxes": _option(
        "training without boxes", _train("train_unlabelled", lr=7e-4)),
    "plan of the rounds": _option("rounds", _train("rounds", ema_decay=0.5)),
}


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every option within a value that holds no further options."""
    inner = (
        {one.name: getattr(value, one.name) for one in fields(value)} if is_dataclass(value)
        else dict(enumerate(value)) if isinstance(value, tuple) and any(map(is_dataclass, value))
        else {}
    )
    if not inner:
        yield path
    for name, one in inner.items():
        yield from leaves(one, (*path, name))


# --------------------------------------------------------------------------------- ways to train

@dataclass(frozen=True)
class Way:
    """One way to a result.

    Attributes:
        take: goes it and returns the names of the folders of what it came to.
        reads: the inputs that decide the result, in the words of ``Change.seen_by``.
        make: the value that is resolved, from profile and seed; None where it is not one value.
        afresh: whether every change needs a work folder in which nothing was finished before.
        cost: 1 in the sample; more where it trains so much that it meets fewer changes there.
    """

    take: Callable[[World], set[str]]
    reads: frozenset[str]
    make: Callable[[Profile, int], Any] | None = None
    afresh: bool = False
    cost: int = 1


class Failed(Exception):
    """A command that failed, with what it said."""


ALWAYS = frozenset({"network", "views and data", "seed", "classes", "labelled"})
MASKS = ALWAYS | {"supervised training", "supervised method"}
SEES_BOXES = ALWAYS | {"labelled boxes", "ancillary"}
LABELS = SEES_BOXES | {"unlabelled", "unlabelled boxes", "logits"}
PRIMARY = LABELS | {"primary training", "primary method"}
CONV = LABELS | {"primary training"}
WITHOUT_BOXES = MASKS | {"unlabelled", "training without boxes"}
ROUNDS = MASKS | {"unlabelled", "rounds"}
UNREAD_BOXES = (MASKS - {"labelled"}) | {"unlabelled", "unlabelled boxes", "logits"}
"""What labels read that come with the boxes of the unlabelled images, whoever makes them."""
OF_THE_FILE = frozenset({"labelled", "classes"})
"""What a run that is described by a file reads: its options are the file's."""
SCORED = frozenset({"classes"})
WEIGHTS = (MASKS - {"network"}) | {"weights"}
DRAWN = frozenset({"seed", "classes", "labelled"})
MINIVOC = (MASKS - {"classes", "labelled"}) | {"minivoc"}


def _value(make: Callable[[Profile, int], Any], reads: frozenset[str], cost: int = 1) -> Way:
    """The way of a chapter: a value, resolved."""
    return Way(lambda world: resolved(make(world.profile, world.seed), world), reads, make,
               cost=cost)


def resolved(value: Any, world: World) -> set[str]:
    """Return the name of the folder that a value is resolved to."""
    found = resolve(value, world.machine)
    return {(found.folder if isinstance(found.folder, Path) else found.folder.path).name}


def _rounds(world: World) -> set[str]:
    done = list(pseudo_labelling.rounds(world.profile, world.seed, machine=world.machine))
    return {one.student.folder.path.name for one in done}


def command(world: World, *arguments: str) -> str:
    """Run a command on the world; return what it prints."""
    printed = StringIO()
    with redirect_stdout(printed), redirect_stderr(StringIO()) as errors:
        code = cli.main([*arguments, "--root", str(world.root)])
    if code:
        raise Failed(errors.getvalue().strip())
    return printed.getvalue()


@contextmanager
def _in_profiles(world: World) -> Iterator[None]:
    """Let commands find the world's profile."""
    with mock.patch.object(recipes, "load", own_folder.load_instead(world.profile)):
        yield


def _command(*arguments: str, reads: frozenset[str], cost: int = 1) -> Way:
    def take(world: World) -> set[str]:
        with _in_profiles(world):
            said = command(world, *arguments, "--profile", "smoke", "--dataset", "folder",
                           "--seed", str(world.seed), "--device", "cpu")
        return set(RESULT.findall(said))

    return Way(take, reads, cost=cost)


def _arm(world: World) -> set[str]:
    """An arm of a study, run without records."""
    found: set[str] = set()

    def score(value: Run, _: Profile, machine: Machine) -> dict[str, float]:
        found.add(resolve(value, machine).folder.path.name)
        return {}

    arm = studies.Arm("masks alone", self_correction.supervised, score, dataset="folder")
    arm.run(world.profile, world.seed, world.machine)
    return found


STUDY = "schedules"


@contextmanager
def _in_studies(world: World) -> Iterator[None]:
    """Let there be a tiny study, whose encoder starts with a file; its records lie in the work
    folder."""
    def recipe(profile: Profile, seed: int) -> Run:
        network = replace(NETWORK, width=profile.model.width, weights=str(world.weights))
        return replace(self_correction.supervised(profile, seed), model=network)

    arm = studies.Arm("masks alone", recipe, dataset="folder")
    with mock.patch.dict(studies.STUDIES, {STUDY: {"masks": arm}}), \
            mock.patch.object(records, "MEASURED", work_root()):
        yield


def _rows(found: studies.Records, seed: int) -> set[str]:
    """What the rows of a seed were made from."""
    return {" ".join((row["identity"], *row["images"].values()))
            for row in found.rows if row["seed"] == seed}


def _records(world: World) -> set[str]:
    with _in_studies(world):
        found = studies.run(STUDY, world.profile, (world.seed,), world.machine)
    return _rows(found, world.seed)


def _study(world: World) -> set[str]:
    with _in_profiles(world), _in_studies(world):
        command(world, "study", STUDY, "--profile", "smoke", "--seeds", str(world.seed),
                "--device", "cpu")
        return _rows(studies.current(STUDY, world.profile), world.seed)


def _drawn(world: World) -> set[str]:
    """The labelled images drawn from the candidates: the lists that were drawn so far."""
    config = replace(world.profile.data, labelled=2)
    assert len(Data(config, world.seed, world.root).labelled) == 2
    return {path.name for path in (work_root() / "splits").glob("folder-2-*.json")}


def _half_written(world: World) -> set[str]:
    """Logits whose writing stopped after the first file, and the same call after the change."""
    stopped, written = work_root() / "stopped", []

    def once(*arguments: Any) -> Any:
        if written:
            raise KeyboardInterrupt
        written.append(arguments)
        return give(*arguments)

    give, value = resolving.logits_of, self_correction.logits(world.profile, world.seed)
    with mock.patch.object(logits_store, "IMAGES_PER_FILE", 2):
        if stopped.is_file():
            return resolved(value, world)
        with mock.patch.object(resolving, "logits_of", once):
            try:
                resolve(value, world.machine)
            except KeyboardInterrupt:
                stopped.touch()
        return {path.parent.name for path in (work_root() / "logits").glob("*/*.safetensors")}


def _with_parent(world: World) -> set[str]:
    """A primary whose labels are those of another ancillary."""
    value = self_correction.primary(world.profile, world.seed)
    labels = value.unlabelled_logits
    other = replace(labels, run=replace(labels.run, draw=world.parent))
    return resolved(replace(value, unlabelled_logits=other), world)


def _with_start(world: World) -> set[str]:
    """A run that starts with the weights of another one."""
    profile, seed = world.profile, world.seed
    value = semi_supervised.learn(profile, seed, profile.unlabelled["fixmatch"])
    start = self_correction.supervised(profile, seed, world.start)
    return resolved(replace(value, start=(start,)), world)


def _with_teacher(world: World) -> set[str]:
    """A student of another teacher."""
    profile, seed = world.profile, world.seed
    labels = replace(_labels(profile, seed),
                     teacher=self_correction.supervised(profile, seed, world.teacher))
    return resolved(pseudo_labelling.student(profile, seed, profile.rounds, labels)[0], world)


def _with_encoder(world: World) -> set[str]:
    """A run whose encoder starts with a file."""
    network = replace(NETWORK, weights=str(world.weights))
    return resolved(
        replace(self_correction.supervised(world.profile, world.seed), model=network), world)


def _minivoc(world: World) -> set[str]:
    own, smoke = world.profile, recipes.load("smoke")
    data = replace(smoke.data, unboxed=own.data.unboxed).with_options(world=world.minivoc)
    return resolved(self_correction.supervised(replace(own, data=data), world.seed), world)


def _interrupted(world: World) -> set[str]:
    """A run that was stopped before the change, and the same call again after it."""
    stopped = work_root() / "stopped"
    run = self_correction.supervised(world.profile, world.seed)
    if not stopped.is_file():
        with mock.patch.object(training, "fit", stopped_after(1)):
            try:
                resolve(run, world.machine)
            except KeyboardInterrupt:
                stopped.touch()
        return {path.parent.name for path in (work_root() / "runs").glob("*/checkpoint.pt")}
    return {resolve(run, world.machine).folder.path.name}


def _first(world: World) -> Path:
    """The folder of the run that was trained before anything changed."""
    first = work_root() / "first"
    if not first.is_file():
        run = resolve(self_correction.supervised(world.profile, world.seed), world.machine)
        first.write_text(run.folder.path.name, encoding="utf-8")
    return work_root() / "runs" / first.read_text(encoding="utf-8")


def _from_file(world: World) -> set[str]:
    """``semiseg run FILE``, from the file that the first run wrote: other inputs are refused."""
    said = command(world, "run", str(_first(world)), "--device", "cpu")
    return set(RESULT.findall(said))


def _opened(world: World) -> set[str]:
    """A run opened by its folder and scored: other classes and other test images are refused."""
    trained = open_run(_first(world), world.machine)
    trained.evaluate("test")
    return {trained.folder.path.name}


def _evaluated(world: World) -> set[str]:
    """``semiseg evaluate RUN``: other classes and other test images are refused."""
    said = command(world, "evaluate", str(_first(world)), "--device", "cpu")
    return set(RESULT.findall(said))


def _distributed(world: World) -> set[str]:
    """Two processes of one job."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SEMISEG_WORK": str(work_root()),
                   "PYTHONPATH": str(CHECKOUT)}
    options = {"train.steps": 2, "train.lr": world.profile.train_supervised.lr,
               "model.architecture": "unet", "model.encoder": "", "model.weights": "",
               "model.width": world.profile.model.width, "augment.crop": SIDE,
               "augment.flip": world.profile.augment.flip,
               "data.unboxed": world.profile.data.unboxed,
               "method.ema-decay": world.profile.supervised.ema_decay,
               "train.batch-labelled": 2, "train.validate-every": 0}
    flags = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
         "-m", "semiseg_lib", "train", "supervised", "--dataset", "folder", "--profile", "smoke",
         "--root", str(world.root), "--seed", str(world.seed), "--device", "cpu", *flags],
        env=environment, capture_output=True, text=True, check=False, cwd=CHECKOUT,
    )
    if done.returncode:
        raise Failed(done.stderr.strip())
    return set(RESULT.findall(done.stdout))


def _mixed(profile: Profile, seed: int) -> MixedLogits:
    return MixedLogits(self_correction.primary(profile, seed),
                       self_correction.logits(profile, seed), 0.5, profile.logits_bits)


def _labels(profile: Profile, seed: int) -> PseudoLabels:
    return pseudo_labelling.pseudo_labels(
        profile, profile.rounds, self_correction.supervised(profile, seed), 1)


STORYLINES: Mapping[ModuleType, Mapping[str, Way]] = {
    self_correction: {
        "supervised": _value(self_correction.supervised, MASKS),
        "ancillary": _value(self_correction.ancillary, SEES_BOXES),
        "half_ancillary": _value(self_correction.half_ancillary, SEES_BOXES),
        "logits": _value(self_correction.logits, LABELS),
        "primary": _value(self_correction.primary, PRIMARY),
        "conv_start": _value(
            lambda p, s: self_correction.conv_start(p, s, ConvPrimaryConfig(width=6)),
            SEES_BOXES | {"logits"}, cost=2),
        "conv_primary": _value(
            lambda p, s: self_correction.conv_primary(p, s, ConvPrimaryConfig(width=6)),
            CONV, cost=2),
        "warm_primary": _value(self_correction.warm_primary, PRIMARY | {"supervised method"},
                               cost=2),
        "second_round": _value(self_correction.second_round, PRIMARY, cost=2),
        "equal_steps": _value(self_correction.equal_steps,
                              ALWAYS | {"primary training", "supervised method"}),
        "own_logits": _value(self_correction.own_logits, UNREAD_BOXES | {"labelled"}),
        "second_opinion": _value(self_correction.second_opinion, LABELS | MASKS),
        "drawn_labels": _value(
            self_correction.drawn_labels, UNREAD_BOXES),
        "all_masks": _value(
            self_correction.all_masks,
            ALWAYS | {"unlabelled", "hidden", "primary training", "supervised method"}),
    },
    semi_supervised: {
        "learn": _value(lambda p, s: semi_supervised.learn(p, s, p.unlabelled["fixmatch"]),
                        WITHOUT_BOXES),
        "supervised_longer": _value(semi_supervised.supervised_longer,
                                    MASKS | {"training without boxes"}),
        "warm_starts": _value(lambda p, s: semi_supervised.warm_starts(p, s, 1)[0], MASKS),
    },
    pseudo_labelling: {
        "pseudo_labels": _value(_labels, MASKS | {"unlabelled"}),
        "student": _value(
            lambda p, s: pseudo_labelling.student(p, s, p.rounds, _labels(p, s))[1], ROUNDS,
            cost=2),
        "rounds": Way(_rounds, ROUNDS, cost=2),
    },
}
"""The functions of the storylines, each as a way; a new one must be added here."""

TRAIN_COMMANDS = {
    "supervised": MASKS, "ancillary": SEES_BOXES, "primary": PRIMARY,
    "conv-primary": CONV | {"convolutional method"}, "pseudo-label": ROUNDS,
    "fixmatch": WITHOUT_BOXES, "cps": WITHOUT_BOXES,
}
UNTRIED = {
    "cutmix-cps": "cps", "cac": "fixmatch", "eln": "fixmatch", "s4mc": "fixmatch",
    "cutmix-s4mc": "fixmatch", "mean-teacher": "fixmatch",
}
"""Methods whose way through the library is that of another one, which is walked."""

COMMANDS: Mapping[str, Way] = {
    **{f"train {name}": _command("train", name, reads=reads, cost=2)
       for name, reads in TRAIN_COMMANDS.items()},
    "logits": _command("logits", reads=LABELS),
    "pipeline": _command("pipeline", reads=PRIMARY | MASKS | {"convolutional method"},
                         cost=2),
    "run": Way(_from_file, OF_THE_FILE),
    "evaluate": Way(_evaluated, SCORED | {"test"}),
    "study": Way(_study, MASKS | {"test", "weights"}),
}
NO_WAY = {
    "data": "fetches and checks images", "runs": "lists and prunes what is stored",
    "compare": "reads records", "doctor": "looks at the machine",
    "predict": "weights predict on any images", "visualize": "weights predict on any images",
}
"""Commands that neither train nor score."""

OTHERS: Mapping[str, Way] = {
    "Run.of": _value(lambda p, s: Run.of(p, s, p.supervised, p.train_supervised), MASKS),
    "mixed logits": _value(_mixed, PRIMARY, cost=2),
    "Arm.run": Way(_arm, MASKS),
    "records": Way(_records, MASKS | {"test", "weights"}),
    "open_run": Way(_opened, SCORED | {"test"}),
    "interrupted": Way(_interrupted, MASKS, afresh=True),
    "half-written logits": Way(_half_written, LABELS, afresh=True),
    "drawn list": Way(_drawn, DRAWN, afresh=True),
    "parent run": Way(_with_parent, PRIMARY | {"parent"}, cost=2),
    "start run": Way(_with_start, WITHOUT_BOXES | {"start"}, cost=2),
    "teacher": Way(_with_teacher, ROUNDS | {"teacher"}, cost=2),
    "weights file": Way(_with_encoder, WEIGHTS),
    "minivoc": Way(_minivoc, MINIVOC),
    "distributed": Way(_distributed, MASKS, cost=9),
}

WAYS: Mapping[str, Way] = {
    **{f"{module.__name__.rpartition('.')[2]}.{name}": way
       for module, ways in STORYLINES.items() for name, way in ways.items()},
    **{f"semiseg {name}": way for name, way in COMMANDS.items()}, **OTHERS,
}


def functions_of(module: ModuleType) -> set[str]:
    """Return the public functions that a module defines."""
    return {name for name, one in inspect.getmembers(module, inspect.isfunction)
            if one.__module__ == module.__name__ and not name.startswith("_")}


RESULTS = re.compile(r"\b(Trained|LogitsStore|PseudoLabelStore|Round)\b")
WALKED = {
    "resolving.resolve": "Run.of", "trained.open_run": "open_run",
    "pseudo_labelling.rounds": "pseudo_labelling.rounds",
}
"""Each public function that gives a result, and one of the ways that take it."""
FROM_A_RESULT = {
    "trained.opened": "what `resolve` and `open_run` have found and checked",
    "trained.Trained.holding": "other weights of a run that is open",
    "trained.Trained.chosen": "other weights of a run that is open",
    "pseudo_labelling.Round.best": "one of the two runs of a round",
}
"""Public functions that give a result and are no way to one, with the reason."""


READ_A_RESULT = {
    "labels.corrected_logits": "test_sources.py: other images, other logits, logits that are gone",
    "labels.evaluate_unlabelled": "test_sources.py: labels of other images",
    "pseudo_labelling.evaluate_labels": "test_sources.py: labels of other images",
    "made_labels.mixed": "the resolver's own: it gives what it has just resolved",
}
"""Public functions that are handed results and compute from them, with where that is tried."""


def callables_of(package: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield every public function of a package's modules, and of the classes that they define."""
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for name, one in vars(module).items():
            if name.startswith("_") or getattr(one, "__module__", "") != module.__name__:
                continue
            if inspect.isfunction(one):
                yield f"{info.name}.{name}", one
            elif inspect.isclass(one):
                for inner, member in vars(one).items():
                    function = getattr(member, "fget", getattr(member, "__func__", member))
                    function = getattr(function, "func", function)
                    if inspect.isfunction(function) and not inner.startswith("_"):
                        yield f"{info.name}.{name}.{inner}", function


def gives_result(function: Any) -> bool:
    """Return whether a function says that it returns an opened result."""
    return any(RESULTS.search(str(inspect.signature(one).return_annotation))
               for one in (function, *get_overloads(function)))


def reads_result(function: Any) -> bool:
    """Return whether a function says that it is handed an opened result."""
    return any(RESULTS.search(str(one.annotation))
               for one in inspect.signature(function).parameters.values())


ANEW, REFUSED, UNREAD, WRONG = "anew", "refused", "unchanged", "wrong"
OUTCOMES = (ANEW, REFUSED, UNREAD, WRONG)
"""What may come of a change; ``unchanged`` is right where the input is not read."""


def outcome(way: Way, change: Change, old: list[set[str]], world: World) -> str:
    """Go a way after a change; say what came of it, and why where that is wrong.

    Args:
        way: the way.
        change: an input that is changed meanwhile.
        old: the answers before, the one without a change first; a new one is added.
        world: as it is without the change.
    """
    seen = change.seen_by in way.reads
    with changed(change, world) as other:
        try:
            after = way.take(other)
        except (Exception, SystemExit) as error:
            if not isinstance(error, ValueError | Failed) or not REFUSALS.search(str(error)):
                return f"{WRONG}: {type(error).__name__}: {error}"
            return REFUSED if seen else f"{WRONG}: refused, but it reads no such thing: {error}"
    if not after:
        return f"{WRONG}: no folder of a result was found"
    if not seen:
        return UNREAD if after == old[0] else f"{WRONG}: made anew, but it reads no such thing"
    if after in old:
        return f"{WRONG}: an old answer"
    old.append(after)
    return ANEW


def walk(name: str, changes: Iterable[str], folder: Path) -> dict[str, str]:
    """Go a way, then again after each change of one input; return what came of each change."""
    way, found = WAYS[name], {}
    root = draw(folder / "data")
    world, old = World(root, tiny_profile(), root / ENCODER), []
    with mock.patch.object(digests, "GRANULARITY_NS", TICK_NS):
        for number, change in enumerate(changes):
            work = folder / f"work{number if way.afresh else ''}"
            with mock.patch.dict(os.environ, SEMISEG_WORK=str(work), SEMISEG_PROFILE="smoke"):
                if way.afresh or not old:
                    old = [way.take(world)]
                    if not old[0]:
                        raise AssertionError(f"{name}: no folder of a result was found")
                found[change] = outcome(way, CHANGES[change], old, world)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Walk ways with all changes; print a table, and return 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=", ".join(WAYS))
    names = parser.parse_args(arguments).ways or list(WAYS)
    if unknown := [name for name in names if name not in WAYS]:
        parser.error(f"there is no way {unknown[0]!r}; there are {', '.join(WAYS)}")
    rows, total, wrong = [], Counter(), []
    for name in names:
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()), \
                redirect_stderr(StringIO()):
            found = walk(name, CHANGES, Path(folder))
        counts = Counter(said.partition(":")[0] for said in found.values())
        wrong += [f"{name}, {change}: {said}" for change, said in found.items()
                  if said.startswith(WRONG)]
        rows.append({"way": name, **{one: str(counts[one]) for one in OUTCOMES}})
        total += counts
        print(f"{name}: {dict(counts)}", file=sys.stderr, flush=True)
    rows.append({"way": f"all {len(names)}", **{one: str(total[one]) for one in OUTCOMES}})
    print(markdown_table(rows))
    print(f"{len(names)} ways, {len(CHANGES)} changes, {total.total()} steps: "
          + ", ".join(f"{total[one]} {one}" for one in OUTCOMES))
    print("\n".join(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
