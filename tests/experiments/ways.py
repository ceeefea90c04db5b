"""Every way to a result, and every input that one can change: what the walk takes its steps from.

Run as a program it walks all of them and prints a table: ``python tests/experiments/ways.py``.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields, is_dataclass, replace
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from semiseg_lib import cli, profiles, studies
from semiseg_lib.batches.data import DataConfig
from semiseg_lib.batches.weak_view import ViewConfig
from semiseg_lib.experiments import (
    MixedLogits,
    PseudoLabels,
    resolve,
    self_correction,
    self_training,
    semi_supervised,
    training,
)
from semiseg_lib.experiments.machine import Machine
from semiseg_lib.experiments.trained import open_run
from semiseg_lib.methods import ConvPrimaryConfig
from semiseg_lib.models import ModelConfig
from semiseg_lib.paths import CHECKOUT, work_root
from semiseg_lib.profiles import Profile

SIDE = 32
LISTS = {"labelled": range(4), "unlabelled": range(4, 8), "val": range(8, 10),
         "test": range(10, 12)}
RESULT = re.compile(r"(?:runs|logits|pseudo_labels)/([\w-]+-[0-9a-f]{10}-[0-9a-f]{10})")
COMMAND = "supervised"


@dataclass
class World:
    """A dataset on disk, a work folder, a profile and a seed.

    Attributes:
        root: the folder that holds the dataset.
        profile: the numbers.
        seed: of every run.
    """

    root: Path
    profile: Profile
    seed: int = 0

    @property
    def machine(self) -> Machine:
        return Machine("cpu", self.root)


def tiny_profile() -> Profile:
    """The smoke profile of a folder of one's own, with a network that trains in a second."""
    smoke = profiles.load("smoke", "folder")
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
    return root


def write_list(root: Path, which: str, numbers: Any) -> None:
    text = "".join(f"p{number}\n" for number in numbers)
    (root / f"{which}.txt").write_text(text, encoding="utf-8")


def write_image(root: Path, number: int, generator: np.random.Generator) -> None:
    noise = generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "images" / f"p{number}.png")


def write_mask(root: Path, number: int, edge: int) -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[4:edge, 4:20] = 1 + number % 2
    Image.fromarray(mask).save(root / "masks" / f"p{number}.png")


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


def _other_seed(world: World) -> None:
    world.seed += 1


CHANGES: Mapping[str, Change] = {
    "labelled mask": Change(lambda w: write_mask(w.root, 0, 12), "labelled"),
    "labelled image": Change(
        lambda w: write_image(w.root, 1, np.random.default_rng(9)), "labelled"),
    "labelled box": Change(lambda w: write_box(w.root, 0, 12), "labelled boxes"),
    "unlabelled image": Change(
        lambda w: write_image(w.root, 5, np.random.default_rng(9)), "unlabelled"),
    "unlabelled box": Change(lambda w: write_box(w.root, 5, 12), "unlabelled boxes"),
    "list of labelled images": Change(lambda w: write_list(w.root, "labelled", [0, 1, 3]),
                                      "labelled"),
    "list of unlabelled images": Change(lambda w: write_list(w.root, "unlabelled", [4, 5, 7]),
                                        "unlabelled"),
    "hidden mask": Change(lambda w: write_mask(w.root, 5, 12), "hidden"),
    "class name": Change(_rename_class, "classes"),
    "seed": Change(_other_seed, "always"),
    "option of the network": _option("always", lambda p: replace(p, model=ModelConfig(width=3))),
    "option of the views": _option("always", _train("augment", flip=0.25)),
    "option of the data": _option("always", _train("data", unboxed="empty")),
    "training of the masks alone": _option(
        "supervised training", _train("train_supervised", lr=7e-4)),
    "method of the masks alone": _option("supervised method", _train("supervised", ema_decay=0.5)),
    "training of the ancillary": _option("ancillary", _train("train_ancillary", lr=7e-4)),
    "method of the ancillary": _option("ancillary", _train("ancillary", ema_decay=0.5)),
    "training of the primary": _option("primary training", _train("train_primary", lr=7e-4)),
    "method of the primary": _option("primary method", _train("primary", ema_decay=0.5)),
    "bits of the logits": _option(
        "logits", lambda p: replace(p, logits_bits=24 - p.logits_bits)),
    "training without boxes": _option(
        "training without boxes", _train("train_unlabelled", lr=7e-4)),
    "plan of the rounds": _option("rounds", _train("rounds", ema_decay=0.5)),
}


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every option within a value that holds no further options."""
    for field in fields(value):
        inner = getattr(value, field.name)
        if is_dataclass(inner):
            yield from leaves(inner, (*path, field.name))
        else:
            yield (*path, field.name)


# --------------------------------------------------------------------------------- ways to train

@dataclass(frozen=True)
class Way:
    """One way to a result.

    Attributes:
        take: goes it and returns the names of the folders of what it came to.
        reads: the inputs that decide the result, in the words of ``Change.seen_by``.
    """

    take: Callable[[World], set[str]]
    reads: frozenset[str]


ALWAYS = frozenset({"always", "classes", "labelled"})
MASKS = ALWAYS | {"supervised training", "supervised method"}
SEES_BOXES = ALWAYS | {"labelled boxes", "ancillary"}
LABELS = SEES_BOXES | {"unlabelled", "unlabelled boxes", "logits"}
PRIMARY = LABELS | {"primary training", "primary method"}
CONV = LABELS | {"primary training"}
WITHOUT_BOXES = MASKS | {"unlabelled", "training without boxes"}
ROUNDS = MASKS | {"unlabelled", "rounds"}
OF_THE_FILE = frozenset({"labelled", "classes"})
"""What a run that is described by a file reads: its options are the file's."""
SCORED = frozenset({"classes"})


