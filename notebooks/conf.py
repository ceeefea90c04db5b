"""Sphinx's settings for the HTML book. What is in the book stands in book.yml, not here.

    python -m bookkit html        (or, by hand, sphinx-build -n -W notebooks _build/html)

Nothing is executed: the outputs stored in the notebooks are rendered. The pages load nothing from
a network: MathJax is served from _static, and widgets carry their own HTML.
"""

import warnings
from functools import partial
from pathlib import Path
from typing import Any

from bookkit import load
from bookkit.build import write_toc
from bookkit.launch import add_buttons

# The extension looks at every live object, PyTorch's deprecated names among them.
warnings.filterwarnings("ignore", category=FutureWarning, module="sphinx_external_toc")

here = Path(__file__).resolve().parent
# `python -m bookkit html` builds from a copied folder, with book.yml copied beside this file.
book = load(here / "book.yml" if (here / "book.yml").is_file() else here.parent / "book.yml")

project = book.title
author = "its contributors"
copyright = "its contributors. Text and figures: CC BY 4.0. Code: MIT"
html_title = book.title
language = "en"

extensions = [
    "myst_nb",
    "sphinx_external_toc",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
    "sphinx-mathjax-offline",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "bookkit.citations",
    "bookkit.pages",
]
exclude_patterns = ["_build", "README.md", "book.yml"]

external_toc_path = str(here / "_toc.yml")
write_toc(book, here / "_toc.yml")

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "round"  # of bookkit.citations

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_plugin = "semiseg"  # bookkit.rendering: alt text of figures
nb_ipywidgets_js = {}  # the default would load a widget manager from a CDN
# A widget's stored HTML form runs without a kernel; its live form would be dead on these pages.
nb_mime_priority_overrides = [
    ["html", "text/html", 5],
    ["html", "application/vnd.jupyter.widget-view+json", None],
]

# The page of the public names. Types and names that have no entry there are shown without a link.
nitpick_ignore_regex = [("py:.*", ".*")]
add_module_names = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_param = False  # what is said of "one, two" is printed once
napoleon_custom_sections = [("Attributes", "params_style")]
python_maximum_signature_line_length = 78

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_logo = "_static/logo.svg"
html_favicon = "_static/favicon.svg"
html_copy_source = True
html_sourcelink_suffix = ""
html_show_sourcelink = True
html_last_updated_fmt = None
html_theme_options = {
    "use_download_button": True,
    "use_fullscreen_button": True,
    "use_issues_button": False,
    "use_repository_button": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "logo": {"text": book.title, "alt_text": "Home"},
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
copybutton_exclude = ".linenos, .gp, .go"


def setup(app: Any) -> None:
    """Draw the launch buttons, after the theme has begun its header."""
    app.connect("html-page-context", partial(add_buttons, book.repository), priority=502)
