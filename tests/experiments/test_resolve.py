"""A value is found, continued or made; what is used is what was asked for, byte for byte."""

from __future__ import annotations

import errno
import json
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from stopping import stopped_after

from semiseg_lib.core.durable import Damaged
from semiseg_lib.experiments import (
    Machine,
    Trained,
    open_run,
    places,
    resolve,
    resolving,
    training,
)
from semiseg_lib.experiments import self_correction as story
from semiseg_lib.experiments.inventory import inventory, prunable, remove
from semiseg_lib.experiments.pseudo_labelling import pseudo_labels, student
from semiseg_lib.experiments.trained import read_run
from semiseg_lib.models import encoders
from semiseg_lib.recipes import load
from semiseg_lib.stores.logits import LogitsStore
from semiseg_lib.stores.store import Store
from semiseg_lib.training.run_folder import RunFolder, read_description

MEMBERS = ("model.safetensors", "best.safetensors", "record.json", "config.json", "lists.json",
           "machines.json")
FILES = (*MEMBERS, "manifest.json")


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return trained.method.state_dict()


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    """Equal to the last bit."""
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder: its bytes and when they were written; but for locks and caches."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name not in ("locks", "digests")
    }


@pytest.fixture
def nothing_made(monkeypatch) -> Callable[[], None]:
    """Let every training and every prediction fail."""
    def forbid() -> None:
        def forbidden(*_arguments, **_options):
            raise AssertionError("trained or predicted again")

        monkeypatch.setattr(training, "fit", forbidden)
        for name in ("logits_of", "predict_probabilities"):
            monkeypatch.setattr(resolving, name, forbidden)

    return forbid


def kinds(names: list[str]) -> list[str]:
    """What was trained, by method: the names without recipe and identity."""
    return [name.rsplit("-", 2)[0] for name in names]


# Found


def test_asking_for_a_value_makes_all_that_it_rests_on_once(work, tiny, machine, trainings):
    primary = resolve(story.primary(tiny, 0), machine)
    assert kinds(trainings) == ["ancillary", "primary"]
    assert len(list((work / "logits").iterdir())) == 1
    assert primary.run == story.primary(tiny, 0) and not primary.method.training
    assert primary.history[-1]["step"] == 4
    assert primary.classes == primary.data.classes == ("background", "cat", "dog")
    resolve(story.second_round(tiny, 0), machine)
    assert kinds(trainings) == ["ancillary", "primary", "primary"]
    assert len(list((work / "logits").iterdir())) == 2


def test_what_is_on_disk_is_loaded_and_not_made_again(work, tiny, machine, nothing_made):
    labels = pseudo_labels(tiny, tiny.rounds, story.supervised(tiny, 0), 1)
    values = [story.second_round(tiny, 0), story.logits(tiny, 0), labels]
    trained, logits, labelled = [resolve(one, machine) for one in values]
    before = contents(work)
    nothing_made()
    again, again_logits, again_labelled = [resolve(one, machine) for one in values]
    assert same(weights(again), weights(trained)) and again.record == trained.record
    assert again.folder.path == trained.folder.path
    assert torch.equal(again_logits.read(), logits.read())
    assert all(np.array_equal(again_labelled[n], labelled[n]) for n in range(4))
    assert contents(work) == before
    with pytest.raises(AssertionError, match="again"):
        resolve(story.supervised(tiny, 1), machine)


def test_what_lies_behind_a_finished_run_is_not_needed_for_it(work, tiny, machine, nothing_made):
    """Its identity knows by what it was made: a run is taken without its ancillary's files."""
    primary = resolve(story.primary(tiny, 0), machine)
    shutil.rmtree(work / "logits")
    for path in (work / "runs").glob("ancillary-*"):
        shutil.rmtree(path)
    nothing_made()
    assert same(weights(resolve(story.primary(tiny, 0), machine)), weights(primary))


def test_a_run_tells_on_disk_all_that_it_was_made_from(work, tiny, machine):
    primary = resolve(story.primary(tiny, 0), machine)
    stored = read_description(primary.folder.path / "config.json")
    identity = primary.inputs.identity(primary.run)
    assert stored == json.loads(json.dumps(identity.description))
    assert stored["value"]["method"]["correction"] == "linear" and stored["value"]["seed"] == 0
    assert set(stored["inputs"]["images"]) == {"labelled", "unlabelled"}
    assert stored["inputs"]["parents"] == {
        "unlabelled logits": primary.inputs.identity(story.logits(tiny, 0)).digest
    }
    lists = json.loads((primary.folder.path / "lists.json").read_bytes())
    assert list(lists["made from"]["labelled"]) == [f"p{n}" for n in range(4)]
    assert list(lists["made from"]["unlabelled"]) == [f"p{n}" for n in range(4, 8)]
    assert list(lists["scored on"]["test"]) == ["p10", "p11"]
    assert primary.folder.path.name == identity.name
    assert {"history", "seconds", "memory_gb", "made with"} <= primary.record.keys()


