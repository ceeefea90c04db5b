"""The HTML book: built from the stored notebooks, complete, offline, described, and alive.

Everything that needs the built pages is in this file, so that they are built once.
"""

import html
import itertools
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import quote

import nbformat
import pytest

from bookkit import api, build, citations, load, markup
from bookkit.build import SOURCES
from bookkit.description import SOLUTIONS, toc
from bookkit.notebook import as_stored, write_notebook

# Tags and attributes through which a page loads something; <a href> is only followed by a reader.
LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
WIDGET = "[data-static-widget]"
WIDGETS = {"alpha-explorer"}
REMOTE = re.compile(r"^(https?:)?//")


class Page(HTMLParser):
    """What a page loads, links to, and how its images are described."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if address := values.get(LOADING.get(tag, "")):
            self.loaded.append(address)
        if tag == "a":
            self.links.append(values.get("href") or "")
        if tag == "img":
            self.alts.append(values.get("alt") or "")

    @property
    def remote(self) -> list[str]:
        """Addresses on other machines from which the page loads something."""
        return [address for address in self.loaded if REMOTE.match(address)]


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The book's HTML, from the stored notebooks, every Sphinx warning an error."""
    # test_notebook_gates.py fails where these are older than the code; the pages are tried anyway.
    return build.html(SOURCES, tmp_path_factory.mktemp("site") / "html", outdated=True).parent


