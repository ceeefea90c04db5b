"""The flags of the commands: dataclasses that tyro turns into command-line options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial, wraps
from inspect import cleandoc, signature
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args, get_type_hints

import tyro

from semiseg_lib import recipes
from semiseg_lib.batches.options import DataConfig, ViewConfig
from semiseg_lib.core.paths import shown
from semiseg_lib.core.seeds import check_seed
from semiseg_lib.evaluation.options import Protocol
from semiseg_lib.experiments import Machine
from semiseg_lib.models import ModelConfig
from semiseg_lib.recipes import Profile
from semiseg_lib.training.options import TrainConfig

Options = TypeVar("Options")
Command = TypeVar("Command", bound=Callable[..., Any])
MachineFlags = Annotated[Machine, tyro.conf.arg(name="")]
ConfigArgument = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="CONFIG")]]
RunArgument = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
ImageArgument = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="IMAGE")]]
VideoArguments = tyro.conf.Positional[
    Annotated[tuple[Path, ...], tyro.conf.arg(metavar="VIDEO ...")]
]
Study = Literal[
    "ways", "controls", "schedules", "conditions", "curve", "colours", "training", "search",
    "hurried", "convolutional", "annotation", "unlabelled", "context", "methods", "photographs",
    "voc unlabelled", "camvid unlabelled",
]
"""The names of the studies, whose arms import torch."""
StudyArgument = tyro.conf.Positional[Annotated[Study, tyro.conf.arg(metavar="STUDY")]]
DatasetArgument = tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="DATASET")]]
NOT_READ = {"out", "root"}
"""Arguments that are paths but no inputs: what is written, and the folder of the datasets."""


class WrongUse(ValueError):
    """Error for a command line that cannot be meant; raised before anything is begun."""


@contextmanager
def typed() -> Iterator[None]:
    """Raise WrongUse for what the block refuses, which looks at nothing but what was typed."""
    try:
        yield
    except ValueError as error:
        raise WrongUse(str(error)) from error


def existing(path: Path) -> Path:
    """Return the path of a file or folder.

    Raises:
        WrongUse: it is not there.
    """
    if not path.expanduser().exists():
        raise WrongUse(f"{shown(path)} is missing; name a file or folder that is there.")
    return path


def check_encoder_of(model: ModelConfig) -> None:
    """Raise WrongUse if there is no such encoder, or no such file of its weights."""
    if model.architecture == "unet":
        return
    if model.weights not in model.SCHEMA.paths["weights"]:
        existing(Path(model.weights))
    from semiseg_lib.models.encoders import check_encoder  # imports torch

    with typed():
        check_encoder(model)


def command(function: Command) -> Command:
    """Return a command that looks for the files it reads before it begins.

    Each entry of its docstring gets a line of its own: in a completion script a line is a word.

    Args:
        function: its arguments are the flags; those that are paths are read, but for
            :data:`NOT_READ`.
    """
    function.__doc__ = cleandoc(function.__doc__ or "").replace("\n        ", " ")

    @wraps(function)
    def checked(*arguments: Any, **named: Any) -> Any:
        given = signature(function).bind(*arguments, **named).arguments
        for name, value in given.items():
            for path in value if isinstance(value, tuple) else [value]:
                if isinstance(path, Path) and name not in NOT_READ:
                    existing(path)
        return function(*arguments, **named)

    return checked  # type: ignore[return-value]


@dataclass(frozen=True)
class Common:
    """Flags of most commands.

    Attributes:
        profile: smoke, laptop, gpu or paper; unset: SEMISEG_PROFILE, else laptop.
        dataset: minivoc (drawn), voc, cityscapes, camvid, folder (your own images); to classify
            small ones: digits, cifar10; or one that another package registers.
        world: the mini-VOC world; unset: the profile's.
        labelled: how many images have masks; unset: as in the profile.
        published: a published list of the labelled images (a file).
        steps: steps of every training; unset: as in the profile.
        seed: draws the labelled images, the initial weights and the batches.
        machine: what to compute on.
    """

    profile: str | None = None
    dataset: str = "minivoc"
    world: Literal["harder", "hurried"] | None = None
    labelled: int | None = None
    published: Path | None = None
    steps: int | None = None
    seed: int = 0
    machine: MachineFlags = Machine()

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def chosen(self, method: str = "") -> Profile:
        """Return the profile with the changes that these flags describe.

        Args:
            method: what is trained, so that no other system's recipe is taken; "" if nothing is.

        Raises:
            WrongUse: a name is unknown, a number out of its range or a file missing.
        """
        if self.published is not None:
            existing(self.published)
        with typed():
            return self._chosen(method)

    def _chosen(self, method: str) -> Profile:
        chosen = recipes.load(self.profile, self.dataset, method)
        published = self.published and self.published.as_posix()
        changed = {"labelled": self.labelled, "published": published}
        data = replace(chosen.data, **{k: v for k, v in changed.items() if v is not None})
        chosen = replace(chosen, data=data)
        if self.world is not None:
            chosen = chosen.in_world(self.world)
        if self.steps is not None:
            trainings = {name: replace(one, steps=self.steps) for name, one in vars(chosen).items()
                         if isinstance(one, TrainConfig)}
            chosen = replace(chosen, **trainings)
        return chosen


@dataclass(frozen=True)
class TrainFlags(Generic[Options]):
    """One training run, flag by flag.

    Attributes:
        method: the options of the method.
        train: how long and how fast.
        data: which images.
        model: which network.
        augment: how views differ from their images.
        seed: draws the labelled images, the initial weights and the batches.
        machine: what to compute on.
        resume: load a finished run, or continue an interrupted one; --no-resume trains it anew.
    """

    method: Options
    train: TrainConfig
    data: DataConfig
    model: ModelConfig
    augment: ViewConfig
    seed: int = 0
    machine: MachineFlags = Machine()
    resume: bool = True

    def __post_init__(self) -> None:
        check_seed(self.seed)


def parsed(
    commands: Mapping[str, Callable[..., int | None]], arguments: Sequence[str], prog: str,
    description: str,
) -> Callable[[], int | None]:
    """Return the call that a command line asks for.

    Args:
        commands: the functions by name; their arguments are the flags.
        arguments: the command line.
        prog, description: for the help.

    Raises:
        WrongUse: a value is out of its range.
    """
    with typed():
        return tyro.extras.subcommand_cli_from_dict(
            {name: _later(function) for name, function in commands.items()},
            args=no_help_of_unknown(arguments, commands), prog=prog, description=description,
        )


def _later(function: Callable[..., int | None]) -> Callable[..., Callable[[], int | None]]:
    """Return a function with the same flags that returns the call instead of making it."""
    @wraps(function)
    def later(*arguments: Any, **named: Any) -> Callable[[], int | None]:
        return partial(function, *arguments, **named)

    return later


def no_help_of_unknown(arguments: Sequence[str], commands: Container[str]) -> list[str]:
    """Return a command line without ``--help`` if its command is unknown, so that this is said."""
    if not arguments or arguments[0].startswith("-") or arguments[0] in commands:
        return list(arguments)
    return [one for one in arguments if one not in ("-h", "--help")]


def optional_groups(options: Any, place: str = "") -> dict[str, tuple[Any, type]]:
    """Return the groups of options that may be None: {"method.cutmix": (value, class)}.

    Args:
        options: a dataclass; those within it are searched as well.
        place: what stands before its names, with a dot at the end.
    """
    found, hints = {}, get_type_hints(type(options))
    for field in fields(options):
        path, value = f"{place}{field.name.replace('_', '-')}", getattr(options, field.name)
        choices = get_args(hints[field.name])
        if type(None) in choices and (kinds := [one for one in choices if is_dataclass(one)]):
            found[path] = (value, kinds[0])
        if is_dataclass(value):
            found |= optional_groups(value, f"{path}.")
    return found


def choose_groups(
    flags: TrainFlags, arguments: Sequence[str], prog: str
) -> tuple[TrainFlags, list[str]]:
    """Leave out and add groups of options as a command line says.

    ``--GROUP none`` leaves one out; ``--GROUP default`` or any ``--GROUP.OPTION`` adds it.

    Args:
        flags: the values where the command line says nothing.
        arguments: the command line.
        prog: the command, for messages.

    Returns:
        The flags with these groups, and the arguments without ``--GROUP none`` and the like.
    """
    groups = optional_groups(flags)
    parser = argparse.ArgumentParser(
        prog=prog, usage=f"{prog} [--OPTION VALUE ...]; `{prog} --help` lists the options",
        add_help=False, allow_abbrev=False,
    )
    for path in groups:
        parser.add_argument(f"--{path}", type=str.lower, choices=("none", "default"), dest=path)
    chosen, rest = parser.parse_known_args([_dashed(one) for one in arguments])
    for path, (value, kind) in groups.items():
        word = getattr(chosen, path)
        options = [one for one in rest if one.startswith(f"--{path}.")]
        if word == "none":
            if options:
                parser.error(f"--{path} none leaves out the group that {options[0]} belongs to")
            flags = _replaced(flags, path, None)
        elif word or options:
            flags = _replaced(flags, path, value or kind())
    return flags, rest


def _dashed(argument: str) -> str:
    """Return an argument with dashes in place of underscores in the name of its flag."""
    name, sign, value = argument.partition("=")
    return name.replace("_", "-") + sign + value if name.startswith("--") else argument


def _replaced(options: Any, path: str, value: Any) -> Any:
    """Return a copy of nested dataclasses with the value at a dotted path replaced."""
    first, _, rest = path.replace("-", "_").partition(".")
    inner = _replaced(getattr(options, first), rest, value) if rest else value
    return replace(options, **{first: inner})


CommonFlags = Annotated[Common, tyro.conf.arg(name="")]
ProtocolFlags = Annotated[Protocol, tyro.conf.arg(name="")]
