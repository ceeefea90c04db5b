"""One address: the launch buttons, the cell that installs, Binder and the dev container."""

import ast
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import jupytext
import nbformat
import pytest
import yaml

import semiseg_lib
from bookkit import BookError, build, chapter_table, load
from bookkit.gates import install_problems, notebook_problems
from bookkit.launch import INSTALL_TAG, NO_ADDRESS, ON_REQUEST, Repository
from bookkit.notebook import as_stored, numbered, tagged, write_notebook
from semiseg_lib.notebook import chapter

HERE = Repository(
    "https://github.com/lab/semi-book", "term/2", jupyterhub="https://hub.example.edu"
)
PATH = "notebooks/02_measuring_segmentation.ipynb"
LINKS = {
    "Colab": f"https://colab.research.google.com/github/lab/semi-book/blob/term/2/{PATH}",
    "Binder": f"https://mybinder.org/v2/gh/lab/semi-book/term%2F2?urlpath=lab/tree/{PATH}",
    "Codespaces": "https://codespaces.new/lab/semi-book/tree/term/2",
}
SOURCES = numbered(Path(__file__).resolve().parents[2] / "notebooks", ".py")
CELL = HERE.install_cell()


@pytest.fixture
def described(tmp_path, checkout):
    """Write book.yml with another entry ``repository`` and load it."""

    def write(entry):
        content = yaml.safe_load((checkout / "book.yml").read_text(encoding="utf-8"))
        content["repository"] = entry
        path = tmp_path / "book.yml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return load(path)

    return write


def test_one_entry_gives_every_address(described):
    book = described({"url": f"{HERE.url}.git/", "branch": HERE.branch,
                      "jupyterhub": f"{HERE.jupyterhub}/"})
    assert book.repository == HERE
    links = HERE.links(PATH)
    hub = urlsplit(links.pop("JupyterHub"))
    assert links == LINKS and tuple(links) == ON_REQUEST
    assert hub.netloc == "hub.example.edu" and hub.path == "/hub/user-redirect/git-pull"
    assert parse_qs(hub.query) == {
        "repo": [HERE.url], "branch": ["term/2"], "urlpath": [f"lab/tree/semi-book/{PATH}"]}
    assert '"git+https://github.com/lab/semi-book@term/2"' in CELL
    row = next(line for line in chapter_table(book).splitlines() if line.startswith("|  02"))
    assert all(f"[{name}]({link})" in row for name, link in HERE.links(PATH).items())
    badges = HERE.badges(PATH)
    assert re.findall(r"\]\(([^)]+)\)$", badges, flags=re.MULTILINE) == [*HERE.links(PATH).values()]


def test_a_lecturer_chooses_buttons_and_another_host_has_those_that_open_it(described):
    few = described({"url": HERE.url, "branch": "main", "buttons": ["Binder"]})
    assert list(few.repository.links(PATH)) == ["Binder"]
    elsewhere = Repository("https://git.example.edu/lab/book", jupyterhub="https://hub.example.edu")
    links = elsewhere.links(PATH)
    assert list(links) == ["Binder", "JupyterHub"]
    assert links["Binder"].startswith(
        "https://mybinder.org/v2/git/https%3A%2F%2Fgit.example.edu%2Flab%2Fbook/main?")


def test_without_an_address_nothing_dead_is_shown(described):
    book = described({"url": None, "branch": "main", "jupyterhub": "https://hub.example.edu"})
    assert book.repository.links(PATH) == {} and book.repository.badges(PATH) == NO_ADDRESS
    table = chapter_table(book)
    assert "Open in" not in table and "http" not in table
    assert "git+" not in book.repository.install_cell()


@pytest.mark.parametrize(("entry", "message"), [
    ({"branch": "main"}, "add url"),
    ({"url": "https://github.com/OWNER", "branch": "main"}, "like https://github.com/OWNER/NAME"),
    ({"url": "git@github.com:lab/book", "branch": "main"}, "like https://github.com/OWNER/NAME"),
    *(({"url": f"{start}/lab/book", "branch": "main"}, "like https://github.com/OWNER/NAME")
      for start in ("https://www.github.com", "http://github.com", "https://GitHub.com")),
    ({"url": 'https://a.org/"x', "branch": "main"}, "url must be like"),
    ({"url": HERE.url, "branch": "my branch"}, "branch must name a branch"),
    ({"url": HERE.url, "branch": 1.0}, "repository"),
    ({"url": HERE.url, "branch": "main", "jupyterhub": "hub"}, "jupyterhub must be like"),
    ({"url": HERE.url, "branch": "main", "buttons": ["Kaggle"]}, "Kaggle is not known"),
    ({"url": HERE.url, "branch": "main", "address": "x"}, "address is not known here"),
])
def test_a_mistake_in_the_entry_is_named(described, entry, message):
    with pytest.raises(BookError, match=message) as raised:
        described(entry)
    assert "book.yml, repository" in str(raised.value)


