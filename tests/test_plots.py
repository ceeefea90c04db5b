"""Figures: colours apart for every kind of sight, nothing clipped, alt text never missing."""

import io
import itertools

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes
from semiseg_lib.notebook import numbering, plots
from semiseg_lib.notebook.plots.charts import spread_apart
from semiseg_lib.notebook.plots.images import (
    BACKGROUND_COLOUR,
    NO_COLOUR,
    VOID_COLOUR,
    YES_COLOUR,
    drawable,
)
from semiseg_lib.notebook.plots.style import (
    SERIES_COLOURS,
    in_few_colours,
    png_bytes,
    styled,
)

CLASSES = ("background", "balloon", "boat", "car", "fish", "house", "tree")
# Machado, Oliveira and Fernandes (2009), severity 1, applied to linear RGB.
SIGHTS = {
    "common": np.eye(3),
    "protan": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                        [-0.003882, -0.048116, 1.051998]]),
    "deutan": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                        [-0.011820, 0.042940, 0.968881]]),
    "tritan": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                        [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def linear(colour):
    share = np.asarray(colour) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def cielab(linear_rgb):
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                       [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
    xyz = to_xyz @ linear_rgb.clip(0, 1) / [0.95047, 1, 1.08883]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def closest(colours, sight):
    seen = [cielab(SIGHTS[sight] @ linear(colour)) for colour in colours]
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize(
    ("sight", "distance"), [("common", 48), ("protan", 29), ("deutan", 29), ("tritan", 23)]
)
def test_class_colours_stay_apart_for_every_sight(sight, distance):
    assert closest([*plots.class_colours(7), VOID_COLOUR], sight) >= distance


@pytest.mark.parametrize("sight", SIGHTS)
def test_yes_and_no_are_not_taken_for_a_class_or_void(sight):
    others = [*plots.class_colours(7), VOID_COLOUR]
    assert closest([YES_COLOUR, NO_COLOUR, *others], sight) > 15


def test_a_map_of_true_and_false_has_colours_and_a_legend_of_its_own():
    wrong = np.eye(8, dtype=bool)
    assert drawable(wrong)[0, 0].tolist() == [*YES_COLOUR]
    assert drawable(wrong)[0, 1].tolist() == [*NO_COLOUR]
    figure = plots.gallery({"truth": [np.eye(8, dtype=np.uint8)], "wrong": [wrong]}, ("a", "b"))
    names = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert names == ["a", "b", "yes", "no"]


@pytest.mark.parametrize("sight", SIGHTS)
def test_even_twenty_classes_stay_apart(sight):
    assert closest([*plots.class_colours(21), VOID_COLOUR], sight) > 10


def test_lines_are_legible_on_white():
    for colour in SERIES_COLOURS:
        luminance = linear(list(bytes.fromhex(colour[1:]))) @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (luminance + 0.05) >= 3


def test_class_colours_refuses_more_than_it_can_tell_apart():
    with pytest.raises(ValueError, match="not 22"):
        plots.class_colours(22)


def test_colourise_gives_each_id_its_colour():
    image = plots.colourise(np.array([[0, 1], [6, VOID]], np.uint8))
    expected = [BACKGROUND_COLOUR, *plots.class_colours(7)[[1, 6]].tolist(), VOID_COLOUR]
    assert image.reshape(4, 3).tolist() == [list(colour) for colour in expected]


@pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.full((2, 2), 100), np.zeros((1, 2, 2), int)])
def test_colourise_refuses(mask):
    with pytest.raises(ValueError, match=r"integer|ids without"):
        plots.colourise(mask)


def test_overlay_tints_objects_only():
    image = np.full((3, 1, 3), 100, np.uint8)
    result = plots.overlay(image, np.array([[0, 1, VOID]]), opacity=0.5)
    red = (100 + plots.class_colours(2)[1].astype(int)) / 2
    assert result[0, 0].tolist() == result[0, 2].tolist() == [100, 100, 100]
    assert np.abs(result[0, 1] - red).max() <= 0.5
    with pytest.raises(ValueError, match="differ in size"):
        plots.overlay(image, np.zeros((2, 2), int))


