"""Fixtures that several test files use."""

from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from semiseg_lib.book.notebook import as_stored

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the repository."""
    return CHECKOUT


@pytest.fixture
def sound_notebook() -> NotebookNode:
    """A small executed notebook that passes every gate, to be spoiled by a test."""
    cells = [
        nbformat.v4.new_markdown_cell("# A chapter"),
        nbformat.v4.new_code_cell(
            "profile = None\nseed = 0\ndevice = None",
            execution_count=1,
            metadata={"tags": ["parameters"]},
        ),
        nbformat.v4.new_code_cell(
            "show(figure)",
            execution_count=2,
            outputs=[
                nbformat.v4.new_output(
                    "display_data",
                    data={"image/png": "iVBORw0KGgo=", "text/plain": "a figure"},
                    metadata={"image/png": {"alt": "A line that rises from one to two"}},
                ),
                nbformat.v4.new_output("stream", name="stdout", text="mIoU 0.50\n"),
            ],
        ),
    ]
    return as_stored(nbformat.v4.new_notebook(cells=cells))