def _value(make: Callable[[Profile, int], Any], reads: frozenset[str]) -> Way:
    """The way of a chapter: a value, resolved."""
    def take(world: World) -> set[str]:
        found = resolve(make(world.profile, world.seed), world.machine)
        folder = found.folder if isinstance(found.folder, Path) else found.folder.path
        return {folder.name}

    return Way(take, reads)


def _rounds(world: World) -> set[str]:
    done = list(self_training.rounds(world.profile, world.seed, machine=world.machine))
    return {one.student.folder.path.name for one in done}


def command(world: World, *arguments: str) -> str:
    """Run a command on the world; return what it prints."""
    printed = StringIO()
    with redirect_stdout(printed), redirect_stderr(StringIO()) as errors:
        code = cli.main([*arguments, "--root", str(world.root)])
    if code:
        raise ValueError(errors.getvalue().strip().splitlines()[-1])
    return printed.getvalue()


@contextmanager
def _in_profiles(world: World) -> Iterator[None]:
    """Let commands find the world's profile."""
    with mock.patch.dict(profiles.PROFILES["smoke"], {"folder": world.profile}):
        yield


def _command(*arguments: str, reads: frozenset[str]) -> Way:
    def take(world: World) -> set[str]:
        with _in_profiles(world):
            said = command(world, *arguments, "--profile", "smoke", "--dataset", "folder",
                           "--seed", str(world.seed), "--device", "cpu")
        return set(RESULT.findall(said))

    return Way(take, reads)


def _study(world: World) -> set[str]:
    arm = studies.Arm("masks alone", self_correction.supervised, dataset="folder")
    arm.run(world.profile, world.seed, world.machine)
    return newest_of(COMMAND)


def newest_of(method: str) -> set[str]:
    """Return the run of a method that was used last, as its evaluation or its manifest says."""
    found = (work_root() / "runs").glob(f"{method}-*/manifest.json")
    return {max(found, key=lambda path: path.stat().st_mtime_ns).parent.name}


def _interrupted(world: World) -> set[str]:
    """A run that was stopped before the change, and the same call again after it."""
    stopped = work_root() / "stopped"
    run = self_correction.supervised(world.profile, world.seed)
    if not stopped.is_file():
        fit = training.fit
        with mock.patch.object(training, "fit", lambda *a, **k: _stop(fit, a, k)):
            try:
                resolve(run, world.machine)
            except KeyboardInterrupt:
                stopped.touch()
        return {path.parent.name for path in (work_root() / "runs").glob("*/checkpoint.pt")}
    return {resolve(run, world.machine).folder.path.name}


def _stop(fit: Callable, arguments: tuple, options: dict) -> None:
    fit(*arguments, **options, stop_at=1)
    raise KeyboardInterrupt


def _from_file(world: World) -> set[str]:
    """``semiseg run FILE``, from the file that the first run wrote: other inputs are refused."""
    first = work_root() / "first"
    if not first.is_file():
        run = resolve(self_correction.supervised(world.profile, world.seed), world.machine)
        first.write_text(run.folder.path.name, encoding="utf-8")
    name = first.read_text(encoding="utf-8")
    said = command(world, "run", str(work_root() / "runs" / name), "--device", "cpu")
    return set(RESULT.findall(said))


