"""The command line on other consoles, systems and folders than those of a developer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import own_folder
import pytest
import torch

from semiseg_lib import Data, Machine, resolve, self_correction
from semiseg_lib.cli import main
from semiseg_lib.cli.predict import predict_files
from semiseg_lib.core.paths import dataset_root, reading_root, shared_roots, work_root
from semiseg_lib.datasets.audit import audit_dataset
from semiseg_lib.datasets.folder import FolderDataset
from semiseg_lib.datasets.lists import read_published_list, write_list
from semiseg_lib.experiments import open_run
from semiseg_lib.models import ModelConfig
from semiseg_lib.models.encoders import weights_file
from semiseg_lib.training import loop

SMOKE = ["--profile", "smoke", "--device", "cpu"]


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, check=False,
                          timeout=300, env={**os.environ, **environment})


def test_a_redirected_table_is_utf8_under_a_windows_code_page(tmp_path):
    """Its tables hold a minus sign, a dash and ±, which cp1252 lacks or writes otherwise."""
    done = python("-m", "semiseg_lib", "compare", "--profile", "laptop", PYTHONUTF8="0",
                  PYTHONIOENCODING="cp1252", SEMISEG_WORK=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "±" in done.stdout.decode("utf-8")


def test_the_tables_of_the_book_are_utf8_everywhere():
    for encoding in ("cp1252", "ascii"):
        done = python("-m", "bookkit", "table", PYTHONUTF8="0", PYTHONIOENCODING=encoding)
        assert done.returncode == 0 and "–" in done.stdout.decode("utf-8"), done.stderr


def test_an_error_is_utf8_under_a_windows_code_page(tmp_path):
    done = python("-m", "semiseg_lib", "evaluate", "wo→", PYTHONUTF8="0",
                  PYTHONIOENCODING="cp1252", SEMISEG_WORK=str(tmp_path))
    assert done.returncode == 2 and "wo→" in done.stderr.decode("utf-8")


def test_a_home_folder_is_expanded_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("SEMISEG_WORK", "~/work")
    monkeypatch.setenv("SEMISEG_DATA", "~/data")
    monkeypatch.setenv("SEMISEG_SHARED", os.pathsep.join(["~/a", "~/b"]))
    assert work_root() == tmp_path / "work" and dataset_root() == tmp_path / "data"
    assert shared_roots() == (tmp_path / "a", tmp_path / "b")
    assert reading_root(Path("~/own")) == tmp_path / "own"
    (tmp_path / "weights.safetensors").touch()
    network = ModelConfig("deeplab", encoder="resnet18", weights="~/weights.safetensors")
    assert weights_file(network) == tmp_path / "weights.safetensors"


def test_a_home_folder_is_expanded_in_paths_given_to_functions(tmp_path, monkeypatch):
    """Each finds, or writes, below the home folder; nothing is called ``~`` here."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    monkeypatch.chdir(tmp_path)
    home, own = Path("~"), Path("~/own")
    root = own_folder.draw(tmp_path / "home" / "own")
    write_list(["a", "b"], home / "list.txt")
    assert read_published_list(home / "list.txt") == ("a", "b")
    names = tuple(path.stem for path in sorted((root / "images").iterdir()))
    assert tuple(FolderDataset(own, names[:1]).names) == names[:1]
    assert not audit_dataset("folder", own).failed
    config = replace(own_folder.profile().data, dataset="folder")
    assert len(Data(config, 0, own).labelled)
    profile = own_folder.profile()
    trained = resolve(self_correction.supervised(profile, 0), Machine("cpu", own))
    moved = tmp_path / "home" / trained.folder.path.name
    shutil.copytree(trained.folder.path, moved)
    assert open_run(home / moved.name, Machine("cpu", own)).folder.path == moved
    predict_files(trained.method, trained.classes, own / "images", home / "out")
    assert (tmp_path / "home" / "out").is_dir() and not (tmp_path / "~").exists()


