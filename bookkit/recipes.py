"""The page of the published recipes: each value with its source, written when Sphinx reads it.

The line ```` ```{recipes} ```` of ``notebooks/recipes.md`` stands for a
section per file of the profile ``paper``.
"""

from __future__ import annotations

from collections.abc import Iterator

from semiseg_lib import datasets, recipes
from semiseg_lib.core.escaping import Markdown, markdown
from semiseg_lib.notebook import published
from semiseg_lib.notebook.tables import Table
from semiseg_lib.recipes import Recipe

PAGE, BLOCK = "recipes", "```{recipes}\n```"
TITLES = ("setting", "value", "published", "source", "where", "note")


def fill(page: str) -> str:
    """Return the page with the block replaced by what the sources are, and all recipes."""
    sources = [f"- *{source}*: {meaning}" for source, meaning in recipes.SOURCES.items()]
    sections = [_section(one) for one in recipes.of(published.PROFILE)]
    return page.replace(BLOCK, "\n\n".join(["\n".join(sources), *sections]))


def _section(recipe: Recipe) -> str:
    """Return the section of a recipe: its file, its table, and what it does not reproduce."""
    profile = recipe.profile
    system = profile.purpose.removeprefix("the published recipe of ")
    dataset = datasets.find(profile.data.dataset)
    methods = ", ".join(f"`{name}`" for name in recipe.methods)
    return "\n\n".join([
        f"## {markdown(system[0].upper() + system[1:])}: {markdown(dataset.title)}",
        f"Methods: {methods}. File: `recipes/{profile.name}/{recipe.path.name}`.",
        Table(TITLES, tuple(map(tuple, _rows(recipe)))).lines(markdown),
        "Not reproduced:",
        "\n".join(f"- {f'(`{one.method}` only) ' if one.method else ''}{markdown(one.sentence)}"
                  for one in recipe.differs),
    ])


def _rows(recipe: Recipe) -> Iterator[list[str]]:
    """Yield the cells of each value that has a source or a note and counts for a method."""
    shown = {id(one) for method in recipe.methods for one in recipe.lines(method).values()}
    for key, one in recipe.settings.items():
        if id(one) not in shown:
            continue
        address = recipe.sources.get(one.source)
        stated = one.published if one.published is not None else one.value if one.source else "–"
        notes = [one.note, f"differs: {one.differs}" if one.differs else ""]
        yield [
            Markdown(f"`{key}`"), published.as_text(one.value), published.as_text(stated),
            Markdown(f"[{one.source}]({address})") if address
            else one.source or "the book's choice",
            published.where(one), "; ".join(filter(None, notes)),
        ]