def _opened(world: World) -> set[str]:
    """A run opened by its folder and scored: other classes are refused."""
    first = work_root() / "first"
    if not first.is_file():
        run = resolve(self_correction.supervised(world.profile, world.seed), world.machine)
        first.write_text(run.folder.path.name, encoding="utf-8")
    trained = open_run(work_root() / "runs" / first.read_text(encoding="utf-8"), world.machine)
    trained.evaluate("test")
    return {trained.folder.path.name}


def _evaluated(world: World) -> set[str]:
    """``semiseg evaluate RUN``: other classes and other test images are refused."""
    name = _opened(world).pop()
    said = command(world, "evaluate", str(work_root() / "runs" / name), "--device", "cpu")
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
        raise ValueError(done.stderr.strip().splitlines()[-1])
    return set(RESULT.findall(done.stdout))


def _mixed(profile: Profile, seed: int) -> MixedLogits:
    return MixedLogits(self_correction.primary(profile, seed),
                       self_correction.logits(profile, seed), 0.5, profile.logits_bits)


def _labels(profile: Profile, seed: int) -> PseudoLabels:
    return self_training.pseudo_labels(
        profile, profile.rounds, self_correction.supervised(profile, seed), 1)


STORYLINES: Mapping[ModuleType, Mapping[str, Way]] = {
    self_correction: {
        "run": _value(lambda p, s: self_correction.run(p, s, p.supervised, p.train_supervised),
                      MASKS),
        "supervised": _value(self_correction.supervised, MASKS),
        "ancillary": _value(self_correction.ancillary, SEES_BOXES),
        "half_ancillary": _value(self_correction.half_ancillary, SEES_BOXES),
        "logits": _value(self_correction.logits, LABELS),
        "primary": _value(self_correction.primary, PRIMARY),
        "conv_start": _value(
            lambda p, s: self_correction.conv_start(p, s, ConvPrimaryConfig(width=6)),
            SEES_BOXES | {"logits"}),
        "conv_primary": _value(
            lambda p, s: self_correction.conv_primary(p, s, ConvPrimaryConfig(width=6)),
            CONV),
        "warm_primary": _value(self_correction.warm_primary, PRIMARY | {"supervised method"}),
        "second_round": _value(self_correction.second_round, PRIMARY),
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
    self_training: {
        "pseudo_labels": _value(_labels, MASKS | {"unlabelled"}),
        "student": _value(
            lambda p, s: self_training.student(p, s, p.rounds, _labels(p, s))[1], ROUNDS),
        "rounds": Way(_rounds, ROUNDS),
    },
}
"""The functions of the storylines, each as a way; a new one must be added here."""

TRAIN_COMMANDS = {
    "supervised": MASKS, "ancillary": SEES_BOXES, "primary": PRIMARY,
    "conv-primary": CONV, "pseudo-label": ROUNDS,
    "fixmatch": WITHOUT_BOXES, "cps": WITHOUT_BOXES,
}
UNTRIED = {
    "cutmix-cps": "cps", "cac": "fixmatch", "eln": "fixmatch", "s4mc": "fixmatch",
    "cutmix-s4mc": "fixmatch", "mean-teacher": "fixmatch",
}
"""Methods whose way through the library is that of another one, which is walked."""

COMMANDS: Mapping[str, Way] = {
    **{f"train {name}": _command("train", name, reads=reads)
       for name, reads in TRAIN_COMMANDS.items()},
    "logits": _command("logits", reads=LABELS),
    "pipeline": _command("pipeline", reads=PRIMARY | MASKS),
    "run": Way(_from_file, OF_THE_FILE),
    "evaluate": Way(_evaluated, SCORED),
}
NO_WAY = {
    "data": "fetches and checks images", "runs": "lists and prunes what is stored",
    "compare": "reads records", "doctor": "looks at the machine",
    "predict": "weights predict on any images", "visualize": "weights predict on any images",
    "book": "runs the chapters, which resolve values", "study": "runs arms, walked as `Arm.run`",
}
"""Commands that neither train nor score."""

OTHERS: Mapping[str, Way] = {
    "mixed logits": _value(_mixed, PRIMARY),
    "Arm.run": Way(_study, MASKS),
    "open_run": Way(_opened, SCORED),
    "interrupted": Way(_interrupted, MASKS),
    "distributed": Way(_distributed, MASKS),
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


def outcome(way: Way, change: Change, before: set[str], world: World) -> str:
    """Go a way after a change; say what came of it, "" where that is right."""
    seen = change.seen_by in way.reads
    change.apply(world)
    try:
        after = way.take(world)
    except ValueError as error:
        return "" if seen else f"refused, though it reads no such thing: {error}"
    if seen and after == before:
        return "the old answer"
    return "" if seen or after == before else "trained anew, though it reads no such thing"
