"""A finished run, opened: its weights, record, data and scores."""

from __future__ import annotations

import inspect
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from semiseg_lib import datasets, methods
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.core.durable import Damaged, atomic_write, sha256
from semiseg_lib.core.fingerprint import load
from semiseg_lib.core.paths import shown, work_root
from semiseg_lib.core.provenance import (
    code_version,
    compare_machines,
    source_version,
    state_of_machine,
)
from semiseg_lib.datasets.digest import file_hash
from semiseg_lib.datasets.lists import read_published_list
from semiseg_lib.evaluation.metrics import Evaluation, evaluate
from semiseg_lib.evaluation.options import WHOLE_IMAGE, Protocol
from semiseg_lib.experiments.identity import NAME, SCHEMA, Identity, Inputs, as_scored, build
from semiseg_lib.experiments.machine import AnyMachine, Machine
from semiseg_lib.experiments.places import digest_of_bytes, stored_lists
from semiseg_lib.experiments.refusals import refuse_other_classes, refuse_other_images
from semiseg_lib.experiments.values import Run
from semiseg_lib.methods.base import Method
from semiseg_lib.models import ModelConfig
from semiseg_lib.training.loop import make_accelerator
from semiseg_lib.training.run_folder import CONFIG, LISTS, RunFolder


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        run: the run as a value.
        folder: its folder.
        method: the trained method, in eval mode.
        record: ``history`` (rows), ``seconds``, ``made with`` (states of machine and code), and
            ``best`` where it was validated.
        classes: class names, in the order of their ids.
        machine: the machine to compute on.
        inputs: the opened data.
        which: the weights that the method holds: ``last`` or ``best``.
        stored: the digest of its stored weights when it was opened.
        own_images: whether it is scored only on images that belonged to it when it was
            trained.
    """

    run: Run
    folder: RunFolder
    method: Method
    record: dict
    classes: tuple[str, ...]
    machine: Machine
    inputs: Inputs
    stored: str
    which: Literal["last", "best"] = "last"
    own_images: bool = True

    @property
    def history(self) -> list[dict[str, float]]:
        """Return the rows of the history, one dict per row."""
        return self.record["history"]

    @property
    def data(self) -> Data:
        """Return the images of the run, as they are on this machine."""
        return self.inputs.data(self.run)

    def scored(self, split: Literal["val", "test"]) -> ImageSet:
        """Return the images of a split, with boxes only if the model reads boxes."""
        return as_scored(getattr(self.data, split), self.run)

    def holding(self, which: Literal["last", "best"]) -> Trained:
        """Return the same run with its last or best weights.

        Args:
            which: ``last``, or ``best`` for those with the best validation score.

        Raises:
            FileNotFoundError: it was not validated during training.
            ValueError: the run was trained anew since it was opened.
        """
        if which == self.which:
            return self
        self.refuse_if_trained_anew()
        method = build(self.run, len(self.classes))
        self.folder.load_weights(method, which)
        device = next(self.method.parameters()).device
        return replace(self, method=method.to(device).eval(), which=which)

    def refuse_if_trained_anew(self) -> None:
        """Raise ValueError if the stored weights are not those that were opened."""
        if digest_of_bytes(self.folder.path) != self.stored:
            raise ValueError(
                f"{shown(self.folder.path)} was trained anew since it was opened. Open it again."
            )

    def chosen(self) -> Trained:
        """Return the run with its best weights if it was validated, else with its last ones."""
        return self.holding("best") if "best" in self.record else self

    def evaluate(
        self, split: Literal["val", "test"] = "test", protocol: Protocol = WHOLE_IMAGE
    ) -> Evaluation:
        """Score the deployed model on the validation or test images.

        Args:
            split: ``val`` or ``test``.
            protocol: sliding window, flips and scales.

        Raises:
            ValueError: the classes of the data here are not those of the run, or the images are
                not, and ``own_images`` is set.
        """
        refuse_other_classes(self.classes, self.data.classes, self.folder.path)
        images = self.scored(split)
        if self.own_images:
            refuse_other_images(self.folder, images, split)
        _ = images.digest  # what is read from now on is compared with it
        return evaluate(self.method, images, self.classes, protocol)


def open_run(
    path: Path, machine: AnyMachine = None, which: Literal["last", "best"] = "last",
    other_data: bool = False,
) -> Trained:
    """Open a finished run from its folder; its images need not be there.

    Args:
        path: the folder.
        machine: the machine to compute on, or the name of a device.
        which: the weights to load.
        other_data: whether it may be scored on other images than those that belonged to it when it
            was trained; other classes are always refused.

    Raises:
        FileNotFoundError: it is not a run folder, or not finished.
        ValueError: another version of the library made it.
        Damaged: its files are not what was written.
    """
    folder = RunFolder.open(path)
    if folder.finished:
        folder.store.verify()
    named, identity = re.fullmatch(NAME, folder.path.name), folder.description.get("identity", "")
    if named and not identity.startswith(named[1]):
        raise Damaged(
            f"{shown(folder.path)} holds another run, {identity[:10]}.",
            "Delete the folder and train the run that it is named for again, or rename it.",
        )
    return opened(folder, Machine.of(machine), which, own_images=not other_data)


def opened(
    folder: RunFolder, machine: Machine, which: Literal["last", "best"] = "last",
    inputs: Inputs | None = None, own_images: bool = True,
) -> Trained:
    """Open a finished run whose files were checked; files read here are checked again.

    Raises:
        As :func:`open_run`.
    """
    run = read_run(folder.description, folder.path / CONFIG)
    record = folder.read_record()
    classes = tuple(folder.description["inputs"]["classes"])
    # The run's own weights are loaded next, so no initial ones are fetched.
    stored, method = digest_of_bytes(folder.path), build(run, len(classes))
    folder.load_weights(method, which)
    if digest_of_bytes(folder.path) != stored:
        raise ValueError(
            f"{shown(folder.path)} was trained anew while it was opened. Run the same command "
            "again."
        )
    device = make_accelerator(run.train, machine.device).device
    warn_of_other_states(folder.path, record["made with"], code_of(run))
    return Trained(
        run, folder, method.to(device).eval(), record, classes, machine,
        inputs or Inputs(machine.root), stored, which, own_images,
    )


def read_run(description: Mapping[str, Any], path: Path) -> Run:
    """Return the run of a stored description.

    Raises:
        ValueError: it is of another version, not a run, or its options have another meaning now.
        Damaged: a part of it is missing.
    """
    if description.get("schema") != SCHEMA:
        raise ValueError(
            f"{shown(path)} has schema {description.get('schema')}; this version of semiseg_lib "
            f"reads schema {SCHEMA}. Use the version that wrote it, or train again."
        )
    if description.get("kind") != "run":
        raise ValueError(f"{shown(path)} describes {description.get('kind')}, not a run.")
    if missing := {"value", "inputs", "identity"} - description.keys():
        raise Damaged(f"{shown(path)} lacks {min(missing)}. Train again.")
    options = with_published_list(description["value"], path.parent)
    run, inputs = load(Run, options, path), description["inputs"]
    identity = Identity(
        run, tuple(inputs["classes"]), inputs["images"], inputs["parents"], inputs["weights"]
    )
    if identity.digest != description["identity"]:
        raise ValueError(
            f"{shown(path)} was stored with other options than there are now: one was added "
            "without its value `before`, taken away, or given another meaning. Use the code that "
            "wrote it, state the value in the SCHEMA of the options "
            "(semiseg_lib/core/fingerprint.py), or train again."
        )
    return run


def with_published_list(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a run's stored options; write its published list again if the list has changed.

    Args:
        options: as :func:`~semiseg_lib.core.fingerprint.dump` wrote them.
        folder: the result's, which holds the names of the list.

    Raises:
        FileNotFoundError: neither the list nor its names in ``lists.json`` are there.
    """
    listed = next(_values_of("published", options), "")
    if not listed:
        return options
    try:
        names = tuple(stored_lists(folder)["published"])
    except (OSError, KeyError, Damaged):
        if Path(listed).is_file():
            return options
        raise FileNotFoundError(
            f"{shown(folder)} was made from the images that {shown(listed)} names, which is not "
            f"there, and no {LISTS} beside its {CONFIG} holds the names. Copy the run's whole "
            "folder, or put the list back."
        ) from None
    with suppress(FileNotFoundError, ValueError):
        if read_published_list(Path(listed), names) == names:
            return options
    content = "".join(f"{name}\n" for name in names).encode("utf-8")
    path = work_root() / "splits" / f"published-{sha256(content)[:16]}.txt"
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return _changed(options, lambda key, one: path.as_posix()
                    if key == "published" and one == listed else one)


