"""Iterated pseudo-labelling: who teaches next, what is stored where, what is done again."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from semiseg_lib import methods
from semiseg_lib.batches.data import Data
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.evaluation.predict import predict
from semiseg_lib.experiments import Inputs, Trained, resolve, training
from semiseg_lib.experiments.pseudo_labelling import (
    Round,
    evaluate_labels,
    pseudo_labels,
    rounds,
)
from semiseg_lib.experiments.self_correction import supervised
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.recipes import load
from semiseg_lib.recipes.profile import RoundsConfig
from semiseg_lib.stores.pseudo_labels import PseudoLabelStore

SMOKE, SEED = load("smoke"), 5
resolving = import_module("semiseg_lib.experiments.resolving")  # the package has the function
PLAN = SMOKE.rounds
AS_PUBLISHED = replace(PLAN, keep_better=False)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(folder))
        yield folder


def run(plan: RoundsConfig, count: int | None = None, **options) -> list[Round]:
    """The first ``count`` rounds; None for all that are planned."""
    return list(islice(rounds(SMOKE, SEED, plan, "cpu", **options), count))


def data() -> Data:
    return Data(SMOKE.data, SEED)


@pytest.fixture(scope="module")
def two(work) -> list[Round]:
    return run(AS_PUBLISHED)


@pytest.fixture
def begun(work, monkeypatch) -> list[tuple]:
    """Options, first weights and labelled images of each training."""
    seen, fit = [], training.fit

    def noted(method, loader, config, *rest, **named):
        weights = {name: value.clone() for name, value in method.network.state_dict().items()}
        seen.append((config, weights, loader.sets[0]))
        return fit(method, loader, config, *rest, **named)

    monkeypatch.setattr(training, "fit", noted)
    return seen


@pytest.fixture
def scores(monkeypatch):
    """Scores are made up: the teacher's, then each student's."""
    def made_up(*values: float) -> None:
        known: dict[str, float] = {}

        def evaluate(trained, split, protocol) -> SimpleNamespace:
            assert split == "val" and protocol == SMOKE.protocol
            key = str(trained.folder.path)
            if key not in known:
                known[key] = values[len(known)]
            return SimpleNamespace(mean_iou=known[key] / 100)

        monkeypatch.setattr(Trained, "evaluate", evaluate)

    return made_up


def weights(trained) -> dict:
    return trained.method.state_dict()


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_labels_lie_in_the_published_layout_as_the_teachers_own(two, work):
    teachers = [resolve(supervised(SMOKE, SEED), "cpu"), two[0].student]
    images = data().unlabelled
    for number, (one, teacher) in enumerate(zip(two, teachers, strict=True), 1):
        value = pseudo_labels(SMOKE, AS_PUBLISHED, teacher.run, number)
        name = Inputs().identity(value).name
        assert one.number == number and name.startswith(f"train_pseudoIt{number}-")
        assert one.labels.folder == work / "pseudo_labels" / name
        assert same(weights(one.teacher), weights(teacher))
        expected = predict(teacher.method, images.without_boxes())
        for name, label in zip(images.names, expected, strict=True):
            image = Image.open(one.labels.folder / f"{name}.png")
            assert image.mode == "P"
            np.testing.assert_array_equal(np.array(image), label)
        assert one.labels.kept == 1.0


def test_a_student_is_fresh_learns_the_labels_and_then_the_masks(two, begun):
    done = run(replace(AS_PUBLISHED, ema_decay=0.5))
    assert [config for config, *_ in begun] == 2 * [PLAN.pretrain, PLAN.finetune]
    pretrains, tunes = begun[::2], begun[1::2]
    torch.manual_seed(SEED)
    teachers = methods.build(SMOKE.supervised, SMOKE.model, 5).network.state_dict()
    starts = [teachers, *(weights for _, weights, _ in pretrains)]
    heads = [start["head.weight"] for start in starts]
    assert all(not torch.equal(heads[i], heads[j]) for i in range(3) for j in range(i))
    unlabelled, labelled = data().unlabelled, data().labelled
    for one, pretrain, tune in zip(done, pretrains, tunes, strict=True):
        assert pretrain[2].names == unlabelled.names and tune[2].names == labelled.names
        assert torch.equal(tune[2].masks, labelled.masks)
        stored = np.stack([one.labels[i] for i in range(len(one.labels))])
        np.testing.assert_array_equal(pretrain[2].masks.numpy(), stored)
        assert not same(pretrain[1], one.teacher.method.network.state_dict())
        assert not same(tune[1], pretrain[1])
        assert same(tune[1], one.pretrained.method.network.state_dict())
        assert one.student.history[-1]["step"] == 2
    assert np.array([done[0].labels[i] for i in range(16)]).any()


def test_a_student_goes_on_from_its_own_pretraining_on_its_teachers_labels(two):
    for one in two:
        tuned, pretrained = one.student.run, one.pretrained.run
        assert tuned.start == (pretrained,) and tuned.masks == "labelled"
        assert pretrained.masks == pseudo_labels(SMOKE, PLAN, one.teacher.run, one.number)
        assert (tuned.train, pretrained.train) == (PLAN.finetune, PLAN.pretrain)
        assert (tuned.method.stage, pretrained.method.stage) == ("fine-tune", "pretrain")
        assert tuned.draw == pretrained.draw == one.number == tuned.method.round
        identity = Inputs().identity(pretrained).digest
        assert one.student.folder.store.parents == {"start 1": identity}
        assert one.pretrained.folder.store.parents == {"masks": one.labels.source}
    assert two[1].teacher.run == two[0].student.run


@pytest.mark.parametrize("made_up, replaced, said", [
    ((50.0, 40.0, 45.0), [False, False], "does not replace its teacher"),
    ((50.0, 60.0, 55.0), [True, False], "does not replace its teacher"),
    ((50.0, 50.0, 51.0), [True, True], "teaches next"),
])
def test_a_worse_student_does_not_teach_if_better_ones_are_kept(
    work, scores, capsys, made_up, replaced, said
):
    scores(*made_up)
    done = run(replace(PLAN, keep_better=True, ema_decay=made_up[-1] / 100))  # own students
    assert [one.replaced for one in done] == replaced
    printed = capsys.readouterr().out
    assert said in printed and "as published" not in printed
    best, number = "supervised", 0
    for one in done:
        assert one.teacher.run.method.name == best
        if best == "pseudo-label":
            assert one.teacher.run.method.round == number
        if one.replaced:
            best, number = "pseudo-label", one.number
    assert same(weights(done[-1].best), weights(
        done[-1].student if replaced[-1] else done[-1].teacher
    ))
    assert f"round 1: the teacher has {made_up[0]:.1f} % mIoU on val, the student" in printed


def test_as_published_a_worse_student_teaches_and_the_message_says_so(work, scores, capsys):
    scores(50.0, 40.0, 30.0)
    done = run(AS_PUBLISHED)
    printed = capsys.readouterr().out.splitlines()
    said = [line for line in printed if line.startswith("round ")]
    assert [one.replaced for one in done] == [True, True] and len(said) == 2
    assert all("is worse, and teaches next all the same, as published" in line for line in said)
    assert "50.0 %" in said[0] and "40.0 %" in said[0] and "30.0 %" in said[1]
    assert done[1].teacher.run == done[0].student.run
    scores(50.0, 60.0, 70.0)
    run(AS_PUBLISHED)
    assert "all the same" not in capsys.readouterr().out


def test_rounds_that_are_done_are_loaded(two, monkeypatch):
    monkeypatch.setattr(training, "fit", None)
    monkeypatch.setattr(resolving, "select", None)
    again = run(AS_PUBLISHED)
    pairs = zip(two, again, strict=True)
    assert all(same(weights(a.student), weights(b.student)) for a, b in pairs)
    assert [one.teacher_score for one in again] == [one.teacher_score for one in two]
    (first,) = run(AS_PUBLISHED, 1)
    assert same(weights(first.student), weights(two[0].student))


def test_students_are_trained_anew_where_that_is_asked_for(two, begun):
    """The same students come out, and the first teacher and the labels are kept."""
    again = run(AS_PUBLISHED, anew=True)
    assert [config for config, *_ in begun] == 2 * [PLAN.pretrain, PLAN.finetune]
    assert all(same(weights(a.student), weights(b.student))
               for a, b in zip(two, again, strict=True))


def test_more_rounds_go_on_from_those_that_are_there(two, begun):
    three = run(replace(AS_PUBLISHED, count=3))
    assert [config for config, *_ in begun] == [PLAN.pretrain, PLAN.finetune]
    assert [one.number for one in three] == [1, 2, 3]


def test_an_interrupted_round_writes_the_labels_that_are_missing(monkeypatch, work):
    plan = replace(AS_PUBLISHED, selection=Selection("confident", threshold=0.01))
    monkeypatch.setattr("semiseg_lib.stores.pseudo_labels.IMAGES_PER_GROUP", 4)
    select, written = resolving.select, []

    def stopped(*arguments):
        if len(written) == 8:
            raise KeyboardInterrupt
        written.append(1)
        return select(*arguments)

    monkeypatch.setattr(resolving, "select", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(plan, 1)
    monkeypatch.setattr(resolving, "select", lambda *a: written.append(2) or select(*a))
    (one,) = run(plan, 1)
    assert written == [1] * 8 + [2] * 8 and one.labels.complete
    assert not torch.is_inference_mode_enabled()


def test_labels_are_written_anew_where_that_is_asked_for(two, monkeypatch):
    select, written = resolving.select, []
    monkeypatch.setattr(resolving, "select", lambda *a: written.append(1) or select(*a))
    value, before = two[0].pretrained.run.masks, [two[0].labels[i] for i in range(16)]
    again = resolve(value, "cpu", anew=True)
    assert len(written) == 16 and again.complete and again.folder == two[0].labels.folder
    assert all((again[i] == before[i]).all() for i in range(16))


def test_another_selection_is_another_run(two, work):
    sure = Selection("confident", threshold=0.3)
    (one,) = run(replace(AS_PUBLISHED, selection=sure), 1)
    assert one.labels.folder != two[0].labels.folder
    assert one.student.folder.path != two[0].student.folder.path
    assert not same(weights(one.student), weights(two[0].student))
    assert 0 < one.labels.kept < 1
    balanced = replace(AS_PUBLISHED, selection=Selection("balanced", share=0.5))
    (half,) = run(balanced, 1)
    assert 0.5 <= half.labels.kept < 0.6
    label, full = half.labels[0], two[0].labels[0]
    np.testing.assert_array_equal(label[label != VOID], full[label != VOID])


def test_labels_are_scored_on_the_hidden_masks_where_there_are_any(two):
    trained, store = two[0].student, two[0].labels
    truth = np.asarray(data().unlabelled_truth)
    confusion = np.zeros((5, 5), int)
    for number in range(len(store)):
        label = store[number]
        for true, given in zip(truth[number].ravel(), label.ravel(), strict=True):
            if true != VOID and given != VOID:
                confusion[true, given] += 1
    np.testing.assert_array_equal(evaluate_labels(store, trained).confusion, confusion)

    class UpperHalfMissing(PseudoLabelStore):
        def __getitem__(self, index):
            label = super().__getitem__(index).copy()
            label[:32] = VOID
            return label

    holes = UpperHalfMissing(
        store.folder, store.source, store.names, store.num_classes,
        description=store.description, parents=store.parents,
    )
    found = evaluate_labels(holes, trained).confusion.sum()
    assert found == (truth[:, 32:] != VOID).sum()


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="count is 0"):
        replace(PLAN, count=0)


def test_without_unlabelled_images_nothing_is_trained(work, begun):
    digits = load("smoke", "digits")
    every = replace(digits, data=replace(digits.data, labelled=0))
    with pytest.raises(ValueError, match="need images without masks, but there are none"):
        next(rounds(every, SEED, machine="cpu"))
    assert begun == []
