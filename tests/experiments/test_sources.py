"""The bytes that a result was made from: its parents' too, on the way and afterwards."""

from __future__ import annotations

import hashlib
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from unittest import mock

import pytest
import torch
from filelock import FileLock, Timeout
from stopping import stopped_after

from semiseg_lib import methods
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.core.durable import Damaged
from semiseg_lib.datasets.digest import file_hash
from semiseg_lib.experiments import (
    Logits,
    PseudoLabels,
    corrected_logits,
    evaluate_unlabelled,
    open_run,
    pseudo_labelling,
    resolve,
    resolving,
    semi_supervised,
    trained,
    training,
)
from semiseg_lib.experiments import self_correction as story
from semiseg_lib.experiments.identity import weights_files
from semiseg_lib.experiments.inventory import inventory
from semiseg_lib.methods import SupervisedConfig, registry
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.methods.supervised.method import Supervised
from semiseg_lib.models import ModelConfig
from semiseg_lib.stores import Store
from semiseg_lib.stores import logits as logits_store
from semiseg_lib.training.run_folder import RunFolder


@contextmanager
def other_code() -> Iterator[None]:
    """Let trainings come out otherwise, as after a change to the code or on another machine."""
    seed = torch.manual_seed
    with mock.patch.object(training.torch, "manual_seed", lambda number: seed(number + 7)):
        yield


@contextmanager
def stopped_at(step: int) -> Iterator[None]:
    """Interrupt a training after a step, with a checkpoint."""
    with mock.patch.object(training, "fit", stopped_after(step)), pytest.raises(KeyboardInterrupt):
        yield


@contextmanager
def stopped_after_one_file(meanwhile=lambda: None) -> Iterator[None]:
    """Interrupt the writing of logits after the first of its files."""
    give, given = resolving.logits_of, []

    def once(*arguments):
        if given:
            raise KeyboardInterrupt
        given.append(1)
        meanwhile()
        return give(*arguments)

    with mock.patch.object(resolving, "logits_of", once):
        yield


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(logits_store, "IMAGES_PER_FILE", 2)


def bits(result) -> str:
    """A digest of the weights or logits of a result."""
    folder = result.folder if isinstance(result.folder, Path) else result.folder.path
    return hashlib.sha256(
        b"".join(path.read_bytes() for path in sorted(folder.glob("*.safetensors")))
    ).hexdigest()


def test_half_written_logits_hold_nothing_of_an_image_that_was_another_one_meanwhile(
    work, own, tiny, machine, change
):
    value, image = story.logits(tiny, 0), own / "images" / "p4.png"
    whole, content = bits(resolve(value, machine)), image.read_bytes()
    shutil.rmtree(work / "logits")
    with (stopped_after_one_file(lambda: change(image)),
          pytest.raises(ValueError, match=r"p4\.png has changed since")):
        resolve(value, machine)
    image.write_bytes(content)
    assert bits(resolve(value, machine)) == whole


def test_half_written_logits_of_a_run_with_other_weights_are_written_anew(work, tiny, machine):
    value = story.logits(tiny, 0)
    resolve(value.run, machine)
    with stopped_after_one_file(), pytest.raises(KeyboardInterrupt):
        resolve(value, machine)
    with other_code():
        resolve(value.run, machine, anew=True)
    assert bits(resolve(value, machine)) == bits(resolve(value, machine, anew=True))


def test_an_interrupted_run_begins_again_where_what_it_builds_on_has_other_weights(
    work, tiny, machine, capsys
):
    value = story.primary(tiny, 0)
    logits = resolve(value.unlabelled_logits, machine)
    with stopped_at(2):
        resolve(value, machine)
    with other_code():
        resolve(value.unlabelled_logits.run, machine, anew=True)
    found = resolve(value, machine)
    said = capsys.readouterr().err
    assert "has learnt from other bytes of its unlabelled logits" in said
    assert "starts again from its first step" in said and logits.complete
    assert bits(found) == bits(resolve(value, machine, anew=True))


