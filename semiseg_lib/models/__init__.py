"""Segmentation networks: images in, logits at head resolution out.

Importing this package does not import torch: a recipe names a network without building it.
"""

from __future__ import annotations

from typing import Any

from semiseg_lib.models.options import ModelConfig

__all__ = ["ModelConfig", "build", "decoder_alone"]


def __getattr__(name: str) -> Any:
    """Import what builds networks, and torch with it, once it is asked for."""
    if name in ("build", "decoder_alone"):
        from semiseg_lib.models import factory

        return getattr(factory, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