@pytest.mark.parametrize("validated", [False, True])
def test_a_description_is_enough_to_train_the_same_bits_again(
    work, tiny, scored, machine, monkeypatch, tmp_path, validated
):
    """In a fresh work folder, from the config.json of the last run alone."""
    value = story.second_round(scored if validated else tiny, 3)
    first = resolve(value, machine)
    kept = shutil.copy(first.folder.path / "config.json", tmp_path / "kept.json")
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "fresh"))
    value = read_run(read_description(Path(kept)), Path(kept))
    assert value == first.run
    again = resolve(value, machine)
    assert again.folder.path == tmp_path / "fresh" / "runs" / first.folder.path.name
    for which in ("last", "best")[:1 + validated]:
        assert same(weights(again.holding(which)), weights(first.holding(which)))
    runs = sorted(path.name for path in (work / "runs").iterdir())
    assert sorted(path.name for path in (tmp_path / "fresh" / "runs").iterdir()) == runs
    for name in runs:
        one, two = ((root / "runs" / name / "model.safetensors").read_bytes()
                    for root in (work, tmp_path / "fresh"))
        assert one == two, name


def test_best_and_last_weights_of_a_validated_run(work, scored, machine, monkeypatch):
    """The scores are given: the best one comes first, so the two must differ."""
    scores = iter([0.9, 0.1])
    result = type("Result", (), {"mean_iou": property(lambda _: next(scores))})
    monkeypatch.setattr(resolving, "evaluate", lambda *_: result())
    trained = resolve(story.supervised(scored, 0), machine)
    assert trained.record["best"] == {"step": 2, "score": 90.0}
    assert [row.get("score") for row in trained.history] == [90.0, 10.0]
    best = trained.chosen()
    assert (trained.which, best.which) == ("last", "best")
    assert not same(weights(best), weights(trained)) and best.run.weights == "best"
    assert same(weights(open_run(trained.folder.path, "cpu", "best")), weights(best))
    assert same(weights(best.holding("last")), weights(trained))


def test_a_run_without_scores_has_its_last_weights_alone(work, tiny, machine):
    trained = resolve(story.supervised(tiny, 0), machine)
    assert trained.chosen() is trained and trained.run.weights == "last"
    with pytest.raises(FileNotFoundError, match=r"best\.safetensors is missing.*validate_every"):
        trained.holding("best")


def test_a_run_is_opened_without_its_images(work, own, tiny, machine):
    trained = resolve(story.primary(tiny, 0), machine)
    shutil.rmtree(own)
    again = open_run(trained.folder.path, "cpu")
    assert same(weights(again), weights(trained)) and again.run == trained.run
    assert again.classes == trained.classes and again.record == trained.record


def test_a_run_is_scored_on_images_of_its_own_classes_alone(work, own, tiny, machine, change):
    trained = resolve(story.supervised(tiny, 0), machine)
    score = trained.evaluate("test").mean_iou
    again = open_run(trained.folder.path, machine)
    assert again.evaluate("test").mean_iou == score
    change(own / "classes.txt")
    other = open_run(trained.folder.path, machine)
    with pytest.raises(ValueError, match=r"the first difference is 2: dog / wolf; run / data"):
        other.evaluate("test")


def test_a_run_from_another_machine_is_used_and_says_so_once(
    work, tiny, machine, monkeypatch, nothing_made
):
    first = resolve(story.supervised(tiny, 0), machine)
    opening = import_module("semiseg_lib.experiments.trained")
    here = opening.state_of_machine()
    monkeypatch.setattr(opening, "state_of_machine", lambda: {**here, "threads": 96})
    nothing_made()
    said = rf"{first.folder.path.name} was made with threads {here['threads']}, here 96\. It is"
    with pytest.warns(UserWarning, match=said):
        assert same(weights(resolve(story.supervised(tiny, 0), machine)), weights(first))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve(story.supervised(tiny, 0), machine)


def test_where_something_is_computed_decides_nothing(work, tiny, machine, monkeypatch, tmp_path):
    """Also with processes that read ahead: the same run, the same bits."""
    first = resolve(story.supervised(tiny, 0), machine)
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "elsewhere"))
    other = resolve(story.supervised(tiny, 0), replace(machine, workers=2))
    assert other.folder.path.name == first.folder.path.name
    assert same(weights(other), weights(first))