def scenes(count, side=64, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    masks = np.zeros((count, side, side), np.uint8)
    masks[:, 10:30, 20:40], masks[:, 30:32, 20:40] = 3, VOID
    boxes = [Boxes(np.array([[20, 10, 40, 32]], np.float32), np.array([3]))] * count
    return images, masks, boxes


def some_figures():
    rng = np.random.default_rng(0)
    images, masks, boxes = scenes(3)
    six = {"image": images, "truth": masks, "prediction": masks, "overlay": images,
           "wrong": masks == 3, "confidence": rng.random((3, 64, 64))}  # fmt: skip
    steps = np.linspace(0, 1, 20)
    names = ("supervised, 24 masks", "no correction", "linear, 30 → 0.5", "linear, 30 → 0.25")
    seeds = {name: rng.normal(70 + 2 * i, 1, 4) for i, name in enumerate(names)}
    counts = rng.integers(0, 100, (7, 7)) + 500 * np.eye(7, dtype=int)
    yield "gallery", plots.gallery(six, CLASSES, boxes, rows_titles=["a", "camouflaged", "small"])
    yield "one row", plots.gallery({"image": images[:1], "truth": masks[:1]}, CLASSES)
    yield "curves", plots.curves({n: list(zip(steps, steps * i, strict=True))
                                  for i, n in enumerate(names, 1)}, "step", "mIoU (%)")
    yield "schedules", plots.alpha_schedules({n: (steps, 30 - steps * (25 + i))
                                              for i, n in enumerate(names)})
    yield "confusion", plots.confusion(counts, CLASSES)
    yield "bars", plots.class_bars({n: rng.random(7) for n in names}, CLASSES)
    yield "dots", plots.dots_with_intervals(seeds, "mIoU of the primary (%)")
    yield "paired", plots.paired_differences({n: v - 72 for n, v in seeds.items()}, "mIoU (points)")


FIGURES = list(some_figures())


@pytest.mark.parametrize(("name", "figure"), FIGURES, ids=[name for name, _ in FIGURES])
def test_no_text_is_clipped_or_small(name, figure):
    with styled():
        figure.canvas.draw()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    room = min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1)
    assert room > -0.02, f"{name} is clipped by {-room:.2f} inches"
    for text in figure.findobj(Text):
        if text.get_text().strip() and text.get_visible():
            assert text.get_fontsize() >= 12, text.get_text()


@pytest.mark.parametrize(("name", "figure"), FIGURES, ids=[name for name, _ in FIGURES])
def test_figures_stay_light(name, figure):
    limit = 240_000 if name in ("gallery", "one row") else 40_000
    assert len(png_bytes(figure)) < limit  # the images here are noise, which no format can shrink


