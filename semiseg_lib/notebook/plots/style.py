"""The style of all figures, and their display with alt text."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.textpath import TextPath
from PIL import Image, ImageDraw, ImageFont

from semiseg_lib.core import durable, escaping, paths
from semiseg_lib.core.terminal import say
from semiseg_lib.notebook import numbering
from semiseg_lib.notebook.plots.images import (
    NO_COLOUR,
    VOID_COLOUR,
    YES_COLOUR,
    class_colours,
)

DOTS_PER_INCH = 150
SHOWN_PER_INCH = 100  # pixels per inch on the page: the file is 1.5 times finer than shown
WIDTH = 7.4  # inches; the text column of the book

INK = "#1f2430"
QUIET = "#5d6470"
GRID = "#d9dce1"
FILL = "#eef0f3"

# Lines, bars and dots on white: Okabe and Ito's colours, darkened where contrast is too low.
SERIES_COLOURS = ("#0072B2", "#D55E00", "#00805C", "#B0528A", "#1f2430", "#B27A00", "#3A9AD9")
SERIES_DASHES = ((), (6, 2), (2, 1.5), (8, 2, 2, 2), (4, 1.5, 1, 1.5, 1, 1.5), (1, 1), (10, 3))
SERIES_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SERIES_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo", "---")

RULES = {
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "text.parse_math": False,  # a dollar sign in a name is one
    "axes.titlesize": 13,
    "axes.labelsize": 13,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": GRID,
    "grid.linewidth": 0.9,
    "lines.linewidth": 2.4,
    "hatch.linewidth": 0.8,
    "figure.facecolor": "white",
    "figure.dpi": DOTS_PER_INCH,
}


def styled() -> AbstractContextManager[None]:
    """Enter a context in which axes have the book's style, without global matplotlib settings."""
    return matplotlib.rc_context(RULES)


def new_figure(height: float, width: float = WIDTH, layout: str | None = "constrained") -> Figure:
    """Return a figure (inches) unknown to pyplot, so nothing is shown or leaked implicitly."""
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def new_axes(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """Return a figure with one axes; call it inside :func:`styled`."""
    figure = new_figure(height, width)
    return figure, figure.add_subplot()


def text_width(text: str, size: float) -> float:
    """Return the width in inches of one line of text, ``size`` in points."""
    return TextPath((0, 0), text, size=size).get_extents().width / 72 if text.strip() else 0.0


def show(figure: Figure, alt: str) -> None:
    """Display a figure as PNG with its number and alt text, and close it.

    In a notebook the PNG is the cell's output; ``text/plain`` and the metadata carry ``alt``. In a
    plain script the PNG is saved below ``work_root()/figures``, and its path and alt are printed.

    Args:
        figure: a figure by any function of this package.
        alt: one or two sentences for a reader who cannot see the figure.

    Raises:
        ValueError: ``alt`` is empty.
    """
    if not alt or not alt.strip():
        raise ValueError("show(figure, alt) needs an alt text: say in a sentence what is seen")
    alt = escaping.visible(" ".join(alt.split()))
    label = numbering.label(alt)
    png = png_bytes(figure, label)
    alt = f"{label}. {alt}" if label else alt
    metadata = {"alt": alt, "width": round(figure.get_figwidth() * SHOWN_PER_INCH)}
    figure.clear()
    if _in_a_notebook():
        from IPython.display import publish_display_data

        publish_display_data({"image/png": png, "text/plain": alt}, {"image/png": metadata})
        return
    target = paths.work_root() / "figures" / f"{_file_stem(alt)}.png"
    with durable.atomic_write(target) as temporary:
        temporary.write_bytes(png)
    say(f"{paths.shown(target)}: {alt}")


def png_bytes(figure: Figure, label: str = "") -> bytes:
    """Return the figure as PNG with a palette of 256 colours, less than half of full colour.

    Args:
        figure: what to draw.
        label: written below it on the right, such as "Figure 6.3".
    """
    drawn, stored = io.BytesIO(), io.BytesIO()
    with styled():
        figure.savefig(drawn, format="png", dpi=figure.dpi)
    image = _labelled(Image.open(drawn).convert("RGB"), label)
    in_few_colours(image).save(stored, "png", optimize=True)
    return stored.getvalue()


def _labelled(image: Image.Image, label: str) -> Image.Image:
    """Return an image with a line of text below, on the right; the same image without a text."""
    if not label:
        return image
    size = round(RULES["font.size"] * DOTS_PER_INCH / 72)
    font = ImageFont.truetype(findfont(RULES["font.family"]), size)
    taller = Image.new("RGB", (image.width, image.height + 2 * size), "white")
    taller.paste(image)
    place = (image.width - size // 2, image.height + size)
    ImageDraw.Draw(taller).text(place, label, fill=QUIET, font=font, anchor="rm")
    return taller


def in_few_colours(image: Image.Image) -> Image.Image:
    """Return the image with a palette of 256, in which classes, text and flat areas are exact."""
    pixels = np.asarray(image)
    # One number per pixel: sorting rows of three takes ten times as long.
    numbers = pixels.astype(np.uint32) @ np.uint32([1 << 16, 1 << 8, 1])
    found, where, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=-1).astype(np.uint8)
    frequent = colours[np.argsort(-counts, kind="stable")[:48]]
    fixed = [VOID_COLOUR, YES_COLOUR, NO_COLOUR]
    kept = np.unique(np.vstack([frequent, class_colours(21), fixed]), axis=0)
    # A rare colour, such as the edge of a thin line, must be near one of the palette as well.
    evened = np.repeat(colours, np.ceil(np.cbrt(counts)).astype(int), axis=0)[None]
    rest = Image.fromarray(evened).quantize(
        256 - len(kept), method=Image.Quantize.MEDIANCUT, kmeans=3
    ).getpalette()
    palette = np.vstack([kept, np.reshape(rest, (-1, 3))])[:256].astype(np.uint8)
    # Pillow's own look-up is coarse and would shift the exact colours.
    from scipy.spatial import cKDTree  # takes 0.2 s

    nearest = cKDTree(palette).query(colours)[1].astype(np.uint8)
    few = Image.fromarray(nearest[where.ravel()].reshape(pixels.shape[:2]))
    few.putpalette(palette.ravel().tolist())
    return few


def _in_a_notebook() -> bool:
    from IPython import get_ipython  # ipywidgets needs it, too

    return get_ipython() is not None


def _file_stem(alt: str) -> str:
    words = re.findall(r"[a-z0-9]+", alt.lower())
    return "_".join(words)[:60].strip("_") or "figure"
