"""Old names of flags and datasets, each refused with its replacement."""

from __future__ import annotations

import re
from collections.abc import Sequence

FLAGS = {
    "train.batch-weak": "train.batch-unlabelled",
    "method.pretrain.batch-weak": "method.pretrain.batch-unlabelled",
    "method.finetune.batch-weak": "method.finetune.batch-unlabelled",
    "data.weak": "data.unlabelled",
    "data.world": "data.options.world",
    "data.sizes": "data.options.sizes",
    "data.sizes.weak": "data.options.sizes.unlabelled",
    "data.labelled-boxes": "data.options.labelled-boxes",
    "data.weak-boxes": "data.options.unlabelled-boxes",
    "data.recipe": "data.options.recipe",
}
"""Old flag, or the beginning of old flags up to a dot or a colon: new one."""

DATASETS = {"mini": "minivoc"}
"""Old name after ``semiseg data``, ``data audit`` or ``data split``: new one."""

COMMANDS = {("data", "check"): ("data", "audit")}
"""Old beginning of a command line: new one."""


def refuse_old_names(arguments: Sequence[str]) -> None:
    """Raise ValueError if a command line uses a name of an earlier version."""
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        bare = flag.removeprefix("--")
        is_flag = flag.startswith("--") or ":" in flag
        for old in sorted(FLAGS, key=len, reverse=True) if is_flag else ():
            if bare == old or bare.startswith((f"{old}.", f"{old}:")):
                raise ValueError(f"{flag} is now {flag.replace(old, FLAGS[old], 1)}.")
        if group := re.fullmatch(r"((?:method|data)\.[a-z.-]+):([a-z-]+)", flag):
            word = "none" if group[2] == "none" else "default"
            raise ValueError(f"{flag} is now --{group[1]} {word}.")
    for old_words, words in COMMANDS.items():
        if tuple(arguments[:len(old_words)]) == old_words:
            raise ValueError(f"semiseg {' '.join(old_words)} is now semiseg {' '.join(words)}.")
    named = arguments[2:3] if arguments[:2] in (["data", "audit"], ["data", "split"]) else []
    for name in [*named, *(arguments[1:2] if arguments[:1] == ["data"] else [])]:
        if name in DATASETS:
            raise ValueError(f"the dataset {name} is now called {DATASETS[name]}.")
