"""The stages: made once, loaded afterwards, and blind to everything they must not see."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semiseg_lib import launch, stages
from semiseg_lib.batches.data import Data, DataConfig
from semiseg_lib.datasets.labels import VOID, LabelError
from semiseg_lib.datasets.minivoc import prepare
from semiseg_lib.evaluate import predict_logits
from semiseg_lib.launch import Machine
from semiseg_lib.methods import ConvPrimaryConfig
from semiseg_lib.methods.self_correcting import linear_correction
from semiseg_lib.profiles import load
from semiseg_lib.runs import RunFolder
from semiseg_lib.stages import Pipeline
from semiseg_lib.stores.logits import StaleLogits
from semiseg_lib.studies import NONE


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(folder))
        yield folder


def pipeline(seed: int = 5) -> Pipeline:
    return Pipeline(load("smoke"), seed, "cpu")


def folder_of(data: Data) -> Path:
    """Where the images of mini-VOC lie."""
    options = data.config.options
    return prepare(options.drawn_world(), options.sizes)


@pytest.fixture(scope="module")
def primary(work) -> launch.Trained:
    return pipeline().primary()


def same_weights(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    ours, theirs = one.state_dict(), two.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_asking_for_the_primary_makes_all_that_it_rests_on(work, primary):
    kinds = sorted(path.name.split("-")[0] for path in (work / "runs").iterdir())
    assert kinds == ["ancillary", "primary"]
    assert len(list((work / "logits").iterdir())) == 1
    assert primary.history[-1]["step"] == load("smoke").train_primary.steps
    assert primary.record["classes"] == list(pipeline().data.classes)
    assert not primary.method.training


def test_what_is_on_disk_is_loaded_and_not_made_again(primary, monkeypatch):
    def forbidden(*_args, **_options):
        raise AssertionError("trained or predicted again")

    monkeypatch.setattr(launch, "fit", forbidden)
    monkeypatch.setattr(stages, "logits_of", forbidden)
    again = pipeline().primary()
    assert same_weights(again.method, primary.method) and again.record == primary.record
    with pytest.raises(AssertionError, match="again"):
        pipeline().primary(NONE)


def test_the_unlabelled_masks_have_no_part_in_training(primary, tmp_path, monkeypatch):
    """The hidden masks are overwritten with garbage before anything is trained."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    poisoned = pipeline()
    masks = list((folder_of(poisoned.data) / "SegmentationClassAug").glob("*.png"))
    assert len(masks) == len(poisoned.data.unlabelled) == 16
    for path in masks:
        path.write_bytes(b"garbage")
    assert same_weights(poisoned.primary().method, primary.method)
    assert poisoned.data.unlabelled.part([0]).masks is None
    with pytest.raises(ValueError, match="has no mask"):
        _ = poisoned.data.unlabelled.masks
    with pytest.raises(LabelError, match="SegmentationClassAug"):
        np.asarray(poisoned.data.unlabelled_truth)


def test_the_boxes_of_the_test_images_have_no_part_in_the_primarys_score(
    primary, tmp_path, monkeypatch
):
    """With every test box moved the ancillary's score changes, and the primary's does not."""
    before = {kind: pipeline().evaluate(getattr(pipeline(), kind)()).confusion
              for kind in ("primary", "ancillary")}
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    moved = pipeline()
    folder = folder_of(moved.data)
    for name in (folder / "ImageSets/Segmentation/test.txt").read_text("utf-8").split():
        path = folder / "Annotations" / f"{name}.xml"
        path.write_text(
            "<annotation><object><name>balloon</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
            "<xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>", encoding="utf-8",
        )
    assert np.array_equal(moved.evaluate(moved.primary()).confusion, before["primary"])
    assert not np.array_equal(moved.evaluate(moved.ancillary()).confusion, before["ancillary"])


def test_the_stored_logits_are_the_ancillarys_of_the_unlabelled_images(primary):
    one = pipeline()
    expected = predict_logits(one.ancillary().method, one.data.unlabelled)
    torch.testing.assert_close(one.logits().read().float(), expected, rtol=1e-2, atol=1e-2)
    assert one.logits().names == one.data.unlabelled.names


