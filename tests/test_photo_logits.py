"""The logits store for real datasets: sizes differ, images are read one by one, in workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader

from semiseg_lib.evaluation.metrics import evaluate_labels
from semiseg_lib.stores import logits as module
from semiseg_lib.stores.logits import LogitsStore, StaleLogits

FIX = r"Delete the folder and store them again \(semiseg logits\)"
SIZES = [(21, 94, 125), (21, 125, 94), (21, 125, 125), (21, 84, 125), (21, 94, 125)]
PHOTOS = tuple(f"2007_{i:06d}" for i in range(len(SIZES)))


@pytest.fixture(autouse=True)
def three_images_a_file(monkeypatch):
    monkeypatch.setattr(module, "IMAGES_PER_FILE", 3)


def smooth(number: int) -> torch.Tensor:
    """Logits (C, h, w) with the smooth borders and the range of a trained network's."""
    generator = torch.Generator().manual_seed(number)
    coarse = torch.randn(1, 21, 7, 8, generator=generator)
    return 6 * interpolate(coarse, SIZES[number][1:], mode="bicubic")[0]


@pytest.fixture(params=[16, 8])
def photos(tmp_path, request) -> LogitsStore:
    store = LogitsStore(tmp_path / "ours", "run1", PHOTOS, bits=request.param)
    store.write(lambda numbers: (smooth(i) for i in numbers))
    return store


def test_images_of_different_sizes_come_back_one_by_one(photos):
    assert len(photos) == 5 and [tuple(one.shape) for one in photos] == SIZES
    for number in (3, 0, 4, 1, 2, -1):
        exact, stored = smooth(range(5)[number]), photos[number]
        assert stored.dtype == torch.float16 and stored.is_contiguous()
        if photos.bits == 16:
            assert torch.equal(stored, exact.half())
        else:  # half a level, and the rounding to half precision
            level = (exact.amax((1, 2)) - exact.amin((1, 2))) / 255
            off = (stored.float() - exact).abs().amax((1, 2))
            assert (off <= level / 2 + exact.abs().max() * 2**-11).all()
    with pytest.raises(IndexError):
        photos[5]
    with pytest.raises(ValueError, match=r"have 4 different sizes.*one by one"):
        photos.read()


def test_eight_bits_keep_a_class_whose_logit_is_the_same_everywhere(tmp_path):
    store = LogitsStore(tmp_path, "run1", ("a",), bits=8)
    store.write(lambda _: [torch.stack([torch.full((2, 3), -2.5), torch.arange(6.).view(2, 3)])])
    assert torch.equal(store[0][0], torch.full((2, 3), -2.5).half())
    torch.testing.assert_close(store[0][1].float(), torch.arange(6.).view(2, 3), atol=0.01, rtol=0)


def test_one_image_is_read_without_the_others(photos, monkeypatch):
    opened, hashed = [], []
    real_open, real_hash = module.safe_open, module._sha256

    class Watched:
        def __init__(self, path, framework):
            self.file = real_open(path, framework)

        def get_tensor(self, name):
            opened.append(name)
            return self.file.get_tensor(name)

    monkeypatch.setattr(module, "safe_open", Watched)
    monkeypatch.setattr(module, "_sha256", lambda path: hashed.append(path.name) or real_hash(path))
    again = LogitsStore(photos.folder, "run1", PHOTOS, photos.bits)
    for _ in range(2):
        again[4], again[3]
    assert {name.partition(":")[0] for name in opened} == {PHOTOS[4], PHOTOS[3]}
    assert hashed == ["0001.safetensors"], "a file is checked once, and no other is"


def test_damage_is_noticed_before_the_first_image_of_a_file_is_read(photos):
    path = photos.folder / "0001.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    again = LogitsStore(photos.folder, "run1", PHOTOS, photos.bits)
    assert again[2].shape == SIZES[2]
    for read in (lambda: again[3], again.verify):
        with pytest.raises(StaleLogits, match=rf"0001\.safetensors is .*{FIX}"):
            read()
    again.write(lambda numbers: (smooth(i) for i in numbers))
    assert again[3].shape == SIZES[3]


def test_an_incomplete_store_gives_no_image(tmp_path):
    store = LogitsStore(tmp_path / "ours", "run1", PHOTOS)

    def interrupted(numbers):
        if numbers[0] >= 3:
            raise KeyboardInterrupt
        return (smooth(i) for i in numbers)

    with pytest.raises(KeyboardInterrupt):
        store.write(interrupted)
    with pytest.raises(StaleLogits, match="1 of 2 files are written"):
        store[0]
    store.write(lambda numbers: (smooth(i) for i in numbers))
    assert torch.equal(store[0], smooth(0).half())


