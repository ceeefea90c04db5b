"""What a value builds on fits it: classes, the images of stored labels, the layers of a start."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import own_folder
import pytest

from semiseg_lib import recipes
from semiseg_lib.experiments import Inputs, MixedLogits, Run, resolve
from semiseg_lib.experiments import pseudo_labelling as rounds
from semiseg_lib.experiments import self_correction as story
from semiseg_lib.experiments.machine import Machine
from semiseg_lib.recipes import Profile

PROFILE = own_folder.profile()


def of_classes(*names: str) -> Profile:
    return replace(PROFILE, data=replace(PROFILE.data, keep=("background", *names)))


OWN, SWAPPED, FEWER = of_classes("disc", "square"), of_classes("square", "disc"), of_classes("disc")


def primary(profile: Profile, parents: Profile) -> Run:
    return replace(story.primary(profile, 0), unlabelled_logits=story.logits(parents, 0))


def second_primary(profile: Profile, parents: Profile) -> Run:
    mixed = MixedLogits(story.primary(profile, 0), story.logits(parents, 0), 0.5)
    return replace(story.primary(profile, 0), unlabelled_logits=mixed)


def student(profile: Profile, parents: Profile, seed: int = 0) -> Run:
    teacher = story.supervised(parents, 0)
    labels = rounds.pseudo_labels(parents, parents.rounds, teacher, 1)
    return rounds.student(profile, seed, profile.rounds, labels)[0]


def started(profile: Profile, parents: Profile) -> Run:
    return replace(story.supervised(profile, 0), start=(story.supervised(parents, 0),))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "data"
    return own_folder.draw(folder, masked=8, boxes=True, lists=True)


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("parents", [SWAPPED, FEWER], ids=["swapped", "fewer"])
@pytest.mark.parametrize("value", [primary, second_primary, student, started])
def test_parents_of_other_classes_are_refused(
    root, work, value: Callable[[Profile, Profile], Run], parents
):
    Inputs(root).identity(value(OWN, OWN))
    with pytest.raises(ValueError, match="cannot build on a run of the classes background, "):
        resolve(value(OWN, parents), Machine("cpu", root))
    assert not (work / "runs").exists(), "refused before its parents are trained"


@pytest.mark.parametrize("value", [primary, second_primary, student])
def test_stored_labels_of_other_images_are_refused(root, value):
    """They are paired by position: labels of other images would be learnt without a word."""
    other = replace(PROFILE, data=replace(PROFILE.data, at_most=1))
    with pytest.raises(ValueError, match=r"are labels of other images than the 2 unlabelled ones"):
        Inputs(root).identity(value(PROFILE, other))


def test_a_student_of_another_seed_than_its_teacher_is_refused_where_images_are_drawn():
    digits = recipes.load("smoke", "digits")
    teacher = story.supervised(digits, 11)
    labels = rounds.pseudo_labels(digits, digits.rounds, teacher, 1)
    first, _ = rounds.student(digits, 11, digits.rounds, labels)
    Inputs().identity(first)
    first, _ = rounds.student(digits, 12, digits.rounds, labels)
    with pytest.raises(ValueError, match="images are in one of the two only, such as digit_"):
        Inputs().identity(first)


def test_a_start_of_other_layers_is_refused_before_it_is_trained(root, work):
    wider = replace(PROFILE, model=replace(PROFILE.model, width=3))
    with pytest.raises(ValueError, match="other layers or widths"):
        resolve(started(PROFILE, wider), Machine("cpu", root))
    assert not list((work / "runs").glob("*/*.safetensors"))


def test_boxes_that_a_teacher_reads_are_part_of_its_pseudo_labels(root, tmp_path):
    own = tmp_path / "copy"
    shutil.copytree(root, own)
    by_boxes = rounds.pseudo_labels(PROFILE, PROFILE.rounds, story.ancillary(PROFILE, 0), 1)
    plain = rounds.pseudo_labels(PROFILE, PROFILE.rounds, story.supervised(PROFILE, 0), 1)
    before = [Inputs(own).identity(one).digest for one in (by_boxes, plain)]
    path = own / "boxes" / "p4.xml"
    path.write_text(path.read_text().replace("disc", "square", 1))
    after = [Inputs(own).identity(one).digest for one in (by_boxes, plain)]
    assert before[0] != after[0] and before[1] == after[1]
    path.unlink()
    with pytest.raises(ValueError, match="1 unlabelled images have none, such as p4"):
        Inputs(own).identity(by_boxes)


def test_logits_of_the_other_part_and_masks_without_boxes_are_refused(root):
    value = story.primary(PROFILE, 0)
    with pytest.raises(ValueError, match="unlabelled_logits of a run are logits of the labelled"):
        replace(value, unlabelled_logits=replace(value.unlabelled_logits, part="labelled"))
    with pytest.raises(ValueError, match="ancillary reads boxes, and learns from the masks of"):
        Inputs(root).identity(replace(story.ancillary(PROFILE, 0), masks="all"))