def test_logits_of_another_seed_are_refused(primary, work):
    ours, other = pipeline().logits(), pipeline(seed=6)
    foreign = other._store(stages.fingerprint(other.config(
        other.profile.ancillary, other.profile.train_ancillary
    )), other.data.unlabelled).folder
    shutil.copytree(ours.folder, foreign)
    try:
        with pytest.raises(StaleLogits, match=r"logits.* Delete the folder"):
            other.primary()
        assert not [p for p in (work / "runs").glob("primary-*") if p != primary.folder.path
                    and (p / "model.safetensors").exists()
                    and json.loads((p / "config.json").read_text("utf-8"))["seed"] == 6]
    finally:
        shutil.rmtree(foreign)


def test_the_run_depends_on_whose_labels_it_learnt(primary):
    assert primary.config.labels_from == pipeline().logits().source
    mixed = pipeline().mixed_logits(primary, alpha=0.5)
    second = pipeline().primary(labels=mixed)
    assert second.folder.path != primary.folder.path
    assert not same_weights(second.method, primary.method)


def test_mixed_logits_are_the_correction_of_the_two_models(primary):
    one = pipeline()
    expected = linear_correction(
        predict_logits(primary.method, one.data.unlabelled), one.logits().read().float(), 0.5
    )
    stored = one.mixed_logits(primary, alpha=0.5).read().float()
    torch.testing.assert_close(stored, expected, rtol=1e-2, atol=1e-2)
    assert one.mixed_logits(primary, 0.25).source != one.mixed_logits(primary, 0.5).source


def test_unlabelled_labels_are_measured_against_the_hidden_masks(primary):
    one = pipeline()
    truth = torch.from_numpy(np.asarray(one.data.unlabelled_truth)).long()
    perfect = torch.nn.functional.one_hot(truth.clamp(max=5), 6).movedim(-1, 1)[:, :5].float()
    assert one.evaluate_unlabelled(perfect).mean_iou == 1
    assert one.evaluate_unlabelled(perfect.roll(1, dims=1)).pixel_accuracy == 0
    assert one.evaluate_unlabelled(perfect.half()).confusion.sum() == int((truth != 255).sum())


def test_seeds_choose_other_labelled_images_and_the_same_unlabelled_ones(work):
    one, two = pipeline(5).data, pipeline(6).data
    assert one.labelled.names != two.labelled.names and len(one.labelled) == 8
    assert one.unlabelled.names == two.unlabelled.names and one.test.names == two.test.names
    assert set(one.labelled.masks.unique().tolist()) >= set(range(len(one.classes)))
    everyone = [set(images.names) for images in (one.labelled, one.unlabelled, one.val, one.test)]
    assert sum(map(len, everyone)) == len(set.union(*everyone))


def test_the_seed_and_nothing_else_decides_the_initial_weights(work, monkeypatch):
    class Started(Exception):
        pass

    def capture(method, loader, *_args, **_options):
        raise Started(method, loader.seed)

    monkeypatch.setattr(launch, "fit", capture)
    started = []
    for seed, noise in ((50, 1), (50, 2), (51, 1)):
        torch.manual_seed(noise)
        with pytest.raises(Started) as caught:
            pipeline(seed).supervised()
        started.append(caught.value.args)
    (one, two, other), seeds = zip(*started, strict=True)
    assert same_weights(one, two) and not same_weights(one, other) and seeds == (50, 50, 51)


def test_a_run_tells_on_disk_how_it_was_made(primary):
    stored = json.loads((primary.folder.path / "config.json").read_text(encoding="utf-8"))
    assert stored["seed"] == 5 and stored["method"]["correction"] == "linear"
    assert stored["train"]["steps"] == load("smoke").train_primary.steps
    assert isinstance(primary.folder.path, Path)


