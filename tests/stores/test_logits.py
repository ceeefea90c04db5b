"""Stored logits come back as they were, and what does not belong here is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from semiseg_lib.stores import logits as module
from semiseg_lib.stores.logits import LogitsStore, StaleLogits

NAMES = tuple(f"image{i}" for i in (4, 0, 3, 1, 2, 9, 7))
LOGITS = 10 * torch.randn(len(NAMES), 3, 4, 5, generator=torch.Generator().manual_seed(0))
FIX = r"Delete the folder and store them again \(semiseg logits\)"


@pytest.fixture(autouse=True)
def three_images_a_file(monkeypatch):
    monkeypatch.setattr(module, "IMAGES_PER_FILE", 3)


def taken(numbers) -> torch.Tensor:
    return LOGITS[list(numbers)]


@pytest.fixture
def store(tmp_path) -> LogitsStore:
    store = LogitsStore(tmp_path / "ours", "run1", NAMES)
    store.write(taken)
    return store


def test_logits_come_back_in_half_precision_in_the_order_of_the_names(store):
    stored = store.read()
    assert store.complete and stored.dtype == torch.float16
    assert torch.equal(stored, LOGITS.half())
    torch.testing.assert_close(stored.float(), LOGITS, rtol=1e-3, atol=1e-3)
    assert len(list(store.folder.glob("*.safetensors"))) == 3


def test_an_image_takes_two_bytes_a_logit(store):
    assert 3 * 4 * 5 * 2 <= store.bytes_per_image < 3 * 4 * 5 * 2 + 200


@pytest.mark.parametrize("source, names, problem", [
    ("run2", NAMES, "they are those of run1"),
    ("run1", NAMES[::-1], "other images, or in another order"),
    ("run1", NAMES[:-1], "other images"),
    ("run1", (*NAMES[:-1], "stranger"), "other images"),
], ids=["another run", "another order", "fewer", "a stranger"])
def test_logits_of_another_model_or_other_images_are_refused(store, source, names, problem):
    stranger = LogitsStore(store.folder, source, names)
    assert not stranger.complete
    with pytest.raises(StaleLogits, match=rf"(?s)logits in .*ours .*{problem}.*{FIX}"):
        stranger.read()
    with pytest.raises(StaleLogits):
        stranger.write(taken)
    assert torch.equal(store.read(), LOGITS.half()), "the refusal must not harm what is there"


def test_logits_that_were_never_written_are_refused(tmp_path):
    empty = LogitsStore(tmp_path / "ours", "run1", NAMES)
    assert not empty.complete
    with pytest.raises(StaleLogits, match=rf"ours .*0 of 3 files are written.*{FIX}"):
        empty.read()


def test_a_missing_file_is_refused(store):
    (store.folder / "0001.safetensors").unlink()
    with pytest.raises(StaleLogits, match=rf"ours .*0001\.safetensors is missing.*{FIX}"):
        store.read()


@pytest.mark.parametrize("place", [4, -1])
def test_one_flipped_bit_is_noticed(store, place):
    path = store.folder / "0002.safetensors"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StaleLogits, match=rf"ours .*0002\.safetensors is .*{FIX}"):
        store.read()


def test_bytes_that_change_after_they_were_checked_are_noticed_at_the_next_image(store):
    """In the same object and in another one of the same process."""
    assert store[0].isfinite().all()
    path = store.folder / "0000.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    for one in (store, replace(store)):
        with pytest.raises(StaleLogits, match=rf"0000\.safetensors is .*{FIX}"):
            one[0]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"source": "run1"}'])
def test_a_damaged_manifest_is_refused(store, text):
    (store.folder / "manifest.json").write_text(text, encoding="utf-8")
    assert not store.complete
    with pytest.raises(StaleLogits, match=rf"ours .*{FIX}"):
        store.read()


def test_too_few_logits_are_refused_when_they_are_written(tmp_path):
    store = LogitsStore(tmp_path / "ours", "run1", NAMES)
    with pytest.raises(ValueError):
        store.write(lambda numbers: taken(numbers)[:-1])
    assert not store.complete and not (store.folder / "0000.safetensors").exists()


def test_an_interrupted_store_is_refused_and_goes_on_where_it_stopped(tmp_path):
    store, asked = LogitsStore(tmp_path / "ours", "run1", NAMES), []

    def interrupted(numbers):
        if numbers[0] >= 6:
            raise KeyboardInterrupt
        return taken(numbers)

    with pytest.raises(KeyboardInterrupt):
        store.write(interrupted)
    assert not store.complete
    with pytest.raises(StaleLogits, match=rf"ours .*2 of 3 files are written.*{FIX}"):
        store.read()
    kept = {path.name: path.stat().st_mtime_ns for path in store.folder.glob("*.safetensors")}

    store.write(lambda numbers: asked.append(list(numbers)) or taken(numbers))
    assert asked == [[6]]
    assert all((store.folder / name).stat().st_mtime_ns == t for name, t in kept.items())
    assert torch.equal(store.read(), LOGITS.half())


def test_writing_again_mends_a_damaged_file_and_no_other(store):
    (store.folder / "0001.safetensors").write_bytes(b"garbage")
    asked = []
    store.write(lambda numbers: asked.append(list(numbers)) or taken(numbers))
    assert asked == [[3, 4, 5]] and torch.equal(store.read(), LOGITS.half())


def test_the_manifest_says_whose_logits_they_are(store):
    index = json.loads((store.folder / "manifest.json").read_text(encoding="utf-8"))
    described = index["description"]
    assert described["source"] == "run1" and described["count"] == len(NAMES)
    assert not list(store.folder.glob(".*")), "no temporary file is left behind"
