"""The storyline of self-correction: what each run sees, and what it must not see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from semiseg_lib.batches.box_labels import as_logits, drawn_labels
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.datasets.labels import VOID, LabelError
from semiseg_lib.evaluation.predict import predict_logits
from semiseg_lib.experiments import (
    Logits,
    Machine,
    MixedLogits,
    Trained,
    corrected_logits,
    evaluate_unlabelled,
    resolve,
    training,
)
from semiseg_lib.experiments import self_correction as story
from semiseg_lib.methods import ConvPrimaryConfig
from semiseg_lib.methods.self_correcting.method import linear_correction
from semiseg_lib.recipes import load
from semiseg_lib.stores.logits import StaleLogits

SMOKE = load("smoke")
SEED = 5


@pytest.fixture(scope="module")
def drawn_work(tmp_path_factory):
    """A work folder that the tests of drawn images share."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(folder))
        yield folder


@pytest.fixture(scope="module")
def primary(drawn_work) -> Trained:
    return resolve(story.primary(SMOKE, SEED), "cpu")


def same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    """Equal to the last bit."""
    ours, theirs = one.state_dict(), two.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


# What a run sees


def spoil(own: Path, numbers) -> None:
    for number in numbers:
        (own / "masks" / f"p{number}.png").write_bytes(b"garbage")


@pytest.mark.parametrize("make", [story.primary, story.second_round, lambda profile, seed: (
    story.primary(profile, seed, ConvPrimaryConfig(width=6)))], ids=["linear", "second", "conv"])
def test_the_unlabelled_masks_have_no_part_in_training(
    work, own, tiny, machine, monkeypatch, tmp_path, make
):
    """The hidden masks are overwritten with garbage before anything is trained."""
    trained = resolve(make(tiny, 0), machine)
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "poisoned"))
    spoil(own, range(4, 8))
    poisoned = resolve(make(tiny, 0), machine)
    assert same(poisoned.method, trained.method)
    assert poisoned.folder.path.name == trained.folder.path.name
    data = poisoned.data
    assert data.unlabelled.part([0]).masks is None
    with pytest.raises(ValueError, match="has no mask"):
        _ = data.unlabelled.masks
    with pytest.raises(LabelError, match="p4"):
        np.asarray(data.unlabelled_truth)


def test_the_test_images_have_no_part_in_training(work, own, tiny, machine, monkeypatch, tmp_path):
    """Not even as files: they are gone while everything is trained."""
    trained = resolve(story.primary(tiny, 0), machine)
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "without"))
    for number in (10, 11):
        (own / "images" / f"p{number}.png").write_bytes(b"garbage")
        spoil(own, [number])
    assert same(resolve(story.primary(tiny, 0), machine).method, trained.method)


def test_the_boxes_of_the_test_images_have_no_part_in_the_primarys_score(work, own, tiny, machine):
    """With every test box moved the ancillary's score changes, and the primary's does not."""
    longer = replace(tiny.train_ancillary, steps=20)
    profile = replace(tiny, train_ancillary=longer)
    made = {name: getattr(story, name)(profile, 0) for name in ("primary", "ancillary")}
    before = {name: resolve(one, machine).evaluate().confusion for name, one in made.items()}
    for number in (10, 11):
        (own / "boxes" / f"p{number}.xml").write_text(
            "<annotation><object><name>cat</name><bndbox><xmin>20</xmin><ymin>20</ymin>"
            "<xmax>31</xmax><ymax>31</ymax></bndbox></object></annotation>", encoding="utf-8",
        )
    moved = {name: resolve(one, machine) for name, one in made.items()}
    assert np.array_equal(moved["primary"].evaluate().confusion, before["primary"])
    assert not np.array_equal(moved["ancillary"].evaluate().confusion, before["ancillary"])
    assert len(list((work / "runs").iterdir())) == 2, "the test images decide no run"


@pytest.fixture
def started(monkeypatch) -> list[SimpleNamespace]:
    """What each training began with; none of them goes on."""
    seen = []

    def begin(method, loader, *_arguments, **_options):
        seen.append(SimpleNamespace(method=method, loader=loader))
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", begin)
    return seen


def begin(value, machine="cpu") -> None:
    with pytest.raises(KeyboardInterrupt):
        resolve(value, machine)


def test_the_half_ancillary_sees_half_of_the_masks_and_the_whole_one_all(drawn_work, started):
    for make in (story.half_ancillary, story.ancillary):
        begin(make(SMOKE, 8))
    half, whole = (one.loader.sets[0].names for one in started)
    data = Data(SMOKE.data, 8)
    assert len(half) == 4 and set(half) < set(whole) == set(data.labelled.names)
    assert set(half) == set(data.halves[0].names)


