"""One room per paper, and the registry that maps names to methods.

A room is a folder: its ``__init__`` says what the paper does and declares its methods with their
options, its ``method.py`` has the equations and the code. Importing this package reads all
declarations and does not import torch. The classes of methods and of their options are attributes
of this package, such as ``methods.CPS`` and ``methods.CPSConfig``; ``__init__.pyi`` lists them for
type checkers.
"""

from __future__ import annotations

from typing import Any

from semiseg_lib.core import lazy
from semiseg_lib.methods import registry
from semiseg_lib.methods.registry import (
    Declared,
    MethodConfig,
    UnknownMethod,
    build,
    declared,
    defaults,
    method_class,
    named_options,
    register,
)

registry.discover(__path__, __name__)

_shared, _, _shared_names = lazy.attach(
    __name__, ["losses"], {"base": ["BOTH", "LABELLED", "AveragedMethod", "SemiSupervised"]}
)
__all__ = [
    "Declared", "MethodConfig", "UnknownMethod", "build", "declared", "defaults", "method_class",
    "named_options", "register", *_shared_names,
    *(name for one in declared() for name in (one.method, one.options.__name__)),
]


def __getattr__(name: str) -> Any:
    """Return the class of a method in this folder or of its options, or what methods share."""
    for one in declared():
        if name == one.options.__name__:
            return one.options
        if name == one.method:
            return one.load()
    return _shared(name)


def __dir__() -> list[str]:
    return __all__