def test_a_run_is_made_again_where_a_run_behind_its_labels_has_other_weights(
    work, tiny, machine, capsys
):
    value = story.primary(tiny, 0)
    before = bits(resolve(value, machine))
    with other_code():
        resolve(value.unlabelled_logits.run, machine, anew=True)
    after = bits(resolve(value, machine))
    assert "unlabelled logits / run with other bytes" in capsys.readouterr().err
    assert after != before and after == bits(resolve(value, machine, anew=True))


def test_what_a_run_was_made_from_is_stored_before_it_counts_as_finished(work, tiny, machine):
    """A process that dies right after loses nothing of it."""
    value, finish = story.primary(tiny, 0), RunFolder.finish

    def dies(self, *arguments):
        finish(self, *arguments)
        if self.path.name.startswith("primary"):
            raise KeyboardInterrupt

    with mock.patch.object(RunFolder, "finish", dies), pytest.raises(KeyboardInterrupt):
        resolve(value, machine)
    with other_code():
        resolve(value.unlabelled_logits.run, machine, anew=True)
    assert bits(resolve(value, machine)) == bits(resolve(value, machine, anew=True))


def test_a_run_stays_where_its_labels_are_gone_or_half_written(work, tiny, machine, trainings):
    value = story.primary(tiny, 0)
    resolve(value, machine)
    shutil.rmtree(work / "logits")
    trainings.clear()
    resolve(value, machine)
    with stopped_after_one_file(), pytest.raises(KeyboardInterrupt):
        resolve(value.unlabelled_logits, machine)
    resolve(value, machine)
    assert trainings == []


def test_half_written_labels_of_ours_leave_a_shared_run_as_it_is(
    work, tiny, machine, trainings, monkeypatch, tmp_path
):
    value = story.primary(tiny, 0)
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "lecturer"))
    shared = resolve(value, machine)
    monkeypatch.setenv("SEMISEG_WORK", str(work))
    trainings.clear()
    with stopped_after_one_file(), pytest.raises(KeyboardInterrupt):
        resolve(value.unlabelled_logits, machine)
    monkeypatch.setenv("SEMISEG_SHARED", str(tmp_path / "lecturer"))
    trainings.clear()
    assert resolve(value, machine).folder.path == shared.folder.path and trainings == []


@pytest.mark.parametrize("how", ["copied", "touched"])
def test_an_interrupted_run_goes_on_where_its_files_hold_the_same_bytes(
    work, own, tiny, machine, tmp_path, how, capsys
):
    value = story.supervised(tiny, 0)
    with stopped_at(2):
        resolve(value, machine)
    if how == "copied":
        machine = replace(machine, root=shutil.copytree(own, tmp_path / "scratch"))
    else:
        (own / "masks" / "p1.png").touch()
        (own / "masks" / "p1.png").chmod(0o600)
    with mock.patch.object(RunFolder, "drop_checkpoints") as dropped, stopped_at(3):
        resolve(value, machine)
    dropped.assert_not_called()
    assert "starts again" not in capsys.readouterr().err


def test_an_interrupted_run_does_not_go_on_with_the_lists_of_another_one(
    work, own, tiny, machine, change, tmp_path, capsys
):
    value, other = story.supervised(tiny, 0), shutil.copytree(own, tmp_path / "other")
    change(other / "masks" / "p1.png")
    change(other / "images" / "p10.png")
    places = [machine, replace(machine, root=other)]
    folders = []
    for place in places:
        with stopped_at(2):
            resolve(value, place)
        folders += [path for path in (work / "runs").iterdir() if path not in folders]
    for name in ("lists.json", "config.json"):
        first, second = ((folder / name).read_bytes() for folder in folders)
        (folders[0] / name).write_bytes(second)
        (folders[1] / name).write_bytes(first)
    found = resolve(value, machine)
    assert "is that of another run" in capsys.readouterr().err
    assert open_run(found.folder.path, machine).evaluate("test")
    with pytest.raises(ValueError, match="not those that belonged to"):
        open_run(found.folder.path, places[1]).evaluate("test")


