"""The alpha explorer: its arithmetic against PyTorch, and what it leaves in a notebook."""

import base64
import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes
from semiseg_lib.evaluation.metrics import evaluate_labels
from semiseg_lib.notebook.widgets import AlphaExplorer
from semiseg_lib.notebook.widgets.alpha_explorer import encode_runs, quantise
from semiseg_lib.notebook.widgets.static_widget import PAYLOAD_LIMIT, read_source

CLASSES = ("background", "balloon", "car", "fish", "tree")
needs_node = pytest.mark.skipif(
    shutil.which("node") is None, reason="node is not installed; the script cannot be run"
)


def scenes(count=3, side=64, seed=0):
    """Pictures with boxes, ancillary and primary logits at half the size, and the truth."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    rough = torch.from_numpy(rng.normal(0, 6, (2, count, len(CLASSES), 5, 5)))
    ancillary, primary = (
        interpolate(logits, (side // 2, side // 2), mode="bicubic").float().numpy()
        for logits in rough
    )
    truth = rng.integers(0, len(CLASSES), (count, side, side), dtype=np.uint8)
    truth[:, 20:24] = VOID
    boxes = [Boxes(np.array([[4, 5, 30, 40]], np.float32), np.array([2]))] * count
    return pictures, boxes, ancillary, primary, CLASSES, truth


def in_node(tmp_path, expression, given):
    """The value of a JavaScript expression over arithmetic.js and ``given``."""
    script = tmp_path / "try.mjs"
    script.write_text(
        f"{read_source('arithmetic.js')}\nconst given = {json.dumps(given)};\n"
        f"console.log(JSON.stringify({expression}));",
        encoding="utf-8",
    )
    run = subprocess.run(["node", str(script)], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def decoded(logits):
    packed = quantise(logits)
    levels = np.frombuffer(base64.b64decode(packed["data"]), np.uint8).reshape(logits.shape)
    return (-packed["scale"] * levels.astype(np.float64)).astype(np.float32)


def torch_correction(primary, ancillary, alpha, size):
    mixed = torch.from_numpy((primary + alpha * ancillary) / (1 + alpha))[None]
    return interpolate(mixed, size, mode="bilinear", align_corners=False)[0].softmax(0)


@needs_node
@pytest.mark.parametrize("size", [(64, 64), (50, 75), (13, 7)])
def test_enlarging_equals_torch(tmp_path, size):
    logits = np.random.default_rng(0).normal(0, 3, (2, 9, 12)).astype(np.float32)
    mine = in_node(
        tmp_path,
        "Array.from(upsample(given.values, 2, [9, 12], given.size))",
        {"values": logits.ravel().tolist(), "size": size},
    )
    expected = interpolate(torch.from_numpy(logits)[None], size, mode="bilinear",
                           align_corners=False)[0]
    assert np.abs(np.reshape(mine, expected.shape) - expected.numpy()).max() < 1e-5


@needs_node
@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 7.0, 50.0])
def test_correction_equals_torch(tmp_path, alpha):
    _, _, ancillary, primary, _, _ = scenes(1)
    given = {"p": quantise(primary[0]), "a": quantise(ancillary[0]), "alpha": alpha}
    mine = in_node(
        tmp_path,
        "(({labels, confidence}) => [Array.from(labels), Array.from(confidence)])(correct("
        "upsample(decodeLogits(given.p), 5, [32, 32], [64, 64]),"
        "upsample(decodeLogits(given.a), 5, [32, 32], [64, 64]), given.alpha, 5))",
        given,
    )
    q = torch_correction(decoded(primary[0]), decoded(ancillary[0]), alpha, (64, 64))
    confidence, labels = q.flatten(1).max(0)
    assert np.abs(np.array(mine[1]) - confidence.numpy()).max() < 1e-5
    clear = (q.flatten(1).topk(2, dim=0).values.diff(dim=0).abs() > 1e-5).squeeze().numpy()
    assert (np.array(mine[0]) == labels.numpy())[clear].all()
    assert clear.mean() > 0.99


@needs_node
def test_the_limits_are_the_two_models(tmp_path):
    given = {"p": [0.0, 1.0, 2.0, 0.5], "a": [3.0, 0.0, 1.0, 4.0]}  # two classes, two pixels
    labels = in_node(
        tmp_path,
        "[0, Infinity].map((alpha) => Array.from(correct(given.p, given.a, alpha, 2).labels))",
        given,
    )
    assert labels == [[1, 0], [0, 1]]


@needs_node
def test_the_share_that_is_right_equals_the_librarys(tmp_path):
    truth = scenes(1)[5][0]
    labels = np.random.default_rng(5).integers(0, 4, truth.shape, dtype=np.uint8)
    mine = in_node(
        tmp_path,
        "shareRight(given.labels, decodeRuns(given.truth, 4096))",
        {"labels": labels.ravel().tolist(), "truth": encode_runs(truth)},
    )
    expected = evaluate_labels([truth], [labels], CLASSES)
    assert mine == pytest.approx(expected.pixel_accuracy)


@needs_node
@pytest.mark.parametrize("count", [1, 65535, 65536, 200000])
def test_runs_of_any_length_come_back(tmp_path, count):
    mask = np.r_[np.full(count, 255), 3, 3, 0].astype(np.uint8)[None]
    expression = "Array.from(decodeRuns(given.runs, given.count))"
    given = {"runs": encode_runs(mask), "count": mask.size}
    assert in_node(tmp_path, expression, given) == mask.ravel().tolist()


@pytest.mark.parametrize("alpha", [0.05, 1.0, 50.0])
def test_eight_bits_hardly_change_a_label(alpha):
    _, _, ancillary, primary, _, _ = scenes(3)
    for one_primary, one_ancillary in zip(primary, ancillary, strict=True):
        exact = torch_correction(one_primary, one_ancillary, alpha, (64, 64)).argmax(0)
        coarse = torch_correction(
            decoded(one_primary), decoded(one_ancillary), alpha, (64, 64)
        ).argmax(0)
        assert (exact == coarse).float().mean() > 0.99


def test_bundle_is_light_deterministic_and_needs_no_network():
    data, *_ = AlphaExplorer(*scenes(6))._repr_mimebundle_()
    again, *_ = AlphaExplorer(*scenes(6))._repr_mimebundle_()
    page = data["text/html"]
    assert page == again["text/html"]
    assert data["text/plain"] == again["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in data
    assert len(page.encode()) < PAYLOAD_LIMIT
    for word in ("src=\"http", "import ", "fetch(", "https://"):
        assert word not in page
    assert page.count("</script>") == 2


def test_a_reader_without_javascript_gets_an_image_with_alt_text():
    page = AlphaExplorer(*scenes(1)).to_html()
    assert '<img src="data:image/png;base64,' in page
    assert 'alt="Alpha explorer: 1 unlabelled pictures' in page
    assert "<noscript>" in page


def test_state_holds_no_data_so_that_a_notebook_holds_them_once():
    explorer = AlphaExplorer(*scenes(6))
    state = {name: value for name, value in explorer.get_state().items() if name[0] != "_"}
    assert len(json.dumps(state, default=str)) < 2000
    sent = []
    explorer.send = sent.append
    explorer._answer(explorer, {"kind": "payload"}, [])
    assert len(sent[0]["payload"]["pictures"]) == 6


def test_hostile_class_names_stay_text():
    *scene, _, truth = scenes(1)
    names = ("</script><script>alert(1)", "a", "b", "c", "d")
    page = AlphaExplorer(*scene, names, truth).to_html()
    assert "</script><script>alert" not in page


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        (0, np.zeros((3, 3, 8, 8)), "images must be uint8"),
        (1, [], "3 images need 3 Boxes"),
        (2, np.zeros((3, 4, 32, 32)), "logits_ancillary must be"),
        (3, np.full((3, 5, 32, 32), np.nan), "must be finite"),
        (3, np.zeros((3, 5, 16, 16)), "one size"),
        (5, np.zeros((3, 8, 8), np.uint8), "truth must be"),
        (5, np.full((3, 64, 64), 7, np.uint8), "truth holds id 7"),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(place, value, complaint):
    arguments = list(scenes(3))
    arguments[place] = value
    with pytest.raises(ValueError, match=complaint):
        AlphaExplorer(*arguments)


def test_alpha_outside_the_slider_is_refused():
    with pytest.raises(ValueError, match=r"\[0.05, 50\]"):
        AlphaExplorer(*scenes(1), alpha=0.0)


def test_a_widget_that_is_too_heavy_says_what_to_do():
    with pytest.raises(ValueError, match="fewer or smaller images"):
        AlphaExplorer(*scenes(30)).to_html()
