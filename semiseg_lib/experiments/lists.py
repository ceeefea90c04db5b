"""The images that a run learns from, file by file, and how they differ from another run's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from semiseg_lib.datasets.digest import image_set_hashes
from semiseg_lib.durable import Damaged, read_json
from semiseg_lib.experiments.identity import Identity, Inputs
from semiseg_lib.experiments.values import Value
from semiseg_lib.runs import CONFIG, LISTS

SHOWN = 3
"""How many names a message gives as examples."""
DIGITS = 16
"""Hex digits of a file's SHA-256 that a list keeps: to tell files apart, not to trust them."""

Listed = Mapping[str, Mapping[str, Sequence[str]]]
"""By role and image name, the hashes of what an image is read from."""


def lists_of(inputs: Inputs, value: Value) -> dict[str, dict[str, list[str]]]:
    """Return name and hashes of every image that a value reads, by role."""
    return {
        role: {
            name: [one[:DIGITS] for one in hashes] for name, hashes in
            image_set_hashes(images.reader, images.indices).items()
        }
        for role, images in inputs.image_sets(value).items()
    }


def changes(before: Mapping[str, Sequence[str]], now: Mapping[str, Sequence[str]]) -> str:
    """Say how one list of images differs from another; "" where it does not."""
    kinds = {
        "changed": [name for name in now if name in before and list(now[name]) != before[name]],
        "new": [name for name in now if name not in before],
        "gone": [name for name in before if name not in now],
    }
    said = [f"{len(names)} of {len(now)} {kind} ({_examples(names)})"
            for kind, names in kinds.items() if names]
    if not said and list(before) != list(now):
        return "their order differs"
    return ", ".join(said)


def difference(identity: Identity, path: Path, lists: Listed) -> str:
    """Say how a value's inputs differ from those of the last run of the same recipe; "" for none.

    Args:
        identity: the value's.
        path: its folder, which does not hold a result yet.
        lists: its images.
    """
    stem = identity.name.rpartition("-")[0]
    others = [one for one in path.parent.glob(f"{stem}-*")
              if one != path and (one / CONFIG).is_file() and ".damaged" not in one.name]
    for other in sorted(others, key=lambda one: (one / CONFIG).stat().st_mtime, reverse=True):
        with suppress(Damaged, FileNotFoundError, KeyError, TypeError, AttributeError):
            said = _differences(identity, read_json(other / CONFIG)["inputs"],
                                read_json(other / LISTS), lists)
            return (f"{path.name} is not {other.name}: {'; '.join(said)}. It is trained anew, and "
                    "the other run stays as it is.")
    return ""


def _differences(
    identity: Identity, inputs: Mapping[str, Any], before: Listed, now: Listed
) -> list[str]:
    said = [f"{role} images: {text}" for role in now
            if (text := changes(before.get(role, {}), now[role]))]
    if inputs["classes"] != identity.inputs["classes"]:
        said.append(f"class names: {', '.join(identity.classes)} instead of "
                    f"{', '.join(inputs['classes'])}")
    for what in ("parents", "weights"):
        said += [f"{name}: another one" for name, one in identity.inputs[what].items()
                 if inputs[what].get(name) != one]
    return said or ["the images are read in another way"]


def _examples(names: Sequence[str]) -> str:
    more = ", …" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