def test_the_best_weights_of_a_later_training_are_not_given_for_those_of_an_earlier_one(
    work, scored, machine
):
    first = resolve(story.supervised(scored, 0), machine)
    with other_code():
        resolve(story.supervised(scored, 0), machine, anew=True)
    with pytest.raises(ValueError, match=r"was trained anew since it was opened\. Open it again"):
        first.holding("best")


def test_a_published_list_that_moved_is_read_from_the_run(work, own, tiny, machine, tmp_path):
    listed = tmp_path / "published.txt"
    listed.write_text("p1\np3\n", encoding="utf-8")
    value = story.supervised(replace(tiny, data=DataConfig("folder", published=str(listed))), 0)
    first = resolve(value, machine)
    listed.unlink()
    again = open_run(first.folder.path, machine)
    assert again.evaluate("test") and again.data.names["labelled"] == ("p1", "p3")
    assert resolve(again.run, machine).folder.path == first.folder.path


def test_a_run_is_opened_before_another_process_may_make_it_anew(work, tiny, machine):
    seen, opened = [], resolving.opened

    def opening(folder, *rest, **options):
        locks = list((work / "locks").glob(f"{folder.path.name}*"))
        assert locks  # two, where it is made anew: that of the place where this happens as well
        for lock in locks:
            with pytest.raises(Timeout):
                FileLock(lock).acquire(timeout=0)
        seen.append(folder.path.name)
        return opened(folder, *rest, **options)

    with mock.patch.object(resolving, "opened", opening):
        resolve(story.supervised(tiny, 0), machine)
        resolve(story.supervised(tiny, 0), machine, anew=True)
    assert len(seen) == 2


@pytest.fixture
def begun(tiny):
    """A run that starts with another one."""
    value = semi_supervised.learn(tiny, 0, tiny.unlabelled["fixmatch"])
    return replace(value, start=(story.supervised(tiny, 0),))


def test_what_is_recorded_is_what_was_loaded(work, begun, machine):
    """The run that it starts with is trained anew after it was loaded."""
    (start,), acquire, done = begun.start, resolving.locked, []
    resolve(start, machine)

    def locked(path, *rest, **options):
        if path.name.startswith("fixmatch") and not done:
            done.append(path)
            with other_code():
                resolve(start, machine, anew=True)
        return acquire(path, *rest, **options)

    with mock.patch.object(resolving, "locked", locked):
        resolve(begun, machine)
    assert done
    assert bits(resolve(begun, machine)) == bits(resolve(begun, machine, anew=True))


def test_labels_that_are_written_anew_while_they_are_learnt_from_are_noticed(work, tiny, machine):
    value, fit, done = story.primary(tiny, 0), training.fit, []
    resolve(value.unlabelled_logits, machine)

    def meanwhile(*arguments, **options):
        history = fit(*arguments, **options)
        if not done:
            done.append(1)
            with other_code():
                resolve(value.unlabelled_logits.run, machine, anew=True)
            resolve(value.unlabelled_logits, machine)
        return history

    with (mock.patch.object(training, "fit", meanwhile),
          pytest.raises(ValueError, match="was written anew while something was made from it")):
        resolve(value, machine)
    assert bits(resolve(value, machine)) == bits(resolve(value, machine, anew=True))


def test_processes_of_a_job_that_see_different_data_are_refused(work, tiny, machine, monkeypatch):
    resolver = resolving._Resolver(machine)
    monkeypatch.setattr(resolving, "PartialState", lambda: mock.Mock(num_processes=2))
    monkeypatch.setattr(resolving, "gather_object", lambda own: [*own, "0123"])
    with pytest.raises(ValueError, match=r"do not see the same data for supervised.* 1: 0123"):
        resolver._identity(story.supervised(tiny, 0))
    monkeypatch.setattr(resolving, "gather_object", lambda own: own * 2)
    assert resolver._identity(story.supervised(tiny, 0)).name.startswith("supervised")


