"""Images are read only as they were when they were hashed."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiseg_lib.batches.image_set import ImageSet, joined
from semiseg_lib.datasets.sample import Sample


class Pictures:
    """Three images with masks, a file each."""

    names, classes = ("p0", "p1", "p2"), ("ground", "disc")
    masks, boxes, canonical, decoding = "own", False, {}, ""

    def __init__(self, root: Path) -> None:
        self.root = root
        for number, name in enumerate(self.names):
            for kind in ("images", "masks"):
                (root / kind).mkdir(exist_ok=True)
                save(root / kind / f"{name}.png", number)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        image, *mask = (np.array(Image.open(path)) for path in self.content(index))
        return Sample(self.names[index], np.stack([image] * 3), *mask or [None])

    def content(self, index: int) -> Iterator[Path]:
        yield self.root / "images" / f"{self.names[index]}.png"
        if self.masks is not None:
            yield self.root / "masks" / f"{self.names[index]}.png"


def save(path: Path, value: int) -> None:
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(path, compress_level=0)


def replace_keeping_times(path: Path, value: int) -> None:
    status = path.stat()
    save(path, value)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def images(tmp_path, monkeypatch) -> ImageSet:
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    return ImageSet(Pictures(tmp_path), (0, 1, 2), np.zeros(2, bool))


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_file_that_changed_since_it_was_hashed_is_refused_by_name(images, tmp_path, kind):
    assert images.digest and images.sample(1).image[0, 0, 0] == 1
    replace_keeping_times(tmp_path / kind / "p1.png", 0)
    with pytest.raises(ValueError, match=rf"{kind}/p1\.png has changed since the dataset was op"):
        images.sample(1)
    assert images.sample(0).name == "p0"
    replace_keeping_times(tmp_path / kind / "p1.png", 1)
    assert images.sample(1).name == "p1", "its bytes are those that were hashed"


def test_a_file_that_changes_while_it_is_read_is_refused(images, tmp_path, monkeypatch):
    assert images.digest
    read = Pictures.__getitem__

    def meanwhile(self, index):
        sample = read(self, index)
        replace_keeping_times(tmp_path / "masks" / "p0.png", 1)
        return sample

    monkeypatch.setattr(Pictures, "__getitem__", meanwhile)
    with pytest.raises(ValueError, match=r"p0\.png has changed"):
        images.sample(0)


def test_what_was_never_hashed_or_is_not_read_is_not_held(images, tmp_path):
    assert images.take([0, 1]).digest
    replace_keeping_times(tmp_path / "images" / "p2.png", 9)
    assert images.sample(2).image.max() == 9
    replace_keeping_times(tmp_path / "masks" / "p1.png", 0)
    alone = images.without_labels().sample(1)
    assert alone.mask is None and alone.name == "p1"


def test_a_file_that_is_only_touched_is_read(images, tmp_path):
    assert images.digest
    (tmp_path / "images" / "p0.png").touch()
    (tmp_path / "images" / "p0.png").chmod(0o600)
    assert images.sample(0).name == "p0"


def test_sets_made_of_others_and_other_processes_know_what_was_hashed(images, tmp_path):
    assert images.without_labels().digest
    masks = [np.zeros((4, 4), np.uint8)] * 3
    replace_keeping_times(tmp_path / "images" / "p0.png", 9)
    for one in (images, images.take([0]), images.with_masks(masks), joined(images),
                pickle.loads(pickle.dumps(images))):
        with pytest.raises(ValueError, match=r"images/p0\.png has changed"):
            one.sample(0)


def test_the_digest_of_joined_images_holds_their_files(images, tmp_path):
    both = joined(images.take([0]), images.take([1, 2]))
    assert both.digest
    replace_keeping_times(tmp_path / "images" / "p2.png", 9)
    with pytest.raises(ValueError, match=r"images/p2\.png has changed"):
        both.sample(2)
