"""One room per paper, and the registry that maps names to methods.

A room is a folder: its ``__init__`` says what the paper does and declares its methods with their
options, its ``method.py`` has the equations and the code. Importing this package reads all
declarations and does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainValidator

from semiseg_lib import models
from semiseg_lib.methods import registry
from semiseg_lib.methods.registry import (
    Declared,
    UnknownMethod,
    declared,
    defaults,
    kind,
    named_options,
    register,
)

if TYPE_CHECKING:
    from semiseg_lib.methods.base import Method

__all__ = [
    "Declared", "MethodConfig", "UnknownMethod", "build", "declared", "defaults", "kind",
    "named_options", "register",
]

registry.discover(__path__, __name__)

MethodConfig = Annotated[Any, PlainValidator(registry.read)]
"""Options of a method in this folder, or of one that was registered; read by their name."""


def __getattr__(name: str) -> type:
    """Return the class of options of that name, of a method in this folder."""
    for one in declared():
        if one.options.__name__ == name:
            return one.options
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def build(config: MethodConfig, model: models.ModelConfig, num_classes: int) -> Method:
    """Build a method around fresh networks.

    Args:
        config: which method, with its options.
        model: which network.
        num_classes: C, background included.
    """
    method = kind(config)
    box_channels = method.box_channels(config, num_classes)
    return method.of(
        config, lambda: models.build(model, num_classes, box_channels, method.attention),
        num_classes,
    )