@pytest.mark.parametrize("how", ["resolved", "opened"])
def test_a_score_is_of_the_images_that_were_hashed(work, own, tiny, machine, change, how):
    found = resolve(story.supervised(tiny, 0), machine)
    found = resolve(story.supervised(tiny, 0), machine) if how == "resolved" else open_run(
        found.folder.path, machine, other_data=True)
    evaluate = trained.evaluate

    def meanwhile(*arguments, **options):
        change(own / "images" / "p10.png")
        return evaluate(*arguments, **options)

    with (mock.patch.object(trained, "evaluate", meanwhile),
          pytest.raises(ValueError, match=r"p10\.png has changed since the dataset was opened")):
        found.evaluate("test")


def test_classes_that_change_in_an_open_notebook_are_not_put_over_the_scores(
    work, own, tiny, machine
):
    resolve(story.supervised(tiny, 0), machine)
    found = resolve(story.supervised(tiny, 0), machine)  # its test images are not opened yet
    (own / "classes.txt").write_text("background\ndog\ncat\n", encoding="utf-8")
    with pytest.raises(ValueError, match="classes of folder have changed since it was opened"):
        found.evaluate("test")


def test_what_a_process_left_that_died_right_after_finishing_is_removed(work, scored, machine):
    value = story.supervised(scored, 0)
    with (mock.patch.object(RunFolder, "drop_checkpoints", side_effect=KeyboardInterrupt),
          pytest.raises(KeyboardInterrupt)):
        resolve(value, machine)
    (folder,) = (work / "runs").iterdir()
    assert (folder / "checkpoint.pt").exists() and (folder / "best-so-far.sealed").exists()
    found = resolve(value, machine)
    assert found.folder.finished and not found.folder.has_leftovers


def test_a_run_that_is_made_anew_while_it_is_opened_is_waited_for(work, tiny, machine):
    value, opened, done = story.supervised(tiny, 0), resolving.opened, []
    weights = bits(resolve(value, machine))

    def vanishing(folder, *rest, **options):
        if not done:
            done.append(shutil.rmtree(folder.path))
        return opened(folder, *rest, **options)

    with mock.patch.object(resolving, "opened", vanishing):
        again = resolve(value, machine)
    assert done and again.folder.finished and bits(again) == weights


def test_a_run_that_lies_under_the_name_of_another_one_is_refused(work, tiny, machine, tmp_path):
    first, second = (resolve(story.supervised(tiny, seed), machine).folder.path for seed in (0, 1))
    shutil.rmtree(second)
    shutil.copytree(first, second)
    with pytest.raises(Damaged, match="holds another run"):
        open_run(second, machine)
    renamed = shutil.copytree(first, tmp_path / "my run")
    assert open_run(renamed, machine).folder.finished


@pytest.mark.parametrize("masks", ["labelled", "first half", "all"])
def test_whatever_masks_a_run_learns_they_are_those_that_were_hashed(
    work, own, tiny, machine, change, masks
):
    value, fit = replace(story.supervised(tiny, 0), masks=masks), training.fit

    def meanwhile(*arguments, **options):
        for path in sorted((own / "masks").iterdir()):
            change(path)
        return fit(*arguments, **options)

    with (mock.patch.object(training, "fit", meanwhile),
          pytest.raises(ValueError, match="has changed since the dataset was opened")):
        resolve(value, machine)