# Changed


def asked(capsys) -> str:
    return capsys.readouterr().err


@pytest.mark.parametrize("path, said", [
    ("images/p1.png", "labelled images: 1 of 4 changed (p1)"),
    ("masks/p2.png", "labelled images: 1 of 4 changed (p2)"),
    ("labelled.txt", "labelled images: their order differs"),
    ("classes.txt", "class names: background, cat, wolf instead of background, cat, dog"),
])
def test_what_changed_is_said_and_trained_anew_and_the_old_run_stays(
    work, own, tiny, machine, change, capsys, path, said
):
    old = resolve(story.supervised(tiny, 0), machine)
    before = contents(old.folder.path)
    asked(capsys)
    change(own / path)
    new = resolve(story.supervised(tiny, 0), machine)
    assert new.folder.path != old.folder.path and new.run == old.run
    printed = asked(capsys)
    assert f"{new.folder.path.name} is not {old.folder.path.name}: " in printed
    assert said in printed
    assert "It is made anew, and the other one stays as it is." in printed
    assert contents(old.folder.path) == before
    if path != "classes.txt":
        assert not same(weights(new), weights(old))
    assert new.folder.path == resolve(story.supervised(tiny, 0), machine).folder.path
    assert "is not" not in asked(capsys), "it is there now"


def test_many_changed_images_are_counted_and_three_are_named(
    work, own, tiny, machine, change, capsys
):
    resolve(story.supervised(tiny, 0), machine)
    asked(capsys)
    for number in range(4):
        change(own / "images" / f"p{number}.png")
    resolve(story.supervised(tiny, 0), machine)
    assert "labelled images: 4 of 4 changed (p0, p1, p2, …)" in asked(capsys)


def test_images_that_come_and_go_are_counted_and_named(work, own, tiny, machine, capsys):
    resolve(story.supervised(tiny, 0), machine)
    asked(capsys)
    (own / "labelled.txt").write_text("p0\np2\np3\np4\np5\n", encoding="utf-8")
    (own / "unlabelled.txt").write_text("p1\np6\np7\n", encoding="utf-8")
    resolve(story.supervised(tiny, 0), machine)
    assert "labelled images: 2 of 5 new (p4, p5), 1 of 4 gone (p1)" in asked(capsys)


def test_a_changed_box_trains_the_ancillary_and_all_behind_it_and_nothing_else(
    work, own, tiny, machine, change, capsys, trainings
):
    supervised, primary = (resolve(one(tiny, 0), machine)
                           for one in (story.supervised, story.primary))
    assert kinds(trainings) == ["supervised", "ancillary", "primary"]
    trainings.clear()
    asked(capsys)
    change(own / "boxes" / "p3.xml")
    again = resolve(story.supervised(tiny, 0), machine)
    assert not trainings and again.folder.path == supervised.folder.path
    other = resolve(story.primary(tiny, 0), machine)
    assert kinds(trainings) == ["ancillary", "primary"]
    assert not same(weights(other), weights(primary))
    printed = asked(capsys)
    assert "labelled images: 1 of 4 changed (p3)" in printed
    assert "unlabelled logits: another one" in printed


