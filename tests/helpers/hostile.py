"""Names that mean something to whatever shows them, what is made of them, and what to look for."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import torch
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from PIL import Image

from semiseg_lib.core import escaping
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes
from semiseg_lib.evaluation.confidence import confidence_counts
from semiseg_lib.methods.cac.crop_pairs import draw_pair
from semiseg_lib.methods.cac.method import Cells
from semiseg_lib.notebook import widgets
from semiseg_lib.notebook.widgets import StaticWidget

SCRIPT = "window.hacked=1;alert(1)"
IN_A_LIST = (
    f'<img src=x onerror="{SCRIPT}">', f"</script><script>{SCRIPT}</script>", "<!--<script>",
    "]]>&lt;b&gt;&#60;b>", "'\" onmouseover=\"window.hacked=1", "[x](javascript:alert(1))",
    "![x](http://127.0.0.1:9/y)", "a|b `c` **d**", "*e* _f_ ~~g~~", "$x_{2}^$ $$", "http://h.i",
    "=HYPERLINK(1)", "+1", "-1+1", "@SUM(A1)", "_hidden", "\x1b[31mred\x1b[0m\x07",
    "left\u202eright\u2066x", "\x9b2J\x08\x08", "{{ 7*7 }} {{ name }}",
)
"""Names that a line of a file can hold: of classes, at most as many as there are colours."""
NAMES = (*IN_A_LIST, "\t=1+1", "one\rtwo\nthree", "=2+2\r", "caf\udce9", "# head", "1. item", "- x")
"""All of them: also those that reach the library only from Python."""
IN_A_FILE = tuple(name for name in IN_A_LIST if "/" not in name)
FEW = (*NAMES[:8], NAMES[9], *NAMES[15:18])
"""Some of every kind, for what takes long."""
SHOWN = [escaping.visible(name) for name in NAMES]


class Page(HTMLParser):
    """The tags of a page and their attributes, its text, and the data of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict]] = []
        self.cells: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside in ("td", "th"):
            self.cells[-1] += data
        if self._inside == "script":
            self.scripts[-1] += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data[:40]}")

    @property
    def handlers(self) -> list[str]:
        return [name for _, attributes in self.tags for name in attributes if name.startswith("on")]


def assert_is_text_for_a_terminal(said: str, moving: bool = False) -> None:
    """Nothing but lines of visible characters; where bars move also their returns and steps up."""
    if moving:
        said = said.replace("\x1b[A", "").replace("\r", "\n")
    for line in said.split("\n"):
        assert escaping.visible(line) == line, repr(line)


def cells_of_markdown(text: str, authored: Sequence[str] = ()) -> list[str]:
    """The cells, headings and paragraphs that a Markdown text shows, which are nothing but text.

    Args:
        text: in Markdown.
        authored: the kinds of tokens that whoever wrote the text around the names has used.
    """
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"]).use(dollarmath_plugin)
    blocks = {"paragraph", "table", "thead", "tbody", "tr", "th", "td", "inline", "code_block"}
    found = []
    for token in parser.parse(text):
        kind = token.type.removesuffix("_open").removesuffix("_close")
        assert kind in blocks, f"{kind}: {token.content!r}"
        if token.type != "inline":
            continue
        inside = {child.type.removesuffix("_open").removesuffix("_close")
                  for child in token.children}
        assert inside <= {"text", "softbreak", *authored}, f"{inside}: {token.content!r}"
        found.append("".join(child.content for child in token.children))
    return found


def assert_is_safe_in_a_spreadsheet(text: str) -> list[list[str]]:
    """No cell that is not a number begins like a formula; return the cells."""
    rows = list(csv.reader(io.StringIO(text)))
    for cell in (cell for row in rows for cell in row):
        assert escaping.visible(cell) == cell
        assert cell[:1] not in "=+-@\t\r" or re.fullmatch(r"-?[\d.e-]*", cell), cell
    return rows


def make_widgets(names: Sequence[str] = FEW) -> dict[str, StaticWidget]:
    """One of each widget, with these names of classes, rounds and kinds, by its class's name."""
    rng, (height, width), stride = np.random.default_rng(0), (24, 32), 4
    classes = ("background", *names)
    count = len(classes)
    images = rng.integers(0, 256, (2, 3, height, width), dtype=np.uint8)
    truth = rng.integers(0, count, (2, height, width), dtype=np.uint8)
    logits = rng.normal(0, 4, (2, count, 6, 8)).astype(np.float32)
    boxes = [Boxes(np.array([[2, 3, 9, 8]], np.float32), np.array([1]))] * 2
    pair = draw_pair(torch.from_numpy(images), 0.6, stride, rng)
    cells = 4 * (pair[0].size[0] // stride) * (pair[0].size[1] // stride)
    made = (
        widgets.AlphaExplorer(images, boxes, logits, -logits, classes, truth),
        widgets.CropPairExplorer(
            images, pair, [crops(torch.from_numpy(images)).numpy() for crops in pair],
            Cells(torch.zeros(cells, 2), torch.from_numpy(rng.integers(0, count, cells)),
                  torch.from_numpy(rng.uniform(0.3, 1, cells)).float()),
            truth, classes, stride),
        widgets.CutMixSampler(images, {name: rng.random((2, height, width)) < 0.5
                                       for name in names}),
        widgets.ErrorMapExplorer(images, truth[::-1], rng.random(truth.shape), truth, classes),
        widgets.MarginExplorer(images, logits, truth, [0.5] * count, classes),
        widgets.PseudoLabelBrowser(images, {name: truth for name in names}, truth, classes),
        widgets.ThresholdExplorer(images, torch.from_numpy(logits), truth,
                                  confidence_counts(torch.from_numpy(logits), truth, classes),
                                  classes),
    )
    return {type(widget).__name__: widget for widget in made}


def draw_folder(root: Path, classes: Sequence[str], names: Sequence[str], masked: int) -> Path:
    """Write your own folder: images of these names, a patch of each class in every one.

    Args:
        root: the folder.
        classes: of classes.txt; the first is the background.
        names: of the images; the first ``masked`` have masks, all have boxes.
        masked: how many have masks.
    """
    side, rng = 12, np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    (root / "classes.txt").write_text("\n".join(classes) + "\n", encoding="utf-8", newline="\n")
    columns = -(-len(classes) // 4)
    mask = np.full((4 * side, columns * side), 0, np.uint8)
    annotations = []
    for number in range(1, len(classes)):
        y, x = (side * place for place in divmod(number, columns))
        mask[y + 1:y + side - 1, x + 1:x + side - 1] = number
        annotations.append((number, [int(x + 1), int(y + 1), side - 2, side - 2]))
    mask[0] = VOID
    for number, name in enumerate(names):
        noise = rng.integers(0, 40, (*mask.shape, 3))
        image = (noise + 10 * (mask % VOID)[..., None]).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        if number < masked:
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    (root / "boxes.json").write_text(json.dumps({
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes) if i],
        "images": [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate(names)],
        "annotations": [{"image_id": i, "category_id": number, "bbox": box}
                        for i in range(len(names)) for number, box in annotations],
    }), encoding="utf-8")
    return root
