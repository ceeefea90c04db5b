"""The known methods: those whose rooms lie in this folder, and those that are registered.

Importing this module does not import torch: the class of a method is imported when it is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import PlainValidator, ValidationError

from semiseg_lib import models
from semiseg_lib.core.fingerprint import adapter

if TYPE_CHECKING:
    from semiseg_lib.methods.base import Method


@dataclass(frozen=True)
class Declared:
    """One method, as its room declares it in ``DECLARED``, in a part that imports no torch.

    Attributes:
        options: the frozen dataclass of its options, with a field ``name``, from the room's
            ``__init__.py``.
        method: the name of its class in the room's ``method.py``.
        unlabelled: it learns from labelled and unlabelled images together.
        variants: options that have a name of their own, such as ``cutmix-cps``.
    """

    options: type[Any]
    method: str
    unlabelled: bool = False
    variants: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def load(self) -> type[Method]:
        """Import the class of the method, and torch with it."""
        return getattr(import_module(f"{self.options.__module__}.method"), self.method)


METHODS: dict[type[Any], Declared | type[Method]] = {}
"""Each known method by the dataclass of its options: as declared, or the class as registered."""

_shipped: list[Declared] = []


class UnknownMethod(RuntimeError):
    """Error for a method that this process does not know."""


def discover(folders: Iterable[str], package: str) -> None:
    """Register the methods of every room; nothing may replace them.

    Args:
        folders: the folders that contain the rooms.
        package: the dotted name of the package that they belong to.
    """
    for found in iter_modules(folders):
        if found.ispkg:
            _shipped.extend(import_module(f"{package}.{found.name}").DECLARED)
    METHODS.update({one.options: one for one in _shipped})


def declared() -> tuple[Declared, ...]:
    """Return the declarations of the shipped methods."""
    return tuple(_shipped)


def named_options(unlabelled: bool = False) -> dict[str, Any]:
    """Return default options by the names that commands and recipes know methods by.

    Args:
        unlabelled: only of methods that learn from labelled and unlabelled images together.
    """
    found: dict[str, Any] = {}
    for one in declared():
        if one.unlabelled or not unlabelled:
            found |= {one.options.name: one.options(), **one.variants}
    return found


def defaults(name: str) -> Any:
    """Return the default options of a known method.

    Args:
        name: the name in its options.

    Raises:
        UnknownMethod: no method of that name is known.
    """
    return _options_named(name)()


def _options_named(name: str) -> type:
    by_name = {config.name: config for config in METHODS}
    if name not in by_name:
        raise UnknownMethod(
            f"the method {name!r} is not known here. Run the code that calls methods.register "
            "with its options first. A command knows the methods in semiseg_lib/methods alone: to "
            "use one there, give it a room there."
        )
    return by_name[name]


def method_class(config: Any) -> type[Method]:
    """Return the class of the method that a configuration belongs to.

    Args:
        config: the options of a method.

    Raises:
        ValueError: it is not the configuration of a registered method.
    """
    if type(config) not in METHODS:
        name = type(config).__name__
        raise ValueError(
            f"{name} is not the configuration of a registered method. Call "
            f"methods.register({name}, ...) with the class of the method first."
        )
    known = METHODS[type(config)]
    return known.load() if isinstance(known, Declared) else known


def register(config: type, method: type[Method]) -> None:
    """Register a method for this process, from a notebook or a file of your own.

    Its options can then be trained, scored and stored like those of the shipped methods. A notebook
    cell that is run again replaces what it had registered. A run is identified by its options, not
    by its code: after a change to the class, change an option too, or train ``anew``. A stored run
    of a class with another source is used, with a warning.

    Args:
        config: the frozen dataclass of its options, with a field ``name``.
        method: a subclass of ``Method``; ``from_config(config, build, num_classes)`` makes one.

    Raises:
        ValueError: one of them is not as described, or the name belongs to another method.
    """
    from semiseg_lib.methods.base import Method  # imports torch

    is_frozen = (
        isinstance(config, type) and is_dataclass(config)
        and config.__dataclass_params__.frozen  # type: ignore[attr-defined]  # not in typeshed
    )
    if not is_frozen or "name" not in {field.name for field in fields(config)}:
        raise ValueError(
            f"{config!r} is not a frozen dataclass with a field name. Options look like this: "
            '@dataclass(frozen=True) class MyConfig: name: Literal["mine"] = "mine" ...'
        )
    name = getattr(config, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ValueError(
            f"the name of {config.__name__} is {name!r}. Run folders are named after it, so its "
            "default must consist of lower-case letters, digits and hyphens."
        )
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise ValueError(f"{method!r} is not a subclass of Method (methods/base.py).")
    for known in list(METHODS):
        if known.name == name:
            shipped = isinstance(METHODS[known], Declared)
            if _defined_at(known) != _defined_at(config) or shipped:
                owner = ".".join(_defined_at(known))
                raise ValueError(f"{name!r} is already the name of {owner}; choose another.")
            del METHODS[known]
    METHODS[config] = method


def _defined_at(config: type) -> tuple[str, str]:
    return config.__module__, config.__qualname__


def read(value: Any) -> Any:
    """Return stored options as the configuration of the method that they name; for pydantic.

    Args:
        value: a configuration, which is returned as it is, or a mapping of options.

    Raises:
        UnknownMethod: the method is not known.
        ValueError: the options name no method, or do not fit it.
    """
    if type(value) in METHODS:
        return value
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str):
        raise ValueError(f"{value!r} is not the configuration of a method: it has no name")
    kind = _options_named(name)
    try:
        return adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise ValueError(f"{place + ': ' if place else ''}{first['msg']}") from error


MethodConfig: TypeAlias = Annotated[Any, PlainValidator(read)]
"""Options of a shipped method, or of one that was registered; read by their name."""


def build(config: MethodConfig, model: models.ModelConfig, num_classes: int) -> Method:
    """Build a method around fresh networks.

    Args:
        config: which method, with its options.
        model: which network.
        num_classes: C, background included.
    """
    method = method_class(config)
    box_channels = method.box_channels(config, num_classes)
    return method.from_config(
        config, lambda: models.build(model, num_classes, box_channels, method.attention),
        num_classes,
    )
