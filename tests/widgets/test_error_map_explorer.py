"""The error map explorer: its counts by hand, and what it shows in a browser."""

import json

import numpy as np
import pytest
from browsing import SLIDER, is_striped, live, move, numbers, opened, pixels, unpacked, written

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.notebook.plots import colourise, heat
from semiseg_lib.notebook.widgets import ErrorMapExplorer
from semiseg_lib.notebook.widgets.error_map_explorer import THRESHOLDS
from semiseg_lib.notebook.widgets.static_widget import PAYLOAD_LIMIT

CLASSES = ("background", "balloon", "car")
SIZE = (24, 32)
PLACE = ".error-map-explorer"
COLOURS = {"right": (64, 80, 102), "wrong": (255, 146, 30), "found": (160, 215, 255)}


@pytest.fixture(scope="module")
def given():
    """Four pictures; some probabilities are exactly a threshold, some pixels void."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (4, 3, *SIZE), dtype=np.uint8)
    labels, truth = rng.integers(0, 3, (2, 4, *SIZE), dtype=np.uint8)
    truth[:, 5:8] = VOID
    right = np.round(rng.random((4, *SIZE)), 2)
    right[0, 0, :3] = (0, 0.5, 1)
    return {"images": pictures, "labels": labels, "right": right, "truth": truth,
            "classes": CLASSES}


@pytest.fixture
def widget(given):
    return ErrorMapExplorer(**given, shown=(2, 0))


def shares(given, threshold, pictures=slice(None)):
    """Kept; right of the kept; wrong of the dropped; dropped of the wrong."""
    known = given["truth"][pictures] != VOID
    wrong = (given["labels"] != given["truth"])[pictures][known]
    kept = given["right"][pictures][known] >= threshold
    parts = (kept, ~wrong[kept], wrong[~kept], ~kept[wrong])
    return [part.mean() if part.size else float("nan") for part in parts]


def test_counts_are_those_of_all_pictures_at_every_threshold(given, widget):
    payload = json.loads(json.dumps(widget.payload(), allow_nan=False))
    known = given["truth"] != VOID
    assert payload["thresholds"] == sorted(THRESHOLDS) and {0, 0.5, 0.98} <= set(THRESHOLDS)
    for place, threshold in enumerate(payload["thresholds"]):
        kept = known & (given["right"] >= threshold)
        assert payload["kept"][place] == kept.sum()
        assert payload["right"][place] == (kept & (given["labels"] == given["truth"])).sum()
    assert len(payload["pictures"]) == 2
    for number, picture in zip((2, 0), payload["pictures"], strict=True):
        level = unpacked(picture["level"], SIZE)
        for place, threshold in enumerate(payload["thresholds"]):
            assert ((level >= place) == (given["right"][number] >= threshold)).all()
        for name, key in (("label", "labels"), ("truth", "truth")):
            assert (unpacked(picture[name], SIZE) == given[key][number]).all()


def test_the_bundle_is_light_deterministic_and_needs_no_network(widget):
    data, *_ = widget._repr_mimebundle_()
    again, *_ = widget._repr_mimebundle_()
    page = data["text/html"]
    assert page == again["text/html"] and page.count("</script>") == 2
    assert len(page.encode()) < PAYLOAD_LIMIT and len(widget.fallback_png()) > 1000
    assert not [word for word in ("src=\"http", "import ", "fetch(", "https://") if word in page]


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"right": np.zeros((4, 8, 8))}, "right must be"),
    ({"right": np.full((4, *SIZE), 1.5)}, r"right must be .* values in \[0, 1\]"),
    ({"right": np.full((4, *SIZE), np.nan)}, "right must be"),
    ({"labels": np.full((4, *SIZE), 7, np.uint8)}, "labels holds id 7"),
    ({"truth": np.zeros((3, *SIZE), np.uint8)}, "truth must be"),
    ({"shown": ()}, "at least one"), ({"shown": (4,)}, "numbers below 4"),
    ({"threshold": 0.123}, "that the slider offers"),
])
def test_what_does_not_belong_together_is_refused(given, changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        ErrorMapExplorer(**{**given, **changes})


@pytest.mark.browser
def test_the_shares_shown_are_those_of_the_threshold(page, tmp_path, given, widget):
    place = opened(page, tmp_path, widget.to_html()).locator(PLACE)
    for keys in ((), ("Home",), ("End",), ("ArrowLeft",) * 6):
        move(page, place, *keys)
        threshold = THRESHOLDS[int(place.locator(SLIDER).input_value())]
        assert threshold == 0.5 or keys
        mine, every = shares(given, threshold, 2), shares(given, threshold)
        assert numbers(place) == [[written(a), written(b)] for a, b in zip(mine, every,
                                                                           strict=True)]
        assert f"kept from {threshold:g} on" in place.locator("output").inner_text()
    assert "NaN" not in place.inner_html() and page.troubles == []


@pytest.mark.browser
def test_each_picture_shows_what_it_says(page, tmp_path, given, widget):
    place = opened(page, tmp_path, widget.to_html()).locator(PLACE)
    place.get_by_role("button", name="picture 2").click()
    label, right, truth = (given[name][0] for name in ("labels", "right", "truth"))
    kept, known, hit = right >= 0.5, truth != VOID, label == truth
    assert (pixels(place, 0) == given["images"][0].transpose(1, 2, 0)).all()
    assert (pixels(place, 1) == colourise(label)).all()
    assert (pixels(place, 2)[known & hit] == COLOURS["right"]).all()
    assert (pixels(place, 2)[known & ~hit] == COLOURS["wrong"]).all()
    level = np.array(THRESHOLDS)[np.searchsorted(THRESHOLDS, right, side="right") - 1]
    assert (pixels(place, 3) == heat(1 - level)).all()
    assert (pixels(place, 4)[kept] == colourise(label)[kept]).all()
    assert is_striped(pixels(place, 4))[~kept].all()
    fate = pixels(place, 5)
    for where, name in ((kept & hit, "right"), (kept & ~hit, "wrong"), (~kept & ~hit, "found")):
        assert (fate[known & where] == COLOURS[name]).all(), name
    assert is_striped(fate)[known & ~kept & hit].all()
    assert page.troubles == []


@pytest.mark.browser
def test_a_truth_that_is_all_void_shows_dashes(page, tmp_path, given):
    void = np.full_like(given["truth"], VOID)
    place = opened(page, tmp_path, ErrorMapExplorer(**{**given, "truth": void}).to_html())
    place = place.locator(PLACE)
    assert numbers(place) == [["–", "–"]] * 4
    assert "NaN" not in place.inner_html() and page.troubles == []


@pytest.mark.browser
def test_a_live_view_and_its_kernel_stay_in_step(page, tmp_path, widget):
    opened(page, tmp_path, live(widget))
    place = page.locator(PLACE)
    move(page, place, "End")
    assert page.evaluate("window.model.get('threshold')") == THRESHOLDS[-1]
    told = place.locator("output").inner_text()
    page.evaluate("window.model.set('threshold', 0)")
    assert place.locator("output").inner_text() != told
    assert place.locator(SLIDER).input_value() == "0"
    page.evaluate("window.model.set('picture', 1)")
    assert place.locator("button[aria-pressed=true]").get_attribute("title") == "picture 2"
    assert page.troubles == []
