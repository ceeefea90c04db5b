"""One recipe: a YAML file of flat keys, read into the value that runs are made of.

A key is the place of a value in :class:`Profile`, such as ``train_primary.lr``. Two prefixes save
writing: ``train.lr`` is the rate of every training that has none of its own, and ``method.weight``
is ``unlabelled.NAME.weight`` for each of the recipe's ``methods``. What is not stated keeps the
default of its class.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import yaml
from pydantic import ValidationError

from semiseg_lib.batches.options import DataConfig
from semiseg_lib.core.fingerprint import adapter
from semiseg_lib.core.paths import shown
from semiseg_lib.methods import named_options
from semiseg_lib.recipes.profile import Profile

SOURCES = {
    "slides": "read in the authors' slides",
    "issue thread": "read in an issue thread",
    "README": "read in a public README",
    "log": "read in a public training log",
    "code": "read in the system's public code",
    "re-implementation": "a third party's code",
    "recalled": "recalled, found in no copy",
}
"""How sure one can be of a published value, by its source."""

TRAININGS = (
    "train_supervised", "train_ancillary", "train_start", "train_primary", "train_unlabelled",
    "rounds.pretrain", "rounds.finetune",
)
"""The trainings that ``train.`` stands for."""

STAGES = {
    "supervised": "train_supervised", "ancillary": "train_ancillary", "primary": "train_primary",
    "conv-primary": "train_primary", "pseudo-label": "train_supervised",
}
"""The training of each method whose options have a place of their own in a profile."""


@dataclass(frozen=True)
class Setting:
    """The value of one key.

    Attributes:
        value: what a run uses.
        source: a key of ``SOURCES``; "" where the value is the book's own choice.
        place: where in the source, whose address the head of the file has; "" if nobody noted it.
        published: the value as its source prints it, where that is not ``value``.
        note: what one should know about it.
        differs: in what ``value``, which stands for the published one, is not quite that.
    """

    value: Any
    source: Literal["", *SOURCES] = ""
    place: str = ""
    published: Any = None
    note: str = ""
    differs: str = ""


@dataclass(frozen=True)
class Difference:
    """What of the published system a recipe does not reproduce.

    Attributes:
        sentence: "it" is the published system, "ours" the recipe.
        method: the one of the recipe's methods that it holds for; "" for all of them.
    """

    sentence: str
    method: str = ""


@dataclass(frozen=True)
class Recipe:
    """A recipe as its file has it.

    Attributes:
        path: the file.
        profile: what it says, as the value that runs are made of.
        methods: the methods that it is for; () for all of them.
        sources: the addresses of the sources that its settings name.
        differs: what of the published system is known to be otherwise in it.
        settings: each key of the file, and of its base, with its value and source.
    """

    path: Path
    profile: Profile
    methods: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    differs: tuple[Difference, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def serves(self, method: str) -> bool:
        """Return whether the recipe is for a method."""
        return not self.methods or method in self.methods

    def differences(self, method: str) -> list[str]:
        """Return the sentences on what is otherwise in the published system of a method."""
        return [one.sentence for one in self.differs if one.method in ("", method)]

    def lines(self, method: str) -> dict[str, Setting]:
        """Return the settings of a method, by the place of the value in a profile.

        Values without source and note are left out.

        Args:
            method: one of the recipe's methods.
        """
        training = STAGES.get(method, "train_unlabelled")
        others = tuple(f"unlabelled.{other}." for other in self.methods if other != method)
        found: dict[str, Setting] = {}
        for key, one in self.settings.items():
            if key.startswith(others) or one == Setting(one.value):
                continue
            prefix, _, rest = key.partition(".")
            above = {"train": training, "method": f"unlabelled.{method}"}.get(prefix, prefix)
            if prefix != "train" or f"{above}.{rest}" not in found:  # its own value counts
                found[f"{above}.{rest}"] = one
        return found


def read(path: Path, folder: Path) -> Recipe:
    """Return the recipe in a file, as its bytes and those of its base are now.

    Args:
        path: the file; its folder's name is the name of the profile.
        folder: the folder of all recipes, in which ``base: laptop/voc`` names ``laptop/voc.yml``.

    Raises:
        ValueError: an unknown key, a value of the wrong type, an unknown source, a base that has a
            base. The message names file and key.
    """
    files = [(path, _bytes(path))]
    if "base" in (content := _parsed(*files[0])):
        base_path = folder / f"{content['base']}.yml"
        files.append((base_path, _bytes(base_path)))
    return _recipe(*files)


@cache
def _recipe(own: tuple[Path, bytes], base: tuple[Path, bytes] | None = None) -> Recipe:
    """Return the recipe of a file over its base; each is a path and its bytes."""
    path, content = own[0], dict(_parsed(*own))
    if base is not None:
        below = _parsed(*base)
        if "base" in below:
            raise ValueError(
                f"the base of {shown(path)}, {shown(base[0])}, has a base itself. Write the "
                "values out: a base is one deep."
            )
        content.pop("base")
        content = _over(below, content)
    heads = {name: _checked(hint, content.pop(name), name, path)
             for name, hint in _HEADS.items() if name in content}
    settings = {key: _setting(key, given, path) for key, given in content.items()}
    methods = heads.get("methods", ())
    if "differs" in heads:
        heads["differs"] = tuple(_differences(heads["differs"], methods, path))
    tree = _tree({key: one.value for key, one in settings.items()}, methods, path)
    return Recipe(path, _profile(tree, methods, path), settings=settings, **heads)


_HEADS = {
    "methods": tuple[str, ...],
    "sources": dict[Literal[*SOURCES], str],
    "differs": tuple[str | dict[str, str], ...],
}


def _differences(
    given: tuple[str | dict[str, str], ...], methods: tuple[str, ...], path: Path
) -> Iterator[Difference]:
    """Yield sentences of a file: text for all methods, ``NAME: text`` for the method NAME."""
    for one in given:
        for method, sentence in one.items() if isinstance(one, dict) else (("", one),):
            if method and method not in methods:
                raise ValueError(
                    f"{shown(path)}: a sentence of `differs` begins with {method!r}, which is none "
                    f"of its methods {', '.join(methods)}. Put a sentence with a colon in quotes."
                )
            yield Difference(sentence, method)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"there is no recipe {shown(path)}.") from None


@cache
def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    """Return the content of a file, which must not be changed."""
    try:
        content = yaml.load(text, _Loader)
    except Exception as error:  # PyYAML raises others than its own, too
        raise ValueError(f"{shown(path)} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{shown(path)} must consist of lines KEY: VALUE.")
    return content


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """PyYAML's loader, which refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(problem=f"the key {twice[0]!r} stands twice")
        return super().construct_mapping(node, deep)


