"""A value holds all that decides a result, survives the disk, and knows what is behind it."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from reachable import named_profiles

from semiseg_lib import methods
from semiseg_lib.batches.options import StrongConfig
from semiseg_lib.core.fingerprint import Configuration, Schema, digest, dump, plain, schema_of
from semiseg_lib.core.fingerprint import load as read
from semiseg_lib.datasets.dataset import LISTS
from semiseg_lib.datasets.minivoc.worlds import BoxStyle
from semiseg_lib.evaluation.options import WHOLE_IMAGE, Protocol
from semiseg_lib.experiments import (
    BoxLabels,
    Inputs,
    Logits,
    MixedLogits,
    PseudoLabels,
    Run,
    networks_trained,
    resolve,
    runs_behind,
)
from semiseg_lib.experiments import self_correction as story
from semiseg_lib.experiments.pseudo_labelling import pseudo_labels, student
from semiseg_lib.experiments.semi_supervised import learn, supervised_longer, warm_starts
from semiseg_lib.experiments.values import Value
from semiseg_lib.methods import ConvPrimaryConfig, PrimaryConfig
from semiseg_lib.methods.base import AveragedMethod
from semiseg_lib.methods.losses import cross_entropy
from semiseg_lib.methods.self_correcting import AlphaSchedule
from semiseg_lib.recipes import Profile, load

SMOKE = load("smoke")


def rounds_of(profile: Profile, count: int) -> list[Run]:
    """The students of so many rounds, fine-tuned, where each teaches the next."""
    teacher, found = story.supervised(profile, 7), []
    for number in range(1, count + 1):
        labels = pseudo_labels(profile, profile.rounds, teacher, number)
        _, teacher = student(profile, 7, profile.rounds, labels)
        found.append(teacher)
    return found


def values_of(profile: Profile) -> dict[str, Value]:
    """A value of every kind and of every method that the profile has."""
    runs = {
        "supervised": story.supervised(profile, 7), "another draw": story.supervised(profile, 7, 1),
        "ancillary": story.ancillary(profile, 7), "half": story.half_ancillary(profile, 7),
        "primary": story.primary(profile, 7),
        "uncorrected": story.primary(profile, 7, story.UNCORRECTED),
        "conv start": story.conv_start(profile, 7, ConvPrimaryConfig()),
        "conv primary": story.primary(profile, 7, ConvPrimaryConfig()),
        "warm primary": story.warm_primary(profile, 7, PrimaryConfig()),
        "second round": story.second_round(profile, 7, PrimaryConfig()),
        "all masks": story.all_masks(profile, 7),
        "longer": supervised_longer(profile, 7),
        **{f"round {n}": one for n, one in enumerate(rounds_of(profile, 2), 1)},
        **{name: learn(profile, 7, one) for name, one in profile.unlabelled.items()},
    }
    others = {
        "logits": story.logits(profile, 7, "labelled"),
        "mixed": runs["second round"].unlabelled_logits,
        "drawn": story.drawn_labels(profile, 7),
        "pseudo-labels": runs["round 1"].start[0].masks,
    }
    return runs | others


@pytest.mark.parametrize("profile", named_profiles().values(), ids=named_profiles())
def test_every_value_of_every_profile_survives_json(profile):
    """Written in full, or as what its identity is made of: the same value comes back."""
    values = values_of(profile)
    kinds = {type(one) for one in values.values()}
    assert kinds == {Run, Logits, MixedLogits, BoxLabels, PseudoLabels}
    for name, value in values.items():
        stored = json.loads(json.dumps(dump(value), allow_nan=False))
        again = read(type(value), stored, Path("config.json"))
        assert again == value and digest(again) == digest(value), name
        if isinstance(value, Run):
            assert type(again.method) is type(value.method) and type(again.start) is tuple
        decides = json.loads(json.dumps(plain(value), allow_nan=False))
        assert digest(read(type(value), decides, Path("config.json"))) == digest(value), name
    assert len({digest(one) for one in values.values()}) == len(set(values.values()))


# Everything counts


def leaves(value, path: tuple[str, ...] = ()):
    """The path of every field of a nested dataclass that is none itself."""
    for field in fields(value):
        inner = getattr(value, field.name)
        if is_dataclass(inner):
            yield from leaves(inner, (*path, field.name))
        else:
            yield (*path, field.name)


OTHERS = {
    "correction": "none", "world": "harder", "optimizer": "sgd", "schedule": "poly",
    "precision": "bf16", "lr_end": 1e-3, "unboxed": "empty", "crop": 32, "scale": (0.5, 1.0),
    "border": "padding", "flip": 0.25, "keep": ("disc",), "shape": "cosine", "norm": "group",
    "rates": (6, 12), "labelled_boxes": BoxStyle(missed=0.1),
    "unlabelled_boxes": BoxStyle(missed=0.1), "masks": "all", "part": "labelled", "bits": 8,
    "start": (story.supervised(SMOKE, 7),), "labelled_logits": story.logits(SMOKE, 7, "labelled"),
    "architecture": "deeplab", "output_stride": 8, "boxes": "heat map", "pyramid_momentum": 0.2,
    "unlabelled_logits": story.logits(SMOKE, 7), "strong": StrongConfig(),
    "strong_labelled": StrongConfig(),
}


def changed(value, path: tuple[str, ...]):
    """A copy that differs in one field."""
    name, *rest = path
    if name in ("validation", "validate_every") or rest == ["validate_every"]:
        protocol = Protocol() if value.validation is None else None
        return replace(value, validation=protocol, train=replace(
            value.train, validate_every=int(protocol is not None)
        ))
    old = getattr(value, name)
    if rest:
        return replace(value, **{name: changed(old, tuple(rest))})
    if name == "dataset":
        return replace(value, dataset="voc", options=None)
    if name == "name":
        return replace(value, name="another")
    if name == "stop":
        return replace(value, stop=value.train.log_every)
    if name in OTHERS and (name != "start" or isinstance(old, tuple)):
        return replace(value, **{name: OTHERS[name]})
    if isinstance(old, bool):
        return replace(value, **{name: not old})
    if isinstance(old, int | float):
        return replace(value, **{name: old + 1})
    if isinstance(old, str) and name in {*LISTS, "published", "encoder", "weights"}:
        return replace(value, **{name: "abc"})
    raise AssertionError(f"{name}: a new field of a type that this test cannot change: teach it")


PRIMARY = story.primary(
    replace(SMOKE, **{f"train_{name}": replace(getattr(SMOKE, f"train_{name}"), schedule="cosine")
                      for name in ("ancillary", "primary")}),
    7, PrimaryConfig(alpha=AlphaSchedule(7, 0.25, 0.4)),
)
PATHS = list(leaves(PRIMARY))


def is_aside(path: tuple[str, ...]) -> bool:
    """Whether the class that holds an option says that it decides nothing."""
    owner = PRIMARY
    for name in path[:-1]:
        owner = getattr(owner, name)
    return path[-1] in schema_of(type(owner)).aside


@pytest.mark.parametrize("path", [one for one in PATHS if not is_aside(one)], ids=".".join)
def test_every_option_of_a_run_and_of_what_it_builds_on_counts(path):
    """A run that differs in anything must never be mistaken for one on disk."""
    if path == ("unlabelled_logits", "part"):
        with pytest.raises(ValueError, match="unlabelled_logits of a run are logits of the label"):
            changed(PRIMARY, path)
        other = replace(PRIMARY.unlabelled_logits, part="labelled")
        assert digest(other) != digest(PRIMARY.unlabelled_logits)
        return
    assert digest(changed(PRIMARY, path)) != digest(PRIMARY)


@pytest.mark.parametrize("path", [one for one in PATHS if is_aside(one)], ids=".".join)
def test_an_option_that_is_set_aside_does_not_count(path):
    assert digest(changed(PRIMARY, path)) == digest(PRIMARY)


def test_the_options_of_what_a_run_builds_on_are_among_them():
    assert ("unlabelled_logits", "run", "method", "ema_decay") in PATHS
    assert ("unlabelled_logits", "run", "data", "options", "world") in PATHS
    assert {path[0] for path in PATHS} == {field.name for field in fields(Run)}


@pytest.mark.parametrize("name, changes", [
    ("mixed", {"alpha": 0.25}), ("mixed", {"bits": 8}), ("mixed", {"primary": PRIMARY}),
    ("pseudo-labels", {"number": 2}), ("pseudo-labels", {"protocol": Protocol(flip=True)}),
    ("pseudo-labels", {"teacher": story.supervised(SMOKE, 8)}),
    ("logits", {"bits": 8}), ("logits", {"part": "unlabelled"}),
])
def test_every_option_of_stored_labels_counts(name, changes):
    value = values_of(SMOKE)[name]
    assert digest(replace(value, **changes)) != digest(value)


def test_how_often_a_checkpoint_is_written_decides_nothing():
    often = replace(PRIMARY, train=replace(PRIMARY.train, checkpoint_seconds=1))
    assert digest(often) == digest(PRIMARY) and often != PRIMARY
    assert "checkpoint_seconds" in dump(PRIMARY)["train"]


def test_a_run_that_differs_in_what_decides_nothing_is_found(work, tiny, machine, monkeypatch):
    first = resolve(story.primary(tiny, 0), machine)
    patient = {name: replace(value, checkpoint_seconds=1e9) for name, value in vars(tiny).items()
               if name.startswith("train_")}
    value = story.primary(replace(tiny, **patient), 0)
    monkeypatch.setattr("semiseg_lib.experiments.training.fit", None)
    again = resolve(value, machine)
    assert again.folder.path == first.folder.path and again.record == first.record
    assert (again.run, first.run) == (value, story.primary(tiny, 0))
    assert resolve(value.unlabelled_logits, machine).complete


class Mine(AveragedMethod):
    def __init__(self, config, network) -> None:
        super().__init__(network, 0.9)

    def losses(self, batch, progress):
        part = batch.labelled
        return {"labelled": cross_entropy(self.network(part.images), part.masks)}


def options_of_mine(further: bool) -> type:
    """The options of a method before and after it got one more."""
    if not further:
        @dataclass(frozen=True)
        class MineConfig(Configuration):
            name: Literal["mine"] = "mine"
    else:
        @dataclass(frozen=True)
        class MineConfig(Configuration):
            SCHEMA: ClassVar[Schema] = Schema(before={"further": "as ever"})

            name: Literal["mine"] = "mine"
            further: str = "changed"

    MineConfig.__qualname__ = "MineConfig"
    return MineConfig


def test_what_was_stored_before_an_option_came_is_still_found(work, tiny, machine, monkeypatch):
    monkeypatch.setattr(methods.registry, "METHODS", dict(methods.registry.METHODS))
    before = options_of_mine(further=False)
    methods.register(before, Mine)
    first = resolve(replace(story.supervised(tiny, 0), method=before()), machine)
    after = options_of_mine(further=True)
    methods.register(after, Mine)
    value = replace(story.supervised(tiny, 0), method=after(further="as ever"))
    with monkeypatch.context() as patch:
        patch.setattr("semiseg_lib.experiments.training.fit", None)
        again = resolve(value, machine)
    assert again.folder.path == first.folder.path and again.run == value
    other = resolve(replace(value, method=after()), machine)
    assert other.folder.path != first.folder.path


def test_whole_numbers_and_their_floats_are_one_run():
    """AlphaSchedule(30) in a profile and AlphaSchedule(30.0) in a study are one run."""
    one, two = (story.primary(SMOKE, 7, PrimaryConfig(alpha=AlphaSchedule(start, 1, 1)))
                for start in (30, 30.0))
    assert digest(one) == digest(two)


# What a run refuses


@pytest.mark.parametrize("every, protocol", [(0, WHOLE_IMAGE), (2, None)])
def test_a_run_is_validated_where_its_training_says_so(every, protocol):
    train = replace(SMOKE.train_supervised, validate_every=every)
    with pytest.raises(ValueError, match=rf"exactly if train\.validate_every .* is {every}, "
                                         "validation is "):
        replace(story.supervised(SMOKE, 7), train=train, validation=protocol)
    fitting = replace(story.supervised(SMOKE, 7), train=train,
                      validation=None if protocol else WHOLE_IMAGE)
    assert fitting.weights == ("last" if protocol else "best")


def test_a_value_cannot_be_changed():
    with pytest.raises(AttributeError):
        PRIMARY.seed = 1
    assert hash(PRIMARY) == hash(replace(PRIMARY)) and PRIMARY in {replace(PRIMARY)}


# What is behind a run


def behind(value: Value) -> list[Run]:
    return list(runs_behind(value))


def test_the_runs_behind_each_storyline_are_these():
    supervised, ancillary = story.supervised(SMOKE, 7), story.ancillary(SMOKE, 7)
    half, primary = story.half_ancillary(SMOKE, 7), story.primary(SMOKE, 7)
    assert behind(supervised) == [supervised] and behind(ancillary) == [ancillary]
    assert behind(story.logits(SMOKE, 7)) == [ancillary]
    assert behind(primary) == [ancillary, primary]
    conv = story.primary(SMOKE, 7, ConvPrimaryConfig())
    start = story.conv_start(SMOKE, 7, ConvPrimaryConfig())
    assert behind(conv) == [ancillary, half, start, conv] and behind(start) == [half, start]
    warm = story.warm_primary(SMOKE, 7)
    assert behind(warm) == [ancillary, warm.start[0], warm]
    second = story.second_round(SMOKE, 7)
    assert behind(second.unlabelled_logits) == [ancillary, primary]
    assert behind(second) == [ancillary, primary, second]
    assert len(behind(story.all_masks(SMOKE, 7))) == 1


def test_the_runs_behind_methods_without_boxes_are_these():
    first, another = (story.supervised(SMOKE, 7, draw) for draw in (0, 1))
    fixmatch, cps = (learn(SMOKE, 7, SMOKE.unlabelled[name]) for name in ("fixmatch", "cps"))
    assert behind(fixmatch) == [first, fixmatch] and behind(cps) == [first, another, cps]
    longer = supervised_longer(SMOKE, 7)
    assert behind(longer) == [first, longer]
    one, two = rounds_of(SMOKE, 2)
    assert behind(one) == [first, one.start[0], one]
    assert behind(two) == [first, one.start[0], one, two.start[0], two]
    cold = learn(replace(SMOKE, warm=False), 7, SMOKE.unlabelled["cps"])
    assert behind(cold) == [cold] and warm_starts(replace(SMOKE, warm=False), 7, 2) == ()


@pytest.mark.parametrize("name, count", [
    ("supervised", 1), ("ancillary", 1), ("half", 1), ("all masks", 1),
    ("primary", 2), ("uncorrected", 2),  # the ancillary and itself
    ("conv start", 2),  # half an ancillary and itself
    ("conv primary", 3),  # an ancillary and half of one, and the start that it goes on from
    ("warm primary", 2), ("second round", 3),
    ("longer", 1), ("fixmatch", 1), ("eln", 1), ("mean-teacher", 1),
    ("cps", 2), ("cutmix-cps", 2),  # two supervised runs that it goes on from
    ("round 1", 2), ("round 2", 3),  # the first teacher, and a fresh student a round
])
def test_so_many_networks_were_trained_from_fresh_weights(name, count):
    assert networks_trained(values_of(SMOKE)[name]) == count


@pytest.mark.parametrize("name, count", [("fixmatch", 1), ("cps", 2), ("longer", 1)])
def test_without_a_warm_start_a_method_trains_its_own_networks_alone(name, count):
    assert networks_trained(values_of(replace(SMOKE, warm=False))[name]) == count


def test_a_run_that_two_others_build_on_is_trained_and_counted_once():
    """Behind a mixture the ancillary stands twice."""
    second = story.second_round(SMOKE, 7)
    mixed = second.unlabelled_logits
    assert mixed.ancillary.run in mixed.primary.unlabelled_logits.parents().values()
    assert [one.method.name for one in behind(second)] == ["ancillary", "primary", "primary"]


def test_many_rounds_are_walked_in_no_time():
    (*_, last) = rounds_of(SMOKE, 12)
    assert len(behind(last)) == 25 and networks_trained(last) == 13


def test_parents_have_names_that_stay(tmp_path):
    conv = story.primary(SMOKE, 7, ConvPrimaryConfig())
    assert list(conv.parents()) == ["labelled logits", "unlabelled logits", "start 1"]
    pretrained = rounds_of(SMOKE, 1)[0].start[0]
    assert list(pretrained.parents()) == ["masks"]
    assert list(pretrained.masks.parents()) == ["teacher"]
    assert list(story.second_round(SMOKE, 7).unlabelled_logits.parents()) == [
        "primary", "ancillary"
    ]


def test_an_identity_is_known_at_once_however_deep_a_run_lies(own, work, tiny):
    (*_, last) = rounds_of(tiny, 6)
    assert len(Inputs(own).identity(last).digest) == 64
