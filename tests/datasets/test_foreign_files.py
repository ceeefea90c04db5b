"""Damaged files that others wrote are read, or refused by an error that names the file."""

from __future__ import annotations

import io
import json
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from dataset_files import MAKERS
from PIL import Image
from scipy.io import savemat

from semiseg_lib import datasets
from semiseg_lib.datasets.acquire import extract_frames, read_sbd_mask, unpack
from semiseg_lib.datasets.audit import audit_dataset
from semiseg_lib.datasets.cityscapes import read_instance_ids
from semiseg_lib.datasets.devkit.annotation import read_annotation
from semiseg_lib.datasets.devkit.layout import read_list
from semiseg_lib.datasets.folder.boxes import read_coco
from semiseg_lib.datasets.folder.reader import read_classes
from semiseg_lib.datasets.labels import LabelError, decoding, read_image, read_mask
from semiseg_lib.datasets.lists import read_published_list

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 25, 3), dtype=np.uint8)
IDS = np.random.default_rng(1).integers(0, 5, (30, 25), dtype=np.uint8)


def damaged(content: bytes, count: int) -> Iterator[bytes]:
    """Yield the bytes with a bit or bytes changed, cut off or repeated; each kind in turn."""
    draw = random.Random(0)
    for number in range(count):
        spoilt = bytearray(content)
        place = draw.randrange(len(content) if number % 3 else min(len(content), 64))
        match number % 5:
            case 0 | 1:
                spoilt[place] ^= 1 << draw.randrange(8)
            case 2:
                spoilt[place:place + 4] = b"\xff" * 4
            case 3:
                del spoilt[place:]
            case 4:
                spoilt[place:place] = spoilt[place:place + 20]
        yield bytes(spoilt)


def refused(read: Callable[[], object], where: Path) -> bool:
    """Return whether reading was refused; any other error than a named one passes on."""
    try:
        read()
    except (LabelError, ValueError, FileNotFoundError) as error:
        assert str(where) in str(error) or "images have a mask" in str(error)
        return True
    return False


@pytest.mark.filterwarnings("ignore")  # Pillow's, of odd metadata
@pytest.mark.parametrize("name", sorted({*MAKERS} - {"digits"}))  # those come with a package
def test_damaged_files_of_a_dataset(name, tmp_path, monkeypatch):
    """One file of each kind, in every folder that a reader or the audit looks into."""
    declared = datasets.find(name)
    requests = list(MAKERS[name](tmp_path, monkeypatch))

    def read_all(asked, folder):
        source = declared.source(asked, folder, 0)
        for which in ("candidates", "unlabelled", "val", "test", "hidden"):
            reader = source.reader(which, True, True)
            for index in range(len(reader)):
                reader[index]

    files = {(path.parent, path.suffix): path for path in sorted(tmp_path.rglob("*.*"))
             if path.is_file()}
    count = 0
    for path in files.values():
        whole = path.read_bytes()
        for spoilt in damaged(whole, 10):
            path.write_bytes(spoilt)
            for asked, folder in requests:
                if path.is_relative_to(folder):
                    count += refused(partial(read_all, asked, folder), tmp_path)
            if declared.audit is not None and path.is_relative_to(requests[0][1]):
                refused(lambda: audit_dataset(name, requests[0][1], workers=1), tmp_path)
        path.write_bytes(whole)
    assert count > 5 * len(files), "most damages are noticed"
    read_all(*requests[0])


def save_mat(path: Path, compressed: bool) -> None:
    content = {"Boundaries": np.zeros((3, 3)), "Segmentation": IDS}
    savemat(path, {"GTcls": content}, do_compression=compressed)


def save_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as packed:
        for number in range(3):
            member = tarfile.TarInfo(f"top/{number}.bin")
            member.size = 300
            packed.addfile(member, io.BytesIO(PIXELS.tobytes()))


def save_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(3):
            packed.writestr(f"top/{number}.bin", PIXELS.tobytes()[:300])