def test_labels_are_judged_and_written_under_one_lock(work, tiny, machine):
    value, annotate, seen = story.logits(tiny, 0), Store.annotate, []

    def judging(self, **notes):
        (lock,) = (work / "locks").glob("logits-*")
        with pytest.raises(Timeout):
            FileLock(lock).acquire(timeout=0)
        seen.append(self.folder)
        annotate(self, **notes)

    with mock.patch.object(Store, "annotate", judging):
        resolve(value, machine)
    assert seen


@pytest.mark.parametrize("what", ["images/p5.png", "unlabelled.txt"])
def test_stored_labels_are_not_scored_on_other_images(
    work, own, tiny, machine, change, tmp_path, what
):
    """Neither on images of other names nor on those of the same names that have changed."""
    value, other = story.supervised(tiny, 0), shutil.copytree(own, tmp_path / "other")
    change(other / what)
    here, there = (resolve(value, replace(machine, root=root)) for root in (own, other))
    logits = resolve(Logits(story.ancillary(tiny, 0)), machine)
    labels = resolve(pseudo_labelling.pseudo_labels(tiny, tiny.rounds, value, 1), machine)
    primary = resolve(story.primary(tiny, 0), machine)
    assert evaluate_unlabelled(here.data, logits) and pseudo_labelling.evaluate_labels(labels, here)
    assert evaluate_unlabelled(here.data, corrected_logits(primary))
    with pytest.raises(ValueError, match=r"does not fit these images|made of other images"):
        evaluate_unlabelled(there.data, corrected_logits(primary))
    said = "does not fit these images|made of other images"
    with pytest.raises(ValueError, match=said):
        evaluate_unlabelled(there.data, logits)
    with pytest.raises(ValueError, match=said):
        pseudo_labelling.evaluate_labels(labels, there)


def test_labels_are_not_corrected_with_logits_that_a_primary_has_not_learnt(
    work, own, tiny, machine, change
):
    primary = resolve(story.primary(tiny, 0), machine)
    before = [one.clone() for one in corrected_logits(primary)]
    opened = open_run(primary.folder.path, machine)
    assert all(map(torch.equal, corrected_logits(opened), before))
    change(own / "images" / "p5.png")
    for one in (primary, open_run(primary.folder.path, machine)):
        with pytest.raises(ValueError, match=r"changed \(p5\)|has changed"):
            corrected_logits(one)


def test_labels_are_not_corrected_with_logits_of_an_ancillary_that_came_out_otherwise(
    work, tiny, machine
):
    primary = resolve(story.primary(tiny, 0), machine)
    with other_code():
        resolve(story.ancillary(tiny, 0), machine, anew=True)
    with pytest.raises(ValueError, match="other bytes than those that are there now"):
        corrected_logits(primary)


def test_labels_are_not_corrected_by_a_primary_that_was_trained_anew_since(work, tiny, machine):
    primary = resolve(story.primary(tiny, 0), machine)
    with other_code():
        resolve(story.ancillary(tiny, 0), machine, anew=True)
        resolve(story.primary(tiny, 0), machine)
    with pytest.raises(ValueError, match=r"was trained anew since it was opened\. Open it again"):
        corrected_logits(primary)


def test_what_correction_reads_is_made_again_where_it_is_gone(work, tiny, machine):
    primary = resolve(story.primary(tiny, 0), machine)
    before = [one.clone() for one in corrected_logits(primary)]
    for path in [*(work / "logits").iterdir(), *(work / "runs").glob("ancillary-*")]:
        shutil.rmtree(path)
    assert all(map(torch.equal, corrected_logits(primary), before))


