"""Refuse to use a run with classes, images or inputs other than its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from semiseg_lib.batches.data import Data
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.experiments.identity import Inputs
from semiseg_lib.experiments.lists import compare_images, compare_with_stored, hashes_of
from semiseg_lib.experiments.values import Value
from semiseg_lib.stores.images import ImageStore
from semiseg_lib.training.run_folder import LISTS, RunFolder


def refuse_other_classes(own: tuple[str, ...], given: tuple[str, ...], run: Path) -> None:
    """Raise ValueError if images have other classes than a run."""
    if own == given:
        return
    pairs = [f"{number}: {visible(one)} / {visible(other)}"
             for number, (one, other) in enumerate(zip(own, given, strict=False)) if one != other]
    what = f"the first difference is {pairs[0]}" if pairs else "one list is longer"
    raise ValueError(
        f"the run {shown(run)} tells {len(own)} classes apart, the data here {len(given)}, and "
        f"they are not the same ({what}; run / data). Scores need the same classes in the same "
        "order: name the data that it was trained on (--root), or train on these."
    )


def refuse_other_images(
    folder: RunFolder, images: ImageSet, split: Literal["val", "test"]
) -> None:
    """Raise ValueError if images are not those that belonged to a run when it was trained.

    Args:
        folder: the run.
        images: those here.
        split: the list that they are.
    """
    stored = json.loads(folder.store.read(LISTS))
    if stored["digests"].get(split) == images.digest:
        return
    said = compare_images(stored["scored on"].get(split, {}), hashes_of(images))
    raise ValueError(
        f"the {split} images here are not those that belonged to {shown(folder.path)} when it was "
        f"trained: {said or 'they are read in another way than then'}. Name the folder of its data "
        "(--root), or add --other-data to score it on these; both scores are kept."
    )


def refuse_labels_of_others(labels: ImageStore[Any], data: Data, images: ImageSet) -> None:
    """Raise ValueError if stored labels belong to other images than those to be scored.

    Args:
        labels: stored logits or pseudo-labels, as :func:`semiseg_lib.experiments.resolve` makes
            them; they carry the digest of the images that they were made of.
        data: where the images come from.
        images: the images of the score.
    """
    labels.check_images(images.names)
    made_of = labels.store.description.get("inputs", {}).get("images", {})
    here = {"labelled": [data.labelled],
            "unlabelled": [data.boxed, data.unlabelled.without_labels()]}
    if any(digest not in {one.digest for one in here[role]} for role, digest in made_of.items()):
        raise ValueError(
            f"the labels in {shown(labels.folder)} were made of other images than those here, "
            "though the names are the same. Resolve them again on these images."
        )


def refuse_other_inputs(
    description: Mapping[str, Any], path: Path, value: Value, inputs: Inputs
) -> None:
    """Raise ValueError if the inputs here are not those of a stored description.

    Args:
        description: what a ``config.json`` holds.
        path: that file; the ``lists.json`` beside it names the images.
        value: the described value.
        inputs: the images here.
    """
    identity = inputs.identity(value)
    if description["identity"] == identity.digest:
        return
    said = compare_with_stored(description, path.parent, identity, inputs)
    raise ValueError(
        f"{shown(path)} describes a run that learnt from something else than what is here: "
        f"{said}. Name the folder of its data (--root) or the files of its encoder weights "
        "(--weights), or add --other-data to train on what is here."
    )
