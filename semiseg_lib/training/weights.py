"""Weights as the bytes of a safetensors file, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from semiseg_lib.core.durable import damaged
from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown

LENGTH = 8  # bytes that hold the length of the header
METADATA = "__metadata__"
DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16,
    "I32": torch.int32, "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16,
    "F32": torch.float32, "F64": torch.float64,
}


class CheckpointMismatch(RuntimeError):
    """Error for stored weights that do not fit this model: other names, shapes or dtypes."""


def as_bytes(weights: Mapping[str, Tensor]) -> bytes:
    """Return tensors as the bytes of a safetensors file."""
    return save({name: one.contiguous() for name, one in weights.items()})


def tensors(content: bytes, path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in the bytes of a safetensors file, compared before memory is taken.

    Args:
        content: the bytes.
        path: their file, for messages; the run's ``config.json`` lies beside it.
        expected: tensors with the expected names, shapes and dtypes, on any device.

    Raises:
        Damaged: the bytes are not a safetensors file.
        CheckpointMismatch: names, shapes or dtypes differ from those expected.
    """
    asked = {name: f"{one.dtype} {tuple(one.shape)}" for name, one in expected.items()}
    try:
        stored = _forms(content)
        for name in {**asked, **stored}:
            pair = stored.get(name, "missing"), asked.get(name, "not part of the model")
            if pair[0] != pair[1]:
                raise CheckpointMismatch(
                    f"{shown(path)} does not fit this model. Use the configuration it was trained "
                    f"with ({shown(path.with_name('config.json'))}), or train again. The first "
                    f"difference: {visible(name)}: stored {pair[0]}, but the model's is {pair[1]}."
                )
        return load(content)
    except (SafetensorError, ValueError, TypeError, LookupError, AttributeError,
            OverflowError, RecursionError) as error:
        raise damaged(path, f"it is not a safetensors file ({error})") from error


def _forms(content: bytes) -> dict[str, str]:
    """Return dtype and shape of each tensor, from the header of a safetensors file."""
    length = int.from_bytes(content[:LENGTH], "little")
    header = json.loads(content[LENGTH:LENGTH + length])
    return {name: f"{DTYPES.get(entry['dtype'], entry['dtype'])} {tuple(entry['shape'])}"
            for name, entry in header.items() if name != METADATA}