def test_other_encoder_weights_are_said(work, own, tiny, machine, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(encoders, "read_weights", lambda _: encoders.timm.create_model(
        "resnet18", pretrained=False).state_dict())
    path = tmp_path / "weights.pth"
    value = replace(story.supervised(tiny, 0), model=replace(
        tiny.model, architecture="deeplab", encoder="resnet18", weights=str(path), decoder_width=8
    ))
    for content in (b"one", b"other"):
        path.write_bytes(content)
        asked(capsys)
        resolve(value, machine)
    assert "model: another one" in asked(capsys)


def test_two_folders_with_the_same_names_are_two_runs_and_a_copy_is_the_same(
    work, own, tiny, machine, change, tmp_path, capsys, trainings
):
    one = resolve(story.primary(tiny, 0), machine)
    for name in ("copied", "other"):
        shutil.copytree(own, tmp_path / name)
    change(tmp_path / "other" / "images" / "p0.png")
    trainings.clear()
    copied = resolve(story.primary(tiny, 0), Machine("cpu", tmp_path / "copied"))
    assert not trainings and copied.folder.path == one.folder.path
    other = resolve(story.primary(tiny, 0), Machine("cpu", tmp_path / "other"))
    assert kinds(trainings) == ["ancillary", "primary"]
    assert other.folder.path != one.folder.path and not same(weights(other), weights(one))
    assert "labelled images: 1 of 4 changed (p0)" in asked(capsys)
    assert resolve(story.primary(tiny, 0), machine).folder.path == one.folder.path


# Anew


def test_anew_trains_the_value_itself_again_to_the_same_bits(
    work, tiny, machine, trainings, capsys
):
    first = resolve(story.primary(tiny, 0), machine)
    before = contents(work)
    trainings.clear()
    again = resolve(story.primary(tiny, 0), machine, anew=True)
    assert kinds(trainings) == ["primary"]
    assert again.folder.path == first.folder.path and same(weights(again), weights(first))
    after = contents(work)
    assert before.keys() == after.keys()
    rewritten = {name for name in before if before[name][1] != after[name][1]}
    assert rewritten == {name for name in before if name.startswith("runs/primary-")}
    assert "is not" not in asked(capsys)


def test_anew_does_not_go_on_from_a_checkpoint(work, tiny, machine, trainings, monkeypatch):
    value = story.supervised(tiny, 0)
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", stopped_after(2))
        with pytest.raises(KeyboardInterrupt):
            resolve(value, machine)
    steps, read = [], RunFolder.read_checkpoint
    monkeypatch.setattr(RunFolder, "read_checkpoint",
                        lambda self: steps.append(read(self)) or steps[-1])
    resolve(value, machine, anew=True)
    assert steps == [None]


@pytest.mark.parametrize("kind", ["logits", "mixed", "pseudo-labels"])
def test_anew_writes_stored_labels_again(work, tiny, machine, trainings, kind):
    value = {
        "logits": story.logits(tiny, 0),
        "mixed": story.second_round(tiny, 0).unlabelled_logits,
        "pseudo-labels": pseudo_labels(tiny, tiny.rounds, story.supervised(tiny, 0), 1),
    }[kind]
    store = resolve(value, machine)
    before, labels = contents(store.folder), [store[n] for n in range(4)]
    trainings.clear()
    again = resolve(value, machine, anew=True)
    assert not trainings and again.folder == store.folder and again.complete
    after = contents(store.folder)
    assert before.keys() == after.keys()
    assert all(before[name][0] == after[name][0] for name in before)
    assert all(before[name][1] != after[name][1] for name in before)
    assert all(np.array_equal(again[n], labels[n]) for n in range(4))


class Killed(BaseException):
    """A kill at this point."""


def kill(*_arguments, **_options):
    raise Killed


KILLS = {
    "in its training": (training, "fit"), "before its manifest": (Store, "finish"),
    "before it is in place": (resolving, "install"), "between old and new": (places, "move"),
}


@pytest.mark.parametrize("when", KILLS)
def test_a_run_stays_until_the_one_made_anew_has_its_manifest(
    work, own, tiny, machine, trainings, monkeypatch, when
):
    """Whenever it is killed: the same value is found, trained or prune has the old one or new."""
    value = story.supervised(tiny, 0)
    first = resolve(value, machine)
    before = contents(first.folder.path)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(*KILLS[when], kill)
        resolve(value, machine, anew=True)
    trainings.clear()
    if when == "between old and new":
        assert not first.folder.path.exists()
    else:
        assert contents(first.folder.path) == before
        assert same(weights(open_run(first.folder.path, machine)), weights(first))
    for item in prunable(inventory(own)):
        assert when in ("in its training", "before its manifest")
        assert item.path == work / "anew/no-resume/runs" / first.folder.path.name and remove(item)
    again = resolve(value, machine)
    assert trainings == [] and again.folder.path == first.folder.path
    assert same(weights(again), weights(first))
    resolve(value, machine, anew=True)
    assert trainings == [first.folder.path.name] and not list((work / "anew").rglob("*.json"))
    assert sorted(contents(first.folder.path)) == sorted(before)
    assert contents(first.folder.path) != before


def test_labels_stay_until_those_made_anew_have_their_manifest(
    work, tiny, machine, monkeypatch, nothing_made
):
    value = story.logits(tiny, 0)
    first = resolve(value, machine)
    before, logits = contents(first.folder), first.read()
    kills = (LogitsStore, "_write"), (Store, "finish"), (resolving, "install"), (places, "move")
    for name in kills:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(*name, kill)
            resolve(value, machine, anew=True)
        assert name[1] == "move" or contents(first.folder) == before
    nothing_made()
    assert torch.equal(resolve(value, machine).read(), logits)
    assert not list((work / "anew").rglob("*.json"))


def test_a_run_is_read_while_it_is_trained_anew(work, tiny, machine, monkeypatch):
    value = story.supervised(tiny, 0)
    first, found = resolve(value, machine), []
    fit = training.fit

    def meanwhile(*arguments, **options):
        found.append(weights(resolve(value, machine)))
        return fit(*arguments, **options)

    monkeypatch.setattr(training, "fit", meanwhile)
    resolve(value, machine, anew=True)
    assert len(found) == 1 and same(found[0], weights(first))


def test_an_interruption_of_what_is_made_anew_says_what_is_there(
    work, tiny, machine, monkeypatch
):
    value = story.supervised(tiny, 0)
    first = resolve(value, machine)
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", stopped_after(2))
        with pytest.raises(KeyboardInterrupt, match=r"stored before is still there.* begins again"):
            resolve(value, machine, anew=True)
    assert same(weights(resolve(value, machine)), weights(first))


# Interrupted


@pytest.fixture
def interrupted(work, scored, machine, monkeypatch, tmp_path):
    """A validated run that was stopped after three steps, and what it is when undisturbed."""
    value = story.primary(scored, 0)
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "undisturbed"))
    whole = resolve(value, machine)
    monkeypatch.setenv("SEMISEG_WORK", str(work))
    with monkeypatch.context() as patch:
        resolve(value.unlabelled_logits, machine)
        patch.setattr(training, "fit", stopped_after(3))
        with pytest.raises(KeyboardInterrupt):
            resolve(value, machine)
    folder = RunFolder(work / "runs" / whole.folder.path.name)
    assert not folder.finished and (folder.path / "checkpoint.pt").is_file()
    return value, whole, folder.path