def with_weights_at(description: Mapping[str, Any], paths: Sequence[Path]) -> dict[str, Any]:
    """Return a run's stored options with the files of encoder weights at other places.

    Args:
        description: of the run; it has the SHA-256 of the file that each of its encoders starts
            with.
        paths: the files. Which one is whose follows from their bytes; one alone is everybody's.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: one of several files is not one that the run started with.
    """
    options, recorded = description["value"], description["inputs"]["weights"]
    if missing := [path for path in paths if not path.is_file()]:
        raise FileNotFoundError(f"there is no file of encoder weights at {shown(missing[0])}.")
    words = ModelConfig.SCHEMA.paths["weights"]
    if len(paths) == 1:
        return _changed(options, lambda key, one: paths[0].as_posix()
                        if key == "weights" and one not in words else one)
    held = {file_hash(path): path for path in paths}
    if others := [path for digest, path in held.items() if digest not in recorded.values()]:
        raise ValueError(f"the run did not start with the encoder weights in {shown(others[0])}.")
    networks = {"model": options["model"], **options["method"]}
    moved = {networks[name]["weights"]: held[digest] for name, digest in recorded.items()
             if digest in held}
    return _changed(options, lambda key, one: moved[one].as_posix()
                    if key == "weights" and one in moved else one)


