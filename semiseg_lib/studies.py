"""Studies: the same question asked with several seeds, and the records that answer it.

A study is a list of arms. Its records are small JSON files in ``notebooks/records``; the chapters
draw their tables from them, and ``semiseg study NAME`` makes them again.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch

from semiseg_lib.datasets.augment import AugmentConfig
from semiseg_lib.datasets.catalogue import DataConfig
from semiseg_lib.datasets.loaders import Pool
from semiseg_lib.datasets.minivoc import BoxStyle
from semiseg_lib.evaluate import Evaluation, predict_logits
from semiseg_lib.methods import AncillaryConfig, PrimaryConfig, SupervisedConfig
from semiseg_lib.methods.self_correcting import AlphaSchedule, linear_correction
from semiseg_lib.models import ModelConfig
from semiseg_lib.paths import CHECKOUT, atomic_write
from semiseg_lib.profiles import Profile
from semiseg_lib.runs import fingerprint
from semiseg_lib.stages import Pipeline
from semiseg_lib.train import TrainConfig

Scores = dict[str, float]


@dataclass(frozen=True)
class Arm:
    """One way of doing it.

    Attributes:
        text: what is done, for tables.
        stage: what is trained and scored, a key of ``SCORES``.
        options: the primary's options, for the stages that have one.
        world: the mini-VOC world.
        labelled_boxes, weak_boxes: how boxes are drawn, where not as the world says.
    """

    text: str
    stage: str
    options: PrimaryConfig | None = None
    world: str = "hurried"
    labelled_boxes: BoxStyle | None = None
    weak_boxes: BoxStyle | None = None

    def profile(self, profile: Profile) -> Profile:
        """The profile on this arm's pictures and boxes."""
        data = replace(
            profile.data,
            world=self.world, labelled_boxes=self.labelled_boxes, weak_boxes=self.weak_boxes,
        )
        return replace(profile, data=data)

    def fingerprint(self, profile: Profile) -> str:
        """Changes with everything that decides this arm's scores, the seed aside."""
        chosen = self.profile(profile)
        return fingerprint(_Recipe(
            self.stage, self.options, chosen.data, chosen.model, chosen.augment,
            chosen.train_supervised, chosen.train_ancillary, chosen.train_primary,
            chosen.supervised, chosen.ancillary,
        ))


@dataclass(frozen=True)
class _Recipe:
    stage: str
    options: PrimaryConfig | None
    data: DataConfig
    model: ModelConfig
    augment: AugmentConfig
    train_supervised: TrainConfig
    train_ancillary: TrainConfig
    train_primary: TrainConfig
    supervised: SupervisedConfig
    ancillary: AncillaryConfig


def percent(evaluation: Evaluation) -> float:
    """mIoU in percent."""
    return 100 * evaluation.mean_iou


def supervised(pipeline: Pipeline, options: None = None) -> Scores:
    """Masks alone."""
    return {"test": percent(pipeline.evaluate(pipeline.supervised()))}


def ancillary(pipeline: Pipeline, options: None = None) -> Scores:
    """The ancillary, which sees boxes: on the test pictures' boxes and on the weak pictures'."""
    return {
        "test": percent(pipeline.evaluate(pipeline.ancillary())),
        "weak labels": percent(pipeline.evaluate_weak_labels(pipeline.logits().read())),
    }


def primary(pipeline: Pipeline, options: PrimaryConfig) -> Scores:
    """The primary; also the labels that it and the ancillary end up agreeing on."""
    trained = pipeline.primary(options)
    mixed = linear_correction(
        predict_logits(trained.method, pipeline.data.weak),
        pipeline.logits().read().float(),
        options.alpha.end,
    )
    return {
        "test": percent(pipeline.evaluate(trained)),
        "weak labels": percent(pipeline.evaluate_weak_labels(mixed)),
    }


