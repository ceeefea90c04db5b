"""Results in a shared work folder: they are used where they are whole, and never touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from semiseg_lib.cli import main
from semiseg_lib.experiments import Logits, resolve
from semiseg_lib.experiments.self_correction import ancillary
from semiseg_lib.recipes import load

RUN = ancillary(load("smoke"), 5)
LOGITS = Logits(RUN, "labelled")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A work folder that holds a run and its logits."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(folder))
        resolve(LOGITS, "cpu")
    return folder


@pytest.fixture
def shared(made, tmp_path, monkeypatch) -> Path:
    """A copy of it that is shared; the work folder has the images alone."""
    shared, own = tmp_path / "shared", tmp_path / "own"
    shutil.copytree(made, shared)
    shutil.copytree(made, own, ignore=shutil.ignore_patterns("runs", "logits"))
    monkeypatch.setenv("SEMISEG_WORK", str(own))
    monkeypatch.setenv("SEMISEG_SHARED", str(shared))
    return shared


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def folders(run, logits) -> list[Path]:
    return [run.folder.path.parents[1], logits.folder.parents[1]]


def test_what_is_shared_is_used(shared):
    before = content(shared)
    found = resolve(RUN, "cpu"), resolve(LOGITS, "cpu")
    assert folders(*found) == [shared, shared] and content(shared) == before


@pytest.mark.parametrize("cut", [0, 1], ids=["a byte", "the end"])
def test_what_is_damaged_in_a_shared_folder_is_made_in_the_own_one(shared, tmp_path, cut):
    (weights,) = shared.glob("runs/*/model.safetensors")
    stored = bytearray(weights.read_bytes())
    stored[-9] ^= 1
    weights.write_bytes(stored[: len(stored) - cut])
    (logits,) = shared.glob("logits/*/0000.safetensors")
    logits.write_bytes(logits.read_bytes()[:-1])
    before = content(shared)
    found = resolve(RUN, "cpu"), resolve(LOGITS, "cpu")
    assert folders(*found) == [tmp_path / "own"] * 2 and content(shared) == before
    assert found[1].complete and found[1][0].isfinite().all()


def test_a_shared_result_takes_the_place_of_a_damaged_own_one(shared, tmp_path):
    (run,) = shared.glob("runs/*")
    shutil.copytree(run, tmp_path / "own" / "runs" / run.name)
    (tmp_path / "own" / "runs" / run.name / "record.json").unlink()
    assert resolve(RUN, "cpu").folder.path == run


def test_what_is_asked_for_anew_is_made_in_the_own_folder(shared, tmp_path):
    before = content(shared)
    found = resolve(RUN, "cpu", anew=True), resolve(LOGITS, "cpu", anew=True)
    assert folders(*found) == [tmp_path / "own"] * 2 and content(shared) == before


@pytest.mark.parametrize("what", ["files", "folder"])
def test_what_may_not_be_read_in_a_shared_folder_is_made_in_the_own_one(
    shared, tmp_path, unreadable, capsys, what
):
    (run,), (logits,) = shared.glob("runs/*"), shared.glob("logits/*")
    for path in (run, logits):
        unreadable(path, what)
    found = resolve(RUN, "cpu"), resolve(LOGITS, "cpu")
    assert folders(*found) == [tmp_path / "own"] * 2
    said = capsys.readouterr().err
    for path in (run, logits):
        assert f"{path}/manifest.json cannot be read (Permission denied). It is left as" in said
    assert main(["runs"]) == 0
    assert "fresh" in capsys.readouterr().out
