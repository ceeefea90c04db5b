"""The identity of a value changes with all that it is made from, and with nothing else."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from semiseg_lib import methods
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.core.fingerprint import load
from semiseg_lib.experiments import Inputs, Logits, PseudoLabels, Run
from semiseg_lib.experiments import self_correction as story
from semiseg_lib.experiments.identity import KINDS, SCHEMA, blueprint
from semiseg_lib.experiments.pseudo_labelling import pseudo_labels, student
from semiseg_lib.experiments.semi_supervised import learn
from semiseg_lib.experiments.values import Value
from semiseg_lib.methods import AncillaryConfig, ConvPrimaryConfig, ELNConfig
from semiseg_lib.models import ModelConfig
from semiseg_lib.recipes import Profile


def values_of(profile: Profile) -> dict[str, Value]:
    """A value of every kind."""
    labels = pseudo_labels(profile, profile.rounds, story.supervised(profile, 0), 1)
    return {
        "supervised": story.supervised(profile, 0),
        "ancillary": story.ancillary(profile, 0),
        "half ancillary": story.half_ancillary(profile, 0),
        "logits": story.logits(profile, 0),
        "primary": story.primary(profile, 0),
        "conv primary": story.primary(profile, 0, ConvPrimaryConfig(width=6)),
        "second round": story.second_round(profile, 0),
        "fixmatch": learn(profile, 0, profile.unlabelled["fixmatch"]),
        "pseudo-labels": labels,
        "student": student(profile, 0, profile.rounds, labels)[1],
        "all masks": story.all_masks(profile, 0),
    }


BOXES = {"ancillary", "half ancillary", "logits", "primary", "conv primary", "second round"}
"""What was made from boxes."""
UNLABELLED = {"logits", "primary", "conv primary", "second round", "fixmatch", "pseudo-labels",
              "student", "all masks"}
"""What was made from the unlabelled images."""
EVERYTHING = BOXES | UNLABELLED | {"supervised"}


def digests(root: Path, profile: Profile) -> dict[str, str]:
    inputs = Inputs(root)
    return {name: inputs.identity(one).digest for name, one in values_of(profile).items()}


def half(own: Path) -> set[str]:
    """The names of the first half of the labelled images."""
    return set(Data(DataConfig("folder"), 0, own).halves[0].names)


def changed(own: Path, profile: Profile, change, *paths: str) -> set[str]:
    """The names of the values whose identity a change of these files changes."""
    before = digests(own, profile)
    assert set(before) == EVERYTHING and len(set(before.values())) == len(before)
    for path in paths:
        change(own / path)
    after = digests(own, profile)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("path, expected", [
    ("images/p5.png", UNLABELLED),
    ("masks/p5.png", {"all masks"}),
    ("boxes/p5.xml", BOXES - {"ancillary", "half ancillary"}),
    ("images/p8.png", set()),
    ("masks/p8.png", set()),
    ("boxes/p8.xml", set()),
    ("images/p10.png", set()),
    ("masks/p10.png", set()),
    ("boxes/p10.xml", set()),
    ("labelled.txt", EVERYTHING),
    ("unlabelled.txt", UNLABELLED),
    ("val.txt", set()),
    ("classes.txt", EVERYTHING),
])
def test_a_changed_file_changes_what_was_made_from_it_alone(
    own, work, tiny, change, path, expected
):
    """The test images, and those of validation where nobody validates, have no part in a run."""
    assert changed(own, tiny, change, path) == expected


@pytest.mark.parametrize("kind, expected", [
    ("images/{}.png", EVERYTHING), ("masks/{}.png", EVERYTHING), ("boxes/{}.xml", BOXES),
])
def test_a_labelled_image_counts_where_it_was_learnt(own, work, tiny, change, kind, expected):
    """The supervised run and what rests on it know no boxes; the ancillary's do. One half of the
    masks is not the other."""
    seen = half(own)
    first = min(seen)
    other = min({"p0", "p1", "p2", "p3"} - seen)
    assert changed(own, tiny, change, kind.format(first)) == expected
    assert changed(own, tiny, change, kind.format(other)) == expected - {"half ancillary"}


@pytest.mark.parametrize("path, expected", [
    ("images/p8.png", EVERYTHING),
    ("masks/p8.png", EVERYTHING),
    ("boxes/p8.xml", BOXES),
    ("val.txt", EVERYTHING),
    ("images/p10.png", set()),
    ("boxes/p10.xml", set()),
    ("masks/p10.png", set()),
])
def test_a_validated_run_is_made_from_its_validation_images_too(
    own, work, scored, change, path, expected
):
    assert changed(own, scored, change, path) == expected


def test_times_and_places_of_files_do_not_count(own, work, tiny, tmp_path):
    before = digests(own, tiny)
    for path in own.rglob("*.*"):
        os.utime(path, (1, 1))
    assert digests(own, tiny) == before
    shutil.copytree(own, tmp_path / "elsewhere" / "copied")
    assert digests(tmp_path / "elsewhere" / "copied", tiny) == before


def test_the_same_names_with_other_bytes_are_another_run_of_the_same_recipe(
    own, work, tiny, change, tmp_path
):
    shutil.copytree(own, tmp_path / "other")
    change(tmp_path / "other" / "images" / "p0.png")
    value = story.supervised(tiny, 0)
    one, two = (Inputs(root).identity(value) for root in (own, tmp_path / "other"))
    assert one.options_digest == two.options_digest and one.digest != two.digest
    assert one.name == f"supervised-{one.options_digest}-{one.digest[:10]}" != two.name


def test_an_image_that_is_gone_is_named(own, work, tiny):
    (own / "images" / "p5.png").unlink()
    with pytest.raises((FileNotFoundError, ValueError), match="p5"):
        Inputs(own).identity(story.primary(tiny, 0))


# Options


def test_seed_draw_and_every_value_that_something_builds_on_count(own, work, tiny):
    inputs = Inputs(own)
    primary = story.primary(tiny, 0)
    logits = primary.unlabelled_logits
    others = [
        story.primary(tiny, 1), replace(primary, draw=1),
        replace(primary, unlabelled_logits=replace(logits, bits=8)),
        replace(primary, unlabelled_logits=replace(
            logits, run=replace(logits.run, method=AncillaryConfig(ema_decay=0.5))
        )),
        replace(primary, unlabelled_logits=replace(logits, run=replace(logits.run, draw=1))),
        replace(primary, start=(story.supervised(tiny, 0),)),
        replace(primary, start=(story.supervised(tiny, 0, draw=1),)),
        story.second_round(tiny, 0), story.second_round(tiny, 0, alpha=0.25),
    ]
    found = [inputs.identity(one) for one in (primary, *others)]
    assert len({one.digest for one in found}) == len({one.name for one in found}) == 10


def test_the_halves_and_all_of_the_masks_are_not_the_labelled_ones(own, work, tiny):
    inputs, run = Inputs(own), story.supervised(tiny, 0)
    identities = [inputs.identity(replace(run, masks=masks))
                  for masks in ("labelled", "first half", "all")]
    assert len({one.digest for one in identities}) == 3
    assert len({one.images["labelled"] for one in identities}) == 3


@pytest.mark.parametrize("where", ["model", "error"])
def test_the_file_of_an_encoders_weights_counts(own, work, tiny, tmp_path, where):
    """Also that of a further network, and by its bytes alone; without weights there is no entry."""
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"one")
    network = ModelConfig(
        architecture="deeplab", encoder="resnet18", weights=str(weights), decoder_width=8
    )
    run = learn(tiny, 0, ELNConfig(error=network)) if where == "error" else replace(
        story.supervised(tiny, 0), model=network
    )
    before = Inputs(own).identity(run)
    assert set(before.weights) == {where}
    os.utime(weights, (1, 1))
    assert Inputs(own).identity(run).digest == before.digest
    weights.write_bytes(b"two")
    after = Inputs(own).identity(run)
    assert after.digest != before.digest and after.options_digest == before.options_digest
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"no file of encoder weights at .*weights\.pth"):
        Inputs(own).identity(run)
    assert Inputs(own).identity(story.supervised(tiny, 0)).weights == {}


def test_the_identity_is_the_digest_of_a_description_that_gives_the_value_back(own, work, tiny):
    inputs = Inputs(own)
    for value in values_of(tiny).values():
        identity = inputs.identity(value)
        stored = json.loads(json.dumps(identity.description))
        assert stored["schema"] == SCHEMA and stored["identity"] == identity.digest
        assert stored["kind"] == KINDS[type(value)]
        assert stored["inputs"]["classes"] == ["background", "cat", "dog"]
        again = load(type(value), stored["value"], Path("config.json"))
        assert again == value and inputs.identity(again).digest == identity.digest
        for name, parent in value.parents().items():
            assert stored["inputs"]["parents"][name] == inputs.identity(parent).digest


def test_what_a_value_reads_is_what_its_method_reads(own, work, tiny, scored):
    inputs = Inputs(own)

    def read(value: Value) -> dict[str, set[str]]:
        """The folders of the files that an image of each role is read from."""
        return {
            role: {one.parent.name for one in images.reader.content(images.indices[0])
                   if isinstance(one, Path)}
            for role, images in inputs.image_sets(value).items()
        }

    image, masks, boxes = {"images"}, {"images", "masks"}, {"images", "boxes"}
    values = values_of(tiny)
    assert read(values["supervised"]) == {"labelled": masks}
    assert read(values["ancillary"]) == {"labelled": masks | boxes}
    assert read(values["fixmatch"]) == {"labelled": masks, "unlabelled": image}
    assert read(values["primary"]) == {"labelled": masks, "unlabelled": image}
    assert read(values["pseudo-labels"]) == {"unlabelled": image}
    assert read(values["logits"]) == {"unlabelled": boxes}
    assert read(values["all masks"]) == {"labelled": masks}
    assert read(story.supervised(scored, 0))["val"] == masks
    assert read(story.ancillary(scored, 0))["val"] == masks | boxes


def test_every_method_says_before_its_training_what_it_reads(own, work, tiny):
    """Without memory for its weights: the network of a blueprint lies on no device."""
    runs = [one for one in values_of(tiny).values() if isinstance(one, Run)]
    for run in [*runs, *(learn(tiny, 0, one) for one in tiny.unlabelled.values())]:
        method = blueprint(run, 3)
        assert type(method) is methods.method_class(run.method)
        assert all(one.device.type == "meta" for one in method.parameters())


def test_values_of_two_kinds_never_share_an_identity(own, work, tiny):
    inputs, run = Inputs(own), story.supervised(tiny, 0)
    kinds = [run, Logits(story.ancillary(tiny, 0)), PseudoLabels(run, tiny.rounds.selection)]
    assert len({inputs.identity(one).digest for one in kinds}) == 3
