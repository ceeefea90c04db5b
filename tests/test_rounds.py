"""Iterated pseudo-labelling: who teaches next, what is stored where, what is done again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from semiseg_lib import launch, methods
from semiseg_lib import rounds as module
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.evaluate import predict
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.profiles import load
from semiseg_lib.rounds import Rounds
from semiseg_lib.stages import Pipeline

SMOKE = load("smoke")
PLAN = SMOKE.rounds
AS_PUBLISHED = replace(PLAN, keep_better=False)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(folder))
        yield folder


def pipeline() -> Pipeline:
    return Pipeline(SMOKE, 5, "cpu")


@pytest.fixture(scope="module")
def two(work) -> list[module.Round]:
    return Rounds(pipeline(), AS_PUBLISHED).run()


@pytest.fixture
def begun(work, monkeypatch) -> list[tuple]:
    """Configuration, first weights and labelled images of each training."""
    seen, fit = [], launch.fit

    def noted(method, loader, config, *rest, **named):
        weights = {name: value.clone() for name, value in method.network.state_dict().items()}
        seen.append((config, weights, loader.sets[0]))
        return fit(method, loader, config, *rest, **named)

    monkeypatch.setattr(launch, "fit", noted)
    return seen


@pytest.fixture
def scores(monkeypatch):
    """Scores are made up: the teacher's, then each student's."""
    def made_up(*values: float) -> None:
        known: dict[str, float] = {}

        def score(self, trained) -> float:
            return known.setdefault(str(trained.folder.path), values[len(known)])

        monkeypatch.setattr(Rounds, "_score", score)

    return made_up


def weights(trained) -> dict:
    return trained.method.state_dict()


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_labels_lie_in_the_published_layout_as_the_teachers_own(two, work):
    teachers = [pipeline().supervised(), two[0].student]
    family = two[0].labels.folder.parent
    assert family.parent == work / "pseudo_labels"
    assert {path.name for path in family.iterdir()} == {"train_pseudoIt1", "train_pseudoIt2"}
    images = pipeline().data.unlabelled
    for number, (one, teacher) in enumerate(zip(two, teachers, strict=True), 1):
        assert one.number == number and one.labels.folder == family / f"train_pseudoIt{number}"
        assert same(weights(one.teacher), weights(teacher))
        expected = predict(teacher.method, images.without_boxes())
        for name, label in zip(images.names, expected, strict=True):
            image = Image.open(one.labels.folder / f"{name}.png")
            assert image.mode == "P"
            np.testing.assert_array_equal(np.array(image), label)
        assert one.labels.kept == 1.0


def test_a_student_is_fresh_learns_the_labels_and_then_the_masks(two, begun):
    done = Rounds(pipeline(), replace(AS_PUBLISHED, ema_decay=0.5)).run()
    assert [config for config, *_ in begun] == 2 * [PLAN.pretrain, PLAN.finetune]
    pretrains, tunes = begun[::2], begun[1::2]
    torch.manual_seed(5)
    teachers = methods.build(SMOKE.supervised, SMOKE.model, 5).network.state_dict()
    starts = [teachers, *(weights for _, weights, _ in pretrains)]
    heads = [start["head.weight"] for start in starts]
    assert all(not torch.equal(heads[i], heads[j]) for i in range(3) for j in range(i))
    for one, pretrain, tune in zip(done, pretrains, tunes, strict=True):
        data = pipeline().data
        assert pretrain[2].names == data.unlabelled.names and tune[2].names == data.labelled.names
        assert torch.equal(tune[2].masks, data.labelled.masks)
        stored = np.stack([one.labels[i] for i in range(len(one.labels))])
        np.testing.assert_array_equal(pretrain[2].masks.numpy(), stored)
        assert not same(pretrain[1], one.teacher.method.network.state_dict())
        assert not same(tune[1], pretrain[1])
        assert one.student.history[-1]["step"] == 2 and one.student.config.starts_from
    assert np.array([done[0].labels[i] for i in range(16)]).any()


def test_a_student_goes_on_from_its_own_pretraining(two):
    for one in two:
        config = one.student.config
        pretrain = replace(
            config, method=replace(config.method, stage="pretrain"), train=PLAN.pretrain,
            labels_from=one.labels.source, starts_from="",
        )
        assert module.fingerprint(pretrain) == config.starts_from
        assert config.draw == one.number == config.method.round


@pytest.mark.parametrize("made_up, replaced, said", [
    ((50.0, 40.0, 45.0), [False, False], "does not replace its teacher"),
    ((50.0, 60.0, 55.0), [True, False], "does not replace its teacher"),
    ((50.0, 50.0, 51.0), [True, True], "teaches next"),
])
def test_a_worse_student_does_not_teach_if_better_ones_are_kept(
    work, scores, capsys, made_up, replaced, said
):
    scores(*made_up)
    own = replace(PLAN, keep_better=True, ema_decay=made_up[-1] / 100)  # files of its own
    done = Rounds(pipeline(), own).run()
    assert [one.replaced for one in done] == replaced
    printed = capsys.readouterr().out
    assert said in printed and "as published" not in printed
    best, number = "supervised", 0
    for one in done:
        assert one.teacher.config.method.name == best
        if best == "pseudo-label":
            assert one.teacher.config.method.round == number
        if one.replaced:
            best, number = "pseudo-label", one.number
    assert same(weights(done[-1].best), weights(
        done[-1].student if replaced[-1] else done[-1].teacher
    ))
    assert f"round 1: the teacher has {made_up[0]:.1f} % mIoU on val, the student" in printed


def test_as_published_a_worse_student_teaches_and_the_message_says_so(work, scores, capsys):
    scores(50.0, 40.0, 30.0)
    done = Rounds(pipeline(), AS_PUBLISHED).run()
    printed = capsys.readouterr().out.splitlines()
    said = [line for line in printed if line.startswith("round ")]
    assert [one.replaced for one in done] == [True, True] and len(said) == 2
    assert all("is worse, and teaches next all the same, as published" in line for line in said)
    assert "50.0 %" in said[0] and "40.0 %" in said[0] and "30.0 %" in said[1]
    assert done[1].teacher.config == done[0].student.config
    scores(50.0, 60.0, 70.0)
    Rounds(pipeline(), AS_PUBLISHED).run()
    assert "all the same" not in capsys.readouterr().out


def test_rounds_that_are_done_are_loaded(two, monkeypatch):
    monkeypatch.setattr(launch, "fit", None)
    monkeypatch.setattr(module, "select", None)
    again = Rounds(pipeline(), AS_PUBLISHED).run()
    pairs = zip(two, again, strict=True)
    assert all(same(weights(a.student), weights(b.student)) for a, b in pairs)
    assert [one.teacher_score for one in again] == [one.teacher_score for one in two]
    (first,) = Rounds(pipeline(), AS_PUBLISHED).run(1)
    assert same(weights(first.student), weights(two[0].student))


def test_more_rounds_go_on_from_those_that_are_there(two, begun):
    three = Rounds(pipeline(), replace(AS_PUBLISHED, count=3)).run()
    assert [config for config, *_ in begun] == [PLAN.pretrain, PLAN.finetune]
    assert [one.number for one in three] == [1, 2, 3]


def test_an_interrupted_round_writes_the_labels_that_are_missing(monkeypatch, work):
    plan = replace(AS_PUBLISHED, ema_decay=0.25)
    monkeypatch.setattr("semiseg_lib.stores.pseudo_labels.IMAGES_PER_GROUP", 4)
    select, written = module.select, []

    def stopped(*arguments):
        if len(written) == 8:
            raise KeyboardInterrupt
        written.append(1)
        return select(*arguments)

    monkeypatch.setattr(module, "select", stopped)
    with pytest.raises(KeyboardInterrupt):
        Rounds(pipeline(), plan).run(1)
    monkeypatch.setattr(module, "select", lambda *a: written.append(2) or select(*a))
    (one,) = Rounds(pipeline(), plan).run(1)
    assert written == [1] * 8 + [2] * 8 and one.labels.complete
    assert not torch.is_inference_mode_enabled()


def test_another_selection_is_another_run(two, work):
    sure = Selection("confident", threshold=0.3)
    (one,) = Rounds(pipeline(), replace(AS_PUBLISHED, selection=sure)).run(1)
    assert one.labels.folder.parent != two[0].labels.folder.parent
    assert one.student.folder.path != two[0].student.folder.path
    assert not same(weights(one.student), weights(two[0].student))
    assert 0 < one.labels.kept < 1
    balanced = replace(AS_PUBLISHED, selection=Selection("balanced", share=0.5))
    (half,) = Rounds(pipeline(), balanced).run(1)
    assert 0.5 <= half.labels.kept < 0.6
    label, full = half.labels[0], two[0].labels[0]
    np.testing.assert_array_equal(label[label != VOID], full[label != VOID])


def test_labels_are_scored_on_the_hidden_masks_where_there_are_any(two):
    rounds, store = Rounds(pipeline(), AS_PUBLISHED), two[0].labels
    truth = np.asarray(pipeline().data.unlabelled_truth)
    confusion = np.zeros((5, 5), int)
    for number in range(len(store)):
        label = store[number]
        for true, given in zip(truth[number].ravel(), label.ravel(), strict=True):
            if true != VOID and given != VOID:
                confusion[true, given] += 1
    np.testing.assert_array_equal(rounds.evaluate_labels(store).confusion, confusion)

    class Holes(list):
        """Labels of which the upper half is missing."""

    holes = Holes(store[i].copy() for i in range(len(store)))
    for label in holes:
        label[:32] = VOID
    found = rounds.evaluate_labels(holes).confusion.sum()
    assert found == (truth[:, 32:] != VOID).sum()


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="count is 0"):
        replace(PLAN, count=0)


def test_without_unlabelled_images_nothing_is_trained(work):
    digits = load("smoke", "digits")
    every = replace(digits, data=replace(digits.data, labelled=0))
    with pytest.raises(ValueError, match="need images without masks, but there are none"):
        Rounds(Pipeline(every, 5, "cpu")).run()