def test_the_readme_shows_the_buttons_of_book_yml(checkout):
    book, text = load(), (checkout / "README.md").read_text(encoding="utf-8")
    shown = text.split(build.LAUNCH_START)[1].split(build.LAUNCH_END)[0].strip()
    first = f"notebooks/{book.chapters[0].file}.ipynb"
    assert shown == book.repository.badges(first), "python -m bookkit table --write"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_code_of_every_notebook_begins_with_the_install_cell(source):
    assert install_problems(source, load().repository) == []


def test_a_missing_late_or_edited_install_cell_is_noticed(tmp_path):
    source = tmp_path / "01_some.py"
    begin = f'# %% tags=["{INSTALL_TAG}"]\n'
    for text, message in {
        "# %%\n1\n": "no other, must have the tag install",
        f"# %%\n1\n\n{begin}{CELL}\n": "no other, must have the tag install",
        f"{begin}{CELL}\n\n{begin}{CELL}\n": "no other, must have the tag install",
        f"{begin}{CELL}  # edited\n": "bookkit table --write",
    }.items():
        source.write_text(text, encoding="utf-8")
        assert message in install_problems(source, HERE)[0]
    source.write_text(f"# %% [markdown]\n# A\n\n{begin}{CELL}\n\n# %%\n1\n", encoding="utf-8")
    assert install_problems(source, HERE) == []


def test_a_new_address_changes_the_install_cells_alone(tmp_path, monkeypatch, described):
    """In the source and in the stored notebook, below subfolders too, whose outputs stay."""
    book = described({"url": HERE.url, "branch": HERE.branch})
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    text = SOURCES[2].read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="py:percent")
    for count, cell in enumerate(one for one in notebook.cells if one.cell_type == "code"):
        cell.execution_count = count + 1
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=f"{count}\n")]
    files = [tmp_path / folder / f"02_measuring{suffix}"
             for suffix in (".py", ".ipynb") for folder in (".", "solutions")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        if file.suffix == ".py":
            file.write_text(text, encoding="utf-8")
        else:
            write_notebook(as_stored(notebook), file)
    assert build.write_install_cells(book) == files
    assert build.write_install_cells(book) == []
    old, new = (f"{one.install_cell()}\n\n# %%" for one in (load().repository, book.repository))
    assert files[0].read_text(encoding="utf-8") == text.replace(old, new)
    tagged(notebook, INSTALL_TAG)[0].source = book.repository.install_cell()
    assert nbformat.read(files[2], as_version=4) == as_stored(notebook)


def test_a_notebook_with_an_address_passes_every_gate(sound_notebook):
    begin = nbformat.v4.new_code_cell(CELL, metadata={"tags": [INSTALL_TAG]}, execution_count=1)
    for cell in sound_notebook.cells[1:]:
        cell.execution_count += 1
    sound_notebook.cells.insert(1, begin)
    assert max(map(len, CELL.splitlines())) < 100
    assert [*notebook_problems(as_stored(sound_notebook))] == []


def test_a_folder_that_is_called_like_the_library_is_not_taken_for_it(
    missing, tmp_path, monkeypatch
):
    """Such as a clone in a folder of this name, which Python finds as a namespace."""
    (tmp_path / "semiseg_lib").mkdir()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(
        origin=None if name == "semiseg_lib" else "there"))
    run_cell(CELL)
    assert missing.commands == [pip("git+https://github.com/lab/semi-book@term/2")]


def test_in_the_root_of_a_copy_it_is_installed_where_its_packages_are_missing(
    missing, copy, monkeypatch
):
    """There Python finds the library itself as a folder, and none of what it needs."""
    monkeypatch.chdir(copy)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if (
        name == "lazy_loader") else SimpleNamespace(origin="there"))
    run_cell(CELL)
    assert missing.copies == [["build", "notebooks", "semiseg_lib"]]


