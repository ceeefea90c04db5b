"""Fingerprints: the options that determine a result, as JSON and as hexadecimal digits.

A fingerprint is the hash of a configuration's values under stable keys. Names of classes and
modules never enter it, so code may be renamed and moved. The :class:`Schema` of a class defines how
its options enter.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from math import isinf
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from semiseg_lib.core.paths import shown

VERSION_KEY = "schema"
"""The key of a schema's version; written only for versions > 1."""
A_FILE = "a file"
"""Placeholder for the path of any file."""

T = TypeVar("T")


@dataclass(frozen=True)
class Schema:
    """How the options of one class enter a fingerprint.

    A subclass adds its schema to those of its base classes.

    Attributes:
        version: increased when the meaning of an option changes.
        before: {field: the value that means "as before the option existed"}, as :func:`plain`
            returns it, independent of the default. While a field has this value it is left out,
            and a stored file without the field is read as this value.
        keys: {field: its stable key}, for fields that were renamed; the key is the old name.
        aside: fields that do not affect the result.
        paths: {field: its values that are not paths}, for fields that may hold the path of a file.
            Every path enters as the same word: the location of a file has no effect, and its bytes
            are hashed by the code that reads them.
    """

    version: int = 1
    before: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    aside: frozenset[str] = frozenset()
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Configuration:
    """Base class of every dataclass of options.

    Pydantic reads stored options by their stable keys. Every key must be known; a missing field
    takes its value ``before``, not its default.
    """

    SCHEMA: ClassVar[Schema] = Schema()

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        inner = dict(handler.resolve_ref_schema(handler(source)))
        # Pydantic looks up a class that it has seen by this reference: it must resolve to the
        # validator of stable keys, not to the inner class.
        reference = inner.pop("ref", None)
        return core_schema.no_info_before_validator_function(cls._restored, inner, ref=reference)

    def check_ranges(self, place: str, **ranges: tuple[float, float]) -> None:
        """Raise ValueError if an option is not in its closed range [low, high].

        Args:
            place: where a profile holds the options, for the message.
            ranges: by option; ``inf`` for no upper bound.
        """
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                wanted = f">= {low}" if isinf(high) else f"in [{low}, {high}]"
                raise ValueError(f"{place}.{name} is {value}; it must be {wanted}.")

    @classmethod
    def _restored(cls, stored: Any) -> Any:
        """Return stored options keyed by field name; anything but a mapping unchanged."""
        if not isinstance(stored, Mapping):
            return stored
        schema, named = schema_of(cls), {_key(cls, one.name): one.name for one in fields(cls)}
        stored = dict(stored)
        version = stored.pop(VERSION_KEY, 1)
        if version != schema.version:
            raise ValueError(
                f"the options are of schema version {version}, but {cls.__name__} is at version "
                f"{schema.version}, where an option means something else"
            )
        if unknown := sorted(stored.keys() - named.keys()):
            raise ValueError(f"{cls.__name__} has no option {unknown[0]!r}")
        return {**schema.before, **{named[key]: value for key, value in stored.items()}}


