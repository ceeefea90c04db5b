"""The crop pair explorer: what it is given against the method, and what it shows in a browser."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from browsing import live, pixels

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods import CACConfig
from semiseg_lib.methods.cac.crop_pairs import draw_pair, shared_cells
from semiseg_lib.methods.cac.method import Cells, moving
from semiseg_lib.notebook.plots import colourise
from semiseg_lib.notebook.widgets import CropPairExplorer
from semiseg_lib.notebook.widgets.crop_pair_explorer import cell_truth
from semiseg_lib.notebook.widgets.static_widget import PAYLOAD_LIMIT

CLASSES = ("background", "balloon", "car")
COUNT, SIZE, STRIDE, GRID = 3, (48, 64), 4, (8, 8)
PER_CROP = GRID[0] * GRID[1]
GAMMA = "input[aria-label='confidence threshold']"


@pytest.fixture(scope="module")
def given():
    """Pictures of noise, a pair of crops of each, and drawn cells, some of them padding."""
    rng = np.random.default_rng(3)
    pictures = rng.integers(0, 256, (COUNT, 3, *SIZE), dtype=np.uint8)
    pair = draw_pair(torch.from_numpy(pictures), 0.6, STRIDE, rng, flip=0.5)
    labels = rng.integers(0, 3, 2 * COUNT * PER_CROP)
    confidence = rng.uniform(0.3, 1, labels.shape).round(4)
    padding = rng.random(labels.shape) < 0.05
    labels[padding], confidence[padding] = VOID, 0
    truth = rng.integers(0, 3, (COUNT, *SIZE), dtype=np.uint8)
    truth[:, :8] = VOID
    return {
        "images": pictures, "pair": pair,
        "views": [crops(torch.from_numpy(pictures)).numpy() for crops in pair],
        "cells": Cells(torch.zeros(len(labels), 2), torch.from_numpy(labels),
                       torch.from_numpy(confidence).float()),
        "truth": truth, "classes": CLASSES, "stride": STRIDE,
    }


@pytest.fixture
def widget(given):
    return CropPairExplorer(**given)


def overlap(given, number):
    """Places (M,) of one picture's shared cells among all cells, of the first and second crop."""
    first, second = shared_cells(*given["pair"], STRIDE)
    mine = first // PER_CROP == number
    return first[mine], second[mine] + COUNT * PER_CROP


def movers(given, number, threshold):
    """bool (M,): crop 1's cell moves; crop 2's does."""
    sure = given["cells"].confidence
    one, two = (sure[places] for places in overlap(given, number))
    config = CACConfig(threshold=threshold)
    return moving(one, two, config).numpy(), moving(two, one, config).numpy()


def test_shared_cells_are_told_by_their_place_in_the_picture(given, widget):
    """Maps of coordinates, cut by the crops themselves, know where a cell lies."""
    rows, columns = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]), indexing="ij")
    maps = torch.from_numpy(np.stack([rows, columns])).expand(COUNT, 2, *SIZE) // STRIDE
    cut = [crops(maps)[:, :, ::STRIDE, ::STRIDE].flatten(2) for crops in given["pair"]]
    for number, picture in enumerate(widget.payload()["pictures"]):
        assert len(picture["shared"]) == len(overlap(given, number)[0]) > 0
        for *places, row, column in picture["shared"]:
            for k, place in enumerate(places):
                assert cut[k][number, :, place].tolist() == [row, column]


def test_the_truth_of_a_cell_is_its_most_frequent_class():
    truth = np.full((1, 4, 8), VOID, np.uint8)
    truth[0, :3, :4] = [[1, 1, 2, 2], [1, 1, 2, 0], [1, 0, VOID, VOID]]
    truth[0, 1:2, 4:] = 2
    assert cell_truth(truth, 4, 3).tolist() == [[[1, VOID]]]


def test_it_starts_at_a_cell_that_the_crops_label_differently(given, widget):
    one, two = (given["cells"].labels[places] for places in overlap(given, 0))
    assert one[widget.cell] != two[widget.cell]
    alike = replace(given["cells"], labels=torch.zeros_like(given["cells"].labels))
    assert CropPairExplorer(**{**given, "cells": alike}).cell == len(one) // 2