def test_the_cell_looks_for_packages_that_the_library_requires(checkout):
    names = re.search(r"^needed = (.+)$", CELL, flags=re.MULTILINE)[1]
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = {re.match(r"[\w-]+", one)[0].replace("-", "_") for one in project["dependencies"]}
    assert {*ast.literal_eval(names)} - {"semiseg_lib"} <= base


def run_cell(cell: str) -> None:
    exec(compile(cell, "install", "exec"), {})


@pytest.fixture
def missing(monkeypatch, tmp_path):
    """Pretend that the library is missing, in a folder without a copy; record what pip is given."""
    asked = SimpleNamespace(commands=[], copies=[], code=0)

    def run(command, **options):
        asked.commands.append(command)
        if (folder := Path(command[-1])).is_dir():
            (folder / "build").mkdir()  # as pip does
            asked.copies.append(sorted(path.name for path in folder.iterdir()))
        return subprocess.CompletedProcess(command, asked.code, "", "no such branch")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.delenv("SEMISEG_REPOSITORY", raising=False)
    monkeypatch.chdir(tmp_path)
    return asked


@pytest.fixture
def copy(tmp_path):
    """A copy of the repository, with what no installation needs."""
    for name in ("semiseg_lib", "notebooks/solutions", "data", "_build", ".venv"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "semiseg_lib" / "__init__.py").touch()
    return tmp_path


def pip(source) -> list[str]:
    return [sys.executable, "-m", "pip", "install", "--quiet", str(source)]


def test_where_the_library_is_there_the_cell_does_nothing():
    """It prints nothing, imports no library and starts nothing, in a process of its own."""
    code = f"{CELL}\nimport sys\nassert not {{'semiseg_lib', 'subprocess'}} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_where_it_is_missing_the_cell_installs_it_from_the_address_and_says_so(missing, capsys):
    run_cell(CELL)
    assert missing.commands == [pip("git+https://github.com/lab/semi-book@term/2")]
    said = capsys.readouterr().out
    assert said.startswith("semiseg_lib is missing here. Installing it from git+https://github")
    assert "Installed." in said


def test_a_copy_around_the_notebook_goes_before_the_address_and_a_chosen_source_before_both(
    missing, copy, monkeypatch
):
    """What pip builds of a copy is not left in it."""
    for here in (copy / "notebooks", copy / "notebooks" / "solutions"):
        monkeypatch.chdir(here)
        run_cell(CELL)
        run_cell(Repository().install_cell())
    assert missing.copies == [["build", "notebooks", "semiseg_lib"]] * 4
    assert not (copy / "build").exists()
    monkeypatch.setenv("SEMISEG_REPOSITORY", "")  # as good as unset
    run_cell(CELL)
    assert missing.copies == [["build", "notebooks", "semiseg_lib"]] * 5
    monkeypatch.setenv("SEMISEG_REPOSITORY", "book.whl")
    run_cell(CELL)
    assert missing.commands[-1] == pip("book.whl")


def test_a_chosen_source_may_lie_in_the_home_folder(missing, copy, monkeypatch):
    monkeypatch.setenv("HOME", str(copy.parent))
    monkeypatch.setenv("USERPROFILE", str(copy.parent))
    monkeypatch.setenv("SEMISEG_REPOSITORY", "~/book.whl")
    run_cell(CELL)
    assert missing.commands == [pip(copy.parent / "book.whl")]
    monkeypatch.setenv("SEMISEG_REPOSITORY", f"~/{copy.name}")
    run_cell(CELL)
    assert missing.copies == [["build", "notebooks", "semiseg_lib"]]


def test_without_address_or_copy_the_cell_says_what_to_do(missing):
    said = r"semiseg_lib\. Run %pip install YOUR_COPY\."
    with pytest.raises(ModuleNotFoundError, match=said):
        run_cell(Repository().install_cell())
    page = (build.SOURCES / "troubleshooting.md").read_text(encoding="utf-8")
    assert "%pip install YOUR_COPY" in page
    assert missing.commands == []