def test_eight_and_sixteen_bits_are_not_mixed(photos):
    other = LogitsStore(photos.folder, "run1", PHOTOS, bits=24 - photos.bits)
    for use in (lambda: other[0], lambda: other.write(lambda numbers: [])):
        with pytest.raises(StaleLogits, match=f"they have {photos.bits} bits, not"):
            use()


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_logits_that_do_not_fit_are_refused_with_the_images_name(tmp_path, value):
    store = LogitsStore(tmp_path / "ours", "run1", PHOTOS)
    with pytest.raises(ValueError, match=f"{PHOTOS[0]} are not finite"):
        store.write(lambda numbers: [torch.full((2, 3, 4), value) for _ in numbers])


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_worker_processes_read_the_same(tmp_path, monkeypatch, start):
    if start not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {start} processes")
    monkeypatch.undo()  # a spawned process imports the module afresh
    store = LogitsStore(tmp_path, "run1", PHOTOS, bits=8)
    store.write(lambda numbers: (smooth(i) for i in numbers))
    expected = [store[i] for i in range(5)]  # handles are open before the fork
    loader = DataLoader(store, batch_size=None, num_workers=2, multiprocessing_context=start)
    assert all(torch.equal(*pair) for pair in zip(loader, expected, strict=True))


WRITER = """
import sys, time, torch
from pathlib import Path
from semiseg_lib.stores import logits
logits.IMAGES_PER_FILE = 3
def slowly(numbers):
    for number in numbers:
        if number == 4:
            print("in the middle of a file", flush=True)
            time.sleep(60)
        yield torch.full((3, 4, 5), float(number))
names = tuple(f"image{i}" for i in range(8))
logits.LogitsStore(Path(sys.argv[1]), "run1", names).write(slowly)
"""


def test_a_killed_process_leaves_a_store_that_goes_on(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout.readline().startswith(b"in the middle")
    process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait(timeout=10)
    first = (tmp_path / "0000.safetensors").stat().st_mtime_ns
    store, asked = LogitsStore(tmp_path, "run1", tuple(f"image{i}" for i in range(8))), []
    assert not store.complete
    store.write(lambda numbers: [
        asked.append(i) or torch.full((3, 4, 5), float(i)) for i in numbers
    ])
    assert asked == [3, 4, 5, 6, 7]
    assert (tmp_path / "0000.safetensors").stat().st_mtime_ns == first
    assert torch.equal(store.read()[:, 0, 0, 0], torch.arange(8.).half())


def test_the_size_is_the_closed_form_and_a_twentieth_of_raw_dumps(photos):
    """Against float32 at full size both fit; against float32 at 256 x 256 it takes 8 bits."""
    logits = [21 * h * w for _, h, w in SIZES]
    data = sum(logits) * photos.bits // 8 + (5 * 21 * 2 * 4 if photos.bits == 8 else 0)
    size = 5 * photos.bytes_per_image
    assert data <= size < data + 5 * 400, "a header of less than 400 bytes an image"
    assert 16 * 4 * sum(logits) / size > 20
    one = logits[0] * photos.bits // 8
    assert (21 * 256 * 256 * 4 / one > 20) == (photos.bits == 8)


def test_labels_from_the_store_are_those_of_the_exact_logits(photos):
    """At most 0.1 points of mIoU apart, on a truth that both miss in places."""
    truth, exact, stored = [], [], []
    for number in range(5):
        full, kept = (
            interpolate(one[None].float(), scale_factor=4, mode="bilinear")[0]
            for one in (smooth(number), photos[number])
        )
        generator = torch.Generator().manual_seed(100 + number)
        noise = torch.randn(1, 21, 9, 9, generator=generator)
        truth.append((full + 4 * interpolate(noise, full.shape[1:])[0]).argmax(0).numpy())
        exact.append(full.argmax(0).numpy())
        stored.append(kept.argmax(0).numpy())
    classes = tuple(map(str, range(21)))
    scores = [100 * evaluate_labels(truth, labels, classes).mean_iou for labels in (exact, stored)]
    assert 20 < scores[0] < 95 and abs(scores[0] - scores[1]) <= 0.1
    same = np.mean([np.mean(a == b) for a, b in zip(exact, stored, strict=True)])
    assert 0.995 < same < 1
