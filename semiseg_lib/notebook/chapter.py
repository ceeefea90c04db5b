"""The start of every chapter: its profile, its device and its expected running time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import yaml

import semiseg_lib
from semiseg_lib import recipes
from semiseg_lib.core.paths import CHECKOUT, shown
from semiseg_lib.core.terminal import say
from semiseg_lib.notebook import numbering
from semiseg_lib.recipes import Profile
from semiseg_lib.training.loop import make_accelerator


def begin(
    chapter: str, profile: str | None = None, device: str | None = None, dataset: str = "minivoc"
) -> Profile:
    """Load a profile and print device, profile and the minutes to expect.

    A line names the library where it is another than that of the checkout around the notebook.

    Args:
        chapter: the chapter's file name without suffix, as in ``book.yml``.
        profile: smoke, laptop ...; None for ``SEMISEG_PROFILE`` or, if unset, laptop.
        device: "cpu" to stay on the CPU; None selects the best available device.
        dataset: minivoc, voc ...: the dataset of the profile.
    """
    numbering.start(chapter)
    chosen = recipes.load(profile, dataset)
    minutes = _minutes(chapter, chosen.name)
    place = make_accelerator(chosen.train_primary, device).device
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else place.type.upper()
    say(f"device:  {name}, {torch.get_num_threads()} of {os.cpu_count()} CPU threads")
    say(f"profile: {chosen.name} ({chosen.purpose})")
    if other := _other_library():
        say(other)
    if minutes is not None:
        say(f"expect:  about {minutes:g} min the first time; finished runs are loaded from disk")
    return chosen


def contents() -> list[dict[str, Any]]:
    """Return the chapters as ``book.yml`` describes them, in order.

    The file is that of the copy of the repository around the current folder, else that of the
    library's checkout, else the one that a wheel holds beside this module.
    """
    folders = (Path.cwd(), *Path.cwd().parents, CHECKOUT, Path(__file__).parent)
    book = next(path for one in folders if (path := one / "book.yml").is_file())
    parts = yaml.safe_load(book.read_text(encoding="utf-8"))["parts"]
    return [entry for part in parts for entry in part["chapters"]]


def _other_library() -> str:
    """Return a line on a library that is not that of the checkout around the notebook, or ""."""
    imported = Path(semiseg_lib.__file__).resolve().parent
    for folder in (Path.cwd(), *Path.cwd().parents):
        own = folder / imported.name
        if (own / "__init__.py").is_file():
            return "" if own.resolve() == imported else (
                f"library: {imported.name} {semiseg_lib.__version__} from {shown(imported)}, "
                f"not the copy in {shown(folder)}: changes there do not count")
    return ""


def _minutes(chapter: str, profile: str) -> float | None:
    found = {entry["file"]: entry["minutes"] for entry in contents()}
    return found.get(chapter, {}).get(profile)
