"""The command line on other consoles, systems and folders than those of a developer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from semiseg_lib.cli import main
from semiseg_lib.core.paths import dataset_root, reading_root, shared_roots, work_root
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


def test_an_error_is_utf8_under_a_windows_code_page(tmp_path):
    done = python("-m", "semiseg_lib", "evaluate", "wo→", PYTHONUTF8="0",
                  PYTHONIOENCODING="cp1252", SEMISEG_WORK=str(tmp_path))
    assert done.returncode == 1 and "wo→" in done.stderr.decode("utf-8")


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
