"""Fields that were added to a configuration after runs had been recorded with it."""

from __future__ import annotations

from dataclasses import MISSING, field, fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter


def added(default: Any) -> Any:
    """A dataclass field that came later.

    While it has the value ``default``, which is what the code did before the field existed, it is
    left out of the configuration's fingerprint. So stored runs and records stay what they were.
    """
    return field(default=default, metadata={"before": default})


def plain(config: Any) -> Any:
    """A configuration as dicts, lists and plain values, without the fields left at ``added``."""
    return _without_added(config, TypeAdapter(type(config)).dump_python(config, mode="json"))


def _without_added(config: Any, dumped: Any) -> Any:
    if is_dataclass(config):
        return {
            one.name: _without_added(getattr(config, one.name), dumped[one.name])
            for one in fields(config)
            if getattr(config, one.name) != one.metadata.get("before", MISSING)
        }
    if isinstance(config, tuple | list):
        return [_without_added(*pair) for pair in zip(config, dumped, strict=True)]
    return dumped