@pytest.mark.parametrize("given", [["--out=~/drawn.txt"], ["--out", "~/drawn.txt"]])
def test_a_home_folder_is_expanded_in_flags(tmp_path, monkeypatch, given):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    assert main(["data", "split", "digits", "--labelled", "10", *given]) == 0
    assert len((tmp_path / "drawn.txt").read_text().split()) == 10


SCRIPT = """
import multiprocessing
multiprocessing.set_start_method("spawn", force=True)
from semiseg_lib import Machine, recipes, resolve, self_correction
{guard}
    run = self_correction.supervised(recipes.load("smoke"), 0)
    print("trained", resolve(run, Machine("cpu", workers=1)).folder.path.name)
"""


def test_a_script_without_a_main_guard_says_what_to_write(tmp_path):
    """Under spawn its worker runs it again, and used to wait for the lock that its parent holds."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard="if True:"), encoding="utf-8")
    done = python(str(script), SEMISEG_WORK=str(tmp_path / "work"))
    assert done.returncode == 1 and b'if __name__ == "__main__":' in done.stderr


def test_a_script_with_a_main_guard_trains_with_spawned_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard='if __name__ == "__main__":'), encoding="utf-8")
    done = python(str(script), SEMISEG_WORK=str(tmp_path / "work"))
    assert done.returncode == 0 and b"trained " in done.stdout, done.stderr


def test_without_room_for_workers_the_batches_are_read_without_them(
    tmp_path, monkeypatch, capsys
):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(loop.shutil, "disk_usage", lambda _: usage(65536, 0, 65536))
    monkeypatch.setattr(loop, "SHARED_MEMORY", tmp_path)
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    assert main(["train", "supervised", *SMOKE, "--workers", "2", "--train.steps", "2"]) == 0
    assert "0.1 MB free, and 2 workers need about" in capsys.readouterr().err


def test_a_worker_that_finds_no_room_is_replaced(tmp_path, monkeypatch, capsys):
    """Measured room can be gone when it is needed; torch would lose the error and wait for ever."""
    scores = []
    for room in (True, False):
        if not room:
            monkeypatch.setattr(torch.Tensor, "share_memory_", no_room)
        monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / f"work {room}"))
        assert main(["train", "supervised", *SMOKE, "--workers", "2", "--train.steps", "6",
                     "--json"]) == 0
        printed = capsys.readouterr()
        scores.append(json.loads(printed.out)["confusion"])
        assert ("No space left" in printed.err) == ("docker run" in printed.err) == (not room)
    assert scores[0] == scores[1]


def no_room(tensor: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")


CLOSED = """
import os, sys
for stream in {streams!r}:
    os.close(int(stream))
os.execv(sys.executable, {line!r})
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> str:
    """A work folder in which mini-VOC is drawn once."""
    return str(tmp_path_factory.mktemp("drawn"))


@pytest.mark.skipif(os.name == "nt", reason="file descriptors are handed on otherwise")
@pytest.mark.parametrize("streams", ["1", "2", "12"])
@pytest.mark.parametrize("command", ["--version", "train --help", "data audit minivoc --sample 1"])
def test_a_closed_stream_stops_nothing(drawn, streams, command):
    """As of a daemon; ``pythonw`` has none either."""
    line = [sys.executable, "-m", "semiseg_lib", *command.split()]
    done = python("-c", CLOSED.format(streams=streams, line=line), SEMISEG_WORK=drawn)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert bool(done.stdout) == ("1" not in streams)


def test_a_reader_of_bars_that_leaves_stops_nothing(tmp_path):
    """``semiseg ... 2> >(head)``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "semiseg_lib", "train", "supervised", *SMOKE, "--train.steps", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "SEMISEG_WORK": str(tmp_path)},
    )
    process.stderr.close()
    printed = process.stdout.read().decode()
    assert process.wait() == 0 and "run: " in printed
