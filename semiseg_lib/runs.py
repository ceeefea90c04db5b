"""A run folder: what was asked for, how it went, what came out; and how to continue it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from semiseg_lib.options import plain
from semiseg_lib.paths import atomic_write, shown, work_root


def fingerprint(config: Any) -> str:
    """Ten hexadecimal digits that change with any value in a configuration dataclass."""
    text = json.dumps(plain(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


class CheckpointMismatch(RuntimeError):
    """Stored weights that do not belong to this model."""


@dataclass(frozen=True)
class RunFolder:
    """One run on disk::

        config.json         everything that decides the result
        checkpoint.pt       while it runs: weights, optimiser, step, history
        model.safetensors   when it is done: weights
        record.json         when it is done: history, seconds, class names

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

    def finish(self, weights: dict[str, torch.Tensor], record: dict) -> None:
        """Store the result and drop the checkpoint."""
        with atomic_write(self.path / "record.json") as temporary:
            temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
        with atomic_write(self.path / "model.safetensors") as temporary:
            temporary.write_bytes(save({name: one.contiguous() for name, one in weights.items()}))
        (self.path / "checkpoint.pt").unlink(missing_ok=True)

    def read_record(self) -> dict:
        """History, seconds and class names of a finished run."""
        if not self.finished:
            raise FileNotFoundError(f"the run in {shown(self.path)} is not finished yet.")
        return json.loads((self.path / "record.json").read_text(encoding="utf-8"))

    def load_weights(self, model: torch.nn.Module) -> None:
        """Load the stored weights into ``model``.

        Raises:
            FileNotFoundError: the run is not finished.
            CheckpointMismatch: the weights are another model's, or the file is damaged.
        """
        path = self.path / "model.safetensors"
        if not path.is_file():
            raise FileNotFoundError(f"{shown(path)} is missing: the run is not finished yet.")
        try:
            model.load_state_dict(load_file(path))
        except (RuntimeError, SafetensorError) as error:
            raise CheckpointMismatch(
                f"{shown(path)} does not fit this model. Use the configuration it was trained with "
                f"({shown(self.path / 'config.json')}), or train again. The first difference: "
                f"{str(error).splitlines()[-1].strip()}"
            ) from error

    def write_batch(self, batch: Any) -> str:
        """Keep a batch that broke the training; return where."""
        parts = {"labelled": batch.labelled, "weak": batch.weak}
        tensors = {
            f"{name}_{key}": value.detach().cpu().contiguous()
            for name, part in parts.items() if part is not None
            for key, value in vars(part).items() if isinstance(value, torch.Tensor)
        }
        path = self.path / "bad_batch.safetensors"
        with atomic_write(path) as temporary:
            temporary.write_bytes(save(tensors))
        return shown(path)

    def delete(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