def test_the_upper_bound_sees_every_mask_and_as_many_images_a_step(drawn_work, started):
    begin(story.all_masks(SMOKE, SEED))
    (loader,) = (one.loader for one in started)
    data = Data(SMOKE.data, SEED)
    assert loader.sets[0].names == (*data.labelled.names, *data.unlabelled.names)
    assert loader.sets[0].part([len(data.labelled)]).masks is not None
    assert loader.batch_sizes == (SMOKE.train_primary.images, 0)


def test_a_primary_reads_stored_logits_and_no_boxes_of_the_unlabelled_images(primary, started):
    """Another draw of the primary: nothing before it has to be trained again."""
    begin(replace(primary.run, draw=1))
    labelled, unlabelled = started[0].loader.sets
    assert labelled.names == primary.data.labelled.names
    assert unlabelled.names == primary.data.unlabelled.names
    store = resolve(story.logits(SMOKE, SEED), "cpu")
    part = unlabelled.part([3])
    assert torch.equal(part.logits_ancillary[0], store[3].float())
    assert part.masks is None and part.box_maps is None and part.allowed is None


def test_the_seed_and_nothing_else_decides_the_initial_weights(drawn_work, started):
    for seed, noise in ((50, 1), (50, 2), (51, 1)):
        torch.manual_seed(noise)
        begin(story.supervised(SMOKE, seed))
    one, two, other = (each.method for each in started)
    assert same(one, two) and not same(one, other)
    assert [each.loader.seed for each in started] == [50, 50, 51]


def test_a_further_draw_has_other_weights_and_the_same_batches(drawn_work, started):
    for draw in (0, 1, 2):
        begin(story.supervised(SMOKE, SEED, draw))
    first, *others = started
    for other in others:
        assert not same(first.method, other.method)
        assert torch.equal(first.loader.batch(3).labelled.images,
                           other.loader.batch(3).labelled.images)
    assert not same(*(other.method for other in others))


def test_seeds_choose_other_labelled_images_and_the_same_unlabelled_ones(drawn_work):
    one, two = (Data(SMOKE.data, seed) for seed in (5, 6))
    assert one.labelled.names != two.labelled.names and len(one.labelled) == 8
    assert one.unlabelled.names == two.unlabelled.names and one.test.names == two.test.names
    assert set(one.labelled.masks.unique().tolist()) >= set(range(len(one.classes)))
    everyone = [set(images.names) for images in (one.labelled, one.unlabelled, one.val, one.test)]
    assert sum(map(len, everyone)) == len(set.union(*everyone))


# What the labels are


def test_the_stored_logits_are_the_ancillarys_of_the_unlabelled_images(primary):
    ancillary, store = (resolve(make(SMOKE, SEED), "cpu") for make in (
        story.ancillary, story.logits))
    expected = predict_logits(ancillary.method, primary.data.unlabelled)
    torch.testing.assert_close(store.read().float(), expected, rtol=1e-2, atol=1e-2)
    assert store.names == primary.data.unlabelled.names
    assert store.bits == SMOKE.logits_bits == 16


def test_the_logits_of_the_labelled_images_are_theirs(primary):
    half = resolve(story.half_ancillary(SMOKE, SEED), "cpu")
    store = resolve(Logits(half.run, "labelled"), "cpu")
    assert store.names == primary.data.labelled.names
    expected = predict_logits(half.method, primary.data.labelled)
    torch.testing.assert_close(store.read().float(), expected, rtol=1e-2, atol=1e-2)


