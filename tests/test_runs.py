"""A run folder gives back what was put in, and refuses what does not belong together."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as tensors_in
from torch import nn

from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.core import durable
from semiseg_lib.core.durable import Damaged, read_json, seal, write_json
from semiseg_lib.experiments import open_run
from semiseg_lib.experiments.identity import SCHEMA
from semiseg_lib.training.run_folder import RunFolder, best_of
from semiseg_lib.training.weights import CheckpointMismatch

DESCRIPTION = {"schema": SCHEMA, "kind": "run", "identity": 64 * "a", "value": {"seed": 5},
               "inputs": {"classes": ["a"], "images": {}, "parents": {}, "weights": {}}}
LISTS = {"labelled": {"p0": ["0123"]}}
STATE = {"step": 4, "weights": {"w": torch.rand(3)}, "history": [{"step": 3.0}]}


def begun(path: Path, identity: str = 64 * "a") -> RunFolder:
    """A folder whose run has begun."""
    folder = RunFolder(path, {**DESCRIPTION, "identity": identity}, {"start 1": 64 * "b"})
    folder.begin(LISTS)
    return folder


def done(path: Path, model: nn.Module | None = None, **record) -> RunFolder:
    folder = begun(path)
    folder.finish((model or nn.Linear(2, 3)).state_dict(), {"history": [], **record})
    return folder


def names(path: Path) -> list[str]:
    return sorted(one.name for one in path.iterdir())


# What is put in


def test_what_a_run_is_and_reads_is_written_before_its_first_step(tmp_path):
    folder = begun(tmp_path)
    assert names(tmp_path) == ["config.json", "lists.json"]
    assert read_json(tmp_path / "config.json") == DESCRIPTION
    assert read_json(tmp_path / "lists.json") == LISTS
    assert not folder.finished and folder.read_checkpoint() is None
    assert RunFolder.open(tmp_path).description == DESCRIPTION


def test_a_finished_run_holds_its_files_and_says_what_they_are(tmp_path):
    folder = done(tmp_path, seconds=3.5)
    files = ["config.json", "lists.json", "manifest.json", "model.safetensors", "record.json"]
    assert names(tmp_path) == files and folder.finished
    again = RunFolder.open(tmp_path)
    assert again.finished and again.description == DESCRIPTION
    assert again.parents == {"start 1": 64 * "b"}
    assert again.read_record() == {"history": [], "seconds": 3.5, "made with": []}
    manifest = read_json(tmp_path / "manifest.json")
    assert manifest["kind"] == "run" and manifest["finished"] is True
    assert manifest["members"] == {
        name: {"sha256": durable.sha256((tmp_path / name).read_bytes()),
               "bytes": (tmp_path / name).stat().st_size}
        for name in files if name != "manifest.json"
    }


def test_a_run_is_finished_by_its_last_write_and_not_before(tmp_path, monkeypatch):
    """Whatever is written, a process that dies leaves a run that is not finished."""
    replace_file, written = os.replace, []

    def dies_at(number: int) -> None:
        def rename(old, new):
            written.append(Path(new).name)
            if len(written) == number:
                raise KeyboardInterrupt
            replace_file(old, new)

        monkeypatch.setattr(durable.os, "replace", rename)

    for number in range(1, 9):
        path = tmp_path / str(number)
        begun(path).write_checkpoint(STATE)
        written.clear()
        dies_at(number)
        try:
            RunFolder(path, DESCRIPTION, {"start 1": 64 * "b"}).finish(
                nn.Linear(2, 3).state_dict(), {"history": []}
            )
        except KeyboardInterrupt:
            monkeypatch.setattr(durable.os, "replace", replace_file)
            again = RunFolder.open(path)
            assert not again.finished and again.read_checkpoint()["step"] == 4
            with pytest.raises(FileNotFoundError, match="is not finished yet"):
                again.read_record()
        else:
            break
    assert written[-1] == "manifest.json" and RunFolder.open(path).finished
    assert set(written) == {"config.json", "lists.json", "record.json", "model.safetensors",
                            "manifest.json"}


def test_a_folder_that_is_no_run_says_so(tmp_path):
    for read in (RunFolder.open, open_run):
        with pytest.raises(FileNotFoundError,
                           match=r"nowhere.*config\.json is missing.*not a run folder"):
            read(tmp_path / "nowhere")
    begun(tmp_path / "begun")
    for folder in (RunFolder.open(tmp_path / "begun"), RunFolder(tmp_path / "nowhere")):
        for read in (folder.read_record, lambda one=folder: one.load_weights(nn.Linear(1, 1))):
            with pytest.raises(FileNotFoundError, match=r"not finished yet"):
                read()


def test_a_run_of_an_earlier_version_says_so(tmp_path):
    old = {"method": {"name": "supervised"}, "seed": 5}
    (tmp_path / "config.json").write_text(json.dumps(old, indent=1), encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.json was written by an earlier version"):
        open_run(tmp_path)


@pytest.mark.parametrize("change, problem", [
    ({"schema": SCHEMA + 1}, rf"has schema {SCHEMA + 1}; this version .* reads schema {SCHEMA}"),
    ({"kind": "logits"}, "describes logits, not a run"),
    ({"value": {"seed": 5}}, r"cannot be read as options of this version"),
])
def test_what_this_version_cannot_read_says_so(tmp_path, change, problem):
    folder = RunFolder(tmp_path, {**DESCRIPTION, **change})
    folder.begin(LISTS)
    folder.finish(nn.Linear(2, 3).state_dict(), {"history": []})
    with pytest.raises(ValueError, match=problem):
        open_run(tmp_path)


@pytest.mark.parametrize("lost", ["value", "inputs", "identity"])
def test_a_description_without_a_part_is_named(tmp_path, lost):
    description = {key: value for key, value in DESCRIPTION.items() if key != lost}
    write_json(tmp_path / "config.json", description)
    with pytest.raises(Damaged, match=rf"config\.json lacks {lost}\. Train again"):
        open_run(tmp_path)


# Checkpoints


def test_a_checkpoint_survives_and_goes_when_the_run_is_finished(tmp_path):
    folder = begun(tmp_path)
    folder.write_checkpoint(STATE)
    again = folder.read_checkpoint()
    assert torch.equal(again["weights"]["w"], STATE["weights"]["w"])
    assert (again["step"], again["history"]) == (4, [{"step": 3.0}])
    folder.write_checkpoint({**STATE, "step": 6})
    folder.write_best({"w": torch.rand(3)}, 6)
    folder.finish(nn.Linear(2, 3).state_dict(), {"history": [], "seconds": 1})
    assert folder.finished and folder.read_checkpoint() is None
    assert names(tmp_path) == ["config.json", "lists.json", "manifest.json", "model.safetensors",
                               "record.json"]


def test_the_checkpoint_before_is_kept_until_the_next(tmp_path):
    folder = begun(tmp_path)
    for step in (2, 4, 6):
        folder.write_checkpoint({**STATE, "step": step})
    assert folder.read_checkpoint()["step"] == 6
    (tmp_path / "checkpoint.pt").unlink()
    assert folder.read_checkpoint()["step"] == 4


def lose(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(bytes(content))


def foreign(path: Path) -> None:
    """The checkpoint of another run, as it was written."""
    elsewhere = begun(path.parent / "elsewhere", identity=64 * "c")
    elsewhere.write_checkpoint(STATE)
    path.write_bytes((elsewhere.path / "checkpoint.pt").read_bytes())


def without_seal(path: Path) -> None:
    """What an earlier version wrote."""
    torch.save({"step": 4, "identity": 64 * "a"}, path)


def sealed_pickle(path: Path) -> None:
    path.write_bytes(seal(pickle.dumps({"step": 4, "identity": 64 * "a"})))


def sealed_tensor(path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(torch.zeros(3), buffer)
    path.write_bytes(seal(buffer.getvalue()))


def anonymous(path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"step": 4}, buffer)
    path.write_bytes(seal(buffer.getvalue()))


HARMS = {
    "truncated": (lose, "is damaged"), "flipped": (flip, "is damaged"),
    "another run's": (foreign, "is the checkpoint of another run"),
    "of an earlier version": (without_seal, "is damaged"),
    "a pickle": (sealed_pickle, "is not a checkpoint of this version"),
    "a tensor": (sealed_tensor, "is not a checkpoint of this version"),
    "anonymous": (anonymous, "is not a checkpoint of this version"),
    "a folder's": (lambda path: path.write_bytes(b""), "is damaged"),
}


@pytest.mark.parametrize("harm, problem", HARMS.values(), ids=HARMS)
def test_a_checkpoint_that_is_none_of_this_run_is_set_aside(tmp_path, capsys, harm, problem):
    folder = begun(tmp_path / "run")
    for step in (2, 4):
        folder.write_checkpoint({**STATE, "step": step})
    harm(folder.path / "checkpoint.pt")
    harmed = (folder.path / "checkpoint.pt").read_bytes()
    assert folder.read_checkpoint()["step"] == 2
    assert (folder.path / "checkpoint.pt.damaged").read_bytes() == harmed
    printed = capsys.readouterr().err
    assert problem in printed and "It is set aside as checkpoint.pt.damaged" in printed
    harm(folder.path / "checkpoint-before.pt")
    assert folder.read_checkpoint() is None
    assert (folder.path / "checkpoint-before.pt.damaged").is_file()


def test_a_folder_in_place_of_a_checkpoint_is_set_aside(tmp_path, capsys):
    folder = begun(tmp_path)
    for step in (2, 4):
        folder.write_checkpoint({**STATE, "step": step})
    (tmp_path / "checkpoint.pt").unlink()
    (tmp_path / "checkpoint.pt").mkdir()
    assert folder.read_checkpoint()["step"] == 2
    assert (tmp_path / "checkpoint.pt.damaged").is_dir()
    assert "checkpoint.pt is damaged: it is a folder" in capsys.readouterr().err


def test_a_folder_in_place_of_the_checkpoint_before_is_named(tmp_path):
    folder = begun(tmp_path)
    folder.write_checkpoint(STATE)
    (tmp_path / "checkpoint-before.pt").mkdir()
    with pytest.raises(OSError, match=r"checkpoint-before\.pt is a folder: move it away"):
        folder.write_checkpoint({**STATE, "step": 6})
    assert folder.read_checkpoint()["step"] == 4


def test_a_folder_in_place_of_the_best_weights_so_far_is_named_and_left(tmp_path):
    folder = begun(tmp_path)
    (tmp_path / "best-so-far.sealed").mkdir()
    with pytest.raises(Damaged, match=r"best-so-far\.sealed is damaged: it is a folder"):
        folder.read_best(4)
    folder.finish(nn.Linear(2, 3).state_dict(), {"history": [], "seconds": 1})
    assert folder.finished and (tmp_path / "best-so-far.sealed").is_dir()


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    folder = begun(tmp_path)
    buffer = io.BytesIO()
    torch.save({"step": 1, "identity": 64 * "a", "evil": Evil()}, buffer)
    for content in (seal(buffer.getvalue()), seal(pickle.dumps(Evil())), pickle.dumps(Evil())):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        assert folder.read_checkpoint() is None
        assert not (tmp_path / "evil").exists()


def test_best_weights_so_far_come_back_or_are_refused(tmp_path):
    """Those of another step, as after a fall back to the checkpoint before, are not the best."""
    folder = begun(tmp_path)
    with pytest.raises(Damaged, match=r"best-so-far\.sealed is missing.*--no-resume"):
        folder.read_best(4)
    weights = {"w": torch.rand(30)}
    folder.write_best(weights, 4)
    assert torch.equal(tensors_in(folder.read_best(4))["w"], weights["w"])
    with pytest.raises(Damaged, match=r"best-so-far\.sealed does not hold .* step 2.*--no-resume"):
        folder.read_best(2)
    with pytest.raises(Damaged, match="does not hold"):
        RunFolder(tmp_path, {**DESCRIPTION, "identity": 64 * "c"}).read_best(4)
    flip(tmp_path / "best-so-far.sealed")
    with pytest.raises(Damaged, match=r"best-so-far\.sealed"):
        folder.read_best(4)


# Weights


def test_channels_last_weights_come_back_equal(tmp_path):
    layer, again = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    layer.to(memory_format=torch.channels_last)
    done(tmp_path, layer).load_weights(again)
    assert torch.equal(layer.weight, again.weight) and torch.equal(layer.bias, again.bias)


@pytest.mark.parametrize("other", [nn.Linear(2, 4), nn.Linear(3, 3), nn.Conv2d(2, 3, 1),
                                   nn.Sequential(nn.Linear(2, 3)), nn.Linear(2, 3, bias=False),
                                   nn.Linear(2, 3, dtype=torch.float16)])
def test_weights_of_another_model_are_refused(tmp_path, other):
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(CheckpointMismatch, match=r"model\.safetensors.*config\.json.*train again"):
        done(tmp_path).load_weights(other)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_best_weights_that_were_never_kept_are_missed_by_name(tmp_path):
    folder = begun(tmp_path)
    folder.finish(nn.Linear(2, 3).state_dict(), {"history": [{"step": 1, "loss": 2.0}]})
    assert "best" not in folder.read_record()
    with pytest.raises(FileNotFoundError, match=r"best\.safetensors is missing.*validate_every"):
        folder.load_weights(nn.Linear(2, 3), "best")


@pytest.mark.parametrize("scores, best", [
    ([], None), ([float("nan")], None), ([3.0, 5.0, 5.0, 1.0], {"step": 2, "score": 5.0}),
    ([float("nan"), 0.0, float("inf")], {"step": 2, "score": 0.0}),
])
def test_the_best_row_is_the_first_with_the_highest_score(scores, best):
    history = [{"step": n + 1, "score": score} for n, score in enumerate(scores)]
    assert best_of([*history, {"step": 9, "loss": 0.0}]) == best


@pytest.mark.parametrize("size", [0, 5, 100])
def test_truncated_weights_are_refused(tmp_path, size):
    folder = done(tmp_path, nn.Linear(20, 30))
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    for read in (lambda: folder.load_weights(nn.Linear(20, 30)), folder.read_record):
        with pytest.raises(Damaged, match=rf"model\.safetensors is damaged: it has {size} bytes"):
            read()


def test_no_flipped_bit_of_the_weights_reaches_a_model(tmp_path):
    folder, path = done(tmp_path), tmp_path / "model.safetensors"
    content, model = path.read_bytes(), nn.Linear(2, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(changed))
        with pytest.raises(Damaged, match=r"model\.safetensors is damaged: its bytes"):
            folder.load_weights(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# Deleting


def test_a_damaged_folder_is_set_aside_and_another_one_beside_it(tmp_path):
    for name in ("run.damaged", "run.damaged-2"):
        folder = done(tmp_path / "run")
        assert folder.store.set_aside() == tmp_path / name and not folder.finished
    assert names(tmp_path) == ["run.damaged", "run.damaged-2"]


def test_what_is_left_of_a_deletion_never_looks_finished(tmp_path, monkeypatch):
    folder = done(tmp_path)
    monkeypatch.setattr("shutil.rmtree", lambda *_arguments, **_options: None)
    folder.store.delete()
    assert not folder.finished and "model.safetensors" in names(tmp_path)


# A full disk


@pytest.fixture
def full_disk(monkeypatch):
    """Let the operating system itself refuse, where it can; undone before pytest writes again."""
    undo = []

    def fill(how: str) -> None:
        if how == "rename":
            def full(*_args):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            monkeypatch.setattr(durable.os, "replace", full)
            return
        resource = pytest.importorskip("resource", reason="no file size limit on this system")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        undo.append(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))

    yield fill, lambda: [step() for step in undo]
    for step in undo:
        step()


@pytest.mark.parametrize("how", ["write", "rename"])
@pytest.mark.parametrize("what", [
    "checkpoint.pt", "best-so-far.sealed", "model.safetensors", "bad_batch.safetensors"
])
def test_a_full_disk_is_named_with_the_mend_and_the_old_file_stays(tmp_path, full_disk, what, how):
    """Also for what torch and safetensors make, whose own errors are no OSError."""
    fill, undo = full_disk
    folder, weights = RunFolder(tmp_path), {"w": torch.rand(5000)}
    write = {
        "checkpoint.pt": lambda: folder.write_checkpoint(weights),
        "best-so-far.sealed": lambda: folder.write_best(weights, 4),
        "model.safetensors": lambda: folder.store.put("model.safetensors", bytes(5000)),
        "bad_batch.safetensors": lambda: folder.write_batch(Batch(Part(("a",), weights["w"]))),
    }[what]
    write()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    weights["w"] += 1
    fill(how)
    try:
        with pytest.raises(OSError) as caught:
            write()
    finally:
        undo()
    assert "could not write" in str(caught.value) and "Free some disk space" in str(caught.value)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after == before


@pytest.mark.parametrize("how", ["write", "rename"])
def test_a_full_disk_at_the_end_leaves_a_run_that_goes_on(tmp_path, full_disk, how):
    fill, undo = full_disk
    folder = begun(tmp_path)
    folder.write_checkpoint(STATE)
    fill(how)
    try:
        with pytest.raises(OSError, match=r"could not write .*Free some disk space"):
            folder.finish({"w": torch.rand(5000)}, {"history": []})
    finally:
        undo()
    assert not folder.finished and folder.read_checkpoint()["step"] == 4
