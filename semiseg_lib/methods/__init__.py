"""One file a paper, and the one place that knows them all by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Annotated, Any

from pydantic import SerializeAsAny, TypeAdapter, WrapValidator

from semiseg_lib import models
from semiseg_lib.methods.base import Method
from semiseg_lib.methods.cac import CAC, CACConfig
from semiseg_lib.methods.cps import CPS, CPSConfig
from semiseg_lib.methods.eln import ELN, ELNConfig
from semiseg_lib.methods.fixmatch import FixMatch, FixMatchConfig
from semiseg_lib.methods.mean_teacher import MeanTeacher, MeanTeacherConfig
from semiseg_lib.methods.pseudo_label import PseudoLabel, PseudoLabelConfig
from semiseg_lib.methods.s4mc import S4MC, S4MCConfig
from semiseg_lib.methods.self_correcting import (
    Ancillary,
    AncillaryConfig,
    ConvPrimary,
    ConvPrimaryConfig,
    Primary,
    PrimaryConfig,
)
from semiseg_lib.methods.supervised import Supervised, SupervisedConfig

UnlabelledConfig = (
    FixMatchConfig | CPSConfig | CACConfig | ELNConfig | S4MCConfig | MeanTeacherConfig
)
"""Methods that learn from labelled and unlabelled pictures together."""

MethodConfig = (
    SupervisedConfig | AncillaryConfig | PrimaryConfig | ConvPrimaryConfig | PseudoLabelConfig
    | UnlabelledConfig
)

_METHODS: dict[type, type[Method]] = {
    SupervisedConfig: Supervised,
    AncillaryConfig: Ancillary,
    PrimaryConfig: Primary,
    ConvPrimaryConfig: ConvPrimary,
    PseudoLabelConfig: PseudoLabel,
    FixMatchConfig: FixMatch,
    CPSConfig: CPS,
    CACConfig: CAC,
    ELNConfig: ELN,
    S4MCConfig: S4MC,
    MeanTeacherConfig: MeanTeacher,
}


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
        config, lambda: models.build(model, num_classes, box_channels), num_classes
    )


def kind(config: MethodConfig) -> type[Method]:
    """The class of the method that these are options of.

    Raises:
        ValueError: they are no method's.
    """
    if type(config) not in _METHODS:
        name = type(config).__name__
        raise ValueError(
            f"{name} are options of no method that is known here: call "
            f"methods.register({name}, ...) with the class of your method first."
        )
    return _METHODS[type(config)]


class UnknownMethod(RuntimeError):
    """A stored run of a method that this process does not know."""


def register(config: type, method: type[Method]) -> None:
    """Make a method known, for as long as this process lives: from a notebook or a file of yours.

    Its options can then be trained, scored and stored like those of the methods in this folder. A
    notebook cell that is run again replaces what it had registered. A run is known by its options,
    not by its code: after a change to the class, change an option too, or delete the run's folder.

    Args:
        config: the frozen dataclass of its options, with a field ``name`` that says what the method
            is called.
        method: ``method.of(config, build, num_classes)`` makes the method.

    Raises:
        ValueError: one of them is not as described, or the name is another method's.
    """
    is_frozen = (
        isinstance(config, type) and is_dataclass(config) and config.__dataclass_params__.frozen
    )
    if not is_frozen or "name" not in {field.name for field in fields(config)}:
        raise ValueError(
            f"{config!r} is no frozen dataclass with a field name. Options look like this: "
            '@dataclass(frozen=True) class MyConfig: name: Literal["mine"] = "mine" ...'
        )
    name = getattr(config, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ValueError(
            f"the name of {config.__name__} is {name!r}; run folders are called after it, so give "
            "it a default of small letters, digits and hyphens."
        )
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise ValueError(f"{method!r} is no class that is made from Method (methods/base.py).")
    for known in list(_METHODS):
        if known.name == name:
            if _defined_at(known) != _defined_at(config) or _defined_at(known) in _OURS:
                owner = ".".join(_defined_at(known))
                raise ValueError(f"{name!r} is the name of {owner} already; choose another.")
            del _METHODS[known]
    _METHODS[config] = method


def _defined_at(config: type) -> tuple[str, str]:
    return config.__module__, config.__qualname__


_OURS = {_defined_at(config) for config in _METHODS}


def _read(value: Any, read_ours: Callable[[Any], MethodConfig]) -> Any:
    """Stored options as those of the method that they name."""
    if type(value) in _METHODS:
        return value
    name = value.get("name") if isinstance(value, dict) else None
    by_name = {config.name: config for config in _METHODS}
    if isinstance(name, str) and name not in by_name:
        raise UnknownMethod(
            f"this run is one of the method {name!r}, which is not known here. Run the code that "
            "calls methods.register with its options first. A command knows the methods in "
            "semiseg_lib/methods alone: to use one there, give it a file and a line there."
        )
    if name in by_name and _defined_at(by_name[name]) not in _OURS:
        return TypeAdapter(by_name[name]).validate_python(value)
    return read_ours(value)


AnyMethodConfig = Annotated[MethodConfig, WrapValidator(_read), SerializeAsAny()]
"""Options of a method in this folder, or of one that was registered."""
