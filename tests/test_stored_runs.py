"""``semiseg runs``: what is stored, in which state and why; ``prune`` removes what it says."""

from __future__ import annotations

import builtins
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import own_folder
import pytest
import torch
from stopping import stopped_after

from semiseg_lib import recipes
from semiseg_lib.cli import main
from semiseg_lib.core.durable import _temporary_name, write_json
from semiseg_lib.datasets.labels import read_mask, write_mask
from semiseg_lib.experiments import (
    Machine,
    MixedLogits,
    pseudo_labelling,
    resolve,
    self_correction,
    training,
)
from semiseg_lib.experiments import inventory as stored
from semiseg_lib.training.run_folder import RunFolder

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> tuple[Path, Path]:
    """A dataset and a work folder with runs, logits, mixed logits and pseudo-labels, all fresh."""
    folder = tmp_path_factory.mktemp("full")
    root = own_folder.draw(folder / "own", count=10, masked=6, boxes=True)
    profile, machine = own_folder.profile(), Machine("cpu", root)
    short = profile.train_supervised
    plan = replace(profile.rounds, count=1, pretrain=short, finetune=short)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(folder / "work"))
        logits = self_correction.logits(profile, 0)
        primary = self_correction.primary(profile, 0)
        resolve(MixedLogits(primary, logits, 0.5), machine)
        list(pseudo_labelling.rounds(profile, 0, plan, machine))
    return root, folder / "work"


@pytest.fixture
def place(full, tmp_path, monkeypatch) -> Iterator[tuple[Path, Path]]:
    """The dataset, which is put back afterwards, and a copy of the work folder."""
    root, work = full[0], shutil.copytree(full[1], tmp_path / "work")
    kept = shutil.copytree(root, tmp_path / "kept")
    monkeypatch.setenv("SEMISEG_WORK", str(work))
    monkeypatch.delenv("SEMISEG_DATA", raising=False)
    monkeypatch.setattr(recipes, "load", own_folder.load_instead(own_folder.profile()))
    yield root, work
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(kept, root)


def item(root: Path, path: Path) -> stored.Item:
    """What is said of a folder or file."""
    (found,) = (one for one in stored.inventory(root) if one.path == path)
    return found


def only(work: Path, pattern: str) -> Path:
    (path,) = work.glob(pattern)
    return path