def save_video(path: Path) -> None:
    av = pytest.importorskip("av", reason="the package av, which reads videos, is not installed")
    av.logging.set_level(None)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(4):
            pixels = np.full((32, 32, 3), 60 * number, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        container.mux(stream.encode())


def save_image(pixels: np.ndarray, **options) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(pixels).save(path, **options)


def read_images(path: Path) -> None:
    for read in (read_image, partial(read_mask, num_classes=5), read_instance_ids):
        refused(lambda read=read: read(path), path)
    read_image(path)


FORMATS = {
    "a.jpg": (save_image(PIXELS), read_images), "a.png": (save_image(PIXELS), read_images),
    "grey.png": (save_image(IDS), read_images),
    "deep.png": (save_image(IDS.astype(np.uint16) + 24000), read_images),
    "a.bmp": (save_image(PIXELS), read_images), "grey.bmp": (save_image(IDS), read_images),
    "a.tif": (save_image(PIXELS, compression="tiff_deflate"), read_images),
    "a.webp": (save_image(PIXELS, lossless=True), read_images),
    "raw.mat": (partial(save_mat, compressed=False), read_sbd_mask),
    "a.mat": (partial(save_mat, compressed=True), read_sbd_mask),
    "a.tgz": (save_tar, lambda path: unpack(path, "top", next_to(path), progress=False)),
    "a.zip": (save_zip, lambda path: unpack(path, "top", next_to(path), progress=False)),
    "a.mp4": (save_video, lambda path: extract_frames(path, next_to(path), progress=False)),
}


def next_to(path: Path) -> Path:
    """Return a folder that is not there yet."""
    return path.with_name(f"out{len(list(path.parent.iterdir()))}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_of_each_format(tmp_path, name):
    save, read = FORMATS[name]
    path = tmp_path / name
    save(path)
    whole, count = path.read_bytes(), 0
    for spoilt in damaged(whole, 25 if name == "a.mp4" else 120):
        path.write_bytes(spoilt)
        count += refused(lambda: read(path), path)
    assert count > 5
    path.write_bytes(whole)
    read(path)


def flip_idat(path: Path) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    save_image(noise)(path)
    content = bytearray(path.read_bytes())
    second = content.index(b"IDAT", content.index(b"IDAT") + 4)
    content[second - 2] ^= 1
    path.write_bytes(content)


def write_huge_bitmap(path: Path) -> None:
    save_image(PIXELS)(path)
    content = bytearray(path.read_bytes())
    content[18:26] = struct.pack("<ii", 2**30, 2**30)
    path.write_bytes(content)


def cut_header(path: Path) -> None:
    save_image(PIXELS)(path)
    content = bytearray(path.read_bytes())
    content[8:12] = struct.pack(">I", 5)
    path.write_bytes(content)


def coco(number: str) -> bytes:
    return json.dumps({
        "images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 2, 3, 4]}],
    }).replace("[0,", f"[{number},").encode()


def text(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(("name", "write", "read", "said"), [
    ("a.png", flip_idat, read_image, "SyntaxError: broken PNG"),
    ("a.bmp", write_huge_bitmap, read_image, "DecompressionBombError"),
    ("a.png", cut_header, read_image, "Truncated IHDR"),
    ("a.xml", text(b'<?xml version="1.0" encoding="utv-8"?><a/>'), read_annotation, "LookupError"),
    ("a.json", text(coco("1" + "0" * 400)), read_coco, "OverflowError"),
    ("a.json", text(coco("1" * 9999)), read_coco, "ValueError"),
    ("a.json", text(b"[" * 200_000), read_coco, "RecursionError"),
    ("a.txt", text("a\nb\n".encode("utf-16")), read_list, "UnicodeDecodeError.*UTF-8"),
    ("a.txt", text("a\nb\n".encode("utf-16")), read_published_list, "UnicodeDecodeError.*UTF-8"),
    ("a.txt", text("é\nb\n".encode("latin1")), read_classes, "UnicodeDecodeError.*UTF-8"),
    ("a.txt", Path.mkdir, read_list, "IsADirectoryError|PermissionError"),
    ("a.png", Path.mkdir, read_image, "IsADirectoryError|PermissionError"),
])
def test_what_decoders_raise_of_it_is_named(tmp_path, name, write, read, said):
    path = tmp_path / name
    write(path)
    with pytest.raises(LabelError, match=rf"{name} cannot be read \(.*({said})"):
        read(path)


def test_the_guard_lets_its_own_errors_pass_and_names_a_missing_file(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(LabelError, match="as it is"), decoding(path):
        raise LabelError("as it is")
    with pytest.raises(FileNotFoundError, match=r"a\.png is missing\. Copy"), decoding(path):
        path.read_bytes()
    with pytest.raises(KeyboardInterrupt), decoding(path):
        raise KeyboardInterrupt


def test_a_size_that_a_mat_file_claims_takes_no_memory(tmp_path):
    path = tmp_path / "a.mat"
    save_mat(path, compressed=False)
    content = path.read_bytes()
    sides = struct.pack("<ii", *IDS.shape)
    path.write_bytes(content.replace(sides, struct.pack("<ii", 2**31 - 1, 2**31 - 1)))
    with pytest.raises(LabelError, match=r"a\.mat cannot be read \(ValueError: type 2, 2147483"):
        read_sbd_mask(path)