def equal(one: Trained, two: Trained) -> bool:
    rows, others = ([{key: value for key, value in row.items() if key != "seconds"}
                     for row in trained.history] for trained in (one, two))
    return rows == others and one.record["best"] == two.record["best"] and all(
        same(weights(one.holding(which)), weights(two.holding(which)))
        for which in ("last", "best")
    )


def test_an_interrupted_run_goes_on_and_ends_as_an_undisturbed_one(
    interrupted, machine, monkeypatch, capsys
):
    value, whole, folder = interrupted
    first, fit = [], training.fit

    def noted(method, loader, config, where, *rest, **options):
        first.append(where.read_checkpoint()["step"])
        return fit(method, loader, config, where, *rest, **options)

    monkeypatch.setattr(training, "fit", noted)
    assert equal(resolve(value, machine), whole) and first == [3]
    assert "is not" not in asked(capsys)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


CHECKPOINTS = ("checkpoint.pt", "checkpoint-before.pt")
SET_ASIDE = {
    "checkpoint.pt": CHECKPOINTS[:1], " and ".join(CHECKPOINTS): CHECKPOINTS,
    "lists.json": (*CHECKPOINTS, "best-so-far.sealed"),
}
"""What is kept beside the result of a run, by what of it was damaged."""


@pytest.mark.parametrize("names", [
    ["checkpoint.pt"], ["checkpoint-before.pt"], ["checkpoint.pt", "checkpoint-before.pt"],
    ["best-so-far.sealed"], ["config.json"], ["lists.json"],
], ids=" and ".join)
@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_a_damaged_file_of_an_interrupted_run_does_not_reach_the_result(
    interrupted, machine, names, how
):
    value, whole, folder = interrupted
    for name in names:
        damage(folder / name, how)
    assert equal(resolve(value, machine), whole)
    assert {path.name for path in folder.iterdir()} == {
        *FILES, *(f"{name}.damaged" for name in SET_ASIDE.get(" and ".join(names), ()))
    }


def test_the_checkpoint_of_another_run_is_not_gone_on_from(
    interrupted, scored, machine, monkeypatch, capsys
):
    value, whole, folder = interrupted
    other = replace(value, draw=1)
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", stopped_after(3))
        with pytest.raises(KeyboardInterrupt):
            resolve(other, machine)
    (foreign,) = (path for path in folder.parent.glob("primary-*") if path != folder)
    for path in folder.glob("checkpoint*.pt"):
        shutil.copy(foreign / path.name, path)
    asked(capsys)
    assert equal(resolve(value, machine), whole)
    printed = asked(capsys)
    assert printed.count("is the checkpoint of another run") == 2
    assert (folder / "checkpoint.pt.damaged").is_file()