def files(work: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a result, with its bytes and when it was written."""
    return {str(path.relative_to(work)): (path.read_bytes(), path.stat().st_mtime_ns)
            for name in stored.FOLDERS for path in (work / name).rglob("*") if path.is_file()}


def test_what_is_used_is_fresh(place, capsys):
    """Runs, logits, their mixture and pseudo-labels; the sizes are those of the disk."""
    root, work = place
    before = files(work)
    items = stored.inventory(root)
    kinds = [(one.path.parent.name, one.path.name.split("-")[0]) for one in items]
    assert sorted(kinds) == [
        ("logits", "logits"), ("logits", "mixed"), ("pseudo_labels", "train_pseudoIt1"),
        ("runs", "ancillary"), ("runs", "primary"), ("runs", "pseudo"), ("runs", "pseudo"),
        ("runs", "supervised"),
    ]
    assert {one.state for one in items} == {"fresh"} and stored.prunable(items) == []
    for one in items:
        assert one.size == sum(path.stat().st_size for path in one.path.iterdir())
    assert main(["runs", "--root", str(root)]) == 0
    printed = capsys.readouterr().out
    for one in items:
        (line,) = (line for line in printed.splitlines() if one.path.name in line)
        assert "fresh" in line and f"{one.size / 1e6:.1f}" in line
    assert "prune" not in printed and files(work) == before


def test_what_was_made_from_other_bytes_is_stale_and_made_again(place, monkeypatch, capsys):
    """A run that is trained anew keeps its identity, but here not its weights."""
    root, work = place
    profile, machine, fit = own_folder.profile(), Machine("cpu", root), training.fit

    def with_other_code(method, *arguments, **named):
        history = fit(method, *arguments, **named)
        with torch.no_grad():
            for weights in method.parameters():
                weights.mul_(1.1)
        return history

    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", with_other_code)
        resolve(self_correction.ancillary(profile, 0), machine, anew=True)
    logits, primary = only(work, "logits/logits-*"), only(work, "runs/primary-*")
    found, before = item(root, logits), files(work)
    assert found.state == "stale" and "was made from run with other bytes" in found.why
    assert "made from unlabelled logits / run with other bytes" in item(root, primary).why
    capsys.readouterr()
    resolve(self_correction.logits(profile, 0), machine)
    assert item(root, logits).state == "fresh"
    name = f"logits/{logits.name}/0000.safetensors"
    assert files(work)[name][0] != before[name][0]
    both = "made from unlabelled logits and unlabelled logits / run with other bytes"
    assert both in item(root, primary).why
    resolve(self_correction.primary(profile, 0), machine)
    assert both in capsys.readouterr().err
    assert item(root, primary).state == "fresh"


def test_an_empty_work_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "none"))
    assert main(["runs"]) == 0 and "nothing is stored yet" in capsys.readouterr().out
    assert main(["runs", "prune"]) == 0 and "Nothing to remove" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_a_changed_mask_makes_stale_what_learnt_it_and_names_it(place):
    root, work = place
    labelled = RunFolder.open(only(work, "runs/supervised-*"))
    own_folder.exchange(root, [0])
    found = item(root, labelled.path)
    assert found.state == "stale" and found.why == "labelled images: 1 of 4 changed (p0)"
    assert {one.state for one in stored.inventory(root)} == {"stale"}, "all build on these masks"


def test_a_changed_box_makes_stale_only_what_reads_it(place):
    """The boxes of the unlabelled images: neither the ancillary nor what sees no boxes."""
    root, _ = place
    own_folder.write_boxes(root, 7, own_folder.scene(3)[1], own_folder.CLASSES)
    found = {one.path.name.split("-")[0]: one for one in stored.inventory(root)}
    assert {name: one.state for name, one in found.items()} == {
        "supervised": "fresh", "ancillary": "fresh", "pseudo": "fresh",
        "train_pseudoIt1": "fresh", "logits": "stale", "mixed": "stale", "primary": "stale",
    }
    assert found["logits"].why.startswith("unlabelled images: ")
    assert found["primary"].why == "unlabelled logits: another one"
    assert "primary: another one" in found["mixed"].why


def test_without_the_images_nothing_can_be_removed(place, tmp_path, capsys):
    """They may be on a disk that is not here now."""
    root, work = place
    shutil.rmtree(root)
    items = stored.inventory(tmp_path / "nowhere")
    assert {one.state for one in items} == {"unknown"} and stored.prunable(items) == []
    assert all("its data are not here" in one.why for one in items)
    before = files(work)
    assert main(["runs", "prune", "--yes", "--root", str(tmp_path / "nowhere")]) == 0
    assert "Nothing to remove" in capsys.readouterr().out and files(work) == before


def spoil(work: Path) -> Path:
    return flip(only(work, "runs/supervised-*"))


def flip(run: Path) -> Path:
    path = run / WEIGHTS
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))
    return path.parent


def spoil_manifest(work: Path) -> Path:
    path = only(work, "logits/logits-*") / "manifest.json"
    path.write_bytes(path.read_bytes()[:-9])
    return path.parent


def lose_manifest(work: Path) -> Path:
    path = only(work, "runs/supervised-*")
    (path / "manifest.json").unlink()
    return path


def unfinish(run: Path) -> Path:
    """As a run that was begun."""
    for name in ("manifest.json", WEIGHTS):
        (run / name).unlink()
    return run


def replace_manifest(work: Path) -> Path:
    path = lose_manifest(work)
    (path / "manifest.json").mkdir()
    return path


def set_aside(work: Path) -> Path:
    return RunFolder.open(only(work, "runs/primary-*")).store.set_aside()


def old_run(work: Path) -> Path:
    """As earlier versions stored a run."""
    path = work / "runs" / "supervised-0123456789"
    path.mkdir()
    (path / "config.json").write_text('{"method": {"name": "supervised"}, "data": {}}')
    (path / WEIGHTS).write_bytes(bytes(99))
    return path


def old_logits(work: Path) -> Path:
    path = work / "logits" / "0123456789"
    path.mkdir()
    (path / "index.json").write_text('{"source": "0123456789"}')
    return path


def old_labels(work: Path) -> Path:
    path = work / "pseudo_labels" / "0123456789"
    (path / "train_pseudoIt1").mkdir(parents=True)
    (path / "train_pseudoIt1" / "index.json").write_text("{}")
    return path


def other_schema(work: Path) -> Path:
    path = work / "runs" / "supervised-0123456789-0123456789"
    path.mkdir()
    write_json(path / "config.json", {"schema": 0, "kind": "run"})
    return path


def left_over(work: Path) -> Path:
    """A temporary file of a writer that died, in the folder of a fresh run."""
    path = _temporary_name(only(work, "runs/ancillary-*") / WEIGHTS)
    pid = path.name.split(".")[-1].split("-")[1]
    path = path.with_name(path.name.replace(f"-{pid}-", "-4194999-"))
    path.write_bytes(bytes(1000))
    return path


def left_over_folder(work: Path) -> Path:
    path = left_over(work)
    path.unlink()
    path = work / "logits" / path.name
    path.mkdir()
    (path / "part.bin").write_bytes(bytes(10))
    return path


def empty(work: Path) -> Path:
    path = work / "runs" / "supervised-0123456789-0123456789"
    path.mkdir()
    return path


PRUNABLE: dict[Callable[[Path], Path], tuple[str, str]] = {
    spoil: ("damaged", "model.safetensors is damaged: its bytes do not have the SHA-256"),
    spoil_manifest: ("damaged", "manifest.json is damaged"),
    lose_manifest: ("damaged", "it has lost its manifest.json, so its files cannot be checked"),
    replace_manifest: ("damaged", "manifest.json is damaged: it is a folder"),
    set_aside: ("set aside", "it was damaged"),
    old_run: ("earlier version", "does not say what it was made from"),
    old_logits: ("earlier version", "does not say what it was made from"),
    old_labels: ("earlier version", "does not say what it was made from"),
    other_schema: ("earlier version", "its schema is 0; this version reads 1"),
    left_over: ("left over", "a writer that died"),
    left_over_folder: ("left over", "a writer that died"),
    empty: ("left over", "no description"),
}


@pytest.mark.parametrize("make", PRUNABLE, ids=lambda make: make.__name__)
def test_what_can_be_removed_is_told_and_pruned_alone(place, capsys, make):
    root, work = place
    path = make(work)
    state, why = PRUNABLE[make]
    before = files(work)
    found = item(root, path)
    assert found.state == state and why in found.why
    prunable = stored.prunable(stored.inventory(root))
    assert [one for one in prunable if one.path == path]
    assert main(["runs", "--root", str(root)]) == 0
    printed = capsys.readouterr().out
    assert "`semiseg runs prune` shows and removes those." in printed and files(work) == before
    (line,) = (line for line in printed.splitlines() if f"/{path.name} " in line)
    assert state in line and f" {found.size / 1e6:.1f} " in line
    assert main(["runs", "prune", "--yes", "--root", str(root)]) == 0
    assert f"Removed {len(prunable)}, " in capsys.readouterr().out and not path.exists()
    gone = [str(one.path.relative_to(work)) for one in prunable]
    kept = {name: one for name, one in before.items()
            if not any(name == each or name.startswith(f"{each}/") for each in gone)}
    assert files(work) == kept
    left = {one.state for one in stored.inventory(root)}
    assert left <= {"fresh"} | ({"orphaned"} if make is spoil_manifest else set())


def test_a_run_that_has_lost_its_manifest_is_made_again_and_not_called_old(place, capsys):
    root, work = place
    run = lose_manifest(work)
    resolve(self_correction.supervised(own_folder.profile(), 0), Machine("cpu", root))
    said = capsys.readouterr().err
    assert (f"runs/{run.name} has lost its manifest.json, so its files cannot be checked; it is "
            "made again.") in said
    assert "earlier version" not in said and item(root, run).state == "fresh"


def test_a_run_with_a_folder_as_manifest_is_set_aside_and_not_called_old(place, capsys):
    root, work = place
    run = replace_manifest(work)
    resolve(self_correction.supervised(own_folder.profile(), 0), Machine("cpu", root))
    said = capsys.readouterr().err
    assert "manifest.json is damaged: it is a folder. The run is set aside as" in said
    assert "earlier version" not in said and item(root, run).state == "fresh"


def test_only_runs_of_an_earlier_version_are_called_that(place, capsys):
    root, work = place
    shutil.rmtree(only(work, "runs/supervised-*"))
    old_run(work)
    resolve(self_correction.supervised(own_folder.profile(), 0), Machine("cpu", root))
    assert "1 runs of supervised in" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["config.json", "lists.json", "machines.json"])
def test_a_folder_in_place_of_a_file_of_a_begun_run_is_named(place, name):
    root, work = place
    run = unfinish(only(work, "runs/supervised-*"))
    (run / name).unlink()
    (run / name).mkdir()
    again = self_correction.supervised(own_folder.profile(), 0)
    with pytest.raises(OSError, match=rf"{run.name}/{name} is a folder: move it away"):
        resolve(again, Machine("cpu", root))
    (run / name).rmdir()
    resolve(again, Machine("cpu", root))
    assert item(root, run).state == "fresh"


def test_a_file_in_place_of_a_folder_is_named(place):
    root, work = place
    run = only(work, "runs/supervised-*")
    for path in (run, run.parent):
        shutil.rmtree(path)
        path.write_text("other", encoding="utf-8")
        with pytest.raises(OSError, match=rf"{path.name} is not a folder: move it away"):
            resolve(self_correction.supervised(own_folder.profile(), 0), Machine("cpu", root))
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("kind", stored.FOLDERS)
@pytest.mark.parametrize("name", ["my notes", "notes-2024010112", "my.damaged", "best run"])
def test_what_a_user_keeps_beside_the_results_is_never_removed(place, capsys, kind, name):
    root, work = place
    path = work / kind / name
    if name == "best run":
        shutil.move(spoil(work), path)
    else:
        path.mkdir()
    (path / "important.txt").write_text("important", encoding="utf-8")
    before = files(work)
    found = item(root, path)
    assert (found.state, found.why) == ("unknown", "it is not a result of this library")
    assert main(["runs", "prune", "--yes", "--root", str(root)]) == 0
    assert "Nothing to remove" in capsys.readouterr().out and files(work) == before


@pytest.mark.parametrize("harm", [flip, unfinish], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("maker, made", [
    ("runs/ancillary-*", "logits/logits-*"), ("runs/primary-*", "logits/mixed-*"),
    ("runs/supervised-*", "pseudo_labels/train_pseudoIt1-*"),
])
def test_labels_are_kept_while_a_folder_of_their_maker_is_there(place, maker, made, harm):
    """The same command makes the maker again, or goes on with it."""
    root, work = place
    for path in (work / "runs").iterdir():
        if not path.match(maker):
            shutil.rmtree(path)  # nothing else was made from them
    harm(only(work, maker))
    if made != "logits/mixed-*":
        shutil.rmtree(only(work, "logits/mixed-*"))
    assert item(root, only(work, maker)).state in ("damaged", "unfinished")
    assert item(root, only(work, made)).state == "fresh"
    shutil.rmtree(only(work, maker))
    assert item(root, only(work, made)).state == "orphaned"


def test_of_a_link_to_a_run_only_the_link_is_removed(place, tmp_path, capsys):
    root, work = place
    path = spoil(work)
    moved = shutil.move(path, tmp_path / "another disk")
    path.symlink_to(moved)
    before = {one: one.read_bytes() for one in moved.iterdir()}
    assert item(root, path).state == "damaged"
    assert main(["runs", "prune", "--yes", "--root", str(root)]) == 0
    assert "Removed 1, " in capsys.readouterr().out and not path.is_symlink()
    assert before == {one: one.read_bytes() for one in moved.iterdir()}


@pytest.mark.parametrize("what", ["files", "folder"])
def test_what_may_not_be_read_is_unknown_and_kept(place, unreadable, capsys, what):
    root, work = place
    run = only(work, "runs/primary-*")
    unreadable(run, what)
    found = item(root, run)
    assert (found.state, found.why) == ("unknown", "it cannot be read (Permission denied)")
    assert main(["runs", "prune", "--yes", "--root", str(root)]) == 0
    assert "Nothing to remove" in capsys.readouterr().out


def test_prune_shows_and_asks(place, monkeypatch, capsys):
    """Only a plain yes removes; where nobody can be asked, nothing is removed."""
    root, work = place
    path = spoil(work)
    before = files(work)
    for answer in ("", "n", "no", "yes please", None):
        def ask(answer=answer) -> str:
            if answer is None:
                raise EOFError
            return answer

        monkeypatch.setattr(builtins, "input", ask)
        assert main(["runs", "prune", "--root", str(root)]) == 0
        printed, asked = capsys.readouterr()
        assert path.name in asked and "damaged" in asked
        assert re.search(r"Remove these 1, [\d.]+ MB\? \[y/N\]$", asked.strip())
        assert "Nothing was removed." in printed and files(work) == before
    monkeypatch.setattr(builtins, "input", lambda: " Y ")
    assert main(["runs", "prune", "--root", str(root)]) == 0
    assert "Removed 1, " in capsys.readouterr().out and not path.exists()


def test_logits_whose_run_is_gone_are_orphaned_unless_something_was_made_from_them(place):
    """What a fresh or an unfinished run was made from is kept, and so are the runs."""
    root, work = place
    logits = only(work, "logits/logits-*")
    shutil.rmtree(only(work, "runs/ancillary-*"))
    assert item(root, logits).state == "fresh", "the primary was made from them"
    primary, mixed = only(work, "runs/primary-*"), only(work, "logits/mixed-*")
    unfinish(primary)
    assert item(root, primary).state == "unfinished"
    assert item(root, logits).state == "fresh", "the primary goes on with them"
    assert item(root, mixed).state == "fresh", "its primary is begun"
    shutil.rmtree(primary)
    assert item(root, mixed).state == "orphaned", "its primary is not there, and nobody needs it"
    shutil.rmtree(mixed)
    assert item(root, logits).state == "orphaned"
    assert item(root, logits).why == "what it was made from is gone"
    (found,) = stored.prunable(stored.inventory(root))
    assert found.path == logits and stored.remove(found) and not logits.exists()


def test_what_was_begun_is_unfinished_and_is_kept(place, monkeypatch, capsys):
    root, work = place
    train = ["train", "supervised", "--dataset", "folder", "--profile", "smoke", "--device", "cpu",
             "--seed", "3", "--root", str(root)]
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", stopped_after(1))
        assert main(train) == 130
    path = only(work, "runs/*/checkpoint.pt").parent
    found = item(root, path)
    assert found.state == "unfinished" and found.why == "the same command continues it"
    capsys.readouterr()
    assert main(["runs", "prune", "--yes", "--root", str(root)]) == 0
    assert "Nothing to remove" in capsys.readouterr().out
    assert main(train) == 0 and item(root, path).state == "fresh"
    own_folder.exchange(root)
    (path / "manifest.json").unlink()
    assert item(root, path).state == "stale", "nothing would continue it"


def test_what_is_made_again_while_prune_waits_is_kept(place, capsys, monkeypatch):
    """Another command trains the damaged run anew meanwhile."""
    root, work = place
    path = spoil(work)

    def agree() -> str:
        again = self_correction.supervised(own_folder.profile(), 0)
        resolve(again, Machine("cpu", root))
        return "y"

    monkeypatch.setattr(builtins, "input", agree)
    assert main(["runs", "prune", "--root", str(root)]) == 0
    printed = capsys.readouterr().out
    assert "Removed 0, " in printed and "Kept 1 that were written again meanwhile." in printed
    assert item(root, path).state == "fresh"


def test_a_temporary_file_in_a_damaged_folder_is_removed_with_it(place, capsys):
    root, work = place
    path = spoil(work)
    inner = left_over(work).rename(path / left_over(work).name)
    assert item(root, inner).state == "left over"
    prunable = [one.path for one in stored.prunable(stored.inventory(root))]
    assert path in prunable and inner not in prunable
    assert main(["runs", "prune", "--yes", "--root", str(root)]) == 0
    assert "Kept" not in capsys.readouterr().out
    assert [one.state for one in stored.inventory(root) if one.state != "fresh"] == []


def test_runs_on_another_dataset_are_looked_at_there(place, tmp_path, capsys):
    """Whatever root is named: a run is held against the folder that it learnt from."""
    work = place[1]
    other = own_folder.draw(tmp_path / "other", count=10, masked=6, boxes=True)
    own_folder.exchange(other, [0])
    before = files(work)
    assert {one.state for one in stored.inventory(other)} == {"fresh"}
    assert main(["runs", "prune", "--yes", "--root", str(other)]) == 0
    assert "Nothing to remove" in capsys.readouterr().out and files(work) == before


def test_labels_whose_maker_is_shared_are_kept(place, tmp_path, monkeypatch):
    root, work = place
    shared = tmp_path / "shared"
    (shared / "runs").mkdir(parents=True)
    for path in (work / "runs").iterdir():
        shutil.move(path, shared / "runs")
    assert "orphaned" in {one.state for one in stored.inventory(root)}
    monkeypatch.setenv("SEMISEG_SHARED", str(shared))
    assert {one.state for one in stored.inventory(root)} == {"fresh"}


@pytest.mark.parametrize("what", ["names", "folder"])
def test_where_a_shared_folder_may_not_be_looked_into_nothing_is_called_orphaned(
    place, tmp_path, monkeypatch, unreadable, what
):
    root, work = place
    (tmp_path / "shared" / "runs").mkdir(parents=True)
    monkeypatch.setenv("SEMISEG_SHARED", str(tmp_path / "shared"))
    shutil.rmtree(work / "runs")
    assert "orphaned" in {one.state for one in stored.inventory(root)}
    unreadable(tmp_path / "shared", what)
    assert {one.state for one in stored.inventory(root)} == {"fresh"}


def test_where_a_shared_folder_is_not_mounted_nothing_is_called_orphaned(
    place, tmp_path, monkeypatch
):
    root, work = place
    shutil.rmtree(work / "runs")
    monkeypatch.setenv("SEMISEG_SHARED", str(tmp_path / "absent"))
    assert {one.state for one in stored.inventory(root)} == {"fresh"}


def test_a_run_that_is_right_for_the_folder_at_hand_is_not_pruned(place, tmp_path, capsys):
    """Also where the folder that it was made from, of the same content then, has changed."""
    root, work = place
    copy = shutil.copytree(root, tmp_path / "copy")
    mask = root / "masks" / "p0.png"
    write_mask((read_mask(mask, 3) + 1) % 3, mask)
    kept = sorted(path.name for path in (work / "runs").iterdir())
    assert main(["runs", "prune", "--yes", "--root", str(copy)]) == 0
    assert sorted(path.name for path in (work / "runs").iterdir()) == kept
    assert main(["runs", "--root", str(root)]) == 0
    assert "1 of" in capsys.readouterr().out


def test_runs_of_a_dataset_that_is_not_mounted_are_not_pruned(place, tmp_path, capsys):
    root, work = place
    other = shutil.copytree(root, tmp_path / "other")
    mask = other / "masks" / "p0.png"
    write_mask((read_mask(mask, 3) + 1) % 3, mask)
    kept = sorted(path.name for path in (work / "runs").iterdir())
    away = root.rename(tmp_path / "away")
    assert main(["runs", "prune", "--yes", "--root", str(other)]) == 0
    assert sorted(path.name for path in (work / "runs").iterdir()) == kept
    away.rename(root)