def _over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base with own keys; each takes the place of all keys below and above it."""
    kept = {key: value for key, value in base.items()
            if key in own or not any(_overlap(key, other) for other in own)}
    return {**kept, **own}


def _overlap(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _setting(key: str, given: Any, path: Path) -> Setting:
    return _made(Setting, given, f"{key}.", path) if isinstance(given, dict) else Setting(given)


def _tree(values: Mapping[str, Any], methods: tuple[str, ...], path: Path) -> dict[str, Any]:
    """Return flat keys as nested ones, without the two prefixes."""
    tree: dict[str, Any] = {}
    for common in (True, False):  # so that a training's own value replaces that of all of them
        for key, value in values.items():
            if key.startswith("train.") == common:
                for place in _places(key, methods):
                    _put(tree, place, value, path)
    return tree


def _places(key: str, methods: tuple[str, ...]) -> Iterator[str]:
    """Yield the places in a profile that a key stands for."""
    prefix, _, rest = key.partition(".")
    if prefix == "train":
        yield from (f"{training}.{rest}" for training in TRAININGS)
    elif prefix == "method":
        yield from (f"unlabelled.{method}.{rest}" for method in methods)
    else:
        yield key


def _put(tree: dict[str, Any], place: str, value: Any, path: Path) -> None:
    *above, last = place.split(".")
    for name in above:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ValueError(f"{shown(path)}: {place} lies below a key that has a value.")
    if isinstance(tree.get(last), dict):
        raise ValueError(f"{shown(path)}: {place} has a value, but there are keys below it.")
    tree[last] = value


def _profile(tree: dict[str, Any], methods: tuple[str, ...], path: Path) -> Profile:
    options = named_options(unlabelled=True)
    own = tree.setdefault("unlabelled", {})
    if unknown := sorted({*own, *methods} - {*options, *STAGES}):
        raise ValueError(
            f"{shown(path)}: there is no method {unknown[0]!r}; there are "
            f"{', '.join([*STAGES, *options])}."
        )
    own |= {name: {} for name in methods if name in options and name not in own}
    tree["unlabelled"] = {name: _made(options[name], given, f"unlabelled.{name}.", path)
                          for name, given in own.items()}
    data = tree.get("data", {})
    if "dataset" not in data:
        raise ValueError(f"{shown(path)}: data.dataset is missing.")
    tree["data"] = _made(DataConfig(data["dataset"]), data, "data.", path)
    return _made(Profile, {"name": path.parent.name, **tree}, "", path)


def _made(start: Any, given: Mapping[str, Any], place: str, path: Path) -> Any:
    """Return a dataclass with the values that are given.

    Args:
        start: an instance, whose other values stay, or the class, for its defaults.
        given: values by name, nested ones as mappings or made already.
        place: the key above the names, with a dot at the end; "" at the top.
        path: the file, for messages.
    """
    kind = start if isinstance(start, type) else type(start)
    # The default of a field is an attribute of its class, too.
    values = {one.name: getattr(start, one.name)
              for one in fields(start) if hasattr(start, one.name)}
    hints = _hints(kind)
    for name, value in given.items():
        if name not in hints:
            raise ValueError(
                f"{shown(path)}: there is no {place}{name}; {place.rstrip('.') or 'a recipe'} has "
                f"{', '.join(one.name for one in fields(kind))}."
            )
        if isinstance(value, dict) and name != "unlabelled":
            inner = values.get(name)
            inner = inner if is_dataclass(inner) else _dataclass_in(hints[name])
            if inner is None:
                raise ValueError(f"{shown(path)}: {place}{name} has no keys below it.")
            values[name] = _made(inner, value, f"{place}{name}.", path)
        elif is_dataclass(value) or isinstance(value, dict):
            values[name] = value
        else:
            values[name] = _checked(hints[name], value, f"{place}{name}", path)
    for one in fields(kind):
        if one.name not in values and one.default is one.default_factory is MISSING:
            raise ValueError(f"{shown(path)}: {place}{one.name} is missing.")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{shown(path)}, {place.rstrip('.')}: {error}") from None


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _dataclass_in(hint: Any) -> type | None:
    """Return the dataclass that a type hint names, such as that of ``HardPixels | None``."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next(filter(None, map(_dataclass_in, get_args(hint))), None)


def _checked(hint: Any, value: Any, key: str, path: Path) -> Any:
    """Return a value of a file as its type; a list as a tuple, an integer as a float."""
    try:
        return adapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        is_exponent = isinstance(value, str) and value[:1].isdigit() and "e" in value
        hint = " YAML reads 1e-3 as text: write 1.0e-3." if is_exponent else ""
        raise ValueError(
            f"{shown(path)}: {key} is {value!r}. {error.errors()[0]['msg']}.{hint}"
        ) from None
