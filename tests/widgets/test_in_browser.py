"""The widgets in a real browser: from a file with no kernel and no network, and as a live view."""


import numpy as np
import pytest
from browsing import SLIDER, is_striped, live, move, numbers, opened, pixels, written

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.evaluation.confidence import confidence_counts
from semiseg_lib.notebook.plots import colourise
from semiseg_lib.notebook.widgets import ThresholdExplorer

NAMES = ("threshold-explorer", "pseudo-label-browser", "cutmix-sampler")
@pytest.mark.browser
@pytest.mark.parametrize("name", [*NAMES, "alpha-explorer"])
def test_slider_and_pictures_answer_with_no_kernel_and_no_network(page, tmp_path, widgets, name):
    opened(page, tmp_path, widgets[name].to_html())
    place = page.locator(f".{name}")
    views = []
    for keys in (("Home",), ("End",)):
        move(page, place, *keys)
        views.append([pixels(place, panel) for panel in range(4)])
    place.get_by_role("toolbar").first.get_by_role("button").nth(1).press("Enter")
    views.append([pixels(place, panel) for panel in range(4)])
    for before, after in ((0, 1), (1, 2)):
        assert any((a != b).any() for a, b in zip(views[before], views[after], strict=True))
    assert place.locator("img").count() == 0, "the fallback is still there"
    assert page.troubles == []


@pytest.mark.browser
def test_the_threshold_shown_is_the_one_that_is_counted(page, tmp_path, given, widgets):
    widget = widgets["threshold-explorer"]
    payload = widget.payload()
    opened(page, tmp_path, widget.to_html())
    place = page.locator(".threshold-explorer")
    for keys in ((), ("Home",), ("End",), ("ArrowLeft",) * 4):
        move(page, place, *keys)
        index = int(place.locator(SLIDER).input_value())
        threshold = payload["thresholds"][index]
        assert threshold == 0.95 or keys
        counts = given.counts
        shares = [*zip(counts.kept(threshold), counts.accuracy(threshold), strict=True),
                  (counts.overall_kept(threshold), counts.overall_accuracy(threshold))]
        assert numbers(place) == [[written(share) for share in row] for row in shares]
        assert place.locator(SLIDER).get_attribute("aria-valuetext").startswith(
            f"threshold {threshold:g}: ")
        label, confidence = widget._predicted[0]
        dropped = confidence < threshold
        shown = pixels(place, 2)
        assert (shown == colourise(label))[~dropped].all()
        assert is_striped(shown)[dropped].all()
        right, wrong = pixels(place, 3)[~dropped & (given.truth[0] == label)], \
            pixels(place, 3)[~dropped & (given.truth[0] != label) & (given.truth[0] != VOID)]
        assert (right == (64, 80, 102)).all() and (wrong == (255, 146, 30)).all()
    assert page.troubles == []


@pytest.mark.browser
def test_a_pool_without_known_pixels_shows_dashes(page, tmp_path, given):
    void = np.full_like(given.truth, VOID)
    counts = confidence_counts(given.logits, void, given.classes)
    widget = ThresholdExplorer(given.pictures, given.logits, void, counts, given.classes)
    place = opened(page, tmp_path, widget.to_html()).locator(".threshold-explorer")
    assert numbers(place) == [["–", "–"]] * 4
    assert "NaN" not in place.inner_html() and page.troubles == []


@pytest.mark.browser
def test_each_round_shows_its_label_and_its_scores(page, tmp_path, given, widgets):
    widget = widgets["pseudo-label-browser"]
    mean_iou, kept = widget.scores()
    opened(page, tmp_path, widget.to_html())
    place = page.locator(".pseudo-label-browser")
    place.get_by_role("button", name="picture 3").click()
    expected = [[written(a), written(b)] for a, b in zip(mean_iou[2], kept[2], strict=True)]
    assert expected[2][0] == "–" and numbers(place) == expected
    for number, (name, labels) in enumerate(given.labels.items()):
        move(page, place, "Home", *["ArrowRight"] * number)
        assert place.locator("tr[aria-current] th").inner_text() == name
        left_out = labels[2] == VOID
        assert (pixels(place, 2) == colourise(labels[2]))[~left_out].all()
        assert is_striped(pixels(place, 2))[left_out].all()
    assert (pixels(place, 1) == colourise(given.truth[2])).all()
    assert page.troubles == []


@pytest.mark.browser
def test_the_mixed_picture_is_mixed_by_its_mask(page, tmp_path, given, widgets):
    opened(page, tmp_path, widgets["cutmix-sampler"].to_html())
    place = page.locator(".cutmix-sampler")
    place.get_by_role("button", name="base picture 3").click()  # the first one is pasted into it
    for kind, drawn in given.masks.items():
        place.get_by_role("button", name=kind).press("Space")
        move(page, place, "End")
        base, pasted = (given.pictures[i].transpose(1, 2, 0) for i in (2, 0))
        assert (pixels(place, 3) == np.where(drawn[-1][..., None], pasted, base)).all()
        row = list(given.masks).index(kind)
        assert numbers(place)[row] == [written(drawn[-1].mean()), written(drawn.mean())]
    assert page.troubles == []


@pytest.mark.browser
def test_three_widgets_on_one_page_do_not_disturb_each_other(page, tmp_path, widgets):
    opened(page, tmp_path, *(widgets[name].to_html() for name in NAMES))
    places = [page.locator(f".{name}") for name in NAMES]
    before = [place.locator("output").inner_text() for place in places]
    move(page, places[1], "End")
    after = [place.locator("output").inner_text() for place in places]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
    assert page.troubles == []


@pytest.mark.browser
@pytest.mark.parametrize(("name", "trait", "last", "first", "place_of_first"), [
    ("threshold-explorer", "threshold", 0.995, 0, "0"),
    ("pseudo-label-browser", "round", 2, 0, "0"),
    ("cutmix-sampler", "draw", 4, 0, "0"),
    ("alpha-explorer", "alpha", 50, 1, "0"),
])
def test_a_live_view_and_its_kernel_stay_in_step(
    page, tmp_path, widgets, name, trait, last, first, place_of_first
):
    widget = widgets[name]
    opened(page, tmp_path, live(widget))
    place = page.locator(f".{name}")
    move(page, place, "End")
    assert page.evaluate("name => window.model.get(name)", trait) == last
    assert page.evaluate("window.saved") >= 1
    told = place.locator("output").inner_text()
    page.evaluate("([name, value]) => window.model.set(name, value)", [trait, first])
    assert place.locator("output").inner_text() != told
    assert place.locator(SLIDER).input_value() == place_of_first
    assert page.troubles == []


@pytest.mark.browser
def test_a_dead_script_and_a_request_would_be_noticed(page, tmp_path, widgets):
    html = widgets["cutmix-sampler"].to_html()
    target = tmp_path / "dead.html"
    target.write_text(html.replace("async function mount", "throw Error('dead'); function mount", 1)
                      + "<script>fetch('http://127.0.0.1:9/').catch(() => 0)</script>",
                      encoding="utf-8")
    page.goto(target.as_uri())
    page.wait_for_timeout(500)
    assert any(trouble.startswith("script: ") for trouble in page.troubles)
    assert any(trouble.startswith("asked: http://127.0.0.1:9") for trouble in page.troubles)
    assert page.locator("img").count() == 1, "without a script the fallback stays"
