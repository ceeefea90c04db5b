"""What the stores of labels and logits share: their tie to a list of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semiseg_lib.durable import Damaged, sha256
from semiseg_lib.paths import shown

from .store import Stale, Store


def store_of_images(
    folder: Path,
    kind: str,
    own: Mapping[str, Any],
    names: Sequence[str],
    description: Mapping[str, Any],
    parents: Mapping[str, str],
) -> Store:
    """Return the store of a list of images.

    Args:
        folder: where it lies.
        kind: what is stored for each image.
        own: what describes every store of this kind.
        names: the images, in order.
        description: what else the caller ties it to.
        parents: {what was read: its digest}.

    Raises:
        ValueError: ``description`` has an entry of the kind's own.
    """
    images = {"images": sha256("\n".join(names).encode("utf-8")), "count": len(names)}
    described = {**own, **images}
    if taken := sorted(described.keys() & description.keys()):
        raise ValueError(
            f"the description of {shown(folder)} has entries of the store's own: "
            f"{', '.join(taken)}. Rename them."
        )
    return Store(folder, kind, {**described, **description}, parents)


def begin_to_write(store: Store) -> None:
    """Read the manifest again; rename the folder where it is damaged, so that it is made anew."""
    store.reload()
    try:
        _ = store.members
    except Stale:
        return
    except Damaged as error:
        aside = store.set_aside()
        print(f"{error}\nThe folder was set aside as {shown(aside)} and is made anew.")


def reason(error: Damaged | Stale) -> str:
    """Return in a few words why a store of images cannot be used."""
    if isinstance(error, Damaged):
        return "its manifest.json is damaged"
    if error.key in ("description.images", "description.count"):
        return "they belong to other images, or in another order"
    return f"{error.key} is {error.stored!r}, not {error.asked!r}"


def check_images(stored: Sequence[str], images: Sequence[str], folder: Path) -> None:
    """Check that the images of a store are those that it is to be used for, in their order.

    Raises:
        ValueError: they are not; the message names the first difference.
    """
    for number, (one, other) in enumerate(zip(stored, images, strict=False)):
        if one != other:
            raise ValueError(
                f"{shown(folder)} does not fit these images: number {number} is {one!r} in the "
                f"store, but {other!r} among the images. Take the images in the store's order: "
                "images.named(store.names)."
            )
    if len(stored) != len(images):
        raise ValueError(
            f"{shown(folder)} holds {len(stored)} images and does not fit {len(images)}. Take the "
            "images of the store: images.named(store.names)."
        )
