"""The margin explorer: its arithmetic against the library's, and what it shows in a browser."""

import base64
import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from browsing import live, opened, pixels

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.losses import enlarge
from semiseg_lib.methods.s4mc import BETA
from semiseg_lib.methods.s4mc.method import indicator, neighbours, refine, threshold
from semiseg_lib.notebook.plots import colourise
from semiseg_lib.notebook.widgets import MarginExplorer
from semiseg_lib.notebook.widgets.encoding import quantise
from semiseg_lib.notebook.widgets.static_widget import PAYLOAD_LIMIT, read_source

CLASSES = ("background", "balloon", "car")
EXPECTED = (0.9, 0.6, 0.2)
SIZE = (12, 16)
SLIDER = "input[type=range]"
needs_node = pytest.mark.skipif(
    shutil.which("node") is None, reason="node is not installed; the script cannot be run"
)


def scenes(count=3):
    """Pictures, logits at half their size that eight bits hold without loss, and truths."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (count, 3, *SIZE), dtype=np.uint8)
    logits = -rng.integers(0, 256, (count, 3, SIZE[0] // 2, SIZE[1] // 2)) / 64.0
    logits -= logits.max(axis=1, keepdims=True)
    truth = rng.integers(0, 3, (count, *SIZE), dtype=np.uint8)
    truth[:, 3] = VOID
    return pictures, decoded(logits), truth


def decoded(logits):
    """What is left of logits after eight bits a value, once and for ever."""
    packs = [quantise(one) for one in logits]
    return np.stack([
        -pack["scale"] * np.frombuffer(base64.b64decode(pack["data"]), np.uint8).reshape(one.shape)
        for pack, one in zip(packs, logits, strict=True)
    ]).astype(np.float32)


def probabilities(logits):
    return enlarge(torch.from_numpy(logits), SIZE).softmax(dim=1)


@pytest.fixture(scope="module")
def widget():
    pictures, logits, truth = scenes()
    return MarginExplorer(pictures, logits, truth, EXPECTED, CLASSES, dropped=0.3)


def fates(logits, dropped, count, beta):
    """Which pixels are kept, and which would be without refinement, bool (N, H, W) each."""
    maps = probabilities(logits)
    plain = indicator(maps)
    least = threshold(plain, torch.ones_like(plain, dtype=torch.bool), dropped)
    after = indicator(refine(maps, torch.tensor(EXPECTED), count, beta=beta))
    return (after > least).numpy(), (plain > least).numpy()


@needs_node
@pytest.mark.parametrize("count", [4, 8])
def test_the_scripts_arithmetic_is_the_librarys(tmp_path, count):
    _, logits, _ = scenes()
    maps = probabilities(logits)[:1]
    given = {"maps": maps.flatten().tolist(), "size": SIZE, "count": count, "E": EXPECTED,
             "beta": BETA, "logits": logits[0].ravel().tolist()}
    script = tmp_path / "try.mjs"
    script.write_text(
        f"{read_source('arithmetic.js', 'margin_arithmetic.js')}\n"
        f"const given = {json.dumps(given)};\nconst maps = Float32Array.from(given.maps);\n"
        "const best = strongestNeighbours(maps, given.size, given.count);\n"
        "const after = refined(maps, best, given.E, given.beta);\n"
        "console.log(JSON.stringify([best, after, marginsOf(after, 3), softmaxed(Float32Array.from("
        "given.logits), 3), mostLikely(maps, 3)].map((one) => Array.from(one))));",
        encoding="utf-8",
    )
    run = subprocess.run(["node", str(script)], capture_output=True, text=True, check=True)
    after = refine(maps, torch.tensor(EXPECTED), count)
    expected = (neighbours(maps, count).amax(dim=0), after, indicator(after),
                torch.from_numpy(logits[0]).softmax(dim=0), maps.argmax(dim=1))
    for found, wanted in zip(json.loads(run.stdout), expected, strict=True):
        np.testing.assert_allclose(found, wanted.flatten().numpy(), atol=2e-6)


def test_bundle_is_light_deterministic_and_needs_no_network(widget):
    data, *_ = widget._repr_mimebundle_()
    again, *_ = widget._repr_mimebundle_()
    page = data["text/html"]
    assert page == again["text/html"] and len(page.encode()) < PAYLOAD_LIMIT
    assert "application/vnd.jupyter.widget-view+json" in data and page.count("</script>") == 2
    assert not [word for word in ("src=\"http", "import ", "fetch(", "https://") if word in page]
    state = {key: value for key, value in widget.get_state().items() if key[0] != "_"}
    assert len(json.dumps(state, default=str)) < 2000
    json.dumps(widget.payload(), allow_nan=False)


def test_it_starts_at_the_most_doubtful_pixel_of_the_first_picture(widget):
    _, logits, _ = scenes()
    margins = indicator(probabilities(logits))[0]
    assert margins[widget.row, widget.column] == margins.min()


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"logits": np.zeros((3, 4, 6, 8))}, r"logits must be \(3, 3, h, w\)"),
    ({"logits": np.full((3, 3, 6, 8), np.nan)}, "must be finite"),
    ({"truth": np.zeros((3, 6, 8), np.uint8)}, "truth must be"),
    ({"expectation": (0.5, 0.5)}, "expectation must be 3 values"),
    ({"expectation": (0.5, 0.5, 1.1)}, "expectation must be 3 values"),
    ({"dropped": 0.123}, "that the slider offers"),
])
def test_what_does_not_belong_together_is_refused(changes, complaint):
    pictures, logits, truth = scenes()
    values = {"images": pictures, "logits": logits, "truth": truth, "expectation": EXPECTED,
              "classes": CLASSES, **changes}
    with pytest.raises(ValueError, match=complaint):
        MarginExplorer(**values)


def shown(page, tmp_path, html):
    return opened(page, tmp_path, html).locator(".margin-explorer")


def press(page, place, *keys):
    place.locator(SLIDER).focus()
    for key in keys:
        page.keyboard.press(key)


@pytest.mark.browser
def test_the_maps_and_numbers_are_the_librarys(page, tmp_path, widget):
    _, logits, _ = scenes()
    place = shown(page, tmp_path, widget.to_html())
    place.get_by_role("button", name="picture 2").click()
    for count, beta, keys in ((4, BETA, ()), (8, 1.0, ("ArrowRight",) * 5), (8, 0.0, ("Home",)),
                              (4, 0.3, ("End",))):
        place.get_by_role("button", name=f"{count} neighbours").click()
        place.get_by_role("button", name=f"β = {beta:.2g}", exact=True).click()
        press(page, place, *keys)
        dropped = int(place.locator(SLIDER).input_value()) / 100
        kept, before = (one[1] for one in fates(logits, dropped, count, beta))
        label = probabilities(logits)[1].argmax(dim=0).numpy()
        assert (pixels(place, 1, SIZE) == colourise(label))[kept].all()
        assert not (pixels(place, 1, SIZE) == colourise(label)).all(axis=2)[~kept].any()
        for isin, colour in ((kept & before, (64, 80, 102)), (kept & ~before, (245, 241, 230)),
                             (~kept & before, (255, 146, 30))):
            assert (pixels(place, 2, SIZE)[isin] == colour).all()
    assert page.troubles == []


@pytest.mark.browser
def test_a_click_and_arrow_keys_move_the_pixel(page, tmp_path, widget):
    _, logits, _ = scenes()
    place = shown(page, tmp_path, widget.to_html())
    canvas = place.locator("canvas").first
    box = canvas.bounding_box()
    canvas.click(position={"x": 5.5 / 16 * box["width"], "y": 7.5 / 12 * box["height"]})
    canvas.press("ArrowDown")
    canvas.press("ArrowLeft")
    assert "row 8, column 4" in place.inner_text()
    maps = probabilities(logits)[:1]
    after = refine(maps, torch.tensor(EXPECTED))
    best = neighbours(maps).amax(dim=0)
    cells = place.locator("table.scores tbody tr").evaluate_all(
        "all => all.map(row => [...row.querySelectorAll('td')].map(cell => cell.innerText.trim()))")
    for c in range(3):
        wanted = [100 * one[0, c, 8, 4].item() for one in (maps, best, after)]
        assert [float(text) for text in cells[c]] == pytest.approx(wanted, abs=0.051)
    margins = [100 * indicator(one)[0, 8, 4].item() for one in (maps, after)]
    assert [float(cells[3][0]), float(cells[3][2])] == pytest.approx(margins, abs=0.051)
    for _ in range(9):
        canvas.press("ArrowLeft")
    assert "column 0" in place.inner_text(), "it stays inside the picture"
    assert page.troubles == []


@pytest.mark.browser
def test_a_live_view_and_its_kernel_stay_in_step(page, tmp_path, widget):
    place = shown(page, tmp_path, live(widget))
    press(page, place, "End")
    place.get_by_role("button", name="8 neighbours").click()
    assert page.evaluate("window.model.get('dropped')") == 0.6
    assert page.evaluate("window.model.get('neighbours')") == 8
    page.evaluate("window.model.set('dropped', 0)")
    assert place.locator(SLIDER).input_value() == "0"
    assert "every margin" in place.locator("output").inner_text() and page.troubles == []
