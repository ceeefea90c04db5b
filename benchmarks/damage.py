"""What happens to damaged files, killed writers and checks: three tables.

    OMP_NUM_THREADS=1 python benchmarks/damage.py [--flips 200] [--kills 50]

1. One bit of a stored file is flipped, and the call that reads the file is made again, many times
   for each kind of file. *refused*: a named error that says which file and what to do; *remade*:
   the call made the file again, and its result equals the undamaged one. *silent* and *foreign*
   (any other exception) must be 0.
2. Processes that train are killed at random times. The same call then finishes the run; its weights
   must equal those of a run that nobody disturbed, and nothing may be left behind.
3. What identity, checks and durable writing cost beside a laptop training, in percent.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import re
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bookkit.build import LEDGER, _read_ledger
from semiseg_lib import recipes
from semiseg_lib.batches.data import Data
from semiseg_lib.core.durable import Damaged, read_json, write_json
from semiseg_lib.datasets import digest
from semiseg_lib.experiments import Inputs, Run, open_run, pseudo_labelling, resolve, training
from semiseg_lib.experiments import self_correction as story
from semiseg_lib.experiments.inventory import leftovers_in
from semiseg_lib.experiments.lists import lists_of
from semiseg_lib.experiments.places import own_place
from semiseg_lib.notebook.tables import markdown_table
from semiseg_lib.recipes import Profile
from semiseg_lib.stores.store import Stale
from semiseg_lib.studies import records
from semiseg_lib.training.run_folder import RunFolder

NAMED = (Damaged, Stale)
FIX = re.compile("Delete|again|Train|Update|Take")
"""What a message that says what to do has in it."""
COST_TARGET = 2.0  # percent of a laptop training
SEED = 5


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        files: those of this kind.
        call: reads them; returns what is compared with the undamaged result.
        home: the folder that is restored after each try.
    """

    files: list[Path]
    call: Callable[[], Any]
    home: Path