def test_what_pip_says_is_shown_when_it_fails(missing, capsys):
    missing.code = 1
    with pytest.raises(RuntimeError, match=r"It was not installed\. no such branch"):
        run_cell(CELL)
    assert "Installed." not in capsys.readouterr().out


@pytest.fixture(scope="module")
def small_site(tmp_path_factory) -> dict[str, Path]:
    """HTML of a book of one page and one chapter by the book's own conf.py: with address, without.

    Every warning is an error.
    """
    root = tmp_path_factory.mktemp("launch")
    content = yaml.safe_load(build.BOOK_FILE.read_text(encoding="utf-8"))
    part = content["parts"][1]
    del content["solutions"]
    content |= {"parts": [{**part, "chapters": part["chapters"][1:2]}],
                "back_matter": {"title": "Back", "pages": ["references"]}}
    notebook = jupytext.reads(f'# %% [markdown]\n# # Chapter\n\n# %% tags=["{INSTALL_TAG}", '
                              f'"remove-cell"]\n{CELL}\n\n# %%\nshown = 1\n', fmt="py:percent")
    address = {"url": HERE.url, "branch": HERE.branch, "jupyterhub": HERE.jupyterhub}
    sites = {}
    for name, entry in {"address": address, "none": {"url": None, "branch": "main"}}.items():
        source = root / name
        source.mkdir()
        shutil.copytree(build.SOURCES / "_static", source / "_static")
        for file in ("conf.py", "references.bib", "references.md"):
            shutil.copy(build.SOURCES / file, source)
        (source / "intro.md").write_text("# A book\n", encoding="utf-8")
        (source / "book.yml").write_text(yaml.safe_dump({**content, "repository": entry}), "utf-8")
        write_notebook(as_stored(notebook), source / Path(PATH).name)
        sites[name] = source / "html"
        command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html"]
        subprocess.run([*command, str(source), str(sites[name])], check=True,
                       env={**os.environ, "PYTHONPATH": str(build.CHECKOUT)})
    return sites


MENU = ".dropdown-launch-buttons"


def page_of(site: Path, name: str = Path(PATH).stem) -> Path:
    return site / f"{name}.html"


def test_only_chapters_have_buttons_and_none_without_an_address(small_site):
    with_menu = {(kind, page.stem) for kind, site in small_site.items()
                 for page in site.glob("*.html")
                 if MENU[1:] in page.read_text(encoding="utf-8")}
    assert with_menu == {("address", Path(PATH).stem)}
    text = page_of(small_site["none"]).read_text(encoding="utf-8")
    assert not re.search(r"colab\.research|mybinder|codespaces", text)


def test_the_install_cell_is_left_out_of_the_page(small_site):
    text = page_of(small_site["address"]).read_text(encoding="utf-8")
    assert "shown" in text and "find_spec" not in text


@pytest.mark.browser
def test_a_reader_sees_the_buttons_and_each_leads_to_this_chapter(page, small_site):
    page.goto(page_of(small_site["address"]).as_uri())
    menu = page.locator(MENU)
    button = menu.get_by_role("button", name="Open this chapter and run it")
    links = menu.locator("a")
    assert button.is_visible() and not links.first.is_visible()
    button.click()
    links.first.wait_for(state="visible")
    shown = {link.inner_text().strip(): link.get_attribute("href") for link in links.all()}
    assert shown == HERE.links(PATH)
    assert all(link.is_visible() for link in links.all())
    broken = "all => all.filter(one => !one.naturalWidth).map(one => one.src)"
    assert menu.locator("img").evaluate_all(broken) == [] and page.troubles == []


