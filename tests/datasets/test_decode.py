"""What unchanged bytes mean: every shipped reader, held to its decode version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_files import MAKERS

from semiseg_lib import datasets
from semiseg_lib.batches.data import Data
from semiseg_lib.core.fingerprint import fingerprint
from semiseg_lib.datasets import minivoc, voc
from semiseg_lib.datasets.dataset import LISTS, SHIPPED
from semiseg_lib.datasets.devkit.layout import VOCDataset
from semiseg_lib.datasets.sample import Sample

READ: dict[str, tuple[int, str]] = {
    "minivoc": (1, "be378817c2c78daa12126c7f2cff5ee31221deea51e973beeb047825add7cde5"),
    "voc": (1, "86732d7af5dbc325efb3be4a57e1bd08cf2d12a88cc328d1ba8bd05dfd8213d6"),
    "cityscapes": (1, "c77c3798374e30b03d19f51c335c814ed23565c229a229bea9210f3eb96d8030"),
    "camvid": (1, "73f4a8551d7f8d2a3bc0605432d06615d6e5569106bf1dcd9a55f72d5153c7f9"),
    "folder": (1, "6ca83267793ed17d76948c5b0308b0abbb80ffc7dd2791d4137d1b31cffb05cf"),
    "digits": (1, "7f96aa934ba893df9c1e58958c186ba10598512f0400bcf6150d3d3b15457a17"),
    "cifar10": (1, "6825499507180a20b5fa3812ec803d106e073860d62a9362b7f801169260e97f"),
}
"""{dataset: (decode version, SHA-256 of what is read of its files in `dataset_files`)}."""


def sha(array: np.ndarray | None) -> str:
    """Return the SHA-256 of an array's type, shape and values; "" for None."""
    if array is None:
        return ""
    portable = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<")))
    kind = f"{array.dtype.name} {array.shape} ".encode()
    return hashlib.sha256(kind + portable.tobytes()).hexdigest()


def said_of(sample: Sample) -> list:
    """Return everything that a reader says of an image."""
    labels = [sample.name, sha(sample.image), sha(sample.mask)]
    if sample.boxes is None:
        return [*labels, None]
    boxes = sample.boxes
    return [*labels, sha(boxes.coordinates), sha(boxes.classes), list(boxes.crowds)]


def read(name: str, root: Path, patch: pytest.MonkeyPatch) -> str:
    """Write a dataset's files and return the SHA-256 of all that its readers say of them.

    It does not depend on the order of images, nor on which of them were drawn for which list.
    """
    said = []
    for config, folder in MAKERS[name](root, patch):
        source = datasets.find(name).source(config, folder, 0)
        readers = [source.reader(which, which != "unlabelled", bool(source.boxed.any()))
                   for which in (*LISTS, "hidden")]
        samples = {json.dumps(said_of(reader[i])) for reader in readers for i in range(len(reader))}
        said.append([list(source.classes), source.boxed.tolist(), sorted(samples)])
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def refuse_another_reading(name: str, found: str) -> None:
    """Fail where files are read otherwise than their decode version says."""
    version, (known_version, known) = datasets.find(name).decode, READ.get(name, (0, ""))
    stored = f"tests/datasets/test_decode.py, READ: {name!r}: ({version}, {found!r})"
    assert version != known_version or found == known, (
        f"{name} reads unchanged bytes differently: raise its decode version and store the new "
        f"hash ({stored}, with the raised version)"
    )
    assert version == known_version, f"store the hash of the decode version {version} ({stored})"


def test_every_shipped_dataset_is_held_to_its_decode_version():
    assert MAKERS.keys() == READ.keys() == {*SHIPPED}


@pytest.mark.parametrize("name", SHIPPED)
def test_unchanged_bytes_are_read_as_the_decode_version_says(name, tmp_path, monkeypatch):
    refuse_another_reading(name, read(name, tmp_path, monkeypatch))


def mirrored(reader: VOCDataset, index: int, plain: Callable = VOCDataset.__getitem__) -> Sample:
    sample = plain(reader, index)
    return replace(sample, image=sample.image[..., ::-1])


@pytest.mark.parametrize("name", ["voc", "minivoc"])
def test_a_reader_that_reads_otherwise_must_raise_its_version(name, tmp_path, monkeypatch):
    monkeypatch.setattr(VOCDataset, "__getitem__", mirrored)
    found = read(name, tmp_path, monkeypatch)
    sentence = f"{name} reads unchanged bytes differently: raise its decode version and store the"
    with pytest.raises(AssertionError, match=sentence):
        refuse_another_reading(name, found)
    raise_version(name, monkeypatch)
    with pytest.raises(AssertionError, match="store the hash of the decode version 2"):
        refuse_another_reading(name, found)
    monkeypatch.setitem(READ, name, (2, found))
    refuse_another_reading(name, found)


def raise_version(name: str, patch: pytest.MonkeyPatch) -> None:
    module = {"voc": voc, "minivoc": minivoc}[name]
    patch.setattr(module, "DATASET", replace(module.DATASET, decode=module.DATASET.decode + 1))


def fingerprints_of(data: Data) -> dict[str, str]:
    """Return the fingerprint of what is made of each image set of a dataset, on unchanged bytes."""
    sets = {which: getattr(data, which)
            for which in ("labelled", "unlabelled", "val", "test", "boxed", "everything")}
    masks = list(data.unlabelled_truth)
    sets |= {"labels": data.unlabelled.with_masks(masks), "images": data.val.without_labels(),
             "first": data.labelled.take([0])}
    return {which: fingerprint({"images": images.digest}) for which, images in sets.items()}


@pytest.mark.parametrize("name", ["voc", "minivoc"])
def test_a_raised_decode_version_changes_every_fingerprint(name, tmp_path, monkeypatch):
    config, root = next(MAKERS[name](tmp_path, monkeypatch))
    data = Data(config, 0, root)
    before, image = fingerprints_of(data), data.labelled.sample(0).image
    assert fingerprints_of(Data(config, 0, root)) == before
    raise_version(name, monkeypatch)
    monkeypatch.setattr(VOCDataset, "__getitem__", mirrored)
    data = Data(config, 0, root)
    after = fingerprints_of(data)
    assert [which for which in before if before[which] == after[which]] == []
    # An image that the old version read and kept in memory is read again.
    np.testing.assert_array_equal(data.labelled.sample(0).image, image[..., ::-1])