def test_the_page_is_light_deterministic_and_needs_no_network(widget):
    data, *_ = widget._repr_mimebundle_()
    page = data["text/html"]
    assert page == widget._repr_mimebundle_()[0]["text/html"]
    assert len(page.encode()) < PAYLOAD_LIMIT and page.count("</script>") == 2
    assert "application/vnd.jupyter.widget-view+json" in data
    assert not [word for word in ("src=\"http", "import ", "fetch(", "https://") if word in page]
    state = {key: value for key, value in widget.get_state().items() if key[0] != "_"}
    assert len(json.dumps(state, default=str)) < 2000
    json.dumps(widget.payload(), allow_nan=False)


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"stride": 8}, "384 cells, but 96 of stride 8"),
    ({"views": [np.zeros((COUNT, 3, 16, 16), np.uint8)] * 2}, "views must be two arrays"),
    ({"truth": np.zeros((COUNT, 8, 8), np.uint8)}, "truth must be"),
    ({"threshold": 0.123}, "that the slider offers"),
])
def test_what_does_not_belong_together_is_refused(given, changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        CropPairExplorer(**{**given, **changes})


def opened(page, tmp_path, html):
    target = tmp_path / "page.html"
    target.write_text('<!doctype html><meta charset="utf-8">' + html, encoding="utf-8")
    page.goto(target.as_uri())
    page.wait_for_function(
        "() => [...document.querySelectorAll('output')].some(one => one.textContent)",
        timeout=15_000)
    return page.locator(".crop-pair-explorer")


def move(page, place, *keys):
    place.locator(GAMMA).focus()
    for key in keys:
        page.keyboard.press(key)


@pytest.mark.browser
def test_those_move_that_the_method_moves(page, tmp_path, given, widget):
    place = opened(page, tmp_path, widget.to_html())
    place.get_by_role("button", name="picture 2").click()
    whole = (SIZE[0] // STRIDE, SIZE[1] // STRIDE)
    truth = cell_truth(given["truth"], STRIDE, 3)
    shared = [np.array(one["shared"]) for one in widget.payload()["pictures"]]
    labels = given["cells"].labels.numpy()
    for keys in ((), ("Home",), ("ArrowRight",) * 60, ("End",)):
        move(page, place, *keys)
        threshold = int(place.locator(GAMMA).input_value()) / 100
        first, second = movers(given, 1, threshold)
        expected = np.full((*whole, 3), (38, 42, 54), np.uint8)
        rows, columns = shared[1][:, 2:].T
        expected[rows[first], columns[first]] = (160, 215, 255)
        expected[rows[second], columns[second]] = (255, 146, 30)
        found = pixels(place, 3, whole)
        still = np.zeros(whole, bool)
        still[rows, columns] = ~(first | second)
        assert (found == expected)[~still].all()
        grey = found[still].astype(int)
        assert (grey.max(axis=1) - grey.min(axis=1) < 16).all() and (grey > 140).all()
        moves, cells, right, known = 0, 0, 0, 0
        for number in range(COUNT):
            one, two = movers(given, number, threshold)
            actual = truth[number][tuple(shared[number][:, 2:].T)]
            places = overlap(given, number)
            target = np.where(one, labels[places[1]], labels[places[0]])
            known_here = (one | two) & (actual != VOID)
            moves, cells = moves + (one | two).sum(), cells + len(one)
            right, known = right + (target == actual)[known_here].sum(), known + known_here.sum()
        told = place.locator(".readout output").last.inner_text()
        assert f"{100 * moves / cells:.1f}\u00a0% of the" in told
        assert (f"{100 * right / known:.1f}\u00a0% of their" if known else "– of their") in told
    assert page.troubles == []


@pytest.mark.browser
def test_a_click_picks_a_cell_and_keys_move_it(page, tmp_path, given, widget):
    place = opened(page, tmp_path, widget.to_html())
    labels = given["cells"].labels.reshape(2, COUNT, *GRID).numpy()[:, 0]
    sure = given["cells"].confidence.reshape(2, COUNT, *GRID).numpy()[:, 0]
    shared = {tuple(divmod(one[1], GRID[1])): one for one in
              map(tuple, widget.payload()["pictures"][0]["shared"])}
    start = next(at for at in shared if (at[0] + 1, at[1]) in shared)
    canvas = place.locator("canvas").nth(2)  # crop 2
    box = canvas.bounding_box()
    canvas.click(position={"x": (start[1] + 0.5) / GRID[1] * box["width"],
                           "y": (start[0] + 0.5) / GRID[0] * box["height"]})
    canvas.press("ArrowDown")
    first, second, row, column = shared[start[0] + 1, start[1]]
    assert f"row {row}, column {column}" in place.inner_text()
    own = labels[1].ravel()[second]
    for k, cell in enumerate((first, second)):
        name = (*CLASSES, *[None] * 253)[labels[k].ravel()[cell]] if \
            labels[k].ravel()[cell] != VOID else "padding"
        assert f"{name}, {100 * sure[k].ravel()[cell]:.1f}\u00a0%" in place.inner_text()
    counted = (labels != own) & (labels != VOID)
    assert f"negatives of crop 2’s: {counted.sum()} of {2 * PER_CROP} cells" in place.inner_text()
    for k, cell in enumerate((first, second)):
        found = pixels(place, 4 + k, GRID)
        plain = (found == colourise(labels[k])).all(axis=2)
        expected = counted[k].copy()
        assert plain[expected].all()
        expected.ravel()[cell] = True  # it shows its own colour
        assert plain.ravel()[cell] and not plain[~expected & (labels[k] != VOID)].any()
    for _ in range(2 * GRID[0]):
        canvas.press("ArrowDown")
    at = max(r for r, c in shared if c == start[1])
    assert f"row {shared[at, start[1]][2]}, " in place.inner_text(), "it stays in the overlap"
    assert page.troubles == []


@pytest.mark.browser
def test_a_live_view_and_its_kernel_stay_in_step(page, tmp_path, widget):
    place = opened(page, tmp_path, live(widget))
    move(page, place, "Home")
    assert page.evaluate("window.model.get('threshold')") == 0
    page.evaluate("window.model.set('threshold', 1)")
    assert place.locator(GAMMA).input_value() == "100"
    told = place.locator(".readout output").first.inner_text()
    assert "neither moves" in told
    page.evaluate("window.model.set('cell', 0)")
    assert place.locator("input").nth(0).input_value() == "0" and page.troubles == []