def test_binder_reads_what_is_there(checkout):
    """The two files of repo2docker, a Python that the library takes, and what is installed."""
    binder = checkout / "binder"
    assert {path.name for path in binder.iterdir()} == {"postBuild", "runtime.txt"}
    version = re.fullmatch(r"python-(3\.\d+)\n", (binder / "runtime.txt").read_text())[1]
    workflow = (checkout / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    assert f'"{version}"' in workflow, "a version that CI tests"
    script = (binder / "postBuild").read_text(encoding="utf-8")
    assert script.startswith("#!/bin/bash\n") and "\nset -euo pipefail\n" in script
    assert (checkout / "requirements.lock").is_file() and "-c requirements.lock" in script
    assert "==" not in script, "versions stand in requirements.lock"
    if bash := shutil.which("bash"):
        subprocess.run([bash, "-n", str(binder / "postBuild")], check=True)


@pytest.mark.skipif(os.name == "nt", reason="a script of bash")
def test_binder_installs_pytorch_for_the_cpu_first_and_then_the_book(checkout, tmp_path):
    log, python = tmp_path / "asked", tmp_path / "python"
    python.write_text(f'#!/bin/bash\necho "$@" >> {log}\n', encoding="utf-8")
    python.chmod(0o755)
    subprocess.run(["bash", "binder/postBuild"], cwd=checkout, check=True,
                   env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"})
    common = "-m pip install --no-cache-dir -c requirements.lock"
    assert log.read_text(encoding="utf-8").splitlines() == [
        f"{common} --no-deps --index-url https://download.pytorch.org/whl/cpu torch torchvision",
        f"{common} -e .",
    ]


DOCUMENTED = {  # keys of the dev container specification that are used here
    "name": str, "image": str, "hostRequirements": dict, "postCreateCommand": str,
    "forwardPorts": list, "portsAttributes": dict, "customizations": dict,
}


def test_the_dev_container_runs_a_target_of_the_makefile(checkout):
    text = (checkout / ".devcontainer/devcontainer.json").read_text(encoding="utf-8")
    settings = json.loads(text)
    assert {key: type(value) for key, value in settings.items()} == DOCUMENTED
    assert set(settings["portsAttributes"]) == {str(port) for port in settings["forwardPorts"]}
    runtime = (checkout / "binder/runtime.txt").read_text().strip()
    assert settings["image"].endswith(f"/{runtime.replace('-', ':')}")
    tool, target, setting = settings["postCreateCommand"].split()
    makefile = (checkout / "Makefile").read_text(encoding="utf-8")
    assert tool == "make" and f"\n{target}:" in makefile
    assert f"{setting.split('=')[0]}   ?=" in makefile and setting in makefile
    interpreter = settings["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert interpreter == "${containerWorkspaceFolder}/.venv/bin/python"


def test_an_installed_library_knows_the_chapters_wherever_it_lies(tmp_path, checkout):
    """From the file that the build puts beside the module, not from a place that pip chooses."""
    ran = partial(subprocess.run, check=True, capture_output=True, text=True, encoding="utf-8")
    ran([sys.executable, "setup.py", "-q", "egg_info", "--egg-base", tmp_path, "build",
         "--build-base", tmp_path], cwd=checkout)
    asked = ("import semiseg_lib; from semiseg_lib import chapter; print(semiseg_lib.__file__); "
             "print(*(one['file'] for one in chapter.contents()))")
    file, files = ran([sys.executable, "-c", asked], cwd=tmp_path,
                      env={**os.environ, "PYTHONPATH": str(tmp_path / "lib")}).stdout.splitlines()
    assert Path(file).is_relative_to(tmp_path)
    assert files.split() == [one.file for one in load().chapters]


def test_a_chapter_names_a_library_that_is_not_that_of_the_copy_around_it(
    copy, checkout, monkeypatch, capsys
):
    monkeypatch.chdir(copy / "notebooks")
    chapter.begin("00_start_here", "smoke")
    said = capsys.readouterr().out
    assert f"library: semiseg_lib {semiseg_lib.__version__} from " in said
    for here in (checkout / "notebooks" / "solutions", copy.parent):
        monkeypatch.chdir(here)
        chapter.begin("00_start_here", "smoke")
        assert "library:" not in capsys.readouterr().out


def test_the_base_dependencies_hold_what_the_chapters_import(checkout):
    """The install cell installs no extra: on Colab those would replace its own Jupyter."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = {re.match(r"[\w-]+", one)[0].lower() for one in project["dependencies"]}
    assert {"ipywidgets", "anywidget", "matplotlib", "scikit-learn", "accelerate"} <= base
    names = {"sklearn": "scikit-learn", "PIL": "pillow"}
    imported = {found for source in SOURCES for found in re.findall(
        r"^ *(?:from|import) ([a-zA-Z_]\w*)[\w.]* ?(?:import|as|$)", source.read_text("utf-8"),
        flags=re.MULTILINE)}
    others = imported - sys.stdlib_module_names - {"semiseg_lib"}
    assert {names.get(one, one).lower() for one in others} <= base
