"""What a threshold keeps and how much of it is right, against a loop over the pixels."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.evaluation.confidence import ConfidenceCounts, confidence_counts, confident_labels

CLASSES = ("background", "balloon", "car")
THRESHOLDS = [i / 100 for i in range(100)] + [0.995]


def images(count=4, seed=3):
    """Logits at a quarter of the size and masks of different sizes; the truth has void."""
    rng = np.random.default_rng(seed)
    sizes = [(12, 16), (9, 11), (16, 16), (5, 7)][:count]
    logits = [torch.from_numpy(rng.normal(0, 3, (3, -(-h // 4), -(-w // 4)))).half()
              for h, w in sizes]
    truth = [rng.choice([0, 1, 2, VOID], size).astype(np.uint8) for size in sizes]
    return logits, truth


def by_hand(logits, truth, threshold):
    """(pixels, kept, right) by predicted class, pixel by pixel."""
    found = np.zeros((3, len(CLASSES)))
    for maps, mask in zip(logits, truth, strict=True):
        large = interpolate(maps[None].double(), mask.shape, mode="bilinear",
                            align_corners=False)[0].numpy()
        for y, x in np.ndindex(mask.shape):
            if mask[y, x] == VOID:
                continue
            powers = np.exp(large[:, y, x] - large[:, y, x].max())
            label, confidence = powers.argmax(), powers.max() / powers.sum()
            kept = confidence >= threshold
            found[:, label] += [1, kept, kept and label == mask[y, x]]
    return found


@pytest.mark.parametrize("threshold", [0.0, 0.29, 0.57, 0.58, 0.95, 0.99, 0.995])
def test_counts_equal_a_loop_over_the_pixels(threshold):
    logits, truth = images()
    counts = confidence_counts(iter(logits), map(torch.from_numpy, truth), CLASSES)
    pixels, kept, right = by_hand(logits, truth, threshold)
    assert counts.kept(threshold) == pytest.approx(kept / pixels)
    with np.errstate(invalid="ignore"):
        assert counts.accuracy(threshold) == pytest.approx(right / kept, nan_ok=True)
    assert counts.overall_kept(threshold) == pytest.approx(kept.sum() / pixels.sum())
    assert counts.overall_accuracy(threshold) == pytest.approx(right.sum() / kept.sum())
    *rows, everything = counts.rows(threshold)
    assert [row["pixels"] for row in rows] == pixels.tolist()
    assert [row["kept"] for row in rows] == pytest.approx(100 * kept / pixels)
    assert everything["class"] == "all" and everything["pixels"] == pixels.sum()


@pytest.mark.parametrize("bins", [100, 200, 1000])
def test_a_confidence_that_is_exactly_the_threshold_is_kept(bins, monkeypatch):
    """Every threshold is the literal, not 28.999 hundredths: one pixel at it, one just below."""
    offered = np.array([t for t in THRESHOLDS if abs(t * bins - round(t * bins)) < 1e-6])
    confidence = np.stack([offered, np.nextafter(offered, -1).clip(min=0)])
    monkeypatch.setattr("semiseg_lib.evaluation.confidence.confident_labels",
                        lambda logits, size: (np.zeros(size, np.uint8), confidence))
    mask = np.zeros(confidence.shape, np.uint8)
    counts = confidence_counts([torch.zeros(3, 1, 1)], [mask], CLASSES, bins)
    for threshold in offered.tolist():
        assert counts.is_exact(threshold)
        expected = (confidence >= threshold).mean()
        assert counts.kept(threshold)[0] == pytest.approx(expected, abs=1e-12), threshold


def test_equal_logits_are_kept_at_their_exact_confidence():
    label, confidence = confident_labels(torch.zeros(2, 1, 1), (2, 2))
    assert label.tolist() == [[0, 0], [0, 0]]
    assert (confidence == 0.5).all()
    counts = confidence_counts([torch.zeros(2, 1, 1)], [np.uint8([[0, 1], [1, VOID]])], "ab")
    assert counts.kept(0.5)[0] == 1 and counts.kept(0.505)[0] == 0
    assert counts.accuracy(0.5)[0] == pytest.approx(1 / 3)
    assert np.isnan(counts.accuracy(0.505)).all() and np.isnan(counts.kept(0.5)[1])
    assert np.isnan(counts.overall_accuracy(0.505))


def test_a_certain_pixel_survives_every_threshold():
    counts = confidence_counts([torch.tensor([[[90.0]], [[0.0]]])], [np.zeros((1, 1))], "ab")
    assert counts.kept(0.995)[0] == 1 == counts.accuracy(0.995)[0]


def test_nothing_to_count_gives_no_numbers():
    void = confidence_counts([torch.zeros(3, 2, 2)], [np.full((4, 4), VOID)], CLASSES)
    assert void.total.sum() == 0 and np.isnan(void.overall_kept(0.5))


@pytest.mark.parametrize("threshold", [-0.01, 0.001, 0.9549, 1.0, float("nan")])
def test_a_threshold_between_the_edges_is_refused(threshold):
    counts = confidence_counts(*images(), CLASSES)
    with pytest.raises(ValueError, match=r"multiples of 0\.005"):
        counts.kept(threshold)


@pytest.mark.parametrize(("logits", "truth", "complaint"), [
    ([torch.zeros(3, 2, 2)], [], "zip"),
    ([torch.zeros(2, 2, 2)], [np.zeros((4, 4))], r"image 0 must be \(3, h, w\)"),
    ([torch.zeros(1, 3, 2, 2)], [np.zeros((4, 4))], r"image 0 must be \(3, h, w\)"),
    ([torch.zeros(3, 2, 2)], [np.full((4, 4), 3)], r"ids \[3\]"),
    ([torch.zeros(3, 2, 2)], [np.zeros((1, 4, 4))], r"must be \(H, W\)"),
    ([torch.full((3, 2, 2), torch.nan)], [np.zeros((4, 4))], "must be finite"),
])
def test_what_does_not_belong_together_is_refused(logits, truth, complaint):
    with pytest.raises(ValueError, match=complaint):
        confidence_counts(logits, truth, CLASSES)


def test_counts_that_contradict_themselves_are_refused():
    ones = np.ones((3, 10), np.int64)
    with pytest.raises(ValueError, match="one row per class"):
        ConfidenceCounts(ones[:2], ones[:2], CLASSES)
    with pytest.raises(ValueError, match="between 0 and total"):
        ConfidenceCounts(ones, 2 * ones, CLASSES)
