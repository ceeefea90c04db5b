"""Weights as the bytes of a safetensors file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from semiseg_lib.core.durable import damaged
from semiseg_lib.core.paths import shown


class CheckpointMismatch(RuntimeError):
    """Error for stored weights that do not fit this model: other names, shapes or dtypes."""


def as_bytes(weights: Mapping[str, Tensor]) -> bytes:
    """Return tensors as the bytes of a safetensors file."""
    return save({name: one.contiguous() for name, one in weights.items()})


def tensors(content: bytes, path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in the bytes of a safetensors file.

    Args:
        content: the bytes.
        path: their file, for messages; the run's ``config.json`` lies beside it.
        expected: tensors with the expected names, shapes and dtypes, on any device.

    Raises:
        Damaged: the bytes are not a safetensors file.
        CheckpointMismatch: names, shapes or dtypes differ from those expected.
    """
    try:
        found = load(content)
    except (SafetensorError, ValueError, LookupError) as error:
        raise damaged(path, f"it is not a safetensors file ({error})") from error
    for name in {**expected, **found}:
        stored = _form(found[name]) if name in found else "missing"
        asked = _form(expected[name]) if name in expected else "not part of the model"
        if stored != asked:
            raise CheckpointMismatch(
                f"{shown(path)} does not fit this model. Use the configuration it was trained with "
                f"({shown(path.with_name('config.json'))}), or train again. The first difference: "
                f"{name}: stored {stored}, but the model's is {asked}."
            )
    return found


def _form(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"