@pytest.mark.parametrize(("name", "figure"), FIGURES, ids=[name for name, _ in FIGURES])
def test_a_palette_of_256_changes_no_colour_visibly(name, figure):
    """Of 255 levels, at the worst pixel and on the mean; the images here are noise."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=figure.dpi)
    image = Image.open(buffer).convert("RGB")
    full, stored = np.asarray(image).astype(int), in_few_colours(image)
    assert stored.tobytes() == in_few_colours(image).tobytes()
    assert stored.mode == "P" and stored.size == full.shape[1::-1]
    off = np.abs(np.asarray(stored.convert("RGB")) - full).max(axis=-1)
    worst, mean = (80, 6) if name in ("gallery", "one row") else (40, 0.2)
    assert off.max() <= worst and off.mean() <= mean
    assert not off[(full == full[0, 0]).all(axis=-1)].any(), "the white is not white"


def test_small_images_are_enlarged_by_whole_numbers():
    images, masks, _ = scenes(1)
    figure = plots.gallery({"image": images, "truth": masks}, CLASSES)
    png = np.asarray(Image.open(io.BytesIO(png_bytes(figure))).convert("RGB"))
    x0, y0, width, height = figure.axes[1].get_window_extent().bounds
    panel = png[png.shape[0] - round(y0 + height) : png.shape[0] - round(y0), round(x0) :]
    factor = round(width) // 64
    seen = panel[: 64 * factor : factor, : 64 * factor : factor]
    assert round(width) == round(height) == 64 * factor
    assert (seen == plots.colourise(masks[0])).all()


def test_a_heavy_figure_keeps_the_class_colours_exactly():
    images, masks, _ = scenes(4)
    views = {"first": images, "second": images[::-1], "truth": masks}
    full = plots.gallery(views, CLASSES)
    shown = Image.open(io.BytesIO(png_bytes(full)))
    assert shown.mode == "P"
    present = {colour for _, colour in shown.convert("RGB").getcolors(1 << 16)}
    assert present >= {tuple(c) for c in plots.class_colours(7).tolist()} | {VOID_COLOUR}
    assert (255, 255, 255) in present


def test_gallery_refuses_columns_that_do_not_match():
    images, masks, boxes = scenes(2)
    with pytest.raises(ValueError, match=r"equal lengths, got \[1, 2\]"):
        plots.gallery({"image": images, "truth": masks[:1]}, CLASSES)
    with pytest.raises(ValueError, match=r"equal lengths"):
        plots.gallery({"image": images}, CLASSES, boxes[:1])
    with pytest.raises(ValueError, match="expected uint8"):
        plots.gallery({"image": images / 255.0}, CLASSES)


def test_charts_refuse_what_they_cannot_draw():
    with pytest.raises(ValueError, match="fractions"):
        plots.class_bars({"linear": [70.0, 60.0]}, ("a", "b"))
    with pytest.raises(ValueError, match="> 0"):
        plots.alpha_schedules({"to zero": ([0, 1], [30, 0])})
    with pytest.raises(ValueError, match="no point"):
        plots.curves({"empty": []}, "step", "mIoU")
    with pytest.raises(ValueError, match="two seeds"):
        plots.paired_differences({"linear": [1.0]}, "points")
    with pytest.raises(ValueError, match="counts >= 0"):
        plots.confusion(np.eye(2), ("a",))


def test_spread_apart_moves_as_little_as_needed():
    assert spread_apart(np.array([0.9, 0.1]), 0.1).tolist() == [0.9, 0.1]
    assert spread_apart(np.array([0.5, 0.5, 0.5]), 0.1) == pytest.approx([0.4, 0.5, 0.6])


def test_no_global_state_is_left_behind():
    before = dict(matplotlib.rcParams)
    list(some_figures())
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []


@pytest.fixture(autouse=True)
def no_chapter():
    """Figures have a number in a chapter only."""
    numbering.start("")
    yield
    numbering.start("")


def test_show_in_a_script_saves_and_names_the_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    plots.show(plots.confusion(np.eye(2), ("a", "b")), alt="Both classes are always\n right.")
    (saved,) = (tmp_path / "figures").iterdir()
    assert saved.name == "both_classes_are_always_right.png"
    assert Image.open(saved).format == "PNG"
    assert capsys.readouterr().out.endswith("right.png: Both classes are always right.\n")


def test_show_in_a_notebook_publishes_the_alt_text(monkeypatch):
    published = []
    monkeypatch.setattr("semiseg_lib.notebook.plots.style._in_a_notebook", lambda: True)
    monkeypatch.setattr(
        "IPython.display.publish_display_data", lambda *bundles: published.append(bundles)
    )
    plots.show(plots.confusion(np.eye(2), ("a", "b")), alt="A diagonal.")
    ((data, metadata),) = published
    assert data["text/plain"] == metadata["image/png"]["alt"] == "A diagonal."
    assert data["image/png"].startswith(b"\x89PNG")


def test_the_figures_of_a_chapter_are_numbered(monkeypatch):
    """Below the figure, where every renderer shows it; a figure shown again keeps its number."""
    shown = []
    monkeypatch.setattr("semiseg_lib.notebook.plots.style._in_a_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.publish_display_data",
                        lambda data, metadata: shown.append((data, metadata["image/png"]["alt"])))
    numbering.start("06_self_correction")
    for alt in ("A line.", "Two lines.", "A line."):
        plots.show(plots.confusion(np.eye(2), ("a", "b")), alt)
    assert [alt for _, alt in shown] == [
        "Figure 6.1. A line.", "Figure 6.2. Two lines.", "Figure 6.1. A line."]
    images = [Image.open(io.BytesIO(data["image/png"])).convert("L") for data, _ in shown]
    strips = [np.asarray(image.crop((0, image.height - 40, *image.size))) for image in images]
    assert all(strip[:, -200:].min() < 150 and strip[:, :200].min() == 255 for strip in strips)
    assert not np.array_equal(strips[0], strips[1]) and np.array_equal(strips[0], strips[2])
    numbering.start("a notebook of one's own")
    assert numbering.label("A line.") == ""


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_show_refuses_an_empty_alt(alt):
    with pytest.raises(ValueError, match="alt text"):
        plots.show(Figure(), alt=alt)