def second_round(pipeline: Pipeline, options: PrimaryConfig) -> Scores:
    """A fresh primary learns, uncorrected, what the first one and the ancillary agree on."""
    labels = pipeline.mixed_logits(pipeline.primary(options), alpha=0.5)
    return {
        "test": percent(pipeline.evaluate(pipeline.primary(NONE, labels))),
        "weak labels": percent(pipeline.evaluate_weak_labels(labels.read())),
    }


def all_masks(pipeline: Pipeline, options: None = None) -> Scores:
    """What the hidden masks would be worth: every picture labelled, as many steps as a primary."""
    data, profile = pipeline.data, pipeline.profile
    train = profile.train_primary
    train = replace(train, batch_labelled=train.batch_labelled + train.batch_weak, batch_weak=0)
    everything = Pool(
        names=data.labelled.names + data.weak.names,
        images=torch.cat([data.labelled.images, data.weak.images]),
        masks=torch.cat([data.labelled.masks, torch.from_numpy(data.weak_truth)]),
    )
    config = pipeline.config(profile.supervised, train, labels_from="hidden masks")
    return {"test": percent(pipeline.evaluate(pipeline.train(config, labelled=everything)))}


SCORES: Mapping[str, Callable[[Pipeline, PrimaryConfig | None], Scores]] = {
    "supervised": supervised,
    "ancillary": ancillary,
    "primary": primary,
    "second round": second_round,
    "all masks": all_masks,
}


def linear(end: float = 0.5, start: float = 30.0, until: float = 0.3) -> PrimaryConfig:
    """Linear correction with a schedule."""
    return PrimaryConfig(correction="linear", alpha=AlphaSchedule(start, end, until))


NONE = PrimaryConfig(correction="none")
LOOSE = BoxStyle(loose=(0.15, 0.45), jitter=0.05)
TIGHT = BoxStyle()
MISSED = BoxStyle(missed=0.3)

STUDIES: Mapping[str, Mapping[str, Arm]] = {
    "tight": {
        "supervised": Arm("masks alone", "supervised", world="tight"),
        "ancillary": Arm("ancillary (sees boxes)", "ancillary", world="tight"),
        "none": Arm("primary, no correction", "primary", NONE, world="tight"),
        "linear": Arm("primary, linear, α 30 → 0.5", "primary", linear(), world="tight"),
        "constant": Arm("primary, linear, α = 0.5", "primary", linear(until=0), world="tight"),
        "all masks": Arm("all pictures labelled", "all masks", world="tight"),
    },
    "hurried": {
        "supervised": Arm("masks alone", "supervised"),
        "ancillary": Arm("ancillary (sees boxes)", "ancillary"),
        "none": Arm("primary, no correction", "primary", NONE),
        "linear": Arm("primary, linear, α 30 → 0.5", "primary", linear()),
        "all masks": Arm("all pictures labelled", "all masks"),
    },
    "schedules": {
        "none": Arm("no correction", "primary", NONE),
        "linear": Arm("30 → 0.5 by 30 %", "primary", linear()),
        "slow": Arm("30 → 0.5 by 100 %", "primary", linear(until=1.0)),
        "constant": Arm("0.5 throughout", "primary", linear(until=0)),
        "self": Arm("0 throughout: own labels", "primary", linear(end=0, until=0)),
        "trusting": Arm("30 throughout", "primary", linear(end=30, until=0)),
    },
    "controls": {
        "none": Arm("no correction", "primary", NONE),
        "linear": Arm("linear correction", "primary", linear()),
        "ensemble": Arm("retrained on ensemble of none and ancillary", "second round", NONE),
        "second round": Arm("linear, then retrained on its labels", "second round", linear()),
    },
    "label errors": {
        "loose none": Arm("weak boxes loose, no correction", "primary", NONE),
        "loose linear": Arm("weak boxes loose, linear", "primary", linear()),
        "tight none": Arm("all boxes tight, no correction", "primary", NONE, weak_boxes=TIGHT),
        "tight linear": Arm("all boxes tight, linear", "primary", linear(), weak_boxes=TIGHT),
        "equal none": Arm(
            "all boxes loose, no correction", "primary", NONE, labelled_boxes=LOOSE
        ),
        "equal linear": Arm("all boxes loose, linear", "primary", linear(), labelled_boxes=LOOSE),
        "missed none": Arm("weak boxes missing, no correction", "primary", NONE, weak_boxes=MISSED),
        "missed linear": Arm("weak boxes missing, linear", "primary", linear(), weak_boxes=MISSED),
    },
}