def main() -> None:
    """Measure and print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SEMISEG_WORK"] = folder
        print(flips(options.flips), flush=True)
        print(kills(options.kills), flush=True)
        print(cost(), flush=True)


def short(steps: int = 2, every: int = 1) -> Profile:
    """Return the smoke profile with few steps and a validation on the way."""
    smoke = recipes.load("smoke")
    train = replace(smoke.train_supervised, steps=steps, validate_every=every,
                    checkpoint_seconds=0.0)
    return replace(smoke, train_supervised=train)


# ------------------------------------------------------------------------------------- 1. flips

def flips(count: int) -> str:
    """Flip bits in each kind of file; return the table."""
    rows = []
    for name, kind in kinds().items():
        seen = Counter(try_flips(kind, count, name))
        rows.append({"file": name, "flips": str(count), **{
            outcome: str(seen[outcome]) for outcome in ("refused", "remade", "silent", "foreign")
        }})
    return f"\n1. One flipped bit\n\n{markdown_table(rows)}\n"


def kinds() -> dict[str, Kind]:
    """Make one file of each kind, and say which call reads it."""
    profile = short()
    run = story.supervised(profile, SEED)
    trained = resolve(run, "cpu")
    folder, root = trained.folder.path, Path(os.environ["SEMISEG_WORK"])
    logits = resolve(story.logits(profile, SEED), "cpu").folder
    labels = pseudo_labelling.pseudo_labels(profile, profile.rounds, run, 1)
    pngs = resolve(labels, "cpu").folder
    interrupted, stopped = interrupt(story.supervised(short(4), SEED))
    lost, without = interrupt(story.supervised(short(6), SEED))
    (without / "checkpoint.pt").unlink()  # so that the one before it is read
    drawn = next((root / "minivoc").iterdir())
    made = list_files(drawn)
    record, costs, ledger = make_record(root), make_costs(root), root / LEDGER
    write_json(ledger, {"01": {"minutes": 1.0, "sha256": "0" * 64}})
    again = {name: Kind([folder / name], lambda: weights(resolve(run, "cpu")), folder)
             for name in ("model.safetensors", "best.safetensors", "record.json", "config.json",
                          "lists.json", "machines.json", "manifest.json")}
    opened = {f"{name} (opened)": Kind([folder / name], lambda: weights(open_run(folder, "cpu")),
                                       folder)
              for name in ("model.safetensors", "record.json", "manifest.json")}
    return {
        **again, **opened,
        "best.safetensors (opened)": Kind(
            [folder / "best.safetensors"], lambda: weights(open_run(folder, "cpu", "best")),
            folder),
        **{f"{name} (interrupted)": Kind(
            [stopped / name], lambda: weights(resolve(interrupted, "cpu")), stopped)
            for name in ("checkpoint.pt", "best-so-far.sealed", "config.json", "lists.json",
                         "machines.json")},
        "checkpoint-before.pt (interrupted)": Kind(
            [without / "checkpoint-before.pt"], lambda: weights(resolve(lost, "cpu")), without),
        "logits": Kind([logits / "0000.safetensors", logits / "manifest.json"], lambda: torch.stack(
            list(resolve(story.logits(profile, SEED), "cpu").in_memory())).numpy(), logits),
        "pseudo-labels": Kind(sorted(pngs.glob("*.png"))[:5] + [pngs / "manifest.json"],
                              lambda: np.stack(list(resolve(labels, "cpu").in_memory())), pngs),
        "drawn list": Kind(list((root / "splits").iterdir()),
                           lambda: Data(profile.data, SEED).names["labelled"], root / "splits"),
        "digests of files": Kind(list((root / "digests").iterdir()), identity_of(run),
                                 root / "digests"),
        **{f"drawn {what}": Kind([one for one in made if one.suffix == ending],
                                 identity_of(run), drawn)
           for what, ending in {"images": ".jpg", "masks": ".png", "boxes": ".xml"}.items()},
        "drawn lists and digests": Kind(
            [one for one in made if one.suffix in (".json", ".txt") and one.stem != "README"],
            identity_of(run), drawn),
        "records of a study": Kind([record], lambda: records._stored(record).rows, record.parent),
        "costs of the methods": Kind([costs], lambda: records.read_costs(costs), costs.parent),
        "scores of an evaluation": Kind([make_scores(folder)], lambda: read_json(
            folder / "evaluations" / "test-0.json"), folder / "evaluations"),
        "ledger of the book": Kind([ledger], lambda: _read_ledger(ledger) or {
            "01": {"minutes": 1.0, "sha256": "0" * 64}}, ledger.parent / "none"),
    }


def try_flips(kind: Kind, count: int, name: str) -> list[str]:
    """Flip one bit at a time; return what came of each."""
    generator, found = random.Random(0), []
    pristine = {path: path.read_bytes() for path in kind.files}
    copy = Path(tempfile.mkdtemp()) / "copy"
    if kind.home.is_dir():
        shutil.copytree(kind.home, copy)
    expected = kind.call()
    for number in tqdm(range(count), desc=name, unit="flip"):
        path = kind.files[number % len(kind.files)]
        restore(kind, copy, pristine)
        place = generator.randrange(8 * len(pristine[path]))
        damaged = bytearray(pristine[path])
        damaged[place // 8] ^= 1 << place % 8
        status = path.stat()
        path.write_bytes(damaged)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        digest._shared.cache_clear()
        found.append(outcome(kind.call, expected, path, bytes(damaged)))
        if found[-1] in ("silent", "foreign"):
            print(f"{found[-1]}: {path.name}, byte {place // 8}, bit {place % 8}")
    restore(kind, copy, pristine)
    digest._shared.cache_clear()
    shutil.rmtree(copy.parent)
    return found


def outcome(call: Callable[[], Any], expected: Any, path: Path, damaged: bytes) -> str:
    """Make the call that reads a damaged file; return what came of it."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            result = call()
        except NAMED as error:
            names = any(one in str(error) for one in (path.name, path.parent.name))
            return "refused" if names and FIX.search(str(error)) else "foreign"
        except Exception:
            return "foreign"
    remade = not path.is_file() or path.read_bytes() != damaged
    return "remade" if same(result, expected) and (remade or path.name == LEDGER) else "silent"


def restore(kind: Kind, copy: Path, pristine: Mapping[Path, bytes]) -> None:
    """Put the files of a kind back as they were, with what lies beside them."""
    if copy.is_dir():
        for aside in kind.home.parent.glob(f"{kind.home.name}.damaged*"):
            shutil.rmtree(aside)
        shutil.rmtree(kind.home)
        shutil.copytree(copy, kind.home)
    else:
        for path, content in pristine.items():
            path.write_bytes(content)


