"""The run folder: description, checkpoints, history and results of a run."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from semiseg_lib.core import escaping
from semiseg_lib.core.durable import (
    Damaged,
    atomic_write,
    move,
    read_bytes,
    read_json,
    seal,
    sweep,
    unseal,
    write_json,
)
from semiseg_lib.core.paths import shown
from semiseg_lib.core.provenance import compare_machines
from semiseg_lib.core.terminal import say
from semiseg_lib.stores.store import MANIFEST, Store
from semiseg_lib.training.weights import as_bytes, tensors

CONFIG, LISTS, RECORD, MACHINES = "config.json", "lists.json", "record.json", "machines.json"
WEIGHTS = {"last": "model.safetensors", "best": "best.safetensors"}
CHECKPOINTS = ("checkpoint.pt", "checkpoint-before.pt")
BEST_SO_FAR = "best-so-far.sealed"


def best_of(history: list[dict[str, float]]) -> dict[str, float] | None:
    """Return ``step`` and ``score`` of the row with the highest score; None if there is none.

    The first of equal scores counts; a score that is NaN or infinite never does.
    """
    scored = [row for row in history if math.isfinite(row.get("score", math.nan))]
    if not scored:
        return None
    best = max(scored, key=lambda row: row["score"])
    return {"step": best["step"], "score": best["score"]}


@dataclass(frozen=True)
class RunFolder:
    """Folder of one run on disk::

        config.json            the run as a value and its inputs; read by ``semiseg run``
        lists.json             the images of each list, with the hashes of their files
        machines.json          the states of machine and code that made it
        checkpoint.pt          while it runs: weights, optimizer, step, history; and its predecessor
        best-so-far.sealed     while it runs: the weights with the best validation score so far
        model.safetensors      when it is done: weights
        best.safetensors       when it is done, of a validated run: the weights with the best score
        record.json            when it is done: history, seconds, machine, best (step, score)
        manifest.json          when it is done, written last: the SHA-256 of each of these files

    Attributes:
        path: the folder.
        description: what the run is, JSON-able; see ``Identity.description``.
        parents: the identities of the results that it builds on.
    """

    path: Path
    description: Mapping[str, Any] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def store(self) -> Store:
        """Return the store of the finished files with their manifest."""
        return Store(self.path, "run", self.description, self.parents, make_again(self.path))

    @staticmethod
    def open(path: Path) -> RunFolder:
        """Return the folder of a run with the description stored in it.

        Args:
            path: the folder.

        Raises:
            FileNotFoundError: it is not a run folder.
            ValueError: an earlier version of the library made it.
            Damaged: a file is not what was written.
        """
        path = Path(path).expanduser()
        if (path / MANIFEST).exists():
            try:
                store = Store.open(path)
            except Damaged as error:
                raise Damaged(error.problem, make_again(path)) from error
            return RunFolder(path, store.description, store.parents)
        if not (path / CONFIG).is_file():
            raise FileNotFoundError(
                f"{shown(path / CONFIG)} is missing: {shown(path)} is not a run folder. `semiseg "
                "runs` lists those that there are."
            )
        description = read_description(path / CONFIG)
        return RunFolder(path, description, description.get("inputs", {}).get("parents", {}))

    @property
    def finished(self) -> bool:
        """Return whether the run is finished, its manifest complete and correct."""
        return self.store.finished

    def begin(self, lists: Mapping[str, Any]) -> None:
        """Write the description of the run and its images, before its first step.

        Args:
            lists: the images of each list, JSON-able.
        """
        write_json(self.path / CONFIG, dict(self.description))
        write_json(self.path / LISTS, dict(lists))

    def repair(self) -> bool:
        """Rewrite damaged files of an interrupted run that do not affect its result.

        ``config.json`` follows from the run itself; the content of ``machines.json`` is lost.

        Returns:
            Whether the states of the machine before the interruption are known.
        """
        write_json(self.path / CONFIG, dict(self.description))
        path = self.path / MACHINES
        problem = "" if path.is_file() else f"{shown(path)} is missing."
        try:
            self.read_machines()
        except Damaged as error:
            problem = error.problem
            path.unlink()
        if problem:
            say(f"{problem} The states of the machine before are not known any more.", sys.stderr)
        return not problem

    def note_machine(self, machine: Mapping[str, Any], code: str) -> None:
        """Record the state of the machine and the code with which the run continues.

        An interrupted run may have several; all of them are stored beside its result.
        """
        made = self.read_machines() if self.has_checkpoint else []
        now = {"machine": dict(machine), "code": code}
        before = made[-1] if made else now
        said = compare_machines(before["machine"], machine)
        said += [f"code {before['code']}, here {code}"] if before["code"] != code else []
        if said:
            say(f"{shown(self.path)} was started with {'; '.join(said)}; it continues, and both "
                "are stored.", sys.stderr)
        if now not in made:
            write_json(self.path / MACHINES, {"made with": [*made, now]})

    def read_machines(self) -> list[dict[str, Any]]:
        """Return the states of machine and code that made the run; () if not recorded.

        Raises:
            Damaged: the file is not what was written.
        """
        path = self.path / MACHINES
        return read_json(path)["made with"] if path.is_file() else []

    @property
    def has_checkpoint(self) -> bool:
        """Return whether there is a checkpoint to continue from."""
        return any((self.path / name).is_file() for name in CHECKPOINTS)

    @property
    def has_leftovers(self) -> bool:
        """Return whether files of an unfinished run are present."""
        return any((self.path / name).exists() for name in (*CHECKPOINTS, BEST_SO_FAR))

    def write_checkpoint(self, state: dict) -> None:
        """Write the state of a run; the previous checkpoint is kept until the next one."""
        buffer = io.BytesIO()
        torch.save({**state, "identity": self._identity}, buffer)
        newest, before = (self.path / name for name in CHECKPOINTS)
        with atomic_write(newest) as temporary:
            temporary.write_bytes(seal(buffer.getvalue()))
            if newest.is_file():
                move(newest, before)

    def read_checkpoint(self) -> dict | None:
        """Return the state of an interrupted run; None if there is none.

        A damaged checkpoint is set aside as ``NAME.damaged``, and its predecessor is read.
        """
        for name in CHECKPOINTS:
            path = self.path / name
            if not path.exists():
                continue
            try:
                return self._state(path)
            except Damaged as error:
                with suppress(FileNotFoundError):  # another process of the job was faster
                    path.replace(path.with_name(f"{name}.damaged"))
                say(f"{error.problem} It is set aside as {name}.damaged; the run continues from "
                    "the checkpoint before it, or from its first step.", sys.stderr)
        return None

    def set_checkpoints_aside(self) -> None:
        """Rename the checkpoints, and the best weights so far, to ``NAME.damaged``."""
        for name in (*CHECKPOINTS, BEST_SO_FAR):
            path = self.path / name
            if path.is_file():
                path.replace(path.with_name(f"{name}.damaged"))

    def drop_checkpoints(self) -> None:
        """Delete the files of an unfinished run."""
        for name in (*CHECKPOINTS, BEST_SO_FAR):
            if not (self.path / name).is_dir():
                (self.path / name).unlink(missing_ok=True)

    def write_best(self, weights: Mapping[str, torch.Tensor], step: int) -> None:
        """Write the weights after ``step`` steps as the best so far."""
        content = f"{self._identity} {int(step)}\n".encode("ascii") + as_bytes(weights)
        with atomic_write(self.path / BEST_SO_FAR) as temporary:
            temporary.write_bytes(seal(content))

    def read_best(self, step: int) -> bytes:
        """Return the best weights so far, as the bytes of a .safetensors file.

        Args:
            step: the step after which they were written.

        Raises:
            Damaged: they are missing, corrupt, or those of another step.
        """
        path = self.path / BEST_SO_FAR
        if not path.exists():
            raise Damaged(f"{shown(path)} is missing.", self._train_again)
        try:
            head, _, weights = unseal(read_bytes(path), path).partition(b"\n")
        except Damaged as error:
            raise Damaged(error.problem, self._train_again) from error
        if head != f"{self._identity} {int(step)}".encode("ascii"):
            raise Damaged(f"{shown(path)} does not hold the best weights, those of step "
                          f"{int(step)}.", self._train_again)
        return weights

    @property
    def _train_again(self) -> str:
        return f"`semiseg run {escaping.shell(shown(self.path))} --no-resume` trains the run again."

    def finish(self, weights: Mapping[str, torch.Tensor], record: dict) -> None:
        """Write the result, with the best score of its history, and delete the checkpoints.

        Args:
            weights: the state of the trained method.
            record: history, seconds and memory, JSON-able.

        Raises:
            Damaged: a row of the history has a score, but the best weights are missing or corrupt.
        """
        best, store = best_of(record.get("history", [])), self.store
        record = {**record, "made with": self.read_machines()}
        record = {**record, "best": best} if best else record
        members = {
            name: (self.path / name).read_bytes() for name in (CONFIG, LISTS, MACHINES)
            if (self.path / name).is_file()
        }
        members[RECORD] = json.dumps(record, indent=1).encode("utf-8")
        if best:
            members[WEIGHTS["best"]] = self.read_best(best["step"])
        members[WEIGHTS["last"]] = as_bytes(weights)
        for name, content in members.items():
            store.put(name, content, save=False)
        store.finish()
        self.drop_checkpoints()
        sweep(self.path)

    def read_record(self) -> dict:
        """Return history, seconds and machine of a finished run.

        Raises:
            FileNotFoundError: it is not finished.
            Damaged: the file is not what was written.
        """
        self._refuse_unfinished()
        return json.loads(self.store.read(RECORD))

    def load_weights(
        self, model: torch.nn.Module, which: Literal["last", "best"] = "last"
    ) -> None:
        """Load stored weights into a model.

        Args:
            model: the method of this run.
            which: the weights of the ``last`` step, or those with the ``best`` score.

        Raises:
            FileNotFoundError: the run is not finished, or was never scored.
            CheckpointMismatch: the weights are another model's.
            Damaged: the file is not what was written.
        """
        path = self.path / WEIGHTS[which]
        self._refuse_unfinished()
        if path.name not in self.store.members:
            raise FileNotFoundError(
                f"{shown(path)} is missing: the run was not scored on the way (set "
                "train.validate_every)."
            )
        model.load_state_dict(tensors(self.store.read(path.name), path, model.state_dict()))

    def write_batch(self, batch: Any, process: int = 0) -> str:
        """Write a batch with a non-finite loss; return its path.

        Args:
            batch: the batch.
            process: the index of the process, which names the file of all but the first.
        """
        parts = {"labelled": batch.labelled, "unlabelled": batch.unlabelled}
        kept = {
            f"{name}_{key}": value.detach().cpu()
            for name, part in parts.items() if part is not None
            for key, value in vars(part).items() if isinstance(value, torch.Tensor)
        }
        suffix = f"-{process}" if process else ""
        path = self.path / f"bad_batch{suffix}.safetensors"
        with atomic_write(path) as temporary:
            temporary.write_bytes(as_bytes(kept))
        return shown(path)

    def _refuse_unfinished(self) -> None:
        """Raise FileNotFoundError if the run is not finished, Damaged if a file is corrupt."""
        if self.finished:
            return
        if self.store.manifest_path.is_file():
            self.store.verify()
        raise FileNotFoundError(f"the run in {shown(self.path)} is not finished yet.")

    @property
    def _identity(self) -> str:
        return self.description.get("identity", "")

    def _state(self, path: Path) -> dict:
        """Return the state in a checkpoint; raise Damaged if it belongs to another run."""
        content = unseal(read_bytes(path), path)
        try:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            identity = state["identity"]
        except Exception as error:  # zip, pickle and torch each fail in their own classes
            raise Damaged(
                f"{shown(path)} is not a checkpoint of this version "
                f"({str(error).partition(chr(10))[0]})."
            ) from error
        if identity != self._identity:
            raise Damaged(f"{shown(path)} is the checkpoint of another run.")
        return state


def make_again(folder: Path) -> str:
    """Return the hint how to make a damaged run again."""
    return f"`semiseg run {escaping.shell(shown(folder))}` makes the run again."


def read_description(path: Path) -> dict[str, Any]:
    """Return the description of a run from the ``config.json`` that every run writes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an earlier version of the library wrote it.
        Damaged: it is not what was written.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"{shown(path)} is missing: name the config.json of a run, or the run's folder."
        )
    try:
        return read_json(path)
    except Damaged as error:
        if _is_of_earlier_version(path):
            raise ValueError(
                f"{shown(path)} was written by an earlier version, which did not store what a run "
                "learnt from; it cannot be told whether it is still right. Train it again; "
                "`semiseg runs prune` removes the old run."
            ) from error
        raise Damaged(error.problem, "Train again: the same training writes it anew.") from error


def _is_of_earlier_version(path: Path) -> bool:
    """Return whether a file has the form of a ``config.json`` from before files were sealed."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, OSError):
        return False
    return isinstance(content, dict) and "sha256" not in content and "method" in content
