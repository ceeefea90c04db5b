"""A run folder: what was asked for, how it went, what came out; and how to continue it."""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from semiseg_lib.durable import atomic_write
from semiseg_lib.options import plain
from semiseg_lib.paths import shown, work_root


def fingerprint(config: Any) -> str:
    """Ten hexadecimal digits that change with any value in a configuration dataclass."""
    text = json.dumps(plain(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def best_of(history: list[dict[str, float]]) -> dict[str, float] | None:
    """``step`` and ``score`` of the row with the highest score, the first of equals; None if none.

    A score that is no number never counts.
    """
    scored = [row for row in history if math.isfinite(row.get("score", math.nan))]
    if not scored:
        return None
    best = max(scored, key=lambda row: row["score"])
    return {"step": best["step"], "score": best["score"]}


class CheckpointMismatch(RuntimeError):
    """Stored weights that do not belong to this model."""


@dataclass(frozen=True)
class RunFolder:
    """One run on disk::

        config.json         everything that decides the result
        checkpoint.pt       while it runs: weights, optimiser, step, history
        best.safetensors    where it is scored on the way: the weights with the best score so far
        model.safetensors   when it is done: weights
        record.json         when it is done: history, seconds, class names, best (step, score)

    ``model.safetensors`` is written last, so a folder that has it is complete.
    """

    path: Path

    @staticmethod
    def of(name: str, config: Any) -> RunFolder:
        """The folder of the run with this configuration, under ``<work root>/runs``."""
        return RunFolder(work_root() / "runs" / f"{name}-{fingerprint(config)}")

    @property
    def finished(self) -> bool:
        return (self.path / "model.safetensors").is_file()

    def write_config(self, config: Any) -> None:
        with atomic_write(self.path / "config.json") as temporary:
            temporary.write_bytes(TypeAdapter(type(config)).dump_json(config, indent=2))

    def read_config(self, kind: type) -> Any:
        """Read the configuration as an instance of the dataclass ``kind``.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged or of another version.
        """
        path = self.path / "config.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {self.path} is no run folder.")
        try:
            return TypeAdapter(kind).validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(
                f"{shown(path)} is not a configuration of this version ({error.error_count()} "
                f"problems; the first: {first['msg']}, at {first['loc']}). Train again."
            ) from error

    def write_checkpoint(self, state: dict) -> None:
        with atomic_write(self.path / "checkpoint.pt") as temporary:
            buffer = io.BytesIO()
            torch.save(state, buffer)
            temporary.write_bytes(buffer.getbuffer())

    def read_checkpoint(self) -> dict | None:
        """The state of an interrupted run; None if there is none.

        Raises:
            CheckpointMismatch: the file is damaged.
        """
        path = self.path / "checkpoint.pt"
        if not path.is_file():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, UnpicklingError, EOFError, ValueError) as error:
            raise CheckpointMismatch(
                f"{shown(path)} is damaged ({str(error).splitlines()[0]}). Delete it, and the run "
                "starts again from its first step."
            ) from error

    def write_best(self, weights: dict[str, torch.Tensor]) -> None:
        """Keep weights as the best so far."""
        self._write_weights("best.safetensors", weights)

    def finish(self, weights: dict[str, torch.Tensor], record: dict) -> None:
        """Store the result, with the best score of its history, and drop the checkpoint."""
        best = best_of(record.get("history", []))
        record = {**record, "best": best} if best else record
        with atomic_write(self.path / "record.json") as temporary:
            temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
        self._write_weights("model.safetensors", weights)
        (self.path / "checkpoint.pt").unlink(missing_ok=True)
        self.drop_leftovers()

    def _write_weights(self, name: str, weights: dict[str, torch.Tensor]) -> None:
        with atomic_write(self.path / name) as temporary:
            temporary.write_bytes(save({key: one.contiguous() for key, one in weights.items()}))

    def drop_leftovers(self) -> None:
        """Delete the half-written files of a process that was killed."""
        for name in ("checkpoint.pt", "best.safetensors", "model.safetensors", "record.json"):
            for path in self.path.glob(f".{name}.*"):
                path.unlink(missing_ok=True)

    def read_record(self) -> dict:
        """History, seconds and class names of a finished run."""
        if not self.finished:
            raise FileNotFoundError(f"the run in {shown(self.path)} is not finished yet.")
        return json.loads((self.path / "record.json").read_text(encoding="utf-8"))

    def load_weights(
        self, model: torch.nn.Module, which: Literal["last", "best"] = "last"
    ) -> None:
        """Load stored weights into ``model``: those of the last step, or of the best score.

        Raises:
            FileNotFoundError: the run is not finished, or was never scored.
            CheckpointMismatch: the weights are another model's, or the file is damaged.
        """
        path = self.path / {"last": "model.safetensors", "best": "best.safetensors"}[which]
        if not path.is_file():
            why = {"last": "the run is not finished yet",
                   "best": "the run was not scored on the way (set train.validate_every)"}[which]
            raise FileNotFoundError(f"{shown(path)} is missing: {why}.")
        try:
            model.load_state_dict(load_file(path))
        except (RuntimeError, SafetensorError) as error:
            raise CheckpointMismatch(
                f"{shown(path)} does not fit this model. Use the configuration it was trained with "
                f"({shown(self.path / 'config.json')}), or train again. The first difference: "
                f"{str(error).splitlines()[-1].strip()}"
            ) from error

    def write_batch(self, batch: Any, process: int = 0) -> str:
        """Keep a process's batch that broke the training; return where."""
        parts = {"labelled": batch.labelled, "unlabelled": batch.unlabelled}
        tensors = {
            f"{name}_{key}": value.detach().cpu().contiguous()
            for name, part in parts.items() if part is not None
            for key, value in vars(part).items() if isinstance(value, torch.Tensor)
        }
        suffix = f"-{process}" if process else ""
        path = self.path / f"bad_batch{suffix}.safetensors"
        with atomic_write(path) as temporary:
            temporary.write_bytes(save(tensors))
        return shown(path)

    def delete(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
