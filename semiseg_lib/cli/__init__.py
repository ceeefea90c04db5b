"""The command line: ``semiseg COMMAND``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import tyro

from semiseg_lib.cli import commands, compare, data, doctor, runs, visualize
from semiseg_lib.cli.renamed import refuse_old_names
from semiseg_lib.core import escaping
from semiseg_lib.core.terminal import say

EXPECTED = (FileNotFoundError, ValueError, RuntimeError, OSError, KeyError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0 done, 1 failed with a message, 2 wrong flags."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command, rest = (arguments or [""])[0], arguments[1:]
    try:
        refuse_invisible(arguments)
        refuse_old_names(arguments)
        if command in OWN_PARSERS:
            return OWN_PARSERS[command](rest) or 0
        tyro.extras.subcommand_cli_from_dict(
            dict(COMMANDS), args=arguments, prog="semiseg",
            description="Semi-supervised semantic segmentation, stage by stage.",
        )
    except EXPECTED as error:
        say(f"semiseg: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        said = str(error) or "the same command continues from the last checkpoint"
        say(f"semiseg: stopped; {said}.", sys.stderr)
        return 130
    return 0


def refuse_invisible(arguments: Sequence[str]) -> None:
    """Raise ValueError if an argument holds control characters, which a parser would repeat."""
    for argument in arguments:
        if escaping.visible(argument) != argument:
            raise ValueError(
                f"the argument {escaping.visible(argument)} holds characters that show nothing. "
                "Rename the file or folder."
            )


def _data() -> None:
    """Get a dataset, check its labels, draw a list of labelled images."""


def _train() -> None:
    """Train one method, or continue an interrupted run; then score it on val."""


def _runs() -> None:
    """List what is stored: fresh, stale, damaged or left over; `semiseg runs prune` removes."""


def _doctor() -> None:
    """Check this machine: versions, device, memory, datasets."""


OWN_PARSERS: Mapping[str, Callable[[Sequence[str]], int | None]] = {
    "data": data.run, "train": commands.train, "runs": runs.main,
    "doctor": lambda _arguments: doctor.main(),
}
"""Commands that parse the rest of the command line themselves."""

COMMANDS: Mapping[str, Callable[..., None]] = {
    "data": _data, "train": _train, "logits": commands.logits, "run": commands.run, "runs": _runs,
    "evaluate": commands.evaluate, "predict": commands.predict, "pipeline": commands.pipeline,
    "study": commands.study, "compare": compare.compare, "visualize": visualize.visualize,
    "doctor": _doctor,
}
"""Every command, in the order of ``--help``."""
