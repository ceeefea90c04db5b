"""From archive to a dataset that its reader opens: small archives in place of the real ones."""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from semiseg_lib.core.compat import make_torchvision_importable
from semiseg_lib.datasets import camvid, cifar10, cityscapes, voc
from semiseg_lib.datasets.acquire import Count
from semiseg_lib.datasets.camvid import CAMVID_CLASSES, CAMVID_COLOURS, CamVidDataset
from semiseg_lib.datasets.cityscapes import CityscapesDataset
from semiseg_lib.datasets.dataset import find
from semiseg_lib.datasets.devkit.layout import VOCDataset
from semiseg_lib.datasets.voc import VOC_CLASSES

SIZE = (6, 8)


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def photograph(suffix: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(buffer, format=suffix)
    return buffer.getvalue()


def mat(mask: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, {"GTcls": {"Segmentation": mask.astype(np.uint8)}})
    return buffer.getvalue()


def put(root: Path, monkeypatch, module, name: str, members: dict[str, bytes]) -> None:
    """Put an archive where the download would go, and expect its hash."""
    wanted = getattr(module, name)
    path = root / "downloads" / wanted.name
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as packed:
        for member, content in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    mended = replace(wanted, known_hash=f"md5:{digest}")
    monkeypatch.setattr(module, name, mended)


@pytest.fixture
def voc_root(tmp_path, monkeypatch) -> Path:
    """VOC with a train image, a val image, and one that only SBD has a mask for."""
    top = "VOCdevkit/VOC2012"
    members = {
        f"{top}/ImageSets/Segmentation/train.txt": b"a\n",
        f"{top}/ImageSets/Segmentation/val.txt": b"b\n",
        f"{top}/SegmentationClass/a.png": png(np.full(SIZE, 255)),
        f"{top}/SegmentationClass/b.png": png(np.full(SIZE, 2)),
    }
    members |= {f"{top}/JPEGImages/{name}.jpg": photograph("JPEG") for name in "abc"}
    put(tmp_path, monkeypatch, voc, "VOC_ARCHIVE", members)
    return tmp_path


def test_voc_is_unpacked_counted_and_read(voc_root):
    counts = {one.what.rpartition("/")[2]: one for one in voc.get_voc(voc_root, False)}
    assert counts["*.jpg"].found == 3 and counts["*.jpg"].expected == 17125
    assert counts["train.txt"].found == 1 and not counts["train.txt"].complete
    folder = voc_root / "VOCdevkit" / "VOC2012"
    assert (VOCDataset(folder, "val", VOC_CLASSES, boxes=False)[0].mask == 2).all()


def test_a_folder_that_is_there_is_only_counted(voc_root):
    voc.get_voc(voc_root, False)
    (voc_root / "VOCdevkit" / "VOC2012" / "JPEGImages" / "c.jpg").unlink()
    (voc_root / "downloads" / voc.VOC_ARCHIVE.name).unlink()
    assert voc.get_voc(voc_root, False)[0].found == 2


def test_sbd_becomes_masks_beside_vocs(voc_root, monkeypatch):
    top = "benchmark_RELEASE/dataset"
    members = {f"{top}/train.txt": b"a\nc\n", f"{top}/val.txt": b"b\n"}
    members |= {f"{top}/cls/{name}.mat": mat(np.full(SIZE, 5)) for name in "abc"}
    put(voc_root, monkeypatch, voc, "SBD_ARCHIVE", members)
    with pytest.raises(FileNotFoundError, match="semiseg data voc"):
        voc.get_sbd(voc_root, False)
    voc.get_voc(voc_root, False)
    counts = voc.get_sbd(voc_root, False)
    assert [one.found for one in counts] == [3, 2, 2]
    folder = voc_root / "VOCdevkit" / "VOC2012"
    read = VOCDataset(
        folder, "train_aug", VOC_CLASSES, masks="SegmentationClassAug", boxes=False
    )
    assert read.names == ["a", "c"] and (read[0].mask == 255).all() and (read[1].mask == 5).all()


def test_camvid_gets_its_colours_back(tmp_path, monkeypatch):
    """Numbers in another order than the table of colours: the names decide."""
    names = sorted(CAMVID_COLOURS, reverse=True)
    ids = np.arange(48).reshape(SIZE) % 32
    members = {"camvid/codes.txt": "\n".join(names).encode()}
    for frame in ("0001TP_006690", "Seq05VD_f00000"):
        members |= {f"camvid/images/{frame}.png": photograph(),
                    f"camvid/labels/{frame}_P.png": png(ids)}
    put(tmp_path, monkeypatch, camvid, "ARCHIVE", members)
    counts = camvid.get_camvid(tmp_path, False)
    assert [(one.found, one.expected) for one in counts] == [(2, 701), (2, 701)]
    assert [p.name for p in (tmp_path / "downloads").iterdir()] == ["camvid.tgz"]
    train = CamVidDataset(tmp_path / "camvid", "train", recipe="exact")
    mask = train[0].mask
    for full, short in (("Sky", "sky"), ("Sidewalk", "pavement"), ("Column_Pole", "pole")):
        assert (mask[ids == names.index(full)] == CAMVID_CLASSES.index(short)).all()
    assert (mask[ids == names.index("Train")] == 255).all()
    assert CamVidDataset(tmp_path / "camvid", "test").names == ["Seq05VD_f00000"]


def cityscapes_zips(folder: Path) -> dict[str, bytes]:
    stem = "train/ulm/ulm_000000_000019"
    zips = {}
    for name, members in {
        "gtFine_trainvaltest.zip": {f"gtFine/{stem}_gtFine_labelIds.png": png(np.full(SIZE, 7)),
                                    f"gtFine/{stem}_gtFine_instanceIds.png": png(np.zeros(SIZE))},
        "leftImg8bit_trainvaltest.zip": {f"leftImg8bit/{stem}_leftImg8bit.png": photograph()},
    }.items():
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as packed:
            for member, content in members.items():
                packed.writestr(member, content)
        zips[name] = buffer.getvalue()
    return zips


def test_cityscapes_without_its_program_says_each_step(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError) as said:
        cityscapes.get_cityscapes(tmp_path, False)
    for words in ("register", "pip install cityscapesScripts", "gtFine_trainvaltest.zip",
                  "leftImg8bit_trainvaltest.zip", "csDownload -d", "with a browser"):
        assert words in str(said.value)


def test_zips_fetched_by_hand_are_unpacked_and_read(tmp_path):
    folder = tmp_path / "cityscapes"
    folder.mkdir()
    for name, content in cityscapes_zips(folder).items():
        (folder / name).write_bytes(content)
    counts = cityscapes.get_cityscapes(tmp_path, False)
    assert [one.found for one in counts] == [1, 0, 0, 1, 0, 0]
    assert (CityscapesDataset(folder, "train", boxes=False)[0].mask == 0).all()


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for csDownload is a script")
def test_csdownload_is_asked_for_what_is_missing_and_goes_on(tmp_path, monkeypatch):
    """A stand-in notes its arguments and copies the zips; a broken-off zip is asked for with -r."""
    folder, ready = tmp_path / "cityscapes", tmp_path / "ready"
    folder.mkdir()
    ready.mkdir()
    for name, content in cityscapes_zips(folder).items():
        (ready / name).write_bytes(content)
    half = (ready / "gtFine_trainvaltest.zip").read_bytes()[:50]
    (folder / "gtFine_trainvaltest.zip").write_bytes(half)
    program = tmp_path / "csDownload"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nfor last; do true; done\n'
        f'/bin/cp {ready}/"$last" {folder}/"$last"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [one.found for one in cityscapes.get_cityscapes(tmp_path, False)] == [1, 0, 0, 1, 0, 0]
    assert (tmp_path / "asked").read_text(encoding="utf-8").splitlines() == [
        f"-r -d {folder} gtFine_trainvaltest.zip", f"-d {folder} leftImg8bit_trainvaltest.zip"]
    program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="csDownload could not fetch"):
        cityscapes.get_cityscapes(tmp_path / "other", False)