@pytest.mark.parametrize("how", ["flipped", "lost"])
@pytest.mark.parametrize("name", ["machines.json", "config.json"])
def test_a_damaged_file_that_decides_nothing_costs_no_checkpoint(
    work, tiny, machine, name, how, capsys
):
    value = story.supervised(tiny, 0)
    expected = bits(resolve(value, machine))
    shutil.rmtree(work / "runs")
    with stopped_at(2):
        resolve(value, machine)
    (folder,) = (work / "runs").iterdir()
    content = bytearray((folder / name).read_bytes())
    content[-9] ^= 1
    (folder / name).write_bytes(content)
    if how == "lost":
        (folder / name).unlink()
    with mock.patch.object(RunFolder, "set_checkpoints_aside") as aside:
        again = resolve(value, machine)
    aside.assert_not_called()
    assert bits(again) == expected and "starts again" not in capsys.readouterr().err
    unknown = [one["machine"].get("before") for one in again.record["made with"]]
    assert unknown == (["unknown"] if name == "machines.json" else [None])


def test_checkpoints_that_cannot_be_trusted_are_set_aside(work, tiny, machine, capsys):
    value = story.supervised(tiny, 0)
    with stopped_at(2):
        resolve(value, machine)
    (folder,) = (work / "runs").iterdir()
    (folder / "lists.json").write_bytes(b"{}")
    resolve(value, machine)
    assert "set aside beside it" in capsys.readouterr().err
    assert (folder / "checkpoint.pt.damaged").is_file()


def test_a_run_is_reproduced_from_its_own_names_where_its_published_list_is_another_now(
    work, own, tiny, machine, tmp_path
):
    listed = tmp_path / "published.txt"
    listed.write_text("p1\np3\n", encoding="utf-8")
    value = story.supervised(replace(tiny, data=DataConfig("folder", published=str(listed))), 0)
    first = resolve(value, machine)
    listed.write_text("p0\np2\n", encoding="utf-8")
    again = trained.read_run(first.folder.description, first.folder.path / "config.json")
    assert resolve(again, machine).folder.path == first.folder.path
    alone = tmp_path / "alone"
    alone.mkdir()
    listed.unlink()
    with pytest.raises(FileNotFoundError, match="Copy the run's whole folder"):
        trained.read_run(first.folder.description, alone / "config.json")


def test_boxes_of_images_that_a_run_does_not_read_count_where_they_decide_what_is_allowed(
    own, machine
):
    """Without any box of a class in the dataset, boxes say nothing of where the class is not."""
    def digests() -> dict[str, str]:
        data = Data(DataConfig("folder", unboxed="empty"), 0, own)
        return {"allowed": data.unlabelled.with_fields("allowed").digest,
                "box maps": data.labelled.with_fields("box_maps").digest,
                "images": data.unlabelled.with_fields().digest, "all": data.digest_of_all}

    for path in (own / "boxes").iterdir():
        if path.stem != "p10":  # of the test images
            path.unlink()
    before = digests()
    shutil.rmtree(own / "boxes")
    after = digests()
    assert {name for name in before if before[name] != after[name]} == {
        "allowed", "box maps", "all"}


def test_a_run_whose_published_list_is_another_now_is_fresh(work, own, tiny, machine, tmp_path):
    listed = tmp_path / "published.txt"
    listed.write_text("p1\np3\n", encoding="utf-8")
    value = story.supervised(replace(tiny, data=DataConfig("folder", published=str(listed))), 0)
    resolve(value, machine)
    for spoil in (lambda: listed.write_text("p0\np2\n", encoding="utf-8"), listed.unlink):
        spoil()
        (item,) = (one for one in inventory(own) if one.path.parent.name == "runs")
        assert item.state == "fresh"


def test_encoder_weights_are_told_apart_by_their_bytes(tmp_path):
    first, second = tmp_path / "a.pt", tmp_path / "b.pt"
    first.write_bytes(b"first")
    second.write_bytes(b"second")
    description = {
        "value": {"model": {"weights": "gone/x.pt"}, "start": [{"model": {"weights": "gone/x.pt"}}],
                  "method": {"name": "eln", "error": {"weights": "gone/y.pt"}}},
        "inputs": {"weights": {"model": file_hash(first), "error": file_hash(second)}},
    }
    for paths in ((first, second), (second, first)):
        found = trained.with_weights_at(description, paths)
        assert found["model"]["weights"] == first.as_posix()
        assert found["start"][0]["model"]["weights"] == first.as_posix()
        assert found["method"]["error"]["weights"] == second.as_posix()
    (tmp_path / "c.pt").write_bytes(b"third")
    with pytest.raises(ValueError, match=r"did not start with the encoder weights in .*c\.pt"):
        trained.with_weights_at(description, (first, tmp_path / "c.pt"))


