"""In a real browser: no name runs as a script, loads anything or opens a box; each is read as text.

Widgets from their stored form and as live views, tables, and a page that Sphinx makes of a notebook
and of Markdown as it makes the book's.
"""

from __future__ import annotations

import ast
import base64
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from browsing import live, ready
from hostile import FEW, NAMES, SHOWN, make_widgets

from bookkit.notebook import as_stored, write_notebook
from semiseg_lib.core import escaping
from semiseg_lib.notebook.tables import markdown_table, results_table
from semiseg_lib.notebook.widgets import StaticWidget
from semiseg_lib.notebook.widgets import __all__ as WIDGETS

pytestmark = pytest.mark.browser
NAMES_SHOWN = [escaping.visible(name) for name in FEW]
SETTINGS = Path(__file__).resolve().parents[2] / "notebooks" / "conf.py"
AFTER = '<p id="after">what comes after it</p>'
"""A page that a name has swallowed does not get there."""


@pytest.fixture(scope="module")
def widgets() -> dict[str, StaticWidget]:
    return make_widgets()


@pytest.fixture
def looked_at(page, tmp_path):
    """Open a page, and check afterwards that nothing ran, asked, failed or said anything."""
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))

    def look(address: Path | str):
        if isinstance(address, str):
            target = tmp_path / "page.html"
            target.write_text(f'<!doctype html><meta charset="utf-8">{address}{AFTER}', "utf-8")
            address = target
        page.goto(address.as_uri())
        return page

    yield look
    page.wait_for_timeout(200)
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert dialogs == [] and page.troubles == []


def words(place) -> str:
    """All that a place shows as text, each run of spaces as one."""
    return " ".join(place.evaluate("node => node.textContent").split())


def assert_shows(place, names) -> None:
    text = words(place)
    assert [name for name in names if " ".join(name.split()) not in text] == []


@pytest.mark.parametrize("form", ["stored", "live"])
@pytest.mark.parametrize("name", [name for name in WIDGETS if name != "StaticWidget"])
def test_a_widget_shows_names_as_they_are(looked_at, widgets, name, form):
    widget = widgets[name]
    shown = [] if name == "ErrorMapExplorer" else NAMES_SHOWN  # it gets them, and needs none
    page = looked_at(widget.to_html() if form == "stored" else live(widget))
    ready(page)
    place = page.locator(f".{widget.root_class}")
    assert_shows(place, shown)
    assert place.locator("img, script, iframe, a").count() == 0
    assert page.locator("#after").inner_text() == "what comes after it"
    for slider in place.locator("input[type=range]").all():
        slider.press("End")
    for button in place.get_by_role("toolbar").first.get_by_role("button").all():
        button.click()
    assert_shows(place, shown)


def test_a_table_shows_names_as_they_are(looked_at):
    rows = [{"name": name, "again": name} for name in NAMES] + [{name: "x" for name in NAMES}]
    page = looked_at(results_table(rows)._repr_html_())
    for part, count in (("tbody td:first-child", len(NAMES)), ("thead th", len(NAMES) + 2)):
        texts = page.locator(part).evaluate_all("all => all.map(node => node.textContent)")
        assert texts[-count:] == ["name", "again", *SHOWN] if "head" in part else (
            texts[:len(NAMES)] == SHOWN)
    assert page.locator("table *:not(thead, tbody, tr, th, td)").count() == 0
    assert page.locator("#after").is_visible()


@pytest.fixture(scope="module")
def built(tmp_path_factory, widgets) -> Path:
    """Pages made with the book's settings (quotes left straight): of a notebook and of Markdown."""
    source = tmp_path_factory.mktemp("book")
    settings = ast.parse(SETTINGS.read_text(encoding="utf-8")).body
    kept = [ast.unparse(one) for one in settings if isinstance(one, ast.Assign)
            and one.targets[0].id.startswith(("myst_", "nb_"))]
    assert len(kept) > 4
    (source / "conf.py").write_text("\n".join(
        ['extensions = ["myst_nb"]', "smartquotes = False", *kept]), encoding="utf-8")
    rows = [{"name": name} for name in NAMES]
    bundle, *_ = widgets["CutMixSampler"]._repr_mimebundle_()
    figure = base64.b64encode(widgets["CutMixSampler"].fallback_png()).decode()
    text = {"text/plain": repr(results_table(rows)),
            "text/html": results_table(rows)._repr_html_()}
    outputs = [
        nbformat.v4.new_output("display_data", data=text),
        nbformat.v4.new_output("display_data", data={
            kind: bundle[kind] for kind in ("text/plain", "text/html")}),
        nbformat.v4.new_output("stream", name="stdout", text="\n".join(SHOWN)),
        nbformat.v4.new_output("display_data", data={"image/png": figure, "text/plain": SHOWN[0]},
                               metadata={"image/png": {"alt": f"A figure: {SHOWN[0]}"}}),
    ]
    cells = [nbformat.v4.new_markdown_cell("# A chapter\n\n" + escaping.markdown(NAMES[0])),
             nbformat.v4.new_code_cell("1", execution_count=1, outputs=outputs)]
    write_notebook(as_stored(nbformat.v4.new_notebook(cells=cells)), source / "chapter.ipynb")
    paragraphs = "\n\n".join(map(escaping.markdown, NAMES))
    (source / "index.md").write_text(
        f"# Results\n\n{markdown_table(rows)}\n\n{paragraphs}\n\n```{{toctree}}\nchapter\n```\n",
        encoding="utf-8")
    subprocess.run([sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", source,
                    source / "html"], check=True)
    return source / "html"


def test_a_page_of_results_shows_names_as_they_are(looked_at, built):
    page = looked_at(built / "index.html")
    cells = page.locator("tbody td").evaluate_all("all => all.map(node => node.textContent)")
    assert cells == [" ".join(name.split()) for name in SHOWN]
    found = page.locator(".body section > p").evaluate_all(
        "all => all.map(node => node.innerHTML)")
    assert not any("<" in one for one in found), "a name has become markup"
    assert_shows(page.locator(".body"), SHOWN)


def test_a_chapter_shows_names_as_they_are(looked_at, built):
    page = looked_at(built / "chapter.html")
    ready(page)
    cells = page.locator("table.dataframe tbody td")
    assert cells.evaluate_all("all => all.map(node => node.textContent)") == SHOWN
    assert_shows(page.locator(".output.stream"), SHOWN)
    assert_shows(page.locator(".cutmix-sampler"), NAMES_SHOWN)
    alts = page.locator("img[src^='_images']").evaluate_all("all => all.map(node => node.alt)")
    assert alts == [f"A figure: {SHOWN[0]}"]


def test_a_name_that_runs_would_be_noticed(page, tmp_path):
    target, dialogs = tmp_path / "page.html", []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    target.write_text(f"<!doctype html>{NAMES[0]}<script>1{NAMES[1]}{AFTER}", encoding="utf-8")
    page.goto(target.as_uri())
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") == 1 and dialogs
    assert any(trouble.startswith("failed: ") for trouble in page.troubles)
