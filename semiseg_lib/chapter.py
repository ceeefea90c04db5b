"""The first line of every chapter: which numbers it runs with, on what, and for how long."""

from __future__ import annotations

import os

import torch

from semiseg_lib import profiles
from semiseg_lib.book import load
from semiseg_lib.profiles import Profile
from semiseg_lib.train import make_accelerator


def begin(
    chapter: str, profile: str | None = None, device: str | None = None, dataset: str = "minivoc"
) -> Profile:
    """Load a profile and print device, profile and the minutes to expect.

    Args:
        chapter: the chapter's number or file name, as in ``book.yml``.
        profile: smoke, laptop ...; None asks ``SEMISEG_PROFILE``, and failing that means laptop.
        device: "cpu" to stay on the CPU; None takes the best device there is.
        dataset: minivoc, voc ...: whose numbers the profile holds.
    """
    chosen = profiles.load(profile, dataset)
    minutes = load().chapter(chapter).minutes.get(chosen.name)
    place = make_accelerator(chosen.train_primary, device).device
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else place.type.upper()
    print(f"device:  {name}, {torch.get_num_threads()} of {os.cpu_count()} CPU threads")
    print(f"profile: {chosen.name} ({chosen.purpose})")
    if minutes is not None:
        print(f"expect:  about {minutes:g} min the first time; finished runs are loaded from disk")
    return chosen