# Damaged


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[:len(content) // 2])
    elif how == "lost":
        path.unlink()
    else:
        changed = bytearray(content)
        changed[len(content) // 2] ^= 1
        path.write_bytes(bytes(changed))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["truncated", "flipped", "lost"])
def test_a_damaged_run_is_refused_by_name_set_aside_and_made_again(
    work, scored, machine, capsys, trainings, name, how
):
    value = story.supervised(scored, 0)
    first = resolve(value, machine)
    folder = first.folder.path
    damage(folder / name, how)
    harmed = {path: content for path, (content, _) in contents(folder).items()}
    if (name, how) == ("manifest.json", "lost"):  # as if it had never been finished
        with pytest.raises(FileNotFoundError, match="is not finished yet"):
            open_run(folder, "cpu")
    else:
        with pytest.raises(Damaged, match=rf"{name} is damaged.*makes the run again"):
            open_run(folder, "cpu")
    trainings.clear()
    asked(capsys)
    again = resolve(value, machine)
    assert trainings == [folder.name] and equal(again, first)
    assert again.folder.path == folder and sorted(contents(folder)) == sorted(FILES)
    aside = folder.with_name(f"{folder.name}.damaged")
    if (name, how) != ("manifest.json", "lost"):
        assert {path: content for path, (content, _) in contents(aside).items()} == harmed
        printed = asked(capsys)
        assert f"{name} is damaged" in printed and f"The run is set aside as {aside}" in printed
        assert "It is made anew" not in printed, "it is no other run"
    assert len(list(folder.parent.iterdir())) == 1 + aside.is_dir()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("name", ["manifest.json", "model.safetensors", "0000.safetensors"])
def test_what_cannot_be_read_is_neither_set_aside_nor_made_again(
    work, tiny, machine, nothing_made, monkeypatch, name, number
):
    """It may be sound: a wrong permission or a disk that is away for a while."""
    value = story.logits(tiny, 0) if name.startswith("0") else story.supervised(tiny, 0)
    resolve(value, machine)
    before = contents(work)
    nothing_made()
    inner = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == name:
            raise OSError(number, os.strerror(number), str(path))
        return inner(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read_bytes)
        reason = rf"{name} cannot be read \({os.strerror(number)}\)\. Make it readable, or move"
        with pytest.raises(OSError, match=reason):
            resolve(value, machine)
    assert contents(work) == before
    resolve(value, machine)


def test_a_run_that_is_damaged_twice_is_set_aside_twice(work, tiny, machine):
    value = story.supervised(tiny, 0)
    first = resolve(value, machine)
    for _ in range(2):
        damage(first.folder.path / "model.safetensors", "flipped")
        assert same(weights(resolve(value, machine)), weights(first))
    name = first.folder.path.name
    assert sorted(path.name for path in first.folder.path.parent.iterdir()) == [
        name, f"{name}.damaged", f"{name}.damaged-2"
    ]


@pytest.mark.parametrize("name", ["record.json", "config.json", "manifest.json"])
def test_no_flipped_bit_of_a_run_raises_anything_but_a_named_error(work, tiny, machine, name):
    folder = resolve(story.supervised(tiny, 0), machine).folder.path
    content = (folder / name).read_bytes()
    rng = np.random.default_rng(0)
    for bit in rng.choice(8 * len(content), 60, replace=False):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        (folder / name).write_bytes(bytes(changed))
        with pytest.raises(Damaged, match=name):
            open_run(folder, "cpu")
    for size in range(0, len(content), 97):
        (folder / name).write_bytes(content[:size])
        with pytest.raises(Damaged, match=name):
            open_run(folder, "cpu")
    (folder / name).write_bytes(content)
    open_run(folder, "cpu")


@pytest.mark.parametrize("kind", ["logits", "pseudo-labels"])
@pytest.mark.parametrize("how", ["truncated", "flipped", "lost"])
@pytest.mark.parametrize("what", ["member", "manifest"])
def test_damaged_labels_are_made_again_before_they_are_learnt_from(
    work, tiny, machine, trainings, kind, how, what, tmp_path, monkeypatch
):
    labels = pseudo_labels(tiny, tiny.rounds, story.supervised(tiny, 0), 1)
    value, run = {
        "logits": (story.logits(tiny, 0), story.primary(tiny, 0)),
        "pseudo-labels": (labels, student(tiny, 0, tiny.rounds, labels)[0]),
    }[kind]
    store = resolve(value, machine)
    before = {name: content for name, (content, _) in contents(store.folder).items()}
    name = "manifest.json" if what == "manifest" else min(set(before) - {"manifest.json"})
    damage(store.folder / name, how)
    trainings.clear()
    trained = resolve(run, machine)
    assert trainings == [trained.folder.path.name], "the labels' maker is sound"
    after = {name: content for name, (content, _) in contents(store.folder).items()}
    assert after.keys() == before.keys()
    assert all(after[name] == before[name] for name in before if name != "manifest.json")
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "undisturbed"))
    assert same(weights(resolve(run, machine)), weights(trained))


# Changed while it was learnt from


