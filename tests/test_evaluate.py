"""The confusion matrix and its scores against scikit-learn and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch
from tiny_run import image_set
from torchmetrics.classification import MulticlassJaccardIndex

from semiseg_lib import methods
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes
from semiseg_lib.evaluation import predict as inference
from semiseg_lib.evaluation.metrics import (
    Evaluation,
    confusion_matrix,
    evaluate,
    evaluate_labels,
)
from semiseg_lib.evaluation.predict import predict, predict_logits, predict_probabilities
from semiseg_lib.methods import AncillaryConfig, PrimaryConfig
from semiseg_lib.models import ModelConfig

CLASSES = tuple("abcdef")
CASES = {  # which ids occur in the truth, which in the prediction
    "all": (range(6), range(6)),
    "4 absent from both": ((0, 1, 2, 3, 5), (0, 1, 2, 3, 5)),
    "5 never predicted": (range(6), range(5)),
    "0 only predicted": (range(1, 6), range(6)),
}


def maps(case: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction (N, H, W) that agree on about half of the pixels; a fifth is void."""
    generator = np.random.default_rng(seed)
    true_ids, predicted_ids = (list(ids) for ids in CASES[case])
    truth = generator.choice(true_ids, (4, 9, 11))
    prediction = np.where(
        (generator.random(truth.shape) < 0.5) & np.isin(truth, predicted_ids),
        truth, generator.choice(predicted_ids, truth.shape),
    )
    truth[generator.random(truth.shape) < 0.2] = VOID
    return truth.astype(np.uint8), prediction.astype(np.uint8)


@pytest.mark.parametrize("case", CASES)
def test_the_confusion_matrix_is_scikit_learns(case):
    truth, prediction = maps(case)
    labelled = truth != VOID
    theirs = sklearn.metrics.confusion_matrix(
        truth[labelled], prediction[labelled], labels=range(6)
    )
    ours = confusion_matrix(truth, prediction, 6)
    assert np.array_equal(ours, theirs) and ours.sum() == labelled.sum()
    assert ours.dtype == np.int64


@pytest.mark.parametrize("case", CASES)
def test_the_scores_are_those_of_scikit_learn_and_torchmetrics(case):
    truth, prediction = maps(case)
    labelled = truth != VOID
    pair = truth[labelled], prediction[labelled]
    scores = evaluate_labels(truth, prediction, CLASSES)
    occurring = np.union1d(*pair)
    options = {"labels": range(6), "average": None, "zero_division": np.nan}
    np.testing.assert_allclose(scores.precision, sklearn.metrics.precision_score(*pair, **options))
    np.testing.assert_allclose(scores.recall, sklearn.metrics.recall_score(*pair, **options))
    np.testing.assert_allclose(
        scores.iou[occurring],
        sklearn.metrics.jaccard_score(*pair, labels=occurring, average=None),
    )
    assert np.isnan(scores.iou).tolist() == [c not in occurring for c in range(6)]
    assert scores.pixel_accuracy == pytest.approx(sklearn.metrics.accuracy_score(*pair))

    metric = MulticlassJaccardIndex(6, average="none", ignore_index=VOID)
    theirs = metric(torch.from_numpy(prediction).long(), torch.from_numpy(truth).long()).numpy()
    np.testing.assert_allclose(scores.iou[occurring], theirs[occurring], rtol=1e-6)
    assert scores.mean_iou == pytest.approx(theirs[occurring].mean(), rel=1e-6)


def test_the_score_is_of_the_dataset_and_no_mean_over_images():
    truth = np.array([[[0, 0, 0, 0]], [[0, 1, 1, 1]]], np.uint8)
    prediction = np.array([[[0, 0, 0, 1]], [[1, 1, 1, 1]]], np.uint8)
    scores = evaluate_labels(truth, prediction, ("a", "b"))
    assert scores.iou.tolist() == pytest.approx([3 / 5, 3 / 5])
    whole = Evaluation(confusion_matrix(truth, prediction, 2), ("a", "b"))
    assert np.array_equal(whole.confusion, scores.confusion)
    per_image = np.mean([
        evaluate_labels(truth[i:i + 1], prediction[i:i + 1], ("a", "b")).mean_iou for i in (0, 1)
    ])
    assert per_image != pytest.approx(scores.mean_iou)


def test_void_is_ignored_whatever_is_predicted_there():
    truth, prediction = maps("all")
    other = np.where(truth == VOID, 3, prediction)
    assert np.array_equal(confusion_matrix(truth, prediction, 6), confusion_matrix(truth, other, 6))
    nothing = evaluate_labels([np.full((2, 2), VOID)], [np.zeros((2, 2))], CLASSES)
    assert nothing.confusion.sum() == 0 and np.isnan(nothing.mean_iou)
    assert nothing.pixel_accuracy == 0


