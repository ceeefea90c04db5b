"""A stored output is what the code makes now: what it rests on is noted, and a change is named."""

import time

import jupytext
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from bookkit import BookError, build, gates, load, rests_on
from bookkit.gates import chapter_problems
from bookkit.notebook import run_chapter, write_notebook

CHAPTER = """# %% tags=["parameters"]
profile = None
seed = 0
device = None

# %%
from semiseg_lib import recipes
from semiseg_lib.notebook.plots import images

recipes.load("smoke").name, images.VOID_COLOUR
"""
FULL = '''"""A module."""
# a remark
WORDS = f"{1 + 1:>{3}} is \\n two"  # another


class A:
    """A class."""

    def b(self):
        """Return c."""
        return [1,
                "d"]

    e: int = 3
    """What e is."""
'''


def code(text):
    return [*rests_on.code(text)]


@pytest.mark.parametrize("other", [
    FULL.replace("# a remark\n", ""),
    FULL.replace("  # another", "  # yet another"),
    FULL.replace('"""A module."""', "'''A module\nof two lines.'''"),
    FULL.replace('        """Return c."""\n', ""),
    FULL.replace('    """What e is."""\n', ""),
    FULL.replace("[1,\n                ", "[1, "),
    FULL.replace("\n\n\nclass", "\n\nclass"),
], ids=["comment", "comment after code", "docstring", "none", "description", "break", "blank"])
def test_remarks_do_not_count(other):
    assert other != FULL
    assert code(other) == code(FULL)


@pytest.mark.parametrize("other", [
    FULL.replace("1 + 1", "1 + 2"),
    FULL.replace("is \\n two", "is two"),
    FULL.replace('"d"', '"e"'),
    FULL.replace("return", "yield"),
    FULL.replace("    e: int", "e: int"),
    FULL.replace('        """Return c."""\n', '        f"{print()}"\n'),
], ids=["f-string", "text of an f-string", "text", "word", "indentation", "f-string alone"])
def test_code_counts(other):
    assert code(other) != code(FULL)


