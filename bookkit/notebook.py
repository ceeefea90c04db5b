"""A chapter as a notebook: from its percent source, executed, and in its stored form."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import jupytext
import nbformat
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from bookkit import opened as opening
from bookkit import rests_on
from semiseg_lib.core.durable import atomic_write
from semiseg_lib.core.escaping import visible
from semiseg_lib.core.looked_for import LOOKED_FOR
from semiseg_lib.core.paths import CHECKOUT
from semiseg_lib.core.terminal import progress_bar

SOLUTION_LINK = re.compile(r"\n\n\[A solution\]\(solutions/[\w.]+\)")
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
CELL_TIMEOUT_SECONDS = 3600
LONGEST_POSTFIX = 100  # characters of a training's own progress bar shown beside the chapter's
THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Without its version, jupytext writes the head of a chapter's .py alike on every machine.
JUPYTEXT = {"formats": "ipynb,py:percent",
            "notebook_metadata_filter": "-jupytext.text_representation.jupytext_version"}
TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # colours, moves of the cursor


class ChapterFailed(RuntimeError):
    """Error in a cell of a chapter; `partial` is the notebook up to that cell."""

    def __init__(self, message: str, partial: NotebookNode) -> None:
        super().__init__(message)
        self.partial = partial


class ChapterStopped(RuntimeError):
    """Error of a chapter that was stopped before its end."""


class _WatchedClient(NotebookClient):
    """Client that runs a notebook and forwards its progress bars."""

    watch: Callable[[str], None]

    def process_message(
        self, msg: dict, cell: NotebookNode, cell_index: int
    ) -> NotebookNode | None:
        if msg["msg_type"] == "stream" and msg["content"]["name"] == "stderr":
            self.watch(msg["content"]["text"])
        return super().process_message(msg, cell, cell_index)


def _last_line(text: str) -> str:
    """Return the newest state of a progress bar, which overwrites itself."""
    text = TERMINAL_CODES.sub("", text).replace("\r", "\n")
    lines = [line.strip() for line in text.split("\n")]
    return next((line for line in reversed(lines) if line), "")


def run_chapter(
    source: Path, profile: str, threads: int | None = None, stop: Event | None = None,
    opened: Path | None = None,
) -> tuple[NotebookNode, float]:
    """Execute the percent notebook `source` in a new kernel; return it and the seconds it took.

    The profile reaches the chapter through SEMISEG_PROFILE.

    Args:
        source: the chapter.
        profile: the profile of its runs.
        threads: number of threads; None leaves it to the environment.
        stop: set from another thread to end the kernel; a training saves a checkpoint before.
        opened: the file to which a line is added for all that it looks for.

    Raises:
        ChapterFailed: with the cell, its first line and the traceback.
        ChapterStopped: ``stop`` was set.
    """
    stop = stop or Event()
    notebook = jupytext.read(source, fmt="py:percent")
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    client = _WatchedClient(
        notebook,
        timeout=CELL_TIMEOUT_SECONDS,
        kernel_name="python3",
        coalesce_streams=True,
        store_widget_state=False,
        extra_arguments=["--log-level=ERROR",  # a kernel on this machine need not warn about TCP
                         f"--IPKernelApp.exec_files={opening.__file__}"],
        resources={"metadata": {"path": str(source.parent)}},
    )
    # The library whose files are hashed afterwards, also where another one is installed.
    paths = filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")])
    environment = {**os.environ, "SEMISEG_PROFILE": profile, "PYTHONPATH": os.pathsep.join(paths)}
    if opened:
        environment[LOOKED_FOR] = str(opened)
    if threads:
        environment |= dict.fromkeys(THREAD_COUNTS, str(threads))
    started, started_ns = time.monotonic(), time.time_ns()
    # disable=None: a moving bar on a terminal, nothing in a log file.
    with TemporaryDirectory() as folder, progress_bar(
        total=len(code_cells), desc=source.stem, unit="cell", disable=None, leave=False
    ) as bar:
        noted = Path(folder) / "opened.txt"
        environment[opening.OPENED] = str(noted)
        client.on_cell_executed = lambda **_: bar.update()
        client.watch = lambda text: bar.set_postfix_str(visible(_last_line(text))[:LONGEST_POSTFIX])
        try:
            run_sync(_execute)(client, environment, stop)  # also where a loop runs already
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            if stop.is_set():
                raise ChapterStopped(source.stem) from error
            raise ChapterFailed(_failure(source, code_cells, error), notebook) from error
        lines = noted.read_text("utf-8", "surrogateescape").splitlines()
    found = rests_on.hashes(source, lines, started_ns)
    notebook.metadata[rests_on.METADATA] = {rests_on.KEY: found}
    return as_stored(notebook), time.monotonic() - started


async def _execute(client: NotebookClient, environment: dict[str, str], stop: Event) -> None:
    task = asyncio.ensure_future(client.async_execute(env=environment))
    while not task.done() and not stop.is_set():
        await asyncio.wait({task}, timeout=0.2)
    if not task.done():
        task.cancel()
    await task


def _failure(source: Path, code_cells: list[NotebookNode], error: Exception) -> str:
    position = next(
        (
            index
            for index, cell in enumerate(code_cells, start=1)
            if any(output.output_type == "error" for output in cell.outputs)
        ),
        # A dead kernel or a time-out leaves no error output: it was the last cell that started.
        max(sum(cell.execution_count is not None for cell in code_cells), 1),
    )
    first_line = code_cells[position - 1].source.split("\n", 1)[0]
    return (
        f"chapter {source.stem}, code cell {position} of {len(code_cells)}, "
        f"which begins with: {first_line}\n{TERMINAL_CODES.sub('', str(error))}"
    )


def as_stored(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook without what changes between runs or machines.

    Cell ids follow from position and source; timings, progress bars (stderr) and the handles of
    live widgets go, where the widget also left its kernel-free HTML form. What the outputs rest
    on stays, and what Jupyter writes about the kernel's language when it saves a notebook.
    """
    stored = nbformat.from_dict(notebook)
    kept = {key: value for key, value in stored.metadata.items() if key == rests_on.METADATA}
    stored.metadata = nbformat.from_dict(
        {
            "jupytext": JUPYTEXT,
            "kernelspec": KERNEL,
            "language_info": stored.metadata.get("language_info", {"name": "python"}),
            **kept,
        }
    )
    stored.nbformat, stored.nbformat_minor = 4, 5
    for index, cell in enumerate(stored.cells):
        digest = hashlib.sha256(cell.source.encode("utf-8")).hexdigest()[:8]
        cell["id"] = f"{index:03d}-{digest}"
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "text/html" in output.get("data", {}):
                    output.data.pop(WIDGET_VIEW, None)
    return stored


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Write `notebook` as .ipynb, atomically, with a final newline on every platform."""
    nbformat.validate(notebook)
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of a chapter without its links to solutions."""
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = SOLUTION_LINK.sub("", cell.source)
    return copy


