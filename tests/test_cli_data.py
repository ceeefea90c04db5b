"""``semiseg data``: exit codes, tables and files, in-process."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semiseg_lib.cli import data, main
from semiseg_lib.core.paths import work_root
from semiseg_lib.datasets import cifar10, voc
from semiseg_lib.datasets.acquire import Archive
from semiseg_lib.datasets.labels import read_mask, write_mask
from semiseg_lib.datasets.voc import VOC_CLASSES


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    """mini-VOC of the smoke profile, drawn once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(tmp_path_factory.mktemp("work")))
        patch.setenv("SEMISEG_PROFILE", "smoke")
        assert data.run([]) == 0
        (folder,) = (work_root() / "minivoc").glob("*/VOCdevkit/VOC2012")
        yield folder


def test_without_a_command_mini_voc_is_drawn(mini, capsys):
    for arguments in (
        [], ["minivoc"], ["--profile", "smoke"], ["minivoc", "--profile", "smoke"],
    ):
        assert data.run(arguments) == 0
        said = capsys.readouterr().out
        assert "labelled" in said and "balloon" in said and "VOC2012" in said, arguments


def test_the_images_that_lie_in_no_folder_are_shown_too(mini, capsys):
    assert data.run(["--dataset", "digits"]) == 0
    said = capsys.readouterr().out
    assert "| labelled | 20 " in " ".join(said.split()) and "classes: 0, 1, 2" in said
    assert "folder" not in said


@pytest.mark.parametrize("arguments", ["mini", "audit mini", "split mini", "mini --seed 1"])
def test_the_name_mini_is_refused_with_the_new_one(arguments, capsys):
    assert main(["data", *arguments.split()]) == 2
    assert "the dataset mini is now called minivoc." in capsys.readouterr().err


def test_mini_voc_is_checked_as_the_book_draws_it(mini, capsys, monkeypatch, tmp_path):
    """Neither the profile nor the folder of other datasets has a part in it."""
    monkeypatch.setenv("SEMISEG_DATA", str(tmp_path))
    assert data.run(["audit", "minivoc", "--sample", "5"]) == 0
    said = capsys.readouterr().out
    assert "240 images, 5 inspected" in said and "800 images, 5 inspected" in said


def test_a_clean_dataset_passes_with_its_histogram(mini, capsys):
    assert data.run(["audit", "minivoc", "--root", str(mini)]) == 0
    said = capsys.readouterr().out
    assert "labelled: 24 masks" in said and "balloon" in said and "█" in said
    assert "0 FAIL" in said and "ready to train on" in said


def test_a_spoilt_dataset_fails_with_file_and_mend(mini, capsys):
    path = next((mini / "SegmentationClass").glob("*.png"))
    mask, before = read_mask(path, 5).copy(), path.read_bytes()
    mask[0, 0] = 99
    write_mask(mask, path)
    try:
        arguments = ["--root", str(mini), "--sample", "500", "--workers", "1"]
        assert data.run(["audit", "minivoc", *arguments]) == 1
    finally:
        path.write_bytes(before)
    said = capsys.readouterr().out
    assert "FAIL" in said and path.name in said and "(99)" in said and "→" in said
    assert "1 FAIL" in said


def test_lists_of_one_s_own_may_be_given_several_times(mini, tmp_path, capsys):
    held_out = (mini / "ImageSets" / "Segmentation" / "val.txt").read_text(encoding="utf-8")
    lists = []
    for name in ("first", "second"):
        lists += ["--list", str(tmp_path / f"{name}.txt")]
        Path(lists[-1]).write_text(held_out, encoding="utf-8")
    assert data.run(["audit", "minivoc", "--root", str(mini), *lists]) == 1
    said = capsys.readouterr().out
    assert "first and val" in said or "val and first" in said
    assert "second and val" in said or "val and second" in said


