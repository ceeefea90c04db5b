"""Images are read only as they were when they were hashed."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from copy import copy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiseg_lib.datasets.checked import Checked
from semiseg_lib.datasets.digest import image_set_digest
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
        files = [np.array(Image.open(path)) for path in self.content(index)]
        return Sample(self.names[index], np.stack(3 * files[:1]), *files[1:] or [None])

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
def pictures(tmp_path, monkeypatch) -> Checked:
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    return Checked(Pictures(tmp_path))


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_file_that_changed_since_it_was_hashed_is_refused_by_name(pictures, tmp_path, kind):
    image_set_digest(pictures, [0, 1])
    assert pictures[1].image[0, 0, 0] == 1
    replace_keeping_times(tmp_path / kind / "p1.png", 0)
    with pytest.raises(ValueError, match=rf"{kind}/p1\.png has changed since the dataset was op"):
        _ = pictures[1]
    assert pictures[0].name == "p0"
    replace_keeping_times(tmp_path / kind / "p1.png", 1)
    assert pictures[1].name == "p1", "its bytes are those that were hashed"


def test_a_file_that_changes_while_it_is_read_is_refused(pictures, tmp_path, monkeypatch):
    image_set_digest(pictures, [0])
    read = Pictures.__getitem__

    def meanwhile(self, index):
        sample = read(self, index)
        replace_keeping_times(tmp_path / "masks" / "p0.png", 1)
        return sample

    monkeypatch.setattr(Pictures, "__getitem__", meanwhile)
    with pytest.raises(ValueError, match=r"p0\.png has changed"):
        _ = pictures[0]


def test_what_was_never_hashed_or_is_not_read_is_not_checked(pictures, tmp_path):
    image_set_digest(pictures, [0, 1])
    replace_keeping_times(tmp_path / "images" / "p2.png", 9)
    assert pictures[2].image.max() == 9
    replace_keeping_times(tmp_path / "masks" / "p1.png", 0)
    alone = copy(pictures)
    alone.masks = None
    assert alone[1].mask is None and alone[1].name == "p1"


def test_a_file_that_is_only_touched_is_read(pictures, tmp_path):
    image_set_digest(pictures, [0])
    (tmp_path / "images" / "p0.png").touch()
    (tmp_path / "images" / "p0.png").chmod(0o600)
    assert pictures[0].name == "p0"


def test_copies_and_other_processes_know_what_was_hashed(pictures, tmp_path):
    alone = copy(pictures)
    alone.masks = None
    image_set_digest(alone, [0])
    replace_keeping_times(tmp_path / "images" / "p0.png", 9)
    for reader in (pictures, pickle.loads(pickle.dumps(pictures))):
        with pytest.raises(ValueError, match=r"images/p0\.png has changed"):
            _ = reader[0]


def test_the_digest_is_that_of_the_reader_and_stays_that_of_the_opening(pictures, tmp_path):
    before = image_set_digest(pictures, range(3))
    assert before == image_set_digest(pictures.reader, range(3))
    replace_keeping_times(tmp_path / "images" / "p0.png", 9)
    assert image_set_digest(pictures, range(3)) == before
    assert image_set_digest(Checked(pictures.reader), range(3)) != before