def same(one: Any, other: Any) -> bool:
    """Return whether two results are equal, arrays bit by bit."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, torch.Tensor | np.ndarray):
        return bool((np.asarray(one) == np.asarray(other)).all())
    return one == other


def weights(trained: Any) -> dict[str, np.ndarray]:
    """Return the weights of a run by name."""
    return {name: one.numpy() for name, one in trained.method.state_dict().items()}


def identity_of(run: Run) -> Callable[[], str]:
    """Return the call that looks at everything that a run learns from."""
    return lambda: Inputs().identity(run).digest


def interrupt(run: Run) -> tuple[Run, Path]:
    """Train a run half and stop it; return it and its folder."""
    fit = training.fit

    def half(*arguments: Any, **options: Any) -> None:
        fit(*arguments, **options, stop_at=2)
        raise KeyboardInterrupt

    training.fit = half
    try:
        with contextlib.suppress(KeyboardInterrupt):
            resolve(run, "cpu")
    finally:
        training.fit = fit
    return run, own_place(Inputs().identity(run))


def make_record(root: Path) -> Path:
    """Write a file of records."""
    path = root / "records" / "a-smoke.json"
    row = {"arm": "a", "seed": 1, "config": "c", "test": 50.0, "images": {"test": 64 * "0"}}
    records._store(path, records._File("smoke", [row], {"c": {}}, [{**row, "legacy": "abc"}]))
    return path


def make_costs(root: Path) -> Path:
    """Write a file of the methods' costs."""
    path = root / "costs" / "cost-smoke.json"
    write_json(path, {"rows": {"supervised": {"seconds": 0.03, "ratio": 1.0}}, "blocks": 15})
    return path


def make_scores(folder: Path) -> Path:
    """Write the scores of an evaluation."""
    path = folder / "evaluations" / "test-0.json"
    write_json(path, {"mean_iou": 0.5, "classes": ["a", "b"]})
    return path


def list_files(folder: Path) -> list[Path]:
    """Return all files below a folder, by name."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


# ------------------------------------------------------------------------------------- 2. kills

def kills(count: int) -> str:
    """Kill processes that train at random times, then finish the run; return the table."""
    root, generator = Path(os.environ["SEMISEG_WORK"]), random.Random(1)
    run = story.supervised(short(400, 100), SEED + 1)
    undisturbed = weights(resolve(run, "cpu"))
    folder = own_place(Inputs().identity(run))
    shutil.rmtree(folder)
    context, killed, finished = multiprocessing.get_context("fork"), 0, 0
    while killed < count:
        child = context.Process(target=_train, args=(run,))
        child.start()
        child.join(generator.uniform(0.05, 1.5))
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            killed += 1
        else:
            finished += 1
            shutil.rmtree(folder)
    before = sum(1 for _ in leftovers_in(root))
    equal = same(weights(resolve(run, "cpu")), undisturbed)
    after = sum(1 for _ in leftovers_in(root))
    return "\n2. Killed while training\n\n" + markdown_table([{
        "kills": str(killed), "finished before the kill": str(finished),
        "left behind at the end": str(before), "after the last run": str(after),
        "weights equal": str(equal),
    }]) + "\n"


def _train(run: Run) -> None:
    with contextlib.redirect_stderr(io.StringIO()):
        resolve(run, "cpu")


# -------------------------------------------------------------------------------------- 3. cost

def cost() -> str:
    """Time what knowing and checking cost beside a laptop training; return the table."""
    run = story.supervised(recipes.load("laptop"), SEED)
    start = time.perf_counter()
    trained = resolve(run, "cpu")
    first = time.perf_counter() - start
    training_seconds = trained.record["seconds"]
    opened = Inputs()
    identity = opened.identity(run)
    parts = {
        "identity": lambda: Inputs().identity(run),
        "lists of images": lambda: lists_of(opened, identity, {}),
        "writing the result, with fsync": lambda: written(trained),
        "opening it, every byte checked": lambda: open_run(trained.folder.path, "cpu"),
    }
    rows, total = [], 0.0
    for name, call in parts.items():
        seconds = min(timed(call) for _ in range(3))
        total += seconds
        rows.append({"what": name, "seconds": f"{seconds:.3f}",
                     "% of the training": f"{100 * seconds / training_seconds:.2f}"})
    rows.append({"what": f"together (target {COST_TARGET:g} %)", "seconds": f"{total:.3f}",
                 "% of the training": f"{100 * total / training_seconds:.2f}"})
    return (f"\n3. Cost beside a laptop training of {training_seconds:.1f} s (first call, which "
            f"draws mini-VOC: {first:.1f} s)\n\n{markdown_table(rows)}\n")


def written(trained: Any) -> None:
    """Write a finished run once more, elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        copy = RunFolder(Path(folder) / "run", trained.folder.description, trained.folder.parents)
        copy.finish(trained.method.state_dict(), dict(trained.record))


def timed(call: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
