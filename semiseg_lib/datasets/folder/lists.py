"""The lists of your own folder: labelled, unlabelled, val and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os.path import lexists
from pathlib import Path

import numpy as np

from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.lists import check_known, read_published_list
from semiseg_lib.datasets.splits import check_disjoint

from .reader import scan_folder

LISTS = ("labelled", "unlabelled", "val", "test")


def folder_lists(
    root: Path, seed: int, val_share: float = 0.2, test_share: float = 0.2
) -> dict[str, tuple[str, ...]]:
    """Return {list: image names} for labelled, unlabelled, val and test.

    An existing list is used unchanged; one that cannot be read, such as a link to a disk that is
    not mounted, is refused. If ``val.txt`` or ``test.txt`` is missing, it is sampled by ``seed``
    from the images with masks that no list names. Of all other images, those with a mask are
    labelled and those without, with or without boxes, are unlabelled. If ``labelled.txt`` exists,
    masks of other images are not used.

    Args:
        root: the folder.
        seed: determines the sampled lists.
        val_share, test_share: fractions of the images with masks that no list names; at least one
            image each.

    Raises:
        FileNotFoundError, ValueError, LabelError: see :func:`scan_folder`; or a list names an
            unknown image, an image is in two lists or lacks the mask that its list requires, too
            few images have masks, or there is a list ``weak.txt``.
    """
    contents = scan_folder(root)
    if lexists(contents.root / "weak.txt"):
        raise ValueError(
            f"{shown(contents.root / 'weak.txt')} is a list that is not read: images with boxes "
            "only are unlabelled too. Put its names into unlabelled.txt and delete it."
        )
    given = {name: read_published_list(contents.root / f"{name}.txt", contents.images)
             for name in LISTS if lexists(contents.root / f"{name}.txt")}
    for name, members in given.items():
        check_known(
            members, contents.images, f"{shown(contents.root / name)}.txt", contents.root / "images"
        )
        without = [member for member in members if member not in contents.masks]
        if without and name != "unlabelled":
            raise ValueError(
                f"{shown(contents.root / name)}.txt names {len(without)} images without mask, such "
                f"as {visible(without[0])}. Add the mask, or remove the names."
            )
    check_disjoint(given)
    taken = {member for members in given.values() for member in members}
    free = [name for name in contents.images if name not in taken]
    with_mask = [name for name in free if name in contents.masks]
    groups = _sampled(with_mask, given, seed, val_share, test_share, contents.root)
    used = {name for group in groups.values() for name in group}
    groups["unlabelled"] = tuple(name for name in free if name not in used)
    return {name: given[name] if name in given else groups[name] for name in LISTS}


def _sampled(
    with_mask: Sequence[str], given: Mapping[str, Sequence[str]], seed: int,
    val_share: float, test_share: float, root: Path,
) -> dict[str, tuple[str, ...]]:
    """Return labelled, val and test images sampled from those with masks, unless given."""
    shares = {"val": val_share, "test": test_share}
    wanted = {name: max(1, round(share * len(with_mask)))
              for name, share in shares.items() if name not in given}
    needed = sum(wanted.values()) + ("labelled" not in given)
    if needed > len(with_mask):
        missing = ", ".join([*wanted, *(["labelled"] if "labelled" not in given else [])])
        raise ValueError(
            f"{len(with_mask)} images of {shown(root)} have a mask and are in no list, but "
            f"{missing} need {needed}. Draw more masks, or write "
            f"{missing.replace(', ', '.txt, ')}.txt."
        )
    order = np.random.default_rng([seed, 78]).permutation(len(with_mask))
    groups, start = {}, 0
    for name in shares:
        places = np.sort(order[start:start + wanted.get(name, 0)])
        groups[name] = tuple(with_mask[place] for place in places)
        start += len(places)
    if "labelled" not in given:
        groups["labelled"] = tuple(with_mask[place] for place in np.sort(order[start:]))
    return groups