def test_ids_out_of_range_and_other_shapes_are_refused():
    good = np.zeros((2, 2), np.uint8)
    for truth, prediction, name in ((good + 6, good, "truth"), (good, good + 6, "prediction"),
                                    (good, good + 255, "prediction"),
                                    (good.astype(int) - 1, good, "truth")):
        with pytest.raises(ValueError, match=f"the {name} holds ids.*with 6 classes"):
            confusion_matrix(truth, prediction, 6)
    with pytest.raises(ValueError, match="differ in shape"):
        confusion_matrix(good, good[0], 6)
    with pytest.raises(ValueError):
        evaluate_labels([good, good], [good], CLASSES)


def test_the_rows_of_a_table_are_in_percent():
    scores = Evaluation(np.array([[3, 1], [0, 4]]), ("sky", "cat"))
    sky, cat = scores.rows()
    assert (sky["class"], cat["class"]) == ("sky", "cat")
    assert (sky["IoU"], sky["precision"], sky["recall"]) == (75, 100, 75)
    assert (cat["IoU"], cat["precision"], cat["recall"]) == (80, 80, 100)


def pool(count: int = 7, seed_of_boxes: int = 0) -> ImageSet:
    """Images, masks and boxes of noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    masks = torch.randint(0, 3, (count, 32, 32), generator=generator, dtype=torch.uint8)
    drawn = np.random.default_rng(seed_of_boxes)
    boxes = [
        Boxes(np.concatenate([low, low + drawn.integers(2, 16, (4, 2))], axis=1, dtype=np.float32),
              np.array([1, 2, 1, 2]))
        for low in drawn.integers(0, 16, (count, 4, 2))
    ]
    return image_set(images.numpy(), masks.numpy(), boxes=boxes)


def build(config):
    torch.manual_seed(0)
    return methods.build(config, ModelConfig(width=4), 3)


@pytest.mark.parametrize("config", [PrimaryConfig(), AncillaryConfig()])
def test_predictions_do_not_depend_on_how_the_images_are_cut_into_parts(config, monkeypatch):
    method, whole = build(config), predict_logits(build(config), pool())
    probable = list(predict_probabilities(method, pool())) if not method.uses_boxes else []
    monkeypatch.setattr(inference, "PIXELS_PER_PASS", 3 * 32 * 32)
    assert [len(part.names) for part in inference.parts(method, pool())] == [3, 3, 1]
    small = predict_logits(method, pool())
    assert whole.shape == (7, 3, 16, 16) and whole.dtype == torch.float32
    torch.testing.assert_close(whole, small, rtol=1e-4, atol=1e-5)
    labels = predict(method, pool())
    assert labels.shape == (7, 32, 32) and labels.dtype == np.uint8
    expected = torch.nn.functional.interpolate(small, size=(32, 32), mode="bilinear")
    assert (labels == expected.argmax(dim=1).numpy()).mean() > 0.999
    for one, logits in zip(probable, expected, strict=True) if probable else ():
        torch.testing.assert_close(one, logits.softmax(dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_measuring_uses_evaluation_mode_and_gives_the_mode_back(training):
    method = build(PrimaryConfig()).train(training)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    evaluate(method, pool(), ("a", "b", "c"))
    assert method.training == training
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())


def test_box_maps_in_the_pool_never_reach_the_primary(monkeypatch):
    """The leak of the public re-implementation: a test score measured with the true boxes."""
    method, seen = build(PrimaryConfig()), []
    forward = method.forward
    monkeypatch.setattr(method, "forward", lambda images, box_maps=None: (
        seen.append(box_maps), forward(images, box_maps))[1])
    with_boxes, without = pool(), pool().without_boxes()
    assert with_boxes.part([0]).box_maps is not None and without.part([0]).box_maps is None
    scores = [evaluate(method, p, ("a", "b", "c")).confusion for p in (with_boxes, without)]
    assert np.array_equal(*scores) and set(seen) == {None}
    assert torch.equal(predict_logits(method, with_boxes), predict_logits(method, without))


def test_the_ancillary_is_measured_with_its_boxes():
    method = build(AncillaryConfig())
    moved = pool(seed_of_boxes=1)
    assert torch.equal(moved.images, pool().images)
    assert not torch.equal(predict_logits(method, pool()), predict_logits(method, moved))
    with pytest.raises(ValueError, match="pass box_maps"):
        evaluate(method, pool().without_boxes(), ("a", "b", "c"))
