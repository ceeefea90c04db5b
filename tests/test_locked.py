"""Several processes that want the same thing at once: one makes it, the others wait and load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from semiseg_lib.core import durable

RUN = """
from importlib import import_module
from semiseg_lib import recipes
from semiseg_lib.experiments import resolve, training
from semiseg_lib.experiments import self_correction as story
inner, resolving = training.fit, import_module("semiseg_lib.experiments.resolving")
predict = resolving.logits_of
def fit(method, loader, config, folder, *args, **kwargs):
    print("trains", folder.path.name.split("-")[0], flush=True)
    return inner(method, loader, config, folder, *args, **kwargs)
def logits_of(method, images):
    print("labels", len(images), flush=True)
    return predict(method, images)
training.fit, resolving.logits_of = fit, logits_of
profile = recipes.load("smoke")
supervised = resolve(story.supervised(profile, 3), "cpu")
store = resolve(story.logits(profile, 3), "cpu")
weights = sum(value.double().sum() for value in supervised.method.state_dict().values())
print("has", float(weights), float(store.read().float().sum()), flush=True)
"""
HOLD = """
import runpy, sys
from pathlib import Path
locked = runpy.run_path(sys.argv[1])["locked"]  # without the package, which takes seconds to import
with locked(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def started(script, work, *arguments):
    environment = {**os.environ, "SEMISEG_WORK": str(work)}
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def test_two_processes_draw_train_and_label_everything_once(tmp_path):
    printed = []
    for process in [started(RUN, tmp_path) for _ in range(2)]:
        out, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        printed += out.splitlines()
    assert sorted(line for line in printed if not line.startswith("has")) == [
        "labels 16", "trains ancillary", "trains supervised"
    ]
    (one, other) = (line for line in printed if line.startswith("has"))
    assert one == other
    assert len(list((tmp_path / "minivoc").iterdir())) == 1


@pytest.fixture
def hold(tmp_path):
    """Start a process that holds a path until it is told to go on."""
    return lambda name: started(HOLD, tmp_path, durable.__file__, tmp_path / name)


def test_another_process_waits_and_says_so(tmp_path, monkeypatch, capsys, hold):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    first = hold("thing")
    assert first.stdout.readline() == "held\n"
    with durable.locked(tmp_path / "elsewhere" / "thing"):
        assert capsys.readouterr().err == ""
    threading.Timer(0.5, first.communicate, ["\n"]).start()
    began = time.monotonic()
    with durable.locked(tmp_path / "thing"):
        assert time.monotonic() - began > 0.4
    assert "Another process is at work on" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_process_leaves_nothing_held(hold):
    first = hold("thing")
    assert first.stdout.readline() == "held\n"
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    assert hold("thing").communicate("\n", timeout=60)[0] == "held\n"


def test_an_error_lets_go(tmp_path, monkeypatch, hold):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    with pytest.raises(KeyboardInterrupt), durable.locked(tmp_path / "thing"):
        raise KeyboardInterrupt
    assert hold("thing").communicate("\n", timeout=60)[0] == "held\n"


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "file"))
    refused = pytest.raises(OSError, match=r"could not write .*locks.*SEMISEG_WORK")
    with refused, durable.locked(tmp_path / "thing"):
        pass