def _values_of(name: str, options: Any) -> Iterator[Any]:
    """Yield the values of an option that are set, at any depth of stored options."""
    if isinstance(options, dict):
        if options.get(name):
            yield options[name]
        for one in options.values():
            yield from _values_of(name, one)
    elif isinstance(options, list):
        for one in options:
            yield from _values_of(name, one)


def _changed(options: Any, change: Callable[[str, Any], Any]) -> Any:
    """Return stored options with ``change(key, value)`` in place of every value, at any depth."""
    return json.loads(json.dumps(options), object_hook=lambda entry: {
        key: change(key, one) for key, one in entry.items()
    })


def code_of(run: Run) -> str:
    """Return the version of the code that trains a run: the library's, and of what is registered.

    A registered method counts by the source of its class, a registered dataset by that of what
    opens it.
    """
    registered = (methods.method_class(run.method), datasets.find(run.data.dataset).open)
    own = [one for one in registered if (inspect.isclass(one) or inspect.isfunction(one))
           and not one.__module__.startswith("semiseg_lib.")]
    return code_version() + "".join(
        f" with {one.__name__} {version}" for one in own if (version := source_version(one))
    )


_warned: set[str] = set()


def warn_of_other_states(path: Path, states: Sequence[Mapping[str, Any]], code: str) -> None:
    """Warn once of a result that was made in another state of the machine than this one.

    Of other code is warned once for each version of it, for every commit is one.

    Args:
        path: the folder of the run, logits or pseudo-labels.
        states: the states of machine and code that made it.
        code: the result of :func:`code_of`.
    """
    here = state_of_machine()
    for other in {made["code"] for made in states} - {code}:
        if (pair := f"{other} {code}") in _warned:
            continue
        _warned.add(pair)
        warnings.warn(
            f"stored results such as {shown(path)} were made with code {other}, here is {code}. "
            "They are used as they are, for code is not part of a run's identity; --no-resume, or "
            "resolve(..., anew=True), trains one again.", stacklevel=3,
        )
    said = [one for made in states for one in compare_machines(made["machine"], here)]
    if said and str(path) not in _warned:
        _warned.add(str(path))
        warnings.warn(
            f"{shown(path)} was made with {'; '.join(dict.fromkeys(said))}. It is used as it is; a "
            "repeat here would differ: by rounding, which training amplifies, and with another "
            "number of processes by their batch statistics.", stacklevel=3,
        )