@pytest.fixture
def during(monkeypatch):
    """Do something in the middle of each training."""
    fit = training.fit

    def install(act: Callable[[], None]) -> None:
        def meanwhile(method, *rest, **options):
            after_step, done = method.after_step, []

            def acting(step: int) -> None:
                after_step(step)
                if not done:
                    done.append(act())

            method.after_step = acting
            return fit(method, *rest, **options)

        monkeypatch.setattr(training, "fit", meanwhile)

    yield install
    monkeypatch.setattr(training, "fit", fit)


@pytest.mark.parametrize("path", ["images/p1.png", "masks/p1.png", "masks/p9.png"])
def test_a_file_that_changes_while_it_is_learnt_from_is_refused(
    work, own, scored, machine, during, change, monkeypatch, path, tmp_path
):
    value = story.supervised(scored, 0)
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "undisturbed"))
    whole = resolve(value, machine)
    monkeypatch.setenv("SEMISEG_WORK", str(work))
    content = (own / path).read_bytes()
    during(lambda: change(own / path))
    with pytest.raises(ValueError, match=rf"{path} has changed since .*same command again"):
        resolve(value, machine)
    (folder,) = (work / "runs").iterdir()
    assert folder.name == whole.folder.path.name
    monkeypatch.undo()
    monkeypatch.setenv("SEMISEG_WORK", str(work))
    now = resolve(value, machine)
    assert now.folder.path != folder and not RunFolder.open(folder).finished
    (own / path).write_bytes(content)
    assert equal(resolve(value, machine), whole), "nothing was learnt from the other file"


@pytest.mark.parametrize("how", ["in place", "by a link"])
def test_a_file_that_changes_and_is_put_back_is_not_learnt_from(
    work, own, scored, machine, during, change, how, tmp_path
):
    """Neither on the way, nor after an interruption, nor in a copied work folder."""
    value, place, mask = story.supervised(scored, 0), machine, own / "masks" / "p1.png"
    content, status = mask.read_bytes(), mask.stat()
    if how == "by a link":
        other, link = shutil.copytree(own, tmp_path / "other"), tmp_path / "link"
        change(other / "masks" / "p1.png")
        link.symlink_to(own)
        place = replace(machine, root=link)

    def disturb() -> None:
        if how == "by a link":
            link.unlink()
            link.symlink_to(other)
        else:
            change(mask)

    def restore() -> None:
        if how == "by a link":
            link.unlink()
            link.symlink_to(own)
        else:
            mask.write_bytes(content)
            os.utime(mask, ns=(status.st_atime_ns, status.st_mtime_ns))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(tmp_path / "undisturbed"))
        whole = resolve(value, machine)
    during(disturb)
    with pytest.raises(ValueError, match=r"masks/p1.png has changed since the dataset was opened"):
        resolve(value, place)
    restore()
    during(lambda: None)
    moved = shutil.copytree(work, tmp_path / "moved")
    assert equal(resolve(value, place), whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(moved))
        assert equal(resolve(value, place), whole)


def test_a_run_that_no_change_reaches_is_finished_as_what_it_is(
    work, own, tiny, machine, during, change
):
    """A box has no part in a primary itself, but in the labels that it learns: they are there."""
    resolve(story.logits(tiny, 0), machine)
    during(lambda: change(own / "boxes" / "p5.xml"))
    first = resolve(story.primary(tiny, 0), machine)
    during(lambda: None)
    assert first.folder.finished
    assert resolve(story.primary(tiny, 0), machine).folder.path != first.folder.path


def test_labels_of_images_that_change_meanwhile_are_not_kept(
    work, own, tiny, machine, change, monkeypatch
):
    resolve(story.ancillary(tiny, 0), machine)
    inner = resolving.logits_of

    def meanwhile(method, images):
        change(own / "images" / "p5.png")
        return inner(method, images)

    with monkeypatch.context() as patch:
        patch.setattr(resolving, "logits_of", meanwhile)
        with pytest.raises(ValueError, match=r"images/p5.png has changed since"):
            resolve(story.logits(tiny, 0), machine)
    assert resolve(story.logits(tiny, 0), machine).complete


def test_a_file_that_changed_and_is_as_before_is_no_change(work, own, tiny, machine, during):
    during(lambda: (own / "images" / "p1.png").touch())
    assert resolve(story.supervised(tiny, 0), machine).folder.finished


# Read-only and shared folders


