"""What the widgets leave in a notebook: decoded again and compared, and what they refuse."""

import base64
import io
import json

import numpy as np
import pytest
import torch
import traitlets
from browsing import unpacked
from PIL import Image
from torch.nn.functional import interpolate

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.evaluation.confidence import confidence_counts
from semiseg_lib.notebook.widgets import CutMixSampler, PseudoLabelBrowser, ThresholdExplorer
from semiseg_lib.notebook.widgets.encoding import pack
from semiseg_lib.notebook.widgets.static_widget import PAYLOAD_LIMIT

NAMES = ("threshold-explorer", "pseudo-label-browser", "cutmix-sampler")


def through_json(widget):
    return json.loads(json.dumps(widget.payload(), allow_nan=False))


def test_levels_and_counts_are_exact_at_every_threshold(given, widgets):
    payload = through_json(widgets["threshold-explorer"])
    large = interpolate(given.logits.double(), (24, 32), mode="bilinear", align_corners=False)
    confidence, label = (part.numpy() for part in large.softmax(1).max(1))
    assert {0, 0.5, 0.7, 0.95, 0.99, 0.995} <= set(payload["thresholds"])
    for index, picture in enumerate(payload["pictures"]):
        assert (unpacked(picture["label"], (24, 32)) == label[index]).all()
        assert (unpacked(picture["truth"], (24, 32)) == given.truth[index]).all()
        level = unpacked(picture["level"], (24, 32))
        for place, threshold in enumerate(payload["thresholds"]):
            assert ((level >= place) == (confidence[index] >= threshold)).all()
    for place, threshold in enumerate(payload["thresholds"]):
        kept = (confidence >= threshold) & (given.truth != VOID)
        for c in range(3):
            assert payload["total"][c][place] == (kept & (label == c)).sum()
            right = kept & (label == c) & (given.truth == c)
            assert payload["right"][c][place] == right.sum()


def test_finer_bins_offer_thresholds_nearer_to_one(given):
    fine = confidence_counts(given.logits, given.truth, given.classes, bins=1000)
    arguments = (given.pictures, given.logits, given.truth)
    offered = ThresholdExplorer(*arguments, fine, given.classes, 0.999).payload()["thresholds"]
    assert offered == sorted(set(offered)) and offered[-1] == 0.999


def loop_mean_iou(label, truth):
    """Over the pixels that are known and kept; classes absent from both are skipped."""
    pairs = [(a, b) for a, b in zip(label.ravel(), truth.ravel(), strict=True)
             if VOID not in (a, b)]
    ratios = [sum(a == b == c for a, b in pairs) / sum(c in pair for pair in pairs)
              for c in range(3) if any(c in pair for pair in pairs)]
    return sum(ratios) / len(ratios) if ratios else None


def test_labels_and_scores_of_every_round(given, widgets):
    payload = through_json(widgets["pseudo-label-browser"])
    assert payload["rounds"] == ["round 1", "round 2", "round 3"]
    for index, picture in enumerate(payload["pictures"]):
        truth = given.truth[index]
        for number, labels in enumerate(given.labels.values()):
            label = unpacked(picture["labels"][number], (24, 32))
            assert (label == labels[index]).all()
            expected = loop_mean_iou(label, truth)
            found = payload["meanIoU"][index][number]
            assert found == (expected if expected is None else pytest.approx(expected, abs=1e-6))
            share = (label[truth != VOID] != VOID).mean()
            assert payload["kept"][index][number] == pytest.approx(share, abs=1e-6)
    assert payload["meanIoU"][2][2] is None and payload["kept"][2][2] == 0


def test_a_label_that_is_the_truth_scores_one(given):
    browser = PseudoLabelBrowser(given.pictures, {"only": given.truth}, given.truth, given.classes)
    mean_iou, kept = browser.scores()
    assert (mean_iou == 1).all() and (kept == 1).all()


def test_masks_and_pictures_come_back(given, widgets):
    payload = through_json(widgets["cutmix-sampler"])
    assert payload["kinds"] == list(given.masks)
    for text, pasted, drawn in zip(payload["masks"], payload["pasted"], given.masks.values(),
                                   strict=True):
        assert (unpacked(text, drawn.shape) == drawn).all()
        assert pasted == [mask.sum() for mask in drawn]
    for picture, original in zip(payload["pictures"], given.pictures, strict=True):
        image = Image.open(io.BytesIO(base64.b64decode(picture["image"].split(",")[1])))
        assert (np.asarray(image) == original.transpose(1, 2, 0)).all()


