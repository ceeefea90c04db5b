"""The command line: ``semiseg COMMAND``.

What needs torch is imported when a command runs, so that help and wrong flags are answered at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import tyro

import semiseg_lib
from semiseg_lib.cli import commands, completion, data, runs
from semiseg_lib.cli.flags import WrongUse, parsed, typed
from semiseg_lib.cli.renamed import refuse_old_names
from semiseg_lib.core import escaping
from semiseg_lib.core.paths import with_home
from semiseg_lib.core.terminal import (
    Style,
    discard_output,
    flush,
    give,
    open_streams,
    say,
    write_utf8,
    written_as,
)

DESCRIPTION = (
    "Semi-supervised semantic segmentation, stage by stage. `semiseg COMMAND --help` lists a "
    "command's flags; `semiseg --version` prints the version. Every command also takes --quiet "
    "(no progress bars and no remarks: results and warnings) and --json (the result as one JSON "
    "document on standard output, all else on standard error). Exit codes: 0 done; 1 failed with "
    "a message; 2 what was typed is wrong (an unknown flag or name, a value out of its range, a "
    "file to read that is missing) and nothing was begun; 130 interrupted."
)
EXPECTED = (FileNotFoundError, ValueError, RuntimeError, OSError, KeyError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0 done, 1 failed with a message, 2 wrongly typed."""
    write_utf8()
    with open_streams():
        return _answered(sys.argv[1:] if arguments is None else arguments)


def _answered(arguments: Sequence[str]) -> int:
    """Run one command in its style, and say in a line what went wrong; return the exit code."""
    style = Style(quiet="--quiet" in arguments, json="--json" in arguments)
    arguments = [one for one in arguments if one not in ("--quiet", "--json")]
    try:
        with written_as(style):
            code = _run([with_home(one) for one in arguments])
            flush()
            return code
    except SystemExit as stopped:
        if not stopped.code and len(arguments) > 1 and {"-h", "--help"} & set(arguments):
            say("Also --quiet and --json, as every command: see `semiseg --help`.")
        raise
    except BrokenPipeError:  # such as `semiseg runs | head`: nobody reads on
        discard_output()
        return 1
    except WrongUse as error:
        known = f" {arguments[0]}" if arguments[0] in COMMANDS else ""
        say(f"semiseg: {error}\n`semiseg{known} --help` says what it takes.", sys.stderr)
        return 2
    except EXPECTED as error:
        say(f"semiseg: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        said = str(error) or "the same command continues from the last checkpoint"
        say(f"semiseg: stopped; {said}.", sys.stderr)
        return 130


def _run(arguments: Sequence[str]) -> int:
    """Run one command; return the exit code."""
    if arguments == ["--version"]:
        give({"version": semiseg_lib.__version__}, f"semiseg {semiseg_lib.__version__}")
        return 0
    with typed():
        refuse_invisible(arguments)
        refuse_old_names(arguments)
        completes = completion.is_asked_for(arguments)
    if completes:
        return tyro.extras.subcommand_cli_from_dict(
            completion.stand_ins(COMMANDS), args=arguments, prog="semiseg",
            config=(tyro.conf.OmitSubcommandPrefixes,),
        ) or 0
    command, rest = (arguments or [""])[0], arguments[1:]
    if command in OWN_PARSERS:
        return OWN_PARSERS[command](rest) or 0
    return parsed(COMMANDS, arguments, "semiseg", DESCRIPTION)() or 0


def refuse_invisible(arguments: Sequence[str]) -> None:
    """Raise ValueError if an argument holds control characters, which a parser would repeat."""
    for argument in arguments:
        if escaping.visible(argument) != argument:
            raise ValueError(
                f"the argument {escaping.visible(argument)} holds characters that show nothing. "
                "Rename the file or folder."
            )


OWN_PARSERS: Mapping[str, Callable[[Sequence[str]], int | None]] = {
    "data": data.run, "train": commands.train, "runs": runs.main,
}
"""Commands that parse the rest of the command line themselves."""

COMMANDS: Mapping[str, Callable[..., int | None]] = {
    "data": data.run, "train": commands.train, "logits": commands.logits, "run": commands.run,
    "runs": runs.main,
    "evaluate": commands.evaluate, "predict": commands.predict, "pipeline": commands.pipeline,
    "study": commands.study, "compare": commands.compare, "visualize": commands.visualize,
    "doctor": commands.doctor,
}
"""Every command, in the order of ``--help``."""
