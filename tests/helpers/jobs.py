"""Distributed jobs of two processes that resolve values, for tests that start real ones."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import contextmanager
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from semiseg_lib.experiments import Trained, pseudo_labelling, resolve
from semiseg_lib.experiments.self_correction import supervised
from semiseg_lib.recipes import load
from semiseg_lib.training.run_folder import RunFolder

SMOKE, SEED = load("smoke"), 5
JOBS = ("a", "b")

resolving = import_module("semiseg_lib.experiments.resolving")  # the package has the function


def member(rank: int, port: int, work: Path, job: str, task: Callable[..., Any]) -> None:
    """Do a task as one of two processes of a job, and write down what came of it.

    Args:
        rank: 0 or 1.
        port: where the two meet.
        work: the work folder of all jobs.
        job: its name.
        task: called with rank, work folder and job.
    """
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
        "SEMISEG_WORK": str(work),
    }
    torch.set_num_threads(1)
    try:
        said = task(rank, work, job)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    (work / f"{job}-{rank}.json").write_text(json.dumps(said), encoding="utf-8")


def ask_for_the_same_run(rank: int, work: Path, job: str) -> dict[str, Any]:
    """Resolve a run. Whichever job trains it waits until the other one has asked for it, too."""
    (other,) = set(JOBS) - {job}
    train, locked, trained_here = resolving.train, resolving.locked, []

    def noted(*arguments):
        trained_here.append(True)
        deadline = time.monotonic() + 60
        while not (work / f"{other} asks").exists():
            assert time.monotonic() < deadline, f"job {other} did not ask for the run"
            time.sleep(0.05)
        return train(*arguments)

    @contextmanager
    def asking(path: Path):
        (work / f"{job} asks").touch()
        with locked(path):
            yield

    resolving.train, resolving.locked = noted, asking
    trained = resolve(supervised(SMOKE, SEED), "cpu")
    weights = b"".join(one.numpy().tobytes() for one in trained.method.state_dict().values())
    machine = trained.record["made with"][0]["machine"]
    return {
        "trained": bool(trained_here), "folder": trained.folder.path.name,
        "weights": sha256(weights).hexdigest(), "processes": machine["processes"],
    }


def disagree(rank: int, work: Path, job: str) -> dict[str, Any]:
    """Do a round of pseudo-labelling of which the second process has another opinion.

    It believes that every run is on disk already, and that the student is better.
    """
    known, select, selected = [], resolving.select, []
    made_up = [(60.0, 40.0), (40.0, 60.0)][rank]

    def evaluate(trained: Trained, *_) -> SimpleNamespace:
        known.append(trained)
        return SimpleNamespace(mean_iou=made_up[len(known) - 1] / 100)

    def noted(*arguments):
        selected.append(True)
        return select(*arguments)

    Trained.evaluate, resolving.select = evaluate, noted
    if rank == 1:
        RunFolder.finished = property(lambda self: True)
    one = next(pseudo_labelling.rounds(SMOKE, SEED + 1, machine="cpu"))
    return {
        "scores": [one.teacher_score, one.student_score], "replaced": one.replaced,
        "student": one.student.folder.path.name, "labels": one.labels.folder.name,
        "selected": len(selected), "kept": one.labels.kept,
    }


def fill_the_disk(rank: int, work: Path, job: str) -> str:
    """Train a run whose result the main process cannot write."""

    def full(*_):
        raise OSError(28, "No space left on device")

    RunFolder.finish = full
    return resolve(supervised(SMOKE, SEED + 2), "cpu").folder.path.name