def test_a_work_folder_that_is_only_read_serves_what_is_in_it(
    work, tiny, machine, nothing_made, read_only
):
    labels = pseudo_labels(tiny, tiny.rounds, story.supervised(tiny, 0), 1)
    values = [story.second_round(tiny, 0), story.supervised(tiny, 0), story.logits(tiny, 0),
              labels]
    first = [resolve(one, machine) for one in values]
    before = contents(work)
    nothing_made()
    read_only(work)
    with pytest.raises(OSError, match="Read-only"):
        (work / "runs" / "something").write_bytes(b"")
    again = [resolve(one, machine) for one in values]
    for one, two in zip(first[:2], again[:2], strict=True):
        assert same(weights(one), weights(two))
        assert two.evaluate("test").mean_iou == one.evaluate("test").mean_iou
    assert all(torch.equal(first[2][n], again[2][n]) for n in range(4))
    assert all(np.array_equal(first[3][n], again[3][n]) for n in range(4))
    assert contents(work) == before


def test_the_drawn_images_of_a_read_only_work_folder_serve_too(work, read_only, nothing_made):
    value = story.supervised(load("smoke"), 5)
    first = resolve(value, "cpu")
    read_only(work)
    nothing_made()
    assert same(weights(resolve(value, "cpu")), weights(first))


def test_what_cannot_be_made_in_a_read_only_folder_says_so(work, tiny, machine, read_only):
    resolve(story.supervised(tiny, 0), machine)
    read_only(work)
    with pytest.raises(OSError, match=r"could not write .*SEMISEG_WORK"):
        resolve(story.supervised(tiny, 1), machine)


@pytest.fixture
def lecturer(work, tiny, machine, monkeypatch, tmp_path, read_only):
    """A shared work folder with a primary and all behind it; ours is empty."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "lecturer"))
    primary = resolve(story.primary(tiny, 0), machine)
    monkeypatch.setenv("SEMISEG_WORK", str(work))
    monkeypatch.setenv("SEMISEG_SHARED", f"{tmp_path / 'empty'}:{tmp_path / 'lecturer'}")
    read_only(tmp_path / "lecturer")
    return primary


def test_finished_results_of_a_shared_folder_are_found_and_used(
    lecturer, work, tiny, machine, trainings, tmp_path
):
    before = contents(tmp_path / "lecturer")
    found = resolve(story.primary(tiny, 0), machine)
    assert found.folder.path == lecturer.folder.path and same(weights(found), weights(lecturer))
    assert resolve(story.logits(tiny, 0), machine).folder.is_relative_to(tmp_path / "lecturer")
    assert not trainings and not (work / "runs").exists()
    new = resolve(story.second_round(tiny, 0), machine)
    assert trainings == [new.folder.path.name] and new.folder.path.is_relative_to(work)
    resolve(story.primary(tiny, 1), machine)
    assert kinds(trainings[1:]) == ["ancillary", "primary"]
    assert contents(tmp_path / "lecturer") == before


def test_anew_and_damage_leave_a_shared_folder_alone(
    lecturer, work, tiny, machine, trainings, tmp_path, capsys
):
    before = contents(tmp_path / "lecturer")
    again = resolve(story.primary(tiny, 0), machine, anew=True)
    assert again.folder.path.is_relative_to(work) and same(weights(again), weights(lecturer))
    logits = resolve(story.logits(tiny, 0), machine, anew=True)
    assert logits.folder.is_relative_to(work)
    assert kinds(trainings) == ["primary"] and contents(tmp_path / "lecturer") == before


@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_what_is_damaged_in_a_shared_folder_is_made_in_ours(
    work, tiny, machine, monkeypatch, tmp_path, read_only, trainings, how, capsys
):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "lecturer"))
    first = resolve(story.primary(tiny, 0), machine)
    logits = resolve(story.logits(tiny, 0), machine)
    for path in (first.folder.path / "model.safetensors", logits.folder / "0000.safetensors"):
        damage(path, how)
    monkeypatch.setenv("SEMISEG_WORK", str(work))
    monkeypatch.setenv("SEMISEG_SHARED", str(tmp_path / "lecturer"))
    before = contents(tmp_path / "lecturer")
    read_only(tmp_path / "lecturer")
    trainings.clear()
    again = resolve(story.primary(tiny, 0), machine)
    assert kinds(trainings) == ["primary"] and same(weights(again), weights(first))
    assert again.folder.path.is_relative_to(work)
    assert [path.name for path in (work / "logits").iterdir()] == [logits.folder.name]
    assert contents(tmp_path / "lecturer") == before


def test_an_unfinished_run_of_ours_does_not_hide_a_finished_one(
    lecturer, work, tiny, machine, nothing_made
):
    unfinished = work / "runs" / lecturer.folder.path.name
    RunFolder(unfinished, lecturer.folder.description, lecturer.folder.parents).begin({})
    nothing_made()
    assert resolve(story.primary(tiny, 0), machine).folder.path == lecturer.folder.path
