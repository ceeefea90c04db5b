"""Tensors from the bytes of a safetensors file, checked before memory is allocated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from semiseg_lib.core.durable import damaged
from semiseg_lib.core.paths import shown

LENGTH = 8  # bytes that hold the length of the header
METADATA = "__metadata__"
DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16,
    "I32": torch.int32, "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16,
    "F32": torch.float32, "F64": torch.float64,
}


class Mismatch(RuntimeError):
    """Stored tensors do not fit the model: other names, shapes or dtypes."""


def tensors(
    content: bytes, path: Path, expected: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the tensors in the bytes of a safetensors file.

    Args:
        content: the bytes, already verified.
        path: their file, for messages.
        expected: tensors with the expected names, shapes and dtypes, such as a state dict on the
            device ``meta``, compared before memory is allocated. None accepts any.

    Raises:
        Damaged: the bytes are not a safetensors file.
        Mismatch: names, shapes or dtypes differ from those expected.
    """
    try:
        if expected is not None:
            _check_fit(_header(content), expected, path)
        return load(content)
    except (SafetensorError, ValueError, TypeError, LookupError, AttributeError,
            OverflowError, RecursionError) as error:
        raise damaged(path, f"it is not a safetensors file ({error})") from error


def _header(content: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return {name: (dtype as safetensors calls it, shape)}."""
    length = int.from_bytes(content[:LENGTH], "little")
    header = json.loads(content[LENGTH:LENGTH + length])
    return {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()
            if name != METADATA}


def _check_fit(
    header: Mapping[str, tuple[str, tuple[int, ...]]], expected: Mapping[str, Tensor], path: Path
) -> None:
    for name in {**expected, **header}:
        stored, asked = "missing", "not part of the model"
        if name in header:
            dtype, shape = header[name]
            stored = f"{DTYPES.get(dtype, dtype)} {shape}"
        if name in expected:
            asked = f"{expected[name].dtype} {tuple(expected[name].shape)}"
        if stored != asked:
            raise Mismatch(
                f"{shown(path)} does not fit this model: first difference {name}: stored {stored}, "
                f"but the model's is {asked}. Load it into the model that it was written from, or "
                "train this one again."
            )