def test_stored_logits_of_another_seed_are_refused(primary, drawn_work):
    """Somebody copied them to where ours would lie."""
    value = story.primary(SMOKE, 6)
    ours = resolve(value.unlabelled_logits, "cpu")
    before = sorted((drawn_work / "runs").iterdir())
    foreign = resolve(story.logits(SMOKE, SEED), "cpu")
    for path in foreign.folder.iterdir():
        (ours.folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(StaleLogits, match=r"those of [0-9a-f]{64}\. Delete the folder"):
        resolve(value, "cpu")
    assert sorted((drawn_work / "runs").iterdir()) == before, "nothing was trained"


def test_mixed_logits_are_the_correction_of_the_two_models(primary):
    ancillary = story.logits(SMOKE, SEED)
    mixed = resolve(MixedLogits(primary.run, ancillary, 0.5), "cpu")
    expected = linear_correction(
        predict_logits(primary.method, primary.data.unlabelled),
        resolve(ancillary, "cpu").read().float(), 0.5,
    )
    torch.testing.assert_close(mixed.read().float(), expected, rtol=1e-2, atol=1e-2)
    other = resolve(MixedLogits(primary.run, ancillary, 0.25), "cpu")
    assert other.source != mixed.source and not torch.equal(other.read(), mixed.read())


def test_the_run_depends_on_whose_labels_it_learnt(primary):
    second = resolve(story.second_round(SMOKE, SEED), "cpu")
    uncorrected = resolve(story.primary(SMOKE, SEED, story.UNCORRECTED), "cpu")
    assert second.run.method == uncorrected.run.method == story.UNCORRECTED
    assert len({one.folder.path for one in (primary, second, uncorrected)}) == 3
    assert not same(second.method, uncorrected.method)
    assert not same(uncorrected.method, primary.method)


def test_unlabelled_labels_are_measured_against_the_hidden_masks(primary):
    data = primary.data
    truth = torch.from_numpy(np.asarray(data.unlabelled_truth)).long()
    perfect = torch.nn.functional.one_hot(truth.clamp(max=5), 6).movedim(-1, 1)[:, :5].float()
    assert evaluate_unlabelled(data, perfect).mean_iou == 1
    assert evaluate_unlabelled(data, perfect.roll(1, dims=1)).pixel_accuracy == 0
    assert evaluate_unlabelled(data, perfect.half()).confusion.sum() == int((truth != 255).sum())
    some = data.unlabelled.take([3, 1])
    found = evaluate_unlabelled(data, perfect[[3, 1]], some)
    assert found.mean_iou == 1 and found.confusion.sum() == int((truth[[3, 1]] != 255).sum())


def test_corrected_logits_are_those_at_the_end_of_the_schedule(primary):
    store = resolve(story.logits(SMOKE, SEED), "cpu")
    labels = torch.stack(list(corrected_logits(primary)))
    expected = linear_correction(
        predict_logits(primary.method, primary.data.unlabelled), store.read().float(),
        primary.run.method.alpha.end,
    )
    torch.testing.assert_close(labels, expected, rtol=1e-2, atol=1e-2)
    with pytest.raises(ValueError, match="supervised learns from no stored logits to correct"):
        (corrected_logits(resolve(story.supervised(SMOKE, SEED), "cpu")))


def test_convolutional_correction_takes_three_stages(primary, drawn_work):
    """Half of F trains an ancillary, F starts the correction, then F and W finish it."""
    options = ConvPrimaryConfig(width=10)
    trained = resolve(story.primary(SMOKE, SEED, options), "cpu")
    (start,) = trained.run.start
    assert start.method.stage == "start" and start == story.conv_start(SMOKE, SEED, options)
    half = story.half_ancillary(SMOKE, SEED)
    assert start.labelled_logits == Logits(half, "labelled", SMOKE.logits_bits)
    assert trained.run.labelled_logits == story.logits(SMOKE, SEED, "labelled")
    assert trained.run.unlabelled_logits == story.logits(SMOKE, SEED)
    began = resolve(start, "cpu")
    assert began.folder.path.parent == drawn_work / "runs"
    assert began.method.config.stage == "start" and not same(began.method, trained.method)
    assert same(resolve(story.primary(SMOKE, SEED, options), "cpu").method, trained.method)
    assert story.conv_primary(SMOKE, SEED, replace(options, stage="start")) == start
    labels = torch.stack(list(corrected_logits(trained)))
    store = resolve(story.logits(SMOKE, SEED), "cpu")
    assert labels.shape == store.read().shape and labels.isfinite().all()


def test_a_warm_primary_goes_on_from_its_start(primary, request):
    value = story.warm_primary(SMOKE, SEED)
    (start,) = value.start
    assert start.train == SMOKE.train_start and value == replace(primary.run, start=(start,))
    expected = resolve(start, "cpu").method
    started = request.getfixturevalue("started")
    begin(value)
    assert same(started[0].method.network, expected.network)
    assert same(started[0].method.average, expected.average)


def test_a_run_can_end_on_its_way_with_the_schedules_of_the_whole(primary):
    halfway = resolve(replace(primary.run, stop=2), "cpu")
    assert [row["step"] for row in halfway.history] == [
        row["step"] for row in primary.history if row["step"] <= 2
    ]
    ours, theirs = halfway.history[-1], primary.history[len(halfway.history) - 1]
    assert ours["loss_unlabelled"] == pytest.approx(theirs["loss_unlabelled"], rel=1e-5)
    assert halfway.folder.path != primary.folder.path and not same(halfway.method, primary.method)
    with pytest.raises(ValueError, match=r"must be a multiple of train\.log_every"):
        replace(primary.run, stop=primary.run.train.steps + 1)


@pytest.mark.parametrize("rule", ["filled", "grabcut"])
def test_a_primary_can_learn_labels_that_are_drawn_from_boxes(rule, drawn_work):
    value = story.drawn_labels(SMOKE, SEED, rule)
    before = sorted((drawn_work / "runs").iterdir())
    stored = resolve(value, "cpu")
    assert sorted((drawn_work / "runs").iterdir()) == before, "nothing is trained for them"
    trained = resolve(story.primary(SMOKE, SEED, story.UNCORRECTED, value), "cpu")
    assert list(stored.names) == list(trained.data.boxed.names)
    for number in (0, 5):
        expected = drawn_labels(trained.data.boxed.sample(number), rule)
        pooled = as_logits(expected, len(trained.data.classes), 2, value.sure)
        torch.testing.assert_close(stored[number].float(), pooled, rtol=1e-2, atol=1e-2)
    with pytest.raises(ValueError, match=r"sure is 1\.0"):
        replace(value, sure=1.0)


def test_a_second_opinion_mixes_the_ancillary_with_the_run_on_masks_alone(drawn_work):
    mixed = resolve(story.second_opinion(SMOKE, SEED, 0.5), "cpu").read().float()
    own, given = (resolve(one, "cpu").read().float()
                  for one in (story.own_logits(SMOKE, SEED), story.logits(SMOKE, SEED)))
    torch.testing.assert_close(mixed, linear_correction(own, given, 0.5), rtol=1e-2, atol=1e-2)
    supervised = resolve(story.supervised(SMOKE, SEED), "cpu")
    predicted = predict_logits(supervised.method, supervised.data.unlabelled)
    torch.testing.assert_close(own, predicted, rtol=1e-2, atol=1e-2)


def test_masks_alone_with_the_steps_of_a_primary(primary):
    train, equal = primary.run.train, story.equal_steps(SMOKE, SEED)
    assert equal.train.steps == train.steps and equal.train.images == train.images
    assert equal.train.batch_unlabelled == 0 and not equal.start and equal.masks == "labelled"


# Photographs, and images without boxes


def test_photographs_go_through_the_same_stages(tmp_path, monkeypatch):
    """The drawn images, read from disk as photographs: every stage, and the scores' sizes."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    profile = replace(load("smoke", "voc"), data=replace(SMOKE.data, labelled=8, at_most=2))
    values = [
        story.supervised(profile, SEED), story.ancillary(profile, SEED),
        story.primary(profile, SEED, story.UNCORRECTED), story.primary(profile, SEED),
        story.primary(profile, SEED, ConvPrimaryConfig()),
    ]
    trained = [resolve(one, "cpu") for one in values]
    data = trained[0].data
    pixels = sum(int((data.test.sample(i).mask != VOID).sum()) for i in range(2))
    for one in trained:
        assert one.evaluate("test", profile.protocol).confusion.sum() == pixels
        assert one.record["memory_gb"] > 0 and one.record["best"]["step"] in (2, 4)
        assert one.run.validation == profile.protocol and one.run.weights == "best"
    store = resolve(story.logits(profile, SEED), "cpu")
    assert store.bits == 8 and store[0].shape == (5, 16, 16)
    hidden = sum(int((mask != VOID).sum()) for mask in data.unlabelled_truth)
    assert evaluate_unlabelled(data, corrected_logits(trained[-1])).confusion.sum() == hidden


def test_a_dataset_without_boxes_cannot_be_labelled_by_an_ancillary(tmp_path, work):
    for split in ("train", "val", "test"):
        for folder, size in ((split, (32, 32, 3)), (f"{split}_labels", (32, 32))):
            (tmp_path / folder).mkdir()
            for number in range(2):
                image = Image.fromarray(np.zeros(size, np.uint8))
                image.save(tmp_path / folder / f"{split}_{number}.png")
    profile = replace(load("smoke", "camvid"), data=DataConfig("camvid"))
    machine = Machine("cpu", tmp_path)
    lacks = r"camvid has no boxes on 2 of its 2 labelled images, such as train_0, so no ancillary"
    for make in (story.ancillary, story.half_ancillary, story.logits, story.primary,
                 story.second_round):
        with pytest.raises(ValueError, match=lacks):
            resolve(make(profile, SEED), machine)
    (tmp_path / "first.txt").write_text("train_0\n", encoding="utf-8")
    data = DataConfig("camvid", published=str(tmp_path / "first.txt"))
    lacks = "camvid has no boxes on 1 of its 1 labelled images, such as train_0, so no ancillary"
    with pytest.raises(ValueError, match=lacks):
        resolve(story.primary(replace(profile, data=data), SEED), machine)
    assert not work.exists() or not list(work.glob("runs/*")), "nothing was begun"


def test_without_unlabelled_images_there_is_no_primary(work, own, tiny, machine):
    (own / "unlabelled.txt").unlink()
    everyone = "".join(f"p{number}\n" for number in range(8))
    (own / "labelled.txt").write_text(everyone, encoding="utf-8")
    with pytest.raises(ValueError, match="folder has no unlabelled images"):
        resolve(story.primary(tiny, 0), machine)
    assert not list(work.glob("runs/*"))
    assert resolve(story.supervised(tiny, 0), machine).folder.finished
