"""Completion scripts: stand-ins for the commands, with every flag that a shell may offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, TypeAlias, Union, get_type_hints

import tyro

from semiseg_lib.cli import data, runs
from semiseg_lib.cli.commands import TRAINABLE

Command: TypeAlias = Callable[..., Any]
STYLE = {
    "quiet": "no progress bars and no remarks", "json": "the result as one JSON document",
}
"""The flags that every command takes."""
PRINT, WRITE = "--tyro-print-completion", "--tyro-write-completion"
SHELLS = ("bash", "zsh", "fish")
"""The shells that have completion scripts."""


def is_asked_for(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for a completion script.

    Raises:
        ValueError: it asks elsewhere than at its beginning, for no shell that has one, or names no
            file to write it to.
    """
    if not any(one.startswith((PRINT, WRITE)) for one in arguments):
        return False
    flag, *rest = arguments
    if {PRINT: 1, WRITE: 2}.get(flag) != len(rest) or rest[0] not in SHELLS:
        raise ValueError(
            f"a completion script is asked for by `semiseg {PRINT} SHELL` or by `semiseg {WRITE} "
            f"SHELL FILE`, where SHELL is {', '.join(SHELLS[:-1])} or {SHELLS[-1]}."
        )
    return True


def stand_ins(commands: Mapping[str, Command]) -> dict[str, Command]:
    """Return what a completion script is made from in place of the commands, by name.

    Args:
        commands: every command; what those know that parse the rest themselves is added.
    """
    return {name: stand_in(one) for name, one in commands.items()} | {
        "data": stand_in(data.minivoc, data.commands()),
        "train": stand_in(_trained, dict.fromkeys(TRAINABLE, _trained)),
        "runs": stand_in(runs.list_runs),
    }


def stand_in(command: Command, below: Mapping[str, Command] | None = None) -> Command:
    """Return a function that does nothing, with the flags of a command and those of all commands.

    Args:
        command: a function whose arguments are the flags.
        below: two commands or more that may follow its name.
    """
    def nothing(**_: Any) -> None:
        """Do nothing: tyro takes the flags from the signature."""

    added: dict[str, Any] = {
        name: Annotated[tyro.conf.FlagCreatePairsOff[bool], tyro.conf.arg(help=text)]
        for name, text in STYLE.items()
    }
    parameters = [*signature(command).parameters.values(),
                  *(Parameter(name, Parameter.KEYWORD_ONLY, default=False) for name in added)]
    if below:
        added["command"] = Union[tuple(  # noqa: UP007 -- of as many as there are
            Annotated[Any, tyro.conf.subcommand(name=name, constructor=stand_in(one))]
            for name, one in below.items()
        )]
        parameters.append(Parameter("command", Parameter.KEYWORD_ONLY))
    hints = get_type_hints(command, include_extras=True)
    nothing.__doc__, nothing.__annotations__ = command.__doc__, {**hints, **added}
    nothing.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return nothing


def _trained(profile: str | None = None, dataset: str = "minivoc") -> None:
    """Stand for the training of a method, whose other flags depend on these.

    Args:
        profile: where the defaults come from.
        dataset: the images.
    """