def test_convolutional_correction_takes_three_stages(primary, work):
    """Half of F trains an ancillary, F starts the correction, then F and W finish it."""
    one = pipeline()
    trained = one.primary(ConvPrimaryConfig(width=10))
    runs = {path.name: json.loads((path / "config.json").read_text("utf-8"))
            for path in (work / "runs").iterdir()}
    start = next(name for name, run in runs.items() if run["method"].get("stage") == "start")
    assert f"conv-primary-{trained.config.starts_from}" == start
    half = one.half_ancillary()
    assert runs[start]["labels_from"] == one.logits("labelled", half).source
    assert trained.config.labels_from == one.logits().source
    began = one.open(RunFolder(work / "runs" / start), replace(
        trained.config, method=replace(trained.config.method, stage="start")
    ))
    assert not same_weights(began.method, trained.method)
    assert same_weights(one.primary(ConvPrimaryConfig(width=10)).method, trained.method)
    labels = torch.stack(list(one.corrected_logits(trained)))
    assert labels.shape == one.logits().read().shape and labels.isfinite().all()


def test_the_half_ancillary_sees_half_of_the_masks_and_the_whole_logits_all(work, monkeypatch):
    one, seen = pipeline(8), []

    def capture(_method, loader, *_args, **_options):
        seen.append(loader.sets[0].names)
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "fit", capture)
    for stage in (one.half_ancillary, one.ancillary):
        with pytest.raises(KeyboardInterrupt):
            stage()
    assert len(seen[0]) == 4 and set(seen[0]) < set(seen[1]) == set(one.data.labelled.names)


def test_photographs_go_through_the_same_stages(tmp_path, monkeypatch):
    """The drawn images, read from disk as photographs: every stage, and the scores' sizes."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    profile = load("smoke", "voc")
    data = DataConfig("minivoc", labelled=8, at_most=6)
    one = Pipeline(replace(profile, data=data), 5, "cpu")
    trained = [one.supervised(), one.ancillary(), one.primary(NONE), one.primary(),
               one.primary(ConvPrimaryConfig())]
    pixels = sum(int((one.data.test.sample(i).mask != VOID).sum()) for i in range(6))
    for run in trained:
        assert one.evaluate(run).confusion.sum() == pixels
        assert run.config.lists == one.data.lists_digest and run.record["memory_gb"] > 0
        assert run.record["best"]["step"] in (2, 4)
    store = one.logits()
    assert store.bits == 8 and store[0].shape == (5, 16, 16)
    hidden = sum(int((mask != VOID).sum()) for mask in one.data.unlabelled_truth)
    assert one.evaluate_unlabelled(one.corrected_logits(trained[-1])).confusion.sum() == hidden


def test_a_dataset_without_boxes_cannot_be_labelled_by_an_ancillary(tmp_path):
    for split in ("train", "val", "test"):
        for folder, size in ((split, (32, 32, 3)), (f"{split}_labels", (32, 32))):
            (tmp_path / folder).mkdir()
            for number in range(2):
                image = Image.fromarray(np.zeros(size, np.uint8))
                image.save(tmp_path / folder / f"{split}_{number}.png")
    profile = load("smoke", "camvid")
    one = Pipeline(replace(profile, data=DataConfig("camvid")), 5, Machine("cpu", tmp_path))
    lacks = r"camvid has no boxes on 2 of its 2 labelled images, such as train_0, so no ancillary"
    with pytest.raises(ValueError, match=lacks):
        one.ancillary()
    with pytest.raises(ValueError, match=lacks):
        one.primary()
    (tmp_path / "first.txt").write_text("train_0\n", encoding="utf-8")
    data = DataConfig("camvid", published=str(tmp_path / "first.txt"))
    one = Pipeline(replace(profile, data=data), 5, Machine("cpu", tmp_path))
    lacks = "camvid has no boxes on 1 of its 1 labelled images, such as train_0, so no ancillary"
    with pytest.raises(ValueError, match=lacks):
        one.primary()


def test_without_unlabelled_images_there_is_no_primary(work):
    data = DataConfig("minivoc", labelled=8, at_most=6)
    one = Pipeline(replace(load("smoke", "voc"), data=data), 5, "cpu")
    one.data.names.update(unlabelled=())
    with pytest.raises(ValueError, match="minivoc has no unlabelled images"):
        one.primary()
