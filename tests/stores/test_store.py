"""A store is finished or it is not, whatever happened to its files; nothing damaged is read."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from flips import each_flip, flipped
from power_loss import Recorder, put_on_disk
from safetensors.torch import save

from semiseg_lib.core.durable import Damaged, read_json, seal, unseal
from semiseg_lib.stores import Stale, Store
from semiseg_lib.stores import logits as logits_module
from semiseg_lib.stores.logits import LogitsStore, StaleLogits
from semiseg_lib.stores.pseudo_labels import PseudoLabelStore, StalePseudoLabels
from semiseg_lib.training import weights
from semiseg_lib.training.weights import CheckpointMismatch, tensors

DESCRIPTION = {"model": {"depth": 3, "sizes": (1, 2)}, "seed": 0}
MEMBERS = {"a.bin": b"first", "sub/b.bin": b"the second", "c.bin": b""}


def opened(folder: Path) -> Store:
    return Store(folder, "thing", DESCRIPTION, {"data": "1234"})


def written(folder: Path, mark=lambda value: None) -> Store:
    """Write every member that is missing or damaged, as a run that is started again does."""
    store = opened(folder)
    for name, content in MEMBERS.items():
        if not store.holds(name):
            store.put(name, content, length=len(content))
            mark(name)
    if not store.finished:
        store.finish()
        mark("finished")
    return store


@pytest.fixture
def store(tmp_path) -> Store:
    return written(tmp_path / "store")


def test_members_come_back_with_what_was_said_of_them(store):
    assert store.finished and opened(store.folder).finished
    assert {name: store.read(name) for name in store.members} == MEMBERS
    assert store.members["a.bin"]["length"] == 5
    store.verify()
    again = Store.open(store.folder)
    assert again.finished and (again.kind, again.parents) == ("thing", {"data": "1234"})
    assert again.description == {"model": {"depth": 3, "sizes": [1, 2]}, "seed": 0}


def test_a_store_is_unfinished_until_it_says_so_and_again_when_it_is_written_to(tmp_path):
    store = opened(tmp_path / "store")
    assert not store.finished and not store.members and not store.folder.exists()
    with pytest.raises(FileNotFoundError, match=r"manifest\.json is missing"):
        Store.open(store.folder)
    store.put("a.bin", b"1", save=False)
    assert "a.bin" in store.members and not opened(store.folder).members
    store.save()
    assert opened(store.folder).read("a.bin") == b"1" and not store.finished
    store.finish()
    assert store.finished
    store.put("a.bin", b"22", save=False)
    assert not opened(store.folder).finished and not opened(store.folder).members
    store.finish()
    (store.folder / "evaluation.json").write_text("{}", encoding="utf-8")
    assert store.finished, "other files may lie beside the members"
    store.drop("a.bin")
    assert not store.finished and not (store.folder / "a.bin").exists() and not store.members
    store.drop("a.bin")


@pytest.mark.parametrize("changes, said", [
    ({"description": {**DESCRIPTION, "model": {"depth": 5, "sizes": [1, 2]}}},
     r"description\.model\.depth is 3, not 5"),
    ({"description": {**DESCRIPTION, "new": None}}, r"description\.new is null, not null"),
    ({"description": {"seed": 0}}, r'description\.model is \{"depth": 3.*, not null'),
    ({"kind": "other"}, 'kind is "thing", not "other"'),
    ({"parents": {"data": "x" * 99}}, r'parents\.data is "1234", not "xxx.* \.\.\.\.'),
])
def test_another_store_is_refused_and_left_alone(store, changes, said):
    asked = {"kind": "thing", "description": DESCRIPTION, "parents": {"data": "1234"}, **changes}
    other = Store(store.folder, **asked)
    assert not other.finished
    for use in (lambda: other.members, lambda: other.read("a.bin"), other.verify, other.finish,
                lambda: other.put("a.bin", b"")):
        with pytest.raises(Stale, match=rf"{said}.*Delete the folder .*store"):
            use()
    assert store.finished and store.read("a.bin") == b"first"


@pytest.mark.parametrize("name", ["", ".", "/a", "../a", "a/../../b", "a\\b", "manifest.json",
                                  "a//b", "./a"])
def test_names_that_lead_out_are_refused(store, name):
    for use in (store.read, store.drop, lambda name: store.put(name, b"")):
        with pytest.raises(ValueError, match="cannot be the name of a file"):
            use(name)


def test_each_flipped_bit_of_the_manifest_is_noticed(store):
    with each_flip(store.manifest_path, 600) as flips:
        for _ in flips:
            assert not opened(store.folder).finished
            with pytest.raises(Damaged, match=r"manifest\.json is damaged: .*Delete"):
                _ = opened(store.folder).members
    assert opened(store.folder).finished


def test_nothing_works_on_a_damaged_manifest(store):
    content = store.manifest_path.read_bytes()
    store.manifest_path.write_bytes(content[:-1])
    for use in (Store.verify, Store.save, Store.finish, lambda one: one.read("a.bin"),
                lambda one: one.put("a.bin", b""), lambda one: one.holds("a.bin"),
                lambda one: Store.open(one.folder)):
        with pytest.raises(Damaged, match=r"manifest\.json is damaged: .*Delete"):
            use(opened(store.folder))
    store.manifest_path.write_bytes(content)
    assert opened(store.folder).finished


def test_each_flipped_bit_and_each_cut_of_a_member_is_noticed(store):
    path = store.folder / "sub" / "b.bin"
    with each_flip(path) as flips:
        for _ in flips:
            assert not store.holds("sub/b.bin")
            for use in (lambda: store.read("sub/b.bin"), store.verify):
                with pytest.raises(Damaged, match=r"b\.bin is damaged: .*SHA-256.*Delete the fol"):
                    use()
    for damage in (lambda: path.write_bytes(b"short"), path.unlink, path.mkdir):
        damage()
        assert not store.finished and not store.holds("sub/b.bin")
        for use in (lambda: store.read("sub/b.bin"), store.verify, store.finish):
            with pytest.raises(Damaged, match=r"b\.bin is damaged"):
                use()
    with pytest.raises(Damaged, match="nothing is not among its members"):
        store.read("nothing")


def test_a_manifest_of_a_later_format_is_named(store, monkeypatch):
    monkeypatch.setattr("semiseg_lib.stores.store.FORMAT", 2)
    with pytest.raises(Damaged, match=r"its format is 1, but this version reads 2.*Update"):
        opened(store.folder).verify()


def test_a_store_that_is_set_aside_can_be_made_anew(store):
    for name in ("store.damaged", "store.damaged-2"):
        store.manifest_path.write_bytes(b"")
        aside = store.set_aside()
        assert aside.name == name and (aside / "a.bin").is_file() and not store.folder.exists()
        written(store.folder)
        assert store.finished


def test_a_store_whose_manifest_is_a_folder_is_damaged_and_can_be_deleted(store):
    store.manifest_path.unlink()
    store.manifest_path.mkdir()
    with pytest.raises(Damaged, match=r"manifest\.json is damaged: it is a folder"):
        opened(store.folder).verify()
    store.delete()
    assert not store.folder.exists()


def test_of_a_link_to_a_store_only_the_link_is_deleted(store, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(store.folder)
    opened(link).delete()
    assert not link.is_symlink() and opened(store.folder).finished


@pytest.mark.parametrize("begun", [False, True], ids=["new", "written again"])
def test_whenever_the_power_is_lost_a_store_is_right_or_made_right(tmp_path, monkeypatch, begun):
    recorder = Recorder(tmp_path / "store")
    (tmp_path / "store").mkdir()
    with recorder.recording(monkeypatch):
        written(tmp_path / "store", recorder.mark)
        if begun:
            changed = opened(tmp_path / "store")
            changed.put("a.bin", b"other")
            recorder.mark("changed")
            changed.drop("c.bin")
            changed.put("a.bin", MEMBERS["a.bin"])
    damaged = 0
    for number, (marks, files) in enumerate(recorder.states()):
        found = opened(put_on_disk(files, tmp_path / f"state{number}"))
        for name in found.members:
            try:
                assert found.read(name) in (MEMBERS[name], b"other")
            except Damaged:
                damaged += 1
        if not begun:
            assert set(marks) - {"finished"} <= {name for name in MEMBERS if found.holds(name)}
            assert "finished" not in marks or found.finished
        mended = written(found.folder)
        assert mended.finished and mended.read("a.bin") in (b"first", b"other")
        assert all(mended.read(name) == MEMBERS[name] for name in ("sub/b.bin", "c.bin"))
    assert number > 25 and (damaged > 0) == begun


@pytest.mark.skipif(sys.platform == "win32" or (os.getuid() == 0 and not Path("/proc").is_dir()),
                    reason="no read-only folders")
def test_a_store_that_is_only_read_serves_its_readers(store, monkeypatch):
    """Also as root, whom no permission stops: nothing may be opened to write."""
    def refuse(*_args, **_options):
        raise PermissionError(30, "Read-only file system")

    for path in (*store.folder.rglob("*"), store.folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for name in ("_rename", "_unlink", "_sync_file", "_sync_folder"):
        monkeypatch.setattr(f"semiseg_lib.core.durable.{name}", refuse)
    before = {path: path.stat().st_mtime_ns for path in (store.folder, *store.folder.rglob("*"))}
    reader = opened(store.folder)
    assert reader.finished and reader.read("a.bin") == b"first"
    reader.verify()
    written(store.folder)  # nothing is missing, so nothing is written
    assert before == {path: path.stat().st_mtime_ns for path in before}
    for path in (store.folder, *store.folder.rglob("*")):
        path.chmod(0o755)


def test_tensors_are_compared_before_they_are_read(tmp_path, monkeypatch):
    path, stored = tmp_path / "a.safetensors", {"w": torch.ones(2, 3), "b": torch.zeros(3)}
    content = save(stored)
    with torch.device("meta"):
        expected = {"w": torch.empty(2, 3), "b": torch.empty(3)}
        others = {
            r"w: stored torch\.float32 \(2, 3\), but the model's is torch\.float32 \(3, 2\)":
                {**expected, "w": torch.empty(3, 2)},
            r"b: .*float32 \(3,\), .*int64 \(3,\)": {**expected, "b": torch.empty(3).long()},
            "c: stored missing": {**expected, "c": torch.empty(1)},
            "b: .*not part of the model": {"w": expected["w"]},
        }
    read = tensors(content, path, expected)
    assert read.keys() == stored.keys() and all(torch.equal(read[k], stored[k]) for k in read)
    monkeypatch.setattr(weights, "load", lambda _: pytest.fail("memory was taken"))
    for said, other in others.items():
        with pytest.raises(CheckpointMismatch, match=rf"a\.safetensors does not fit .*{said}"):
            tensors(content, path, other)


def test_bytes_that_are_no_tensors_are_a_named_error():
    path = Path("a.safetensors")
    content = save({"w": torch.arange(4.0)})
    expected = {"w": torch.empty(4, device="meta")}
    for changed in (b"", b"\xff" * 16, b"\0" * 8, *(content[:end] for end in range(len(content)))):
        with pytest.raises(Damaged, match=r"a\.safetensors is damaged: it is not a safet"):
            tensors(changed, path, expected)
    for changed in flipped(content):  # without a seal a number may change unseen
        with suppress(Damaged, CheckpointMismatch):
            tensors(changed, path, expected)
    for changed in flipped(seal(content), 200):
        with pytest.raises(Damaged):
            unseal(changed, path)


NAMES = ("b", "a", "c", "d", "e")
LOGITS = torch.randn(5, 2, 3, 4, generator=torch.Generator().manual_seed(0))
LABELS = np.random.default_rng(0).integers(0, 3, (5, 6, 7), dtype=np.uint8)


def logits_in(folder: Path, **more) -> LogitsStore:
    return LogitsStore(folder, "run1", NAMES, 8, **more)


def labels_in(folder: Path, **more) -> PseudoLabelStore:
    return PseudoLabelStore(folder, "run1", NAMES, 3, **more)


def store_logits(folder: Path) -> LogitsStore:
    store = logits_in(folder)
    store.write(lambda numbers: LOGITS[list(numbers)])
    return store


def store_labels(folder: Path) -> PseudoLabelStore:
    store = labels_in(folder)
    store.write(lambda numbers: LABELS[list(numbers)])
    return store


@pytest.fixture(autouse=True)
def two_images_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    monkeypatch.setattr(logits_module, "IMAGES_PER_FILE", 2)


def test_each_flipped_bit_of_stored_logits_is_noticed(tmp_path):
    folder = store_logits(tmp_path / "store").folder
    for path in (folder / "0001.safetensors", folder / "manifest.json"):
        with each_flip(path, 200) as flips:
            for _ in flips:
                with pytest.raises(StaleLogits, match=r"0001\.saf|manifest\.json.*Delete the fold"):
                    logits_in(folder).read()
    assert (logits_in(folder).read().float() - LOGITS).abs().max() < 0.1


def test_each_flipped_bit_of_stored_labels_is_noticed(tmp_path):
    folder = store_labels(tmp_path / "store").folder
    for path in (folder / "a.png", folder / "manifest.json"):
        with each_flip(path, 200) as flips:
            for _ in flips:
                with pytest.raises(StalePseudoLabels, match=r"(a\.png|manifest\.json).*Delete the"):
                    _ = labels_in(folder)[1]
    np.testing.assert_array_equal(labels_in(folder)[1], LABELS[1])


@pytest.mark.parametrize("store_in", [store_logits, store_labels])
def test_a_damaged_manifest_is_set_aside_when_the_store_is_written(tmp_path, capsys, store_in):
    store = store_in(tmp_path / "store")
    (store.folder / "manifest.json").write_bytes(b"{")
    again = store_in(tmp_path / "store")
    assert again.complete and (tmp_path / "store.damaged").is_dir()
    assert "set aside as" in capsys.readouterr().out


@pytest.mark.parametrize("store_in, stale", [(store_logits, StaleLogits),
                                             (store_labels, StalePseudoLabels)])
def test_whenever_the_power_is_lost_logits_and_labels_are_refused_or_right(
    tmp_path, monkeypatch, store_in, stale
):
    recorder = Recorder(tmp_path / "store")
    (tmp_path / "store").mkdir()
    with recorder.recording(monkeypatch):
        whole = store_in(tmp_path / "store")
    recorder.mark("finished")
    expected = [np.asarray(whole[i]) for i in range(5)]
    for number, (marks, files) in enumerate(recorder.states()):
        folder = put_on_disk(files, tmp_path / f"state{number}")
        found = type(whole)(folder, *(getattr(whole, name) for name in (
            "source", "names", "bits" if store_in is store_logits else "num_classes")))
        try:
            right = all(np.array_equal(found[i], expected[i]) for i in range(5))
            assert right
        except stale:
            assert not found.complete and not marks
        mended = store_in(folder)
        assert mended.complete
        assert all(np.array_equal(mended[i], expected[i]) for i in range(5))


@pytest.mark.parametrize("store_in, stores", [(store_logits, logits_in), (store_labels, labels_in)])
def test_a_store_is_tied_to_what_the_caller_says(tmp_path, store_in, stores):
    store = store_in(tmp_path / "store")
    other = stores(store.folder, description={"protocol": "tta"})
    assert not other.complete
    with pytest.raises(Stale, match=r"description\.protocol is None, not 'tta'"):
        _ = other[0]
    assert not stores(store.folder, parents={"run": "5"}).complete
    with pytest.raises(ValueError, match="entries of the store's own: source"):
        _ = stores(store.folder, description={"source": "x"}).complete
    store.check_images(NAMES)
    with pytest.raises(ValueError, match="number 0 is 'b' in the store, but 'a' among the images"):
        store.check_images(NAMES[1:])
    with pytest.raises(ValueError, match="holds 5 images and does not fit 4"):
        store.check_images(NAMES[:-1])
    described = read_json(store.folder / "manifest.json")["description"]
    assert described["source"] == "run1" and described["count"] == 5
