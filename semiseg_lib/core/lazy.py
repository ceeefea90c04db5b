"""Packages whose names are imported when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import lazy_loader

from semiseg_lib.core import escaping

Attached: TypeAlias = "tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]"
"""The ``__getattr__``, ``__dir__`` and ``__all__`` of a package."""


def attach_stub(package: str, file: str) -> Attached:
    """Return what imports the names that the ``.pyi`` beside a package's file lists.

    Args:
        package: the package's ``__name__``.
        file: its ``__file__``.
    """
    return _refusing_unseen(package, lazy_loader.attach_stub(package, file))


def attach(
    package: str, files: Iterable[str], names: Mapping[str, list[str]] | None = None
) -> Attached:
    """Return what imports files of a package, and names in its files.

    Args:
        package: the package's ``__name__``.
        files: the modules that are names of the package.
        names: for a module, those of its names that are names of the package.
    """
    return _refusing_unseen(package, lazy_loader.attach(package, files, names))


def _refusing_unseen(package: str, attached: Attached) -> Attached:
    """Return the same; a name that would write control characters is refused as visible text."""
    load, listing, known = attached

    def get(name: str) -> Any:
        if name not in known and escaping.visible(name) != name:
            raise AttributeError(f"No {package} attribute {escaping.visible(name)}")
        return load(name)

    return get, listing, known