def plain(value: Any) -> Any:
    """Return the options that affect the result, as JSON of stable keys.

    Fields with their value ``before`` and fields in ``aside`` are left out.
    """
    return _as_json(value, whole=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of :func:`plain` as 64 hexadecimal digits.

    Raises:
        ValueError: a number is infinite or NaN.
    """
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def fingerprint(value: Any) -> str:
    """Return the first ten digits of :func:`digest`; they change with every option that matters."""
    return digest(value)[:10]


def dump(value: Any) -> Any:
    """Return every field as JSON of stable keys, for storage in a file."""
    return _as_json(value, whole=True)


def load(kind: type[T], content: Any, path: Path) -> T:
    """Return the result of :func:`dump` as an instance of the dataclass ``kind``.

    Args:
        kind: the dataclass.
        content: the JSON.
        path: where it was read, for the message.

    Raises:
        ValueError: the content is damaged, or from another version of the library.
    """
    try:
        return adapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        steps = [str(step) for step in first["loc"] if not str(step).startswith("function-")]
        place = ".".join(steps) or "its top level"
        raise ValueError(
            f"{shown(path)} cannot be read as options of this version ({error.error_count()} "
            f"problems; the first, at {place}: {first['msg']}). Use the version of the library "
            "that wrote it, or delete the file and create it again."
        ) from error


@cache
def schema_of(kind: type) -> Schema:
    """Return the schema of a dataclass, merged with those of its base classes.

    Raises:
        TypeError: the schema names a field that does not exist, two fields share a key, or a value
            ``before`` is not JSON.
    """
    own = [one.__dict__["SCHEMA"] for one in reversed(kind.__mro__)
           if isinstance(one.__dict__.get("SCHEMA"), Schema)]
    schema = Schema(
        version=1 + sum(one.version - 1 for one in own),
        before={name: value for one in own for name, value in one.before.items()},
        keys={name: key for one in own for name, key in one.keys.items()},
        aside=frozenset().union(*(one.aside for one in own)),
        paths={name: words for one in own for name, words in one.paths.items()},
    )
    names = [one.name for one in fields(kind)]
    for name in [*schema.before, *schema.keys, *sorted(schema.aside), *schema.paths]:
        if name not in names:
            raise TypeError(
                f"{kind.__name__}.SCHEMA names {name!r}, but the class has no such field. Correct "
                "the name, or remove it from the schema."
            )
    keys = Counter([VERSION_KEY, *(schema.keys.get(name, name) for name in names)])
    if twice := [key for key, count in keys.items() if count > 1]:
        raise TypeError(
            f"two fields of {kind.__name__} have the stable key {twice[0]!r}, or it is the key of "
            "the schema's version. Name another key in SCHEMA.keys."
        )
    try:
        json.dumps(schema.before, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{kind.__name__}.SCHEMA.before is not JSON ({error}). Write options of another class "
            "out, as plain() returns them: the value must not follow their defaults."
        ) from error
    return schema


def _key(kind: type, name: str) -> str:
    return schema_of(kind).keys.get(name, name)


adapter = cache(TypeAdapter)
"""Return pydantic's adapter of a type; the same one at every call."""


def _as_json(value: Any, whole: bool) -> Any:
    """Return a value as JSON; ``whole`` includes the fields that enter no fingerprint."""
    return _nested(value, adapter(type(value)).dump_python(value, mode="json"), whole)


def _options_as_json(value: Any, whole: bool) -> dict[str, Any]:
    kind = type(value)
    schema = schema_of(kind)
    dumped = adapter(kind).dump_python(value, mode="json")
    before = json.loads(json.dumps(dict(schema.before)))
    found: dict[str, Any] = {} if schema.version == 1 else {VERSION_KEY: schema.version}
    for one in fields(value):
        if one.name in schema.aside and not whole:
            continue
        content = _nested(getattr(value, one.name), dumped[one.name], whole)
        if not whole and one.name in schema.before and content == before[one.name]:
            continue
        words = schema.paths.get(one.name)
        is_path = words is not None and content not in words
        found[_key(kind, one.name)] = A_FILE if is_path and not whole else content
    return found


def _nested(value: Any, dumped: Any, whole: bool) -> Any:
    """Return a field's value as JSON.

    Args:
        value: the value.
        dumped: the value as the type of its field serializes it: a float field writes 30 as 30.0.
        whole: see :func:`_as_json`.
    """
    if is_dataclass(value):  # by its own class: the field's type may be a base class of it
        return _options_as_json(value, whole)
    if isinstance(value, tuple | list):
        return [_nested(*pair, whole) for pair in zip(value, dumped, strict=True)]
    if isinstance(value, Mapping):
        pairs = zip(value.values(), dumped.items(), strict=True)
        return {key: _nested(one, written, whole) for one, (key, written) in pairs}
    return dumped