def test_only_bytes_are_packed():
    for wrong in ([256], [-1], [0.5]):
        with pytest.raises(ValueError, match=r"\[0, 255\]"):
            pack(np.array(wrong))


@pytest.mark.parametrize("name", NAMES)
def test_bundle_is_light_deterministic_and_needs_no_network(widgets, name):
    data, *_ = widgets[name]._repr_mimebundle_()
    again, *_ = widgets[name]._repr_mimebundle_()
    page = data["text/html"]
    assert page == again["text/html"] and data["text/plain"] == again["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in data
    assert len(page.encode()) < PAYLOAD_LIMIT
    assert page.count("</script>") == 2
    assert not [word for word in ("src=\"http", "import ", "fetch(", "https://") if word in page]
    assert f'alt="{data["text/plain"][:20]}' in page
    state = {key: value for key, value in widgets[name].get_state().items() if key[0] != "_"}
    assert len(json.dumps(state, default=str)) < 2000
    assert Image.open(io.BytesIO(widgets[name].fallback_png())).width > 400


def test_names_stay_text(given):
    name = "</script><script>alert(1)"
    classes = (name, *given.classes[1:])
    for widget in (CutMixSampler(given.pictures, {name: given.masks["one box"]}),
                   PseudoLabelBrowser(given.pictures, {name: given.truth}, given.truth, classes)):
        assert "</script><script>alert" not in widget.to_html()


def wrong_threshold(given, **changes):
    values = {"images": given.pictures, "logits": given.logits, "truth": given.truth,
              "counts": given.counts, "classes": given.classes, **changes}
    return lambda: ThresholdExplorer(**values)


def wrong_labels(given, **changes):
    values = {"images": given.pictures, "labels": given.labels, "truth": given.truth,
              "classes": given.classes, **changes}
    return lambda: PseudoLabelBrowser(**values)


def wrong_masks(given, **changes):
    return lambda: CutMixSampler(**{"images": given.pictures, "masks": given.masks, **changes})


@pytest.mark.parametrize(("make", "changes", "complaint"), [
    (wrong_threshold, {"images": np.zeros((3, 24, 32, 3), np.uint8)}, "images must be uint8"),
    (wrong_threshold, {"logits": torch.zeros(3, 4, 6, 8)}, r"logits must be \(3, 3, h, w\)"),
    (wrong_threshold, {"logits": torch.full((3, 3, 6, 8), torch.nan)}, "must be finite"),
    (wrong_threshold, {"truth": np.zeros((3, 6, 8), np.uint8)}, "truth must be"),
    (wrong_threshold, {"truth": np.full((3, 24, 32), 3, np.uint8)}, "truth holds id 3"),
    (wrong_threshold, {"classes": ("background", "car", "balloon")}, "counts are of the classes"),
    (wrong_threshold, {"threshold": 0.9512}, "that the slider offers"),
    (wrong_labels, {"labels": {}}, "at least one round"),
    (wrong_labels, {"labels": {"first": np.zeros((3, 8, 8), np.uint8)}}, "labels of 'first' must"),
    (wrong_labels, {"labels": {"first": np.full((3, 24, 32), 9, np.uint8)}}, "'first' holds id 9"),
    (wrong_labels, {"truth": np.zeros((3, 24, 32))}, "truth must be .* integers"),
    (wrong_masks, {"images": np.zeros((1, 3, 24, 32), np.uint8)}, "N >= 2"),
    (wrong_masks, {"masks": {}}, "at least one kind"),
    (wrong_masks, {"masks": {"box": np.zeros((5, 24, 32), np.uint8)}}, "'box' must be bool"),
    (wrong_masks, {"masks": {"box": np.zeros((5, 32, 24), bool)}}, "'box' must be bool"),
    (wrong_masks, {"masks": {"a": np.zeros((5, 24, 32), bool), "b": np.zeros((4, 24, 32), bool)}},
     "masks of 'b'"),
    (wrong_masks, {"masks": {"box": np.zeros((0, 24, 32), bool)}}, "D >= 1"),
])
def test_what_does_not_belong_together_is_refused(given, make, changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        make(given, **changes)()


def test_an_unknown_kind_of_mask_is_refused(widgets):
    with pytest.raises(traitlets.TraitError, match="one of"):
        widgets["cutmix-sampler"].kind = "circle"
