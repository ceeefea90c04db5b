"""Every stored chapter passes every gate, and every gate can be failed."""

import copy
import os
import shutil

import jupytext.cli
import nbformat
import pytest
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelspec import get_kernel_dict

from bookkit import load
from bookkit.gates import (
    LARGEST_BOOK_BYTES,
    MACHINE_PATH,
    book_problems,
    chapter_problems,
    first_difference,
    notebook_problems,
    stored_bytes,
)
from bookkit.notebook import as_stored, write_notebook


@pytest.mark.parametrize("chapter", load().notebooks, ids=lambda chapter: chapter.file)
def test_the_stored_chapter_is_in_order(chapter, checkout):
    assert chapter_problems(checkout / "notebooks" / f"{chapter.file}.py") == []


def test_all_notebooks_together_are_light(checkout):
    assert stored_bytes(checkout / "notebooks") <= LARGEST_BOOK_BYTES <= 8_000_000


def test_heavy_notebooks_are_noticed_also_in_folders_below(tmp_path):
    (tmp_path / "solutions").mkdir()
    for path in (tmp_path / "a.ipynb", tmp_path / "solutions" / "b.ipynb"):
        path.write_bytes(b" " * (LARGEST_BOOK_BYTES // 2 + 1))
    assert stored_bytes(tmp_path) == LARGEST_BOOK_BYTES + 2
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "a-checkpoint.ipynb").write_bytes(b" ")
    assert stored_bytes(tmp_path) == LARGEST_BOOK_BYTES + 2, "what an editor keeps counts"
    assert any("the notebooks have 8000002 bytes together" in one
               for one in book_problems(load(), tmp_path))


@pytest.mark.parametrize("chapter", load().notebooks, ids=lambda chapter: chapter.file)
def test_opened_and_saved_without_an_edit_a_notebook_changes_nothing(chapter, checkout, tmp_path):
    """JupyterLab writes what the kernel says of itself; only a version of Python is another's."""
    stored = checkout / "notebooks" / f"{chapter.file}.ipynb"
    notebook = nbformat.read(stored, as_version=4)
    version = notebook.metadata.language_info.version
    notebook.metadata["kernelspec"] = {
        "name": "python3", **{key: get_kernel_dict()[key] for key in ("display_name", "language")}}
    notebook.metadata["language_info"] = {**IPythonKernel.language_info, "version": version}
    nbformat.write(notebook, tmp_path / "saved.ipynb")
    assert (tmp_path / "saved.ipynb").read_bytes() == stored.read_bytes()


@pytest.mark.parametrize("newer", [".py", ".ipynb"])
def test_jupytext_changes_neither_file_of_a_pair_that_says_what_it_rests_on(
    checkout, tmp_path, newer
):
    pairs = []
    (tmp_path / "solutions").mkdir()
    for chapter in load().notebooks:
        pair = [tmp_path / f"{chapter.file}{ending}" for ending in (".py", ".ipynb")]
        for path in pair:
            shutil.copy(checkout / "notebooks" / path.relative_to(tmp_path), path)
        notebook = nbformat.read(pair[1], as_version=4)
        notebook.metadata["semiseg"] = {"rests_on": {f"{chapter.file}.py": "0a1b2c3d"}}
        write_notebook(as_stored(notebook), pair[1])
        for path in pair:
            os.utime(path, (2e9, 2e9) if path.suffix == newer else (1e9, 1e9))
        pairs += pair
    before = {path: path.read_bytes() for path in pairs}
    jupytext.cli.jupytext(["--sync", "--quiet", *(str(path) for path in pairs[::2])])
    assert [path.name for path in pairs if path.read_bytes() != before[path]] == []


def test_at_least_one_chapter_has_a_compared_output(checkout):
    texts = [path.read_text("utf-8") for path in (checkout / "notebooks").glob("[0-9]*.ipynb")]
    assert any("nbval-check-output" in text for text in texts), "nbval would compare nothing"


def test_the_sound_notebook_is_sound(sound_notebook):
    assert list(notebook_problems(sound_notebook)) == []


def never_run(cells):
    cells[2].execution_count = None


def out_of_order(cells):
    cells[1].execution_count, cells[2].execution_count = 2, 1


def error_output(cells):
    cells[2].outputs.append(
        nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    )


def path_in_output(cells):
    cells[2].outputs[1].text = "saved to /home/somebody/data/run\n"


def address_in_output(cells):
    cells[2].outputs[1].text = f"runs: {[].count}\n"


def path_in_source(cells):
    cells[0].source = "Look in C:\\Users\\somebody\\data."


def printed_colours(cells):
    cells[2].outputs[1].text = "\x1b[32m17 passed\x1b[0m\n"


def printed_markdown(cells):
    cells[2].outputs[1].text = "**Reduced run**, 2**3 and {**a}\n"


def long_cell(cells):
    cells[2].source = "\n".join(f"x{line} = {line}" for line in range(26))


def long_line(cells):
    cells[2].source = "x = " + "1 + " * 30 + "1"


def no_alt(cells):
    cells[2].outputs[0].metadata = {}


def empty_alt(cells):
    cells[2].outputs[0].metadata["image/png"]["alt"] = "figure"


def no_alt_in_text(cells):
    cells[0].source = "# A chapter\n\n![](image.png)"


def no_parameters(cells):
    cells[1].metadata["tags"] = []


def seed_not_a_parameter(cells):
    cells[1].source = "profile = None\ndevice = None"


def progress_bar(cells):
    cells[2].outputs.append(nbformat.v4.new_output("stream", name="stderr", text="50%|#####"))


def volatile_metadata(cells):
    cells[2].metadata["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}


SPOILED = {
    never_run: "not run once each",
    out_of_order: "not run once each",
    error_output: "ended in ValueError",
    path_in_output: "names a folder of one machine: /home/somebody",
    path_in_source: "names a folder of one machine: C:",
    address_in_output: "shows an object by its address",
    printed_colours: "cell 2 prints colours of a terminal",
    printed_markdown: "cell 2 prints Markdown",
    long_cell: "has 26 lines",
    long_line: "a line of 125 characters",
    no_alt: "has no alt text",
    empty_alt: "has no alt text",
    no_alt_in_text: "image in the text has no alt",
    no_parameters: "0 cells have the tag parameters",
    seed_not_a_parameter: "does not set seed",
    progress_bar: "progress bars are stored",
    volatile_metadata: "volatile metadata",
}


@pytest.mark.parametrize(
    ("spoil", "problem"), SPOILED.items(), ids=[spoil.__name__ for spoil in SPOILED]
)
def test_a_spoiled_notebook_is_noticed(sound_notebook, spoil, problem):
    spoil(sound_notebook.cells)
    assert any(problem in found for found in notebook_problems(sound_notebook))


@pytest.mark.parametrize("text", ["10/12 images", "data/minivoc/train", "iVBOR/tmp/w0KG"])
def test_what_only_looks_like_a_path_is_let_through(text):
    assert not MACHINE_PATH.search(text)


def test_an_edited_source_is_out_of_step(sound_notebook):
    edited = copy.deepcopy(sound_notebook)
    assert first_difference(edited, sound_notebook) == ""
    edited.cells[2].source = "show(other)"
    assert first_difference(edited, sound_notebook) == "cell 2"
    del edited.cells[2]
    assert first_difference(edited, sound_notebook) == "the count of cells (2, 3)"
    retagged = copy.deepcopy(sound_notebook)
    retagged.cells[2].metadata["tags"] = ["nbval-skip"]
    assert first_difference(retagged, sound_notebook) == "cell 2"


def test_a_missing_pair_and_a_heavy_notebook_are_noticed(sound_notebook, tmp_path):
    source = tmp_path / "01_heavy.py"
    assert "01_heavy.py is missing" in chapter_problems(source)[0]
    source.write_text("# %%\n1 + 1\n", encoding="utf-8")
    assert "01_heavy.ipynb is missing" in chapter_problems(source)[0]
    sound_notebook.cells[2].outputs[0].data["image/png"] = "A" * 1_600_000
    write_notebook(sound_notebook, source.with_suffix(".ipynb"))
    found = chapter_problems(source)
    assert any("over 1500000" in problem for problem in found)
    assert any("differ at cell 0" in problem for problem in found)


def test_a_stray_notebook_is_noticed(tmp_path):
    (tmp_path / "99_stray.ipynb").write_text("{}", encoding="utf-8")
    found = book_problems(load(), tmp_path)
    assert "99_stray.ipynb is not listed in book.yml" in found
    assert "glossary.md is listed in book.yml and missing" in found


def test_the_stored_form_is_stable_and_keeps_the_kernel_free_widget(sound_notebook):
    view = "application/vnd.jupyter.widget-view+json"
    html = {view: {"model_id": "7"}, "text/html": "<canvas></canvas>"}
    sound_notebook.cells[2].outputs.append(nbformat.v4.new_output("display_data", data=html))
    sound_notebook.metadata["widgets"] = {"state": {}}
    sound_notebook.metadata["semiseg"] = {"rests_on": {"01_a.py": "0a1b2c3d"}}
    stored = as_stored(sound_notebook)
    assert stored.cells[2].outputs[-1].data == {"text/html": "<canvas></canvas>"}
    assert "widgets" not in stored.metadata
    assert stored.metadata.semiseg == {"rests_on": {"01_a.py": "0a1b2c3d"}}
    assert as_stored(stored) == stored
    assert stored.cells[2].id != stored.cells[1].id