def html_text(page: str) -> str:
    """Return the text of an HTML page, without its tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", page))


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_every_page_is_there_and_leads_to_the_next(site):
    book = load()
    assert f"{book.home}.html" in (site / "index.html").read_text(encoding="utf-8")
    names = [book.home, *(one.file for one in book.notebooks), *book.back_matter]
    for name, following in itertools.pairwise(names):
        link = os.path.relpath(f"{following}.html", Path(name).parent)
        assert link in read(site / f"{name}.html").links


def test_every_chapter_can_be_downloaded(site):
    for chapter in load().notebooks:
        source = os.path.relpath(f"_sources/{chapter.file}.ipynb", Path(chapter.file).parent)
        assert source in read(site / f"{chapter.file}.html").links
        assert (site / "_sources" / f"{chapter.file}.ipynb").is_file()


def test_no_page_loads_anything_from_another_machine(site):
    pages = sorted(site.glob("*.html"))
    assert len(pages) > len(load().chapters)
    assert {page.name: read(page).remote for page in pages if read(page).remote} == {}
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"""(url\(|@import)\s*["']?(https?:)?//""", text), sheet.name


def test_the_book_cites_in_the_words_of_the_sources(site):
    """Every citation leads to an entry of the bibliography, which lists all of references.bib."""
    listed = (site / "references.html").read_text(encoding="utf-8")
    entries = set(re.findall(r'<div class="citation" id="([\w-]+)"', listed))
    assert len(entries) == len(citations.bibliography().entries)
    for chapter in load().chapters:
        text = (site / f"{chapter.file}.html").read_text(encoding="utf-8")
        linked = re.findall(r'href="references\.html#([\w-]+)"', text)
        source = (SOURCES / f"{chapter.file}.py").read_text(encoding="utf-8")
        cited = citations.LINK.findall(source)
        assert len(linked) == len(cited) and set(linked) <= entries, chapter.file
        words = " ".join(html_text(text).split())
        assert [said for said, _ in cited if said not in words] == [], chapter.file


def test_answers_are_closed_and_whole(site):
    for chapter in load().chapters:
        text = (site / f"{chapter.file}.html").read_text(encoding="utf-8")
        source = (SOURCES / f"{chapter.file}.py").read_text(encoding="utf-8")
        assert text.count("<details><summary>") == source.count("<details><summary>") > 0
        assert len(re.findall(r"<details[ >]", text)) == text.count("</details>")


def test_every_image_is_described(site):
    for chapter in load().chapters:
        page = read(site / f"{chapter.file}.html")
        assert all(page.alts)
        notebook = nbformat.read(SOURCES / f"{chapter.file}.ipynb", as_version=4)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        described = [
            output.metadata["image/png"]["alt"]
            for output in outputs
            if "image/png" in output.get("data", {}) and "text/html" not in output.data
        ]
        assert set(described) <= set(page.alts)


def test_every_name_of_the_page_of_the_library_has_an_entry_that_leads_to_its_file(site):
    """Modules have a heading, all else a signature; the links to files go to pages of the site."""
    text = (site / f"{api.PAGE}.html").read_text(encoding="utf-8")
    headings = set(re.findall(r'<h3><code[^>]*><span class="pre">([\w.]+)</span>', text))
    signatures = set(re.findall(r'<dt class="sig[^>]* id="semiseg_lib\.([\w.]+)"', text))
    last_parts = {one.rpartition(".")[2] for one in signatures}
    page = (SOURCES / f"{api.PAGE}.md").read_text(encoding="utf-8")
    for block in api.entries(page).values():
        for name, value in block.items():
            if isinstance(value, ModuleType):
                assert name in headings
            elif api.is_code(value):
                assert name in signatures
            else:  # a constant has its entry under the file that assigns it
                assert name.rpartition(".")[2] in last_parts
    files = {link for link in read(site / f"{api.PAGE}.html").links if "_modules/" in link}
    assert len(files) > 30
    assert [link for link in files if not (site / link.split("#")[0]).is_file()] == []
    sources = sorted((site / "_modules").rglob("*.html"))
    dead = [f"{path.name}: {link}" for path in sources for link in read(path).links
            if link and not re.match(r"\w+:|#", link)
            and not (path.parent / link.split("#")[0]).exists()]
    assert dead == [] and not any("viewcode-back" in path.read_text("utf-8") for path in sources)
    assert "Type<" not in text, "a property's docstring was split at a colon"
    assert str(Path.cwd()) not in text, "a path of this machine"


def test_a_remote_resource_would_be_noticed():
    text = '<script src="https://cdn.example/x.js"></script><link href="//fonts.example/f.css">'
    assert len(Page(text + '<img src="a.png"><a href="https://example.org">').remote) == 2


def test_the_alt_text_comes_from_the_output(sound_notebook, tmp_path):
    """A one-page project with our renderer, and what myst-nb makes of the same page by itself."""
    from sphinx.application import Sphinx

    alts = {}
    for renderer in ("semiseg", "default"):
        source, built = tmp_path / renderer, tmp_path / renderer / "built"
        source.mkdir()
        write_notebook(as_stored(sound_notebook), source / "index.ipynb")
        settings = {
            "extensions": ["myst_nb"],
            "nb_execution_mode": "off",
            "nb_render_plugin": renderer,
        }
        Sphinx(source, None, built, built, "html", settings, status=None).build()
        alts[renderer] = read(built / "index.html").alts
    assert "A line that rises from one to two" in alts["semiseg"]
    assert "A line that rises from one to two" not in alts["default"]


def slider_changes_the_image(widget) -> bool:
    """Move the widget's slider to each end with the keyboard; does a canvas look different?"""
    page = widget.page
    slider = widget.locator("input[type=range]").first
    slider.wait_for(timeout=15_000)
    images = []
    for key in ("Home", "End"):
        slider.focus()
        page.keyboard.press(key)
        page.wait_for_timeout(500)
        # Every canvas' own pixels: a screenshot would also change with the focus ring.
        images.append(widget.locator("canvas").evaluate_all("all => all.map(c => c.toDataURL())"))
    assert images[0], "the widget has no canvas"
    return images[0] != images[1]


def widget_page(script: str) -> str:
    slider = '<input type="range" min="0" max="9" value="4"><canvas width="8" height="8"></canvas>'
    text = f'<div data-static-widget="">{slider}</div><script>{script}</script>'
    return f"data:text/html,{quote(text)}"


ALIVE = """
const slider = document.querySelector("input");
slider.addEventListener("input", () => document.querySelector("canvas").getContext("2d")
  .fillRect(0, 0, slider.value, 8));
"""


@pytest.mark.browser
def test_a_dead_widget_and_a_network_request_would_be_noticed(page):
    page.goto(widget_page(ALIVE))
    assert slider_changes_the_image(page.locator(WIDGET))
    page.goto(widget_page(""))
    assert not slider_changes_the_image(page.locator(WIDGET))
    assert page.troubles == []
    # Port 9 of this machine answers nothing.
    page.goto(widget_page("fetch('http://127.0.0.1:9/').catch(() => 0)"))
    page.wait_for_timeout(500)
    assert any(trouble.startswith("asked: http://127.0.0.1:9") for trouble in page.troubles)
    assert any(trouble.startswith("failed: ") for trouble in page.troubles)


@pytest.mark.browser
def test_every_widget_works_without_kernel_and_network(page, site):
    seen = set()
    for chapter in load().chapters:
        path = site / f"{chapter.file}.html"
        if "data-static-widget" not in path.read_text(encoding="utf-8"):
            continue
        page.goto(path.as_uri())
        page.wait_for_load_state("load")
        for widget in page.locator(WIDGET).all():
            name = widget.get_attribute("class")
            assert slider_changes_the_image(widget), f"{chapter.file}: {name}"
            seen.add(name.split()[-1])
    assert seen >= WIDGETS and page.troubles == []


WIDER_THAN_THE_WINDOW = "() => document.documentElement.scrollWidth - window.innerWidth"
WIDER_THAN_ITS_BOX = """
() => [...document.querySelectorAll("div.cell_input pre")]
  .filter(box => box.scrollWidth > box.clientWidth)
  .map(box => box.innerText.split("\\n").reduce((a, b) => a.length < b.length ? b : a))
"""
PHONE, BESIDE_ANOTHER_WINDOW, LAPTOP, DESKTOP = 390, 1024, 1280, 1440


@pytest.mark.browser
def test_every_page_fits_and_none_asks_for_anything_or_fails(page, site):
    """Each page is opened once, and its window then drawn to each width."""
    too_wide, code_too_wide = {}, {}
    # index.html sends the reader on to the home page at once, which aborts its own loading.
    for path in sorted({*site.glob("*.html"), *site.glob("solutions/*.html")}
                       - {site / "index.html"}):
        page.goto(path.as_uri())
        page.wait_for_load_state("load")
        for width in (PHONE, BESIDE_ANOTHER_WINDOW, LAPTOP, DESKTOP):
            page.set_viewport_size({"width": width, "height": 900})
            if width < LAPTOP and (more := page.evaluate(WIDER_THAN_THE_WINDOW)) > 1:
                too_wide[path.stem, width] = more
            if width >= LAPTOP and (lines := page.evaluate(WIDER_THAN_ITS_BOX)):
                code_too_wide[path.stem, width] = lines
    assert (too_wide, code_too_wide, page.troubles) == ({}, {}, [])


@pytest.mark.browser
def test_what_does_not_fit_would_be_noticed(page, site):
    page.goto((site / f"{load().chapters[1].file}.html").as_uri())
    page.evaluate("document.querySelector('div.cell_input pre').append('x'.repeat(200))")
    assert len(page.evaluate(WIDER_THAN_ITS_BOX)) == 1
    page.evaluate("document.body.append(document.createElement('hr'))")
    page.evaluate("document.querySelector('body > hr').style.width = '2000px'")
    assert page.evaluate(WIDER_THAN_THE_WINDOW) > 1


def test_without_the_solutions_nothing_that_is_rendered_leads_to_one(tmp_path):
    staged = tmp_path / "source"
    build._stage(staged, SOURCES, outdated=True, solutions=False)
    without = load(staged / build.BOOK_FILE.name)
    assert len([*staged.glob("[0-9]*.ipynb")]) == len(load().chapters) == len(without.notebooks)
    assert SOLUTIONS in str(toc(load())) and SOLUTIONS not in str(toc(without))
    leaks = [path.name for path in staged.rglob("*") if path.suffix in (".ipynb", ".md")
             and re.search(r"solutions/\d\d_|Solutions: ", path.read_text("utf-8"))]
    assert leaks == [] and not (staged / SOLUTIONS).exists()


def test_a_build_that_fails_changes_nothing_and_one_that_works_keeps_what_others_made(
    tmp_path, monkeypatch
):
    site = tmp_path / "html"
    pages = {"index.html": "old", "solutions/00.html": "old"}

    def sphinx(command, **options):
        for name, text in pages.items():
            path = Path(command[-1], name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return SimpleNamespace(returncode=code)

    def held():
        return {path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8")
                for path in tmp_path.rglob("*") if path.is_file() and path.name != build.MADE}

    monkeypatch.setattr(build.subprocess, "run", sphinx)
    code = 0
    build.html(SOURCES, site, outdated=True)
    others = {"html/CNAME": "book.org", "html/.nojekyll": "", "html_source/notes.txt": "mine"}
    for name, text in others.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    before = held()
    pages, code = {"index.html": "new"}, 1
    with pytest.raises(RuntimeError, match="was not built"):
        build.html(SOURCES, site, outdated=True)
    assert held() == before
    code = 0
    build.html(SOURCES, site, outdated=True)
    assert held() == {**others, "html/index.html": "new"}
    assert not (site / "solutions").exists()


def test_the_chapters_can_be_handed_out_without_the_solutions_and_every_link_leads_somewhere(
    tmp_path
):
    written = build.hand_out(load(), tmp_path)
    assert {*written} == {path for path in tmp_path.rglob("*") if path.is_file()}
    chapters = [path for path in written if path.suffix == ".ipynb"]
    assert [path.stem for path in chapters] == [one.file for one in load().chapters]
    followed = set()
    for path in written:
        if path.suffix == ".ipynb":
            cells = nbformat.read(path, as_version=4).cells
            assert len(cells) == len(nbformat.read(SOURCES / path.name, as_version=4).cells)
            text = "\n\n".join(one.source for one in cells if one.cell_type == "markdown")
        elif path.suffix == ".md":
            text = path.read_text(encoding="utf-8")
        else:
            continue
        assert "](solutions/" not in text and [*markup.problems(text)] == []
        links = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text)
        for link in filter(lambda one: not re.match(r"\w+:", one), map("".join, links)):
            name, _, anchor = link.partition("#")
            target = path.parent / name if name else path
            assert target.is_file(), f"{path.name}: {link}"
            assert not anchor or f'id="{anchor}"' in target.read_text("utf-8"), link
            followed.add(name)
    assert followed > {"references.md", "recipes.md", "glossary.md", "_static/story.svg"}