def test_a_split_is_drawn_by_its_seed_and_covers_the_classes(mini, tmp_path, capsys):
    """mini-VOC read as if it were VOC: five ids occur in it."""
    texts = []
    for number, seed in enumerate("001"):
        out = tmp_path / f"{number}.txt"
        assert data.run([
            "split", "voc", "--root", str(mini.parents[1]), "--candidates", "labelled", "--seed",
            seed, "--labelled", "9", "--out", str(out), "--keep", *VOC_CLASSES[:5],
        ]) == 0
        texts.append(out.read_text(encoding="utf-8"))
        said = capsys.readouterr().out
        digest = hashlib.sha256("\n".join(sorted(texts[-1].split())).encode()).hexdigest()
        assert digest in said and "all 5 classes" in said
    assert texts[0] == texts[1] != texts[2]
    names = set(texts[0].split())
    masks = [read_mask(mini / "SegmentationClass" / f"{name}.png", 5) for name in names]
    assert len(names) == 9 and {*range(5)} <= {int(i) for mask in masks for i in mask.ravel()}


def test_a_download_that_fails_names_hosts_and_the_way_by_hand(tmp_path, monkeypatch, capsys):
    urls = ("http://127.0.0.1:9/voc.tar",)
    nowhere = Archive("voc.tar", "md5:" + "0" * 32, urls, "in {folder}")
    monkeypatch.setattr(voc, "VOC_ARCHIVE", nowhere)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(RuntimeError, match=r"127\.0\.0\.1 cannot be reached") as said:
        data.run(["voc", "--root", str(tmp_path)])
    assert f"By hand: in {(tmp_path / 'downloads').as_posix()}" in str(said.value)
    assert "Terms: " in capsys.readouterr().out
    assert not (tmp_path / "VOCdevkit").exists()


def test_what_is_not_whole_is_marked_and_exits_with_one(tmp_path, capsys):
    (tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages").mkdir(parents=True)
    assert data.run(["voc", "--root", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "17125" in said and "not whole" in said and "semiseg data audit voc" in said


def cifar10_download(root: Path, monkeypatch, names: tuple[str, ...], prefix: str) -> None:
    """Put a small archive where the download would go, two images a file, and expect its hash."""
    monkeypatch.setattr(cifar10, "RECORDS", 2)
    wanted = cifar10.ARCHIVE
    assert wanted.known_hash == "md5:c32a1d4ab5d03f1284b67883e8d87530"
    path = root / "downloads" / wanted.name
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as packed:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(prefix + name)
            info.size = 2 * 3073
            packed.addfile(info, io.BytesIO(bytes([number]) * info.size))
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    mended = replace(wanted, known_hash=f"md5:{digest}")
    monkeypatch.setattr(cifar10, "ARCHIVE", mended)


def test_cifar10_is_unpacked_counted_and_read(tmp_path, monkeypatch, capsys):
    cifar10_download(tmp_path, monkeypatch, cifar10.BATCHES, "cifar-10-batches-bin/")
    assert data.run(["cifar10", "--root", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "Terms: " in said and "All there." in said and "semiseg data audit" not in said
    read = cifar10.read_cifar10(cifar10.DATASET.folder(tmp_path))
    assert read.labels.tolist() == np.repeat(range(6), 2).tolist() and (read.images[-1] == 5).all()
    (tmp_path / "cifar10" / "data_batch_3.bin").unlink()
    assert data.run(["cifar10", "--root", str(tmp_path)]) == 1


@pytest.mark.parametrize("prefix", ["../", "/", "cifar-10-batches-bin/../../"])
def test_cifar10_cannot_write_elsewhere(tmp_path, monkeypatch, prefix):
    cifar10_download(tmp_path / "root", monkeypatch, ("data_batch_1.bin",), prefix)
    with pytest.raises(ValueError, match="points outside the folder"):
        data.run(["cifar10", "--root", str(tmp_path / "root")])
    assert [path.name for path in tmp_path.rglob("*.bin")] == []


@pytest.mark.skipif("SEMISEG_DATA" not in os.environ, reason="SEMISEG_DATA names no datasets")
def test_a_split_of_the_real_images_covers_the_seven_classes(tmp_path, capsys):
    if not (Path(os.environ["SEMISEG_DATA"]) / "VOCdevkit").is_dir():
        pytest.skip("no VOC in SEMISEG_DATA")
    keep = ["background", "cat", "cow", "dog", "horse", "person", "sheep"]
    assert set(keep) <= set(VOC_CLASSES)
    out = tmp_path / "labelled.txt"
    assert data.run(["split", "voc", "--labelled", "50", "--out", str(out), "--keep", *keep]) == 0
    assert len(out.read_text(encoding="utf-8").split()) == 50
    assert "all 7 classes" in capsys.readouterr().out