def test_runs_of_other_code_are_used_and_that_is_said_once(work, tiny, machine, monkeypatch):
    first = resolve(story.supervised(tiny, 0), machine)
    monkeypatch.setattr(trained, "code_version", lambda: "another")
    with pytest.warns(UserWarning, match="were made with code .*, here is another"):
        open_run(first.folder.path, machine)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_run(first.folder.path, machine)


def test_a_run_of_a_registered_class_that_has_changed_is_used_and_that_is_said(
    work, tiny, machine, monkeypatch
):
    """For each change once: the code of a method is not part of the run's identity."""
    @dataclass(frozen=True)
    class MineConfig(SupervisedConfig):
        name: Literal["changing"] = "changing"

    def cell(sign: float) -> None:
        class Mine(Supervised):
            def losses(self, batch, progress):
                return {name: sign * one for name, one in super().losses(batch, progress).items()}

        methods.register(MineConfig, Mine)

    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    value = replace(story.supervised(tiny, 0), method=MineConfig())
    cell(1.0)
    first = resolve(value, machine)
    assert re.search(r" with Mine [0-9a-f]{10}$", first.record["made with"][0]["code"])
    said = "were made with code .* with Mine .*, here is .* with Mine .* not part of a run's"
    for sign, count in ((1.0, 0), (-5.0, 1), (-50.0, 1), (-5.0, 0)):
        cell(sign)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert bits(resolve(value, machine)) == bits(first)
        told = [str(one.message) for one in caught if re.search(said, str(one.message))]
        assert len(told) == count


def test_what_builds_on_a_run_of_a_class_that_has_changed_says_so_too(
    work, tiny, machine, monkeypatch
):
    """A student that starts from it, and pseudo-labels by it: found, and used with a word."""
    @dataclass(frozen=True)
    class MineConfig(SupervisedConfig):
        name: Literal["teaching"] = "teaching"

    def cell(sign: float) -> None:
        class Teaching(Supervised):
            def losses(self, batch, progress):
                return {name: sign * one for name, one in super().losses(batch, progress).items()}

        methods.register(MineConfig, Teaching)

    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    cell(1.0)
    teacher = replace(story.supervised(tiny, 0), method=MineConfig())
    student = replace(story.supervised(tiny, 0), start=(teacher,))
    labels = PseudoLabels(teacher, Selection())
    folders = [resolve(student, machine).folder.path, resolve(labels, machine).folder]
    for value, sign, folder in ((student, -5.0, folders[0]), (labels, -50.0, folders[1])):
        cell(sign)
        with pytest.warns(UserWarning, match="were made with code .* with Teaching .*, here is"):
            found = resolve(value, machine).folder
        assert getattr(found, "path", found) == folder


def test_the_weights_of_a_network_within_other_options_are_refused(work, tiny, machine, tmp_path):
    """They would be no part of the identity: two files of weights, one run."""
    @dataclass(frozen=True)
    class ExpertsConfig(SupervisedConfig):
        name: Literal["experts"] = "experts"
        experts: tuple[ModelConfig, ...] = ()

    network = replace(tiny.model, weights=str(tmp_path / "w.safetensors"))
    value = replace(story.supervised(tiny, 0), method=ExpertsConfig(experts=(network,)))
    with pytest.raises(ValueError, match=r"experts\.experts holds a network within other options"):
        weights_files(value)
    plain = replace(value, method=ExpertsConfig(experts=(tiny.model,)))
    assert weights_files(plain) == {}