def test_the_words_are_those_of_every_version_of_python():
    """An f-string is one word, as before Python 3.12; 3.11, 3.12 and 3.13 agreed on these."""
    assert 'f"{1 + 1:>{3}} is \\n two"' in code(FULL)
    assert rests_on._hash_of(FULL.encode(), True) == "6ab25d24"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A chapter of two modules, run and stored, and its hashes by name."""
    source = tmp_path_factory.mktemp("notebooks") / "02_two_modules.py"
    source.write_text(CHAPTER, encoding="utf-8")
    notebook, _ = run_chapter(source, "smoke")
    write_notebook(notebook, source.with_suffix(".ipynb"))
    return source, notebook.metadata.semiseg.rests_on


def test_a_chapter_notes_its_modules_the_lazy_ones_and_the_files_that_they_read(ran):
    source, noted = ran
    assert noted.keys() >= {
        source.name, "semiseg_lib/__init__.py", "semiseg_lib/recipes/recipe.py",
        "semiseg_lib/notebook/plots/images.py", "semiseg_lib/recipes/smoke/minivoc.yml",
    }
    assert "semiseg_lib/notebook/widgets/alpha_explorer.js" not in noted
    assert not any(name.endswith((".pyi", ".pyc", ".lock")) for name in noted)
    assert all(len(value) == rests_on.DIGITS for value in noted.values())


def test_a_chapter_as_it_was_run_has_no_problem(ran):
    assert chapter_problems(ran[0]) == []


@pytest.mark.parametrize("name", [
    "semiseg_lib/notebook/plots/images.py", "semiseg_lib/recipes/smoke/minivoc.yml",
    "02_two_modules.py",
])
def test_a_change_is_named_with_its_fix(ran, name, monkeypatch):
    before = rests_on._hash
    monkeypatch.setattr(rests_on, "_hash", lambda path, is_shown: "00000000" if (
        path.as_posix().endswith(name)) else before(path, is_shown))
    assert chapter_problems(ran[0]) == [
        f"02_two_modules: its outputs are older than {name}: python -m bookkit sync 02"]


def test_the_source_and_style_of_a_widget_count_where_it_is_imported(tmp_path):
    source = tmp_path / "02_widget.py"
    source.write_text("# %%\nfrom semiseg_lib.notebook.widgets import AlphaExplorer\n", "utf-8")
    noted = run_chapter(source, "smoke")[0].metadata.semiseg.rests_on
    folder = "semiseg_lib/notebook/widgets"
    assert noted.keys() >= {f"{folder}/{name}" for name in (
        "alpha_explorer.js", "alpha_explorer.css", "shared.css", "live.js", "drawing.js",
        "static_widget.py")}


def test_a_file_that_changes_while_the_chapter_runs_is_not_known(tmp_path):
    source = tmp_path / "02_a.py"
    source.write_text("1", encoding="utf-8")
    path = rests_on.LIBRARY / "core" / "paths.py"
    before = path.stat().st_mtime_ns
    assert rests_on.UNKNOWN in rests_on.hashes(source, [str(path)], before).values()
    assert rests_on.hashes(source, [str(path)], time.time_ns())[
        "semiseg_lib/core/paths.py"] == rests_on._hash(path)


def test_a_notebook_without_hashes_is_not_known_to_be_in_order(ran, tmp_path):
    source = tmp_path / ran[0].name
    source.write_text(CHAPTER, encoding="utf-8")
    notebook = jupytext.read(source, fmt="py:percent")
    assert rests_on.problem(notebook, source) == (
        "what its outputs rest on is not known: python -m bookkit sync 02")


def test_what_is_older_is_not_published_unless_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(gates, "outdated", lambda *_: ["02_a: its outputs are older than b.py: c"])
    monkeypatch.setattr(build, "sys", None)  # it gets as far as Sphinx's command
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "index.html").touch()
    with pytest.raises(BookError, match=r"not published:\n02_a: .*b\.py: c\n.*--outdated"):
        build.html(build.SOURCES, tmp_path / "html")
    assert (tmp_path / "html" / "index.html").is_file(), "the pages of before are lost"
    with pytest.raises(AttributeError, match="executable"):
        build.html(build.SOURCES, tmp_path / "html", outdated=True)


def test_of_yaml_comments_do_not_count_and_of_book_yml_its_parts_do(tmp_path, monkeypatch):
    monkeypatch.setattr(rests_on, "CHECKOUT", tmp_path)
    monkeypatch.setattr(rests_on, "LIBRARY", tmp_path / "semiseg_lib")
    (tmp_path / "semiseg_lib").mkdir()
    for path, texts in {
        tmp_path / "semiseg_lib" / "a.yml": ("a: 1", "a:   1  # one", "a: 2"),
        tmp_path / "book.yml": ("parts: [1]\ntitle: a", "parts: [1]\ntitle: b", "parts: [2]"),
    }.items():
        hashes = []
        for text in texts:
            path.write_text(text, encoding="utf-8")
            hashes.append(rests_on._hash(path))
        assert hashes[0] == hashes[1] != hashes[2]
    source = tmp_path / "00_a.py"
    source.write_text("# %%\n1\n", encoding="utf-8")
    opened = [str(tmp_path / "book.yml"), str(tmp_path / "other.yml")]
    assert set(rests_on.hashes(source, opened, 2**63 - 1)) == {"00_a.py", "book.yml"}


def test_the_address_of_the_book_makes_no_output_older(tmp_path):
    """The cell that installs does not count, and every other one does."""
    text = (build.SOURCES / "02_measuring_segmentation.py").read_text(encoding="utf-8")
    cell = load().repository.install_cell()
    hashes = []
    for changed in (text, text.replace(cell, "pass"), text.replace("import numpy", "import torch")):
        source = tmp_path / "02_a.py"
        source.write_text(changed, encoding="utf-8")
        hashes.append(rests_on.hashes(source, (), 2**63 - 1)[source.name])
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("shown", [
    "print(inspect.getsource(checks.same))", "help(checks)", "checks.same??", "?checks.same",
    "print(checks.same.__doc__)",
])
def test_of_a_chapter_that_shows_source_remarks_and_docstrings_count(
    shown, tmp_path, monkeypatch
):
    monkeypatch.setattr(rests_on, "CHECKOUT", tmp_path)
    monkeypatch.setattr(rests_on, "LIBRARY", tmp_path / "semiseg_lib")
    (tmp_path / "semiseg_lib").mkdir()
    module, source = tmp_path / "semiseg_lib" / "a.py", tmp_path / "02_a.py"
    for text, older in ((shown, True), ("helped = 1  # help?", False)):
        source.write_text(jupytext.writes(new_notebook(cells=[new_code_cell(text)]),
                                          fmt="py:percent"), encoding="utf-8")
        module.write_text(FULL, encoding="utf-8")
        notebook = new_notebook(metadata={"semiseg": {"rests_on": rests_on.hashes(
            source, [str(module)], 2**63 - 1)}})
        assert rests_on.problem(notebook, source) == ""
        module.write_text(FULL.replace("Return c.", "Return d."), encoding="utf-8")
        assert ("older than semiseg_lib/a.py" in rests_on.problem(notebook, source)) is older


def test_a_test_that_a_chapter_lets_another_process_run_counts(tmp_path):
    source = tmp_path / "02_a.py"
    contract = "tests/methods/test_contract.py"
    source.write_text("# %%\nimport subprocess, sys\nsubprocess.run([sys.executable, '-c', '', "
                      f"{str(rests_on.CHECKOUT / contract)!r}])\n", encoding="utf-8")
    noted = run_chapter(source, "smoke")[0].metadata.semiseg.rests_on
    helpers = {f"tests/helpers/{path.name}" for path in (rests_on.TESTS / "helpers").glob("*.py")}
    conftests = {"tests/conftest.py", "tests/methods/conftest.py"}
    assert noted.keys() == {source.name, contract} | helpers | conftests
    for name in noted.keys() - {source.name}:
        assert noted[name] == rests_on._hash(rests_on.CHECKOUT / name)


def test_every_chapter_whose_outputs_are_older_is_listed(tmp_path):
    book, folder = load(), tmp_path
    (folder / "solutions").mkdir()
    for chapter in book.notebooks:
        source = build.SOURCES / f"{chapter.file}.py"
        notebook = jupytext.read(source, fmt="py:percent")
        notebook.metadata["semiseg"] = {"rests_on": rests_on.hashes(source, (), time.time_ns())}
        if chapter.file == "06_self_correction":
            notebook.metadata.semiseg.rests_on[source.name] = "00000000"
        write_notebook(notebook, folder / f"{chapter.file}.ipynb")
    assert gates.outdated(book, folder, build.SOURCES) == [
        "06_self_correction: its outputs are older than 06_self_correction.py: "
        "python -m bookkit sync 06"]
