"""Fixtures that several test files use."""

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from bookkit.notebook import as_stored
from semiseg_lib.core.compat import make_torchvision_importable

make_torchvision_importable()  # some tests import it before anything of the library

CHECKOUT = Path(__file__).resolve().parents[1]
BROWSER_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the repository."""
    return CHECKOUT


READ_ONLY: list[Path] = []
CHANGES = {
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate",
    "os.utime", "os.chmod", "shutil.rmtree",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def refuse_writes(event: str, arguments: tuple) -> None:
    """Let whatever would change a read-only folder fail, as the operating system would."""
    if not READ_ONLY or not (
        event in CHANGES or (event == "open" and (arguments[2] or 0) & WRITING)
    ):
        return
    for name in arguments[:2]:
        if isinstance(name, str | Path):
            path = Path(os.path.abspath(name))  # noqa: PTH100 (resolve() would open folders)
            if any(path.is_relative_to(folder) for folder in READ_ONLY):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(name))


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    """Make a folder read-only for this process, also where it runs as root."""
    if refuse_writes not in HOOKS:
        sys.addaudithook(refuse_writes)
        HOOKS.append(refuse_writes)
    yield lambda folder: READ_ONLY.append(Path(folder).absolute())
    READ_ONLY.clear()


HOOKS: list[Callable] = []


REFUSED = {"files": ["read_bytes"], "names": ["iterdir"],
           "folder": ["read_bytes", "iterdir", "stat"]}


@pytest.fixture
def unreadable() -> Iterator[Callable[[Path, str], None]]:
    """Refuse what is below a folder: its files, their names, or both; also where this is root."""
    with pytest.MonkeyPatch.context() as patch:
        def refuse(folder: Path, what: str) -> None:
            for name in REFUSED[what]:
                inner = getattr(Path, name)

                def method(path, *arguments, inner=inner, **named):
                    if folder in path.parents:
                        raise PermissionError(
                            errno.EACCES, os.strerror(errno.EACCES), str(path))
                    return inner(path, *arguments, **named)

                patch.setattr(Path, name, method)

        yield refuse


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


def skip_unless_ci(reason: str) -> None:
    """Skip with the reason; under CI, where a skipped test would go unseen, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI must not skip the browser tests)")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium with an empty profile; skipped where there is none, except under CI."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_unless_ci("the Python package playwright is not installed")
    with sync_playwright() as playwright:
        names = ("chromium", "chromium-browser", "google-chrome")
        found = [path for name in names if (path := shutil.which(name))]
        executable = found[0] if found else playwright.chromium.executable_path
        if not Path(executable).is_file():
            skip_unless_ci("no Chromium: apt-get install chromium, or playwright install chromium")
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("chromium"), executable_path=executable, headless=True,
            args=BROWSER_ARGUMENTS,
        )
        yield context
        context.close()


@pytest.fixture
def page(browser):
    """A page that records every request but the one for itself, and every script error."""
    page = browser.new_page()
    page.troubles = []
    page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:"))
            or page.troubles.append(f"asked: {r.url}"))
    page.on("requestfailed", lambda r: page.troubles.append(f"failed: {r.url}"))
    page.on("pageerror", lambda error: page.troubles.append(f"script: {error}"))
    yield page
    page.close()