@dataclass(frozen=True)
class Records:
    """The scores of one study.

    Attributes:
        rows: one dict for each arm and seed: ``arm``, ``seed``, ``config`` and the scores.
        profile: the profile that made them.
        machine: where they were made: processor, threads, versions.
    """

    rows: list[dict]
    profile: str
    machine: dict[str, str]

    def scores(self, arm: str, score: str = "test") -> list[float]:
        """One score of an arm in percent, seeds ascending."""
        rows = sorted((r for r in self.rows if r["arm"] == arm), key=lambda r: r["seed"])
        return [row[score] for row in rows if score in row]

    def seeds(self, arm: str) -> list[int]:
        """The seeds of an arm, ascending."""
        return sorted(row["seed"] for row in self.rows if row["arm"] == arm)


def run_arm(arm: Arm, profile: Profile, seed: int, device: str | None = None) -> Scores:
    """Run one arm with one seed; runs that are on disk are loaded."""
    return SCORES[arm.stage](Pipeline(arm.profile(profile), seed, device), arm.options)


def run(
    name: str, profile: Profile, seeds: tuple[int, ...] | None = None, device: str | None = None
) -> Records:
    """Run what a study's records still lack, and store them after each arm.

    Raises:
        KeyError: there is no such study.
    """
    arms, path = STUDIES[name], record_path(name, profile.name)
    stored = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    rows = _current(stored, name, profile)
    for seed in seeds or profile.seeds:
        for arm_name, arm in arms.items():
            if any(r["arm"] == arm_name and r["seed"] == seed for r in rows):
                continue
            scores = run_arm(arm, profile, seed, device)
            config = arm.fingerprint(profile)
            rows.append({"arm": arm_name, "seed": seed, "config": config, **scores})
            _store(path, Records(rows, profile.name, this_machine()))
    return read(name, profile)


def read(name: str, profile: Profile) -> Records:
    """Read a study's records; rows made with another configuration are left out.

    Raises:
        FileNotFoundError: nothing is stored yet, or only what other settings gave.
    """
    path = record_path(name, profile.name)
    mend = f"Make it: semiseg study {name!r} --profile {profile.name}"
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is not there yet. {mend}")
    stored = Records(**json.loads(path.read_text(encoding="utf-8")))
    rows = _current(stored.rows, name, profile)
    if stored.rows and not rows:
        raise FileNotFoundError(f"{path.name} was made with other settings than now. {mend}")
    return replace(stored, rows=rows)


def _current(rows: list[dict], name: str, profile: Profile) -> list[dict]:
    """The rows that today's arms would give again."""
    fingerprints = {arm: recipe.fingerprint(profile) for arm, recipe in STUDIES[name].items()}
    return [row for row in rows if fingerprints.get(row["arm"]) == row["config"]]


def record_path(name: str, profile: str) -> Path:
    """Where a study's records lie."""
    return CHECKOUT / "notebooks" / "records" / f"{name.replace(' ', '_')}-{profile}.json"


def this_machine() -> dict[str, str]:
    """What a reader needs to know about the machine behind a number."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "processor": platform.machine(), "gpu": gpu, "threads": str(torch.get_num_threads()),
        "torch": torch.__version__, "semiseg_lib": version("semiseg_lib"),
    }


def _store(path: Path, records: Records) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(vars(records), indent=1), encoding="utf-8")
