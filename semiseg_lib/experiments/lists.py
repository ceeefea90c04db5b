"""The images behind a run, file by file, and how they differ from those of another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.core.durable import Damaged, read_json
from semiseg_lib.core.escaping import listed, visible
from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.digest import image_set_hashes
from semiseg_lib.experiments.identity import Identity, Inputs, as_scored, run_of
from semiseg_lib.experiments.places import stored_lists
from semiseg_lib.experiments.values import Value
from semiseg_lib.stores.store import MANIFEST, is_set_aside
from semiseg_lib.training.run_folder import LISTS, WEIGHTS, RunFolder

SHOWN = 3
"""How many names a message gives as examples."""
LOST = f"has lost its {MANIFEST}, so its files cannot be checked"
DIGITS = 16
"""Hex digits of a file's SHA-256 in a list: enough to tell files apart, not to verify them."""

Listed = Mapping[str, Mapping[str, Sequence[str]]]
"""By role and image name, the hashes of the files of an image."""


def lists_of(
    inputs: Inputs, identity: Identity, sources: Mapping[str, str]
) -> dict[str, Any]:
    """Return the images that a result is made from and scored on.

    Args:
        inputs: the images.
        identity: the result's.
        sources: see :func:`~semiseg_lib.experiments.places.sources_of`.

    Returns:
        ``identity``: of the result; ``made from``: by role, {image name: hashes}; ``scored on``:
        the same for ``val`` and ``test``, as far as their files exist, with ``digests``;
        ``sources``; ``published``: the names in a published list; ``lies in``: the folder of the
        dataset, "" for one without a folder.
    """
    value = identity.value
    data, scored, digests = inputs.data(value), {}, {}
    for split in ("val", "test"):
        with suppress(FileNotFoundError):
            images = as_scored(getattr(data, split), run_of(value))
            scored[split], digests[split] = hashes_of(images), images.digest
    folder = data.source.folder
    return {"identity": identity.digest, "made from": _made_from(inputs, value),
            "scored on": scored, "digests": digests, "sources": dict(sources),
            "published": list(data.names["labelled"]) if data.config.published else [],
            "lies in": "" if folder is None else str(Path(folder).resolve())}


def _made_from(inputs: Inputs, value: Value) -> dict[str, dict[str, list[str]]]:
    return {role: hashes_of(images) for role, images in inputs.image_sets(value).items()}


def hashes_of(images: ImageSet) -> dict[str, list[str]]:
    """Return the first digits of the hashes of each image's files, by image name."""
    found = image_set_hashes(images.reader, images.indices)
    return {name: [one[:DIGITS] for one in hashes] for name, hashes in found.items()}


def compare_images(before: Mapping[str, Sequence[str]], now: Mapping[str, Sequence[str]]) -> str:
    """Return how one list of images differs from another; "" if it does not."""
    kinds = {
        "changed": [name for name in now if name in before and list(now[name]) != before[name]],
        "new": [name for name in now if name not in before],
        "gone": [name for name in before if name not in now],
    }
    said = [f"{len(names)} of {len(before if kind == 'gone' else now)} {kind} ({_examples(names)})"
            for kind, names in kinds.items() if names]
    if not said and list(before) != list(now):
        return "their order differs"
    return ", ".join(said)


def explain_new_work(identity: Identity, path: Path, lists: Mapping[str, Any]) -> str:
    """Return how a value's inputs differ from the last result of its recipe; "" if they do not.

    Args:
        identity: the value's.
        path: its folder, which does not hold a result yet.
        lists: its images, from :func:`lists_of`.
    """
    stem = identity.name.rpartition("-")[0]
    if has_lost_manifest(path):
        return f"{shown(path)} {LOST}; it is made again."
    if said := _earlier_versions(path.parent, stem.rpartition("-")[0]):
        return said
    others = [one for one in path.parent.glob(f"{stem}-*")
              if one != path and not is_set_aside(one)]
    for other in sorted(others, key=lambda one: one.stat().st_mtime, reverse=True):
        with suppress(Damaged, OSError, KeyError, TypeError, AttributeError, ValueError):
            said = _compare_inputs(identity, RunFolder.open(other).description["inputs"],
                                stored_lists(other)["made from"], lists["made from"])
            return (f"{visible(path.name)} is not {visible(other.name)}: {'; '.join(said)}. It is "
                    "made anew, and the other one stays as it is.")
    return ""


def _compare_inputs(
    identity: Identity, inputs: Mapping[str, Any], before: Listed, now: Listed
) -> list[str]:
    said = []
    for role, digest in identity.images.items():
        if inputs["images"].get(role) != digest:
            text = compare_images(before.get(role, {}), now.get(role, {}))
            said.append(f"{role} images: {text or 'others'}")
    if inputs["classes"] != identity.inputs["classes"]:
        said.append(f"class names: {listed(identity.classes)} instead of "
                    f"{listed(inputs['classes'])}")
    for what, kind in (("parents", ""), ("weights", "encoder weights of ")):
        said += [f"{kind}{name}: another one" for name, one in identity.inputs[what].items()
                 if inputs[what].get(name) != one]
    return said or ["the images are read in another way"]


def compare_with_stored(
    description: Mapping[str, Any], folder: Path, identity: Identity, inputs: Inputs
) -> str:
    """Return how the inputs of a value differ from those of a stored description.

    Args:
        description: the stored one.
        folder: where it is stored; a ``lists.json`` in it names the images.
        identity: the value's on the images here.
        inputs: the images here.
    """
    before: Listed = {}
    with suppress(Damaged, OSError, KeyError):
        before = stored_lists(folder)["made from"]
    now = _made_from(inputs, identity.value) if before else {}
    return "; ".join(_compare_inputs(identity, description["inputs"], before, now))


def _earlier_versions(folder: Path, method: str) -> str:
    """Return the notice that runs of an earlier version are not used, if there are no others."""
    found = [one.parent for one in folder.glob(f"{method}-*/{WEIGHTS['last']}")]
    old = [one for one in found if is_of_earlier_version(one)]
    if not old or len(old) < len(found):
        return ""
    return (f"{len(old)} runs of {method} in {shown(folder)} were made by an earlier version, "
            "which did not store what they learnt from, so they are not used. `semiseg runs prune` "
            "removes them.")


def is_of_earlier_version(run: Path) -> bool:
    """Return whether a run is of an earlier version, which did not store its inputs."""
    try:
        RunFolder.open(run)
    except ValueError:
        return True
    except (Damaged, OSError):
        return False
    return False


def has_lost_manifest(run: Path) -> bool:
    """Return whether a run looks finished (weights, no checkpoint) but has no manifest."""
    return ((run / WEIGHTS["last"]).is_file() and not (run / MANIFEST).exists()
            and not RunFolder(run).has_checkpoint)


def _examples(names: Sequence[str]) -> str:
    more = ", …" if len(names) > SHOWN else ""
    return listed(names[:SHOWN]) + more


def reason_to_restart(folder: RunFolder, lists: Mapping[str, Any]) -> str:
    """Return why an interrupted run cannot continue from its checkpoint; "" if it can."""
    try:
        begun = read_json(folder.path / LISTS)
    except FileNotFoundError as error:
        return f"{shown(Path(error.filename))} is missing."
    except Damaged as error:
        return error.problem
    if begun.get("identity") != lists["identity"]:
        return f"{shown(folder.path / LISTS)} is that of another run."
    before, now = begun["sources"], lists["sources"]
    if others := [name for name in now if before.get(name) != now[name]]:
        return f"{shown(folder.path)} has learnt from other bytes of its {' and '.join(others)}."
    return ""