def test_addresses_and_hashes_are_torchvisions():
    make_torchvision_importable()
    from torchvision.datasets import SBDataset
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    of_voc, sbd = voc.VOC_ARCHIVE, voc.SBD_ARCHIVE
    theirs = DATASET_YEAR_DICT["2012"]
    assert (of_voc.name, of_voc.known_hash) == (theirs["filename"], f"md5:{theirs['md5']}")
    assert theirs["url"] in of_voc.urls
    assert (sbd.name, sbd.known_hash) == (SBDataset.filename, f"md5:{SBDataset.md5}")
    assert SBDataset.url in sbd.urls
    assert len(set(of_voc.urls)) == len(of_voc.urls) >= 2 and len(sbd.urls) >= 2
    for one in (of_voc, sbd, camvid.ARCHIVE, cifar10.ARCHIVE):
        assert "{folder}" in one.by_hand and all(url.startswith("http") for url in one.urls)


def test_cifar10_is_unpacked_and_counted(tmp_path, monkeypatch):
    members = {f"cifar-10-batches-bin/{name}": b"x" for name in cifar10.BATCHES[1:]}
    put(tmp_path, monkeypatch, cifar10, "ARCHIVE", members)
    counts = cifar10.get_cifar10(tmp_path, False)
    assert [(one.found, one.complete) for one in counts] == [(4, False), (1, True)]
    (tmp_path / "cifar10" / "train_airplane.jpg").touch()
    counts = cifar10.get_cifar10(tmp_path, False)
    assert [(one.found, one.expected) for one in counts] == [(1, 10), (0, 10)], "mosaics"


def test_the_declared_downloads_are_the_commands(voc_root):
    downloads = {command: download for name in ("voc", "cityscapes", "camvid", "cifar10")
                 for command, download in find(name).downloads.items()}
    assert list(downloads) == ["voc", "sbd", "cityscapes", "camvid", "cifar10"]
    for one in downloads.values():
        assert one.text.endswith("GB).") and "\n" not in one.text and "cite" in one.terms
    counts = downloads["voc"].get(voc_root, False)
    assert all(isinstance(one, Count) for one in counts) and counts[0].found == 3
