"""The command line: ``semiseg COMMAND``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import tyro

from semiseg_lib.cli import commands, compare, data, doctor, runs, visualize
from semiseg_lib.cli.renamed import refuse_old_names

EXPECTED = (FileNotFoundError, ValueError, RuntimeError, OSError, KeyError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0 done, 1 failed with a message, 2 wrong flags."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command, rest = (arguments or [""])[0], arguments[1:]
    try:
        refuse_old_names(arguments)
        if command in OWN_PARSERS:
            return OWN_PARSERS[command](rest) or 0
        tyro.extras.subcommand_cli_from_dict(
            dict(COMMANDS), args=arguments, prog="semiseg",
            description="Semi-supervised semantic segmentation, stage by stage.",
        )
    except EXPECTED as error:
        print(f"semiseg: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        said = str(error) or "the same command continues from the last checkpoint"
        print(f"semiseg: stopped; {said}.", file=sys.stderr)
        return 130
    return 0


OWN_PARSERS: Mapping[str, Callable[[Sequence[str]], int | None]] = {
    "data": data.run, "train": commands.train, "runs": runs.main,
    "doctor": lambda _arguments: doctor.main(),
}
"""Commands that parse the rest of the command line themselves."""

COMMANDS: Mapping[str, Callable[..., int | None]] = {
    "data": data.run, "train": commands.train, "logits": commands.logits, "run": commands.run,
    "runs": runs.main,
    "evaluate": commands.evaluate, "predict": commands.predict, "pipeline": commands.pipeline,
    "study": commands.study, "compare": compare.compare, "visualize": visualize.visualize,
    "doctor": doctor.main,
}
"""Every command, in the order of ``--help``."""