def unhidden(folder: Path, pattern: str) -> list[Path]:
    """Return what matches a pattern in a folder and below, without what is hidden.

    An editor keeps copies of notebooks in hidden folders, such as ``.ipynb_checkpoints``.
    """
    return sorted(
        path for path in folder.rglob(pattern)
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def numbered(folder: Path, suffix: str) -> list[Path]:
    """Return the files of chapters and of solutions in a folder and below, without hidden ones."""
    return unhidden(folder, f"[0-9]*{suffix}")


def tagged(notebook: NotebookNode, tag: str) -> list[NotebookNode]:
    """Return the code cells with a tag, in order."""
    return [cell for cell in notebook.cells
            if cell.cell_type == "code" and tag in cell.metadata.get("tags", [])]


def tagged_text(notebook: NotebookNode, tag: str) -> str:
    """Return the text output of the last code cell with a tag; "" if there is none."""
    for cell in reversed(tagged(notebook, tag)):
        printed = [output.get("text", "") for output in cell.outputs]
        returned = [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
        return "\n".join(text.rstrip() for text in printed + returned if text)
    return ""


def first_figure(notebook: NotebookNode) -> bytes:
    """Return the first figure that a notebook shows, as PNG.

    Raises ValueError if it shows none.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output["data"]["image/png"])
    raise ValueError("the notebook shows no figure.")
