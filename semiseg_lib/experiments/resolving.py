"""Load the result of a value from disk, or make it and everything that it needs.

Chapters, commands and studies all get results by :func:`resolve`. A stored result is used only if
its identity is the value's, digests of the images included, and its bytes are those that were
written; a damaged result is set aside and made again.

If several commands or distributed jobs ask for the same value, one makes it and the others wait.
In a distributed job the main process reads, decides and writes; its answers and its errors are
sent to the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from semiseg_lib.batches.data import Data
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.core.durable import Damaged, locked
from semiseg_lib.core.paths import shown, work_root
from semiseg_lib.core.provenance import state_of_machine
from semiseg_lib.core.terminal import say
from semiseg_lib.datasets.frozen_files import freeze_files
from semiseg_lib.evaluation.metrics import evaluate
from semiseg_lib.evaluation.predict import logits_of, predict_probabilities
from semiseg_lib.experiments.identity import (
    Identity,
    Inputs,
    blueprint,
    labelled_by,
    run_of,
)
from semiseg_lib.experiments.lists import explain_new_work, lists_of, reason_to_restart
from semiseg_lib.experiments.machine import AnyMachine, Machine
from semiseg_lib.experiments.made_labels import drawn, mixed
from semiseg_lib.experiments.places import (
    digest_of_bytes,
    install,
    other_sources,
    own_place,
    place_anew,
    places,
    sources_of,
    stored_states,
)
from semiseg_lib.experiments.trained import Trained, code_of, opened, warn_of_other_states
from semiseg_lib.experiments.training import refuse_contradictions, train
from semiseg_lib.experiments.values import (
    BoxLabels,
    Logits,
    MixedLogits,
    PseudoLabels,
    Run,
    V,
    Value,
)
from semiseg_lib.methods.base import Method
from semiseg_lib.methods.pseudo_label.method import class_thresholds, select
from semiseg_lib.stores.logits import LogitsStore
from semiseg_lib.stores.pseudo_labels import PseudoLabelStore
from semiseg_lib.stores.store import Stale, Store
from semiseg_lib.training.loop import make_accelerator
from semiseg_lib.training.run_folder import RunFolder

NOT_KEPT = ("what was stored before is still there; what was begun in its place is not continued, "
            "the same command begins again")

T = TypeVar("T")
Labels = TypeVar("Labels", bound=LogitsStore | PseudoLabelStore)
Give = Callable[[Sequence[int]], Iterable[Any]]
"""Function from the numbers of images to what is stored of each."""


@overload
def resolve(value: Run, machine: AnyMachine = ..., anew: bool = ...) -> Trained: ...
@overload
def resolve(
    value: Logits | MixedLogits | BoxLabels, machine: AnyMachine = ..., anew: bool = ...
) -> LogitsStore: ...
@overload
def resolve(
    value: PseudoLabels, machine: AnyMachine = ..., anew: bool = ...
) -> PseudoLabelStore: ...
def resolve(
    value: Value, machine: AnyMachine = None, anew: bool = False
) -> Trained | LogitsStore | PseudoLabelStore:
    """Return the result of a value: load it from disk, continue it, or make it.

    Args:
        value: a run, logits or pseudo-labels. What it builds on is resolved first, if needed.
        machine: the machine to compute on, or the name of a device.
        anew: make this value again even if it is stored; what it builds on is kept. What is stored
            stays until the new one is finished.

    Returns:
        The opened run, or the store.

    Raises:
        FileNotFoundError: the dataset or an encoder's weights are not there.
        ValueError: the images do not suit the method, options contradict each other, or an image
            changed while it was learnt from.
    """
    machine = Machine.of(machine)
    # The processes of a distributed job must be on the right device before they communicate.
    make_accelerator(run_of(value).train, machine.device)
    with freeze_files():
        return _Resolver(machine).resolve(value, anew)


class _Resolver:
    """Resolver of values that share opened images."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.inputs = Inputs(machine.root)

    def resolve(self, value: Value, anew: bool = False) -> Trained | LogitsStore | PseudoLabelStore:
        if isinstance(value, Run):
            return self._run(value, anew)
        if isinstance(value, PseudoLabels):
            return self._pseudo_labels(value, anew)
        return self._logits(value, anew)

    # ------------------------------------------------------------------------------------- runs

    def _identity(self, value: V) -> Identity[V]:
        """Return the identity of a value; raise an error if the processes' identities differ."""
        state = PartialState()
        if state.num_processes == 1:
            return self.inputs.identity(value)
        identity: Identity[V] | Exception
        try:
            identity = self.inputs.identity(value)
            own = identity.digest
        except Exception as error:
            identity, own = error, f"{type(error).__name__}: {error}"
        found = gather_object([own])
        if isinstance(identity, Exception):
            raise identity
        if len(set(found)) > 1:
            others = [f"{number}: {one}" for number, one in enumerate(found) if one != found[0]]
            raise ValueError(
                f"the processes of this job do not see the same data for {identity.name}: process "
                f"0 has {found[0]}, process {others[0]}. Give every machine the same dataset "
                "(--root) and the same weights file, and start the job again."
            )
        return identity

    def _run(self, run: Run, anew: bool) -> Trained:
        identity = self._identity(run)

        def store(path: Path) -> Store:
            return RunFolder(path, identity.description, identity.parents).store

        path = _answer_of_main(lambda: None if anew else self._found(identity, store))
        if path is None:
            return self._make_run(identity, anew)
        if path == own_place(identity):
            _answer_of_main(lambda: _clear(path))
        try:
            return self._opened(run, path)
        except (FileNotFoundError, Damaged):  # wait for another command that makes it anew
            if PartialState().num_processes > 1:
                raise
        return self._make_run(identity, anew)

    def _opened(self, run: Run, path: Path) -> Trained:
        # The value names the images of its scores. It may be stored with other values of options
        # that affect no result.
        trained = opened(RunFolder.open(path), self.machine, inputs=self.inputs, own_images=False)
        self._warn_of_parents(run)
        return replace(trained, run=run)

    def _warn_of_parents(self, value: Value) -> None:
        """Warn of what a stored result builds on that was made by other code, or elsewhere."""
        for parent in value.parents().values():
            self._warn_of_parents(parent)
            found = (path for path in places(self.inputs.identity(parent)) if path.is_dir())
            if path := next(found, None):
                with suppress(OSError, Damaged):
                    warn_of_other_states(path, stored_states(path), code_of(run_of(parent)))

    def _parts(self, value: Value) -> dict[str, Any]:
        """Return what a value builds on, resolved."""
        return {name: self.resolve(one) for name, one in value.parents().items()}

    def _make_run(self, identity: Identity[Run], anew: bool) -> Trained:
        """Train, from the folder's checkpoint if there is one; store and open the result."""
        run, data = identity.value, self.inputs.data(identity.value)
        path = place_anew(identity) if anew else own_place(identity)
        folder = RunFolder(path, identity.description, identity.parents)
        refuse_contradictions(run, blueprint(run, len(data.classes)), data)
        parts = self._parts(run)
        sources = sources_of(parts)
        accelerator = make_accelerator(
            run.train, self.machine.device, trackers=self.machine.trackers, folder=folder.path
        )
        with ExitStack() as lock:

            def is_due() -> bool:
                lock.enter_context(locked(folder.path))
                return self._is_due(identity, folder, sources, anew)

            def finish() -> None:
                if problem := _rewritten(parts, sources):
                    folder.drop_checkpoints()
                    raise ValueError(problem)
                folder.finish(method.state_dict(), record)
                if anew:
                    lock.enter_context(locked(own_place(identity)))
                    install(identity)

            if _answer_of_main(is_due):
                try:
                    method, record = train(
                        identity, folder, data, self.inputs.image_sets(run), parts, self.machine,
                        accelerator, self._validation(run, data),
                    )
                except KeyboardInterrupt as error:
                    if anew:
                        raise KeyboardInterrupt(NOT_KEPT) from error
                    raise
                _answer_of_main(finish)
            # Within the lock, so that it is not made anew before every process has read it.
            trained = self._opened(run, own_place(identity))
            PartialState().wait_for_everyone()
            return trained

    def _is_due(
        self, identity: Identity[Run], folder: RunFolder, sources: Mapping[str, str], anew: bool
    ) -> bool:
        """Return whether a run must be trained; prepare its folder if so."""
        if anew:
            folder.store.delete()
        elif not folder.store.manifest_path.exists():
            install(identity)
        if folder.store.manifest_path.exists():
            problem = self._problem(identity, folder.store)
            if not problem:
                return False  # another command has finished it meanwhile
            aside = shown(folder.store.set_aside())
            say(f"{problem} The run is set aside as {aside} and made again.", sys.stderr)
        lists = lists_of(self.inputs, identity, sources)
        if folder.has_checkpoint and (problem := reason_to_restart(folder, lists)):
            folder.set_checkpoints_aside()
            say(f"{problem} It starts again from its first step; its checkpoints are set aside "
                "beside it as *.damaged.", sys.stderr)
        if not folder.has_checkpoint:
            if said := explain_new_work(identity, own_place(identity), lists):
                say(said, sys.stderr)
            folder.begin(lists)
            known = True
        else:
            known = folder.repair()
        machine = state_of_machine()
        folder.note_machine(machine if known else {**machine, "before": "unknown"},
                            code_of(identity.value))
        return True

    def _validation(self, run: Run, data: Data) -> Callable[[Method], float] | None:
        """Return the validation mIoU in percent; None for a run that is not validated."""
        protocol = run.validation
        if protocol is None:
            return None
        return lambda method: 100 * evaluate(method, data.val, data.classes, protocol).mean_iou

    # ----------------------------------------------------------------------------------- labels

    def _logits(self, value: Logits | MixedLogits | BoxLabels, anew: bool) -> LogitsStore:
        identity, images = self._identity(value), labelled_by(value, self.inputs.data(value))
        store = LogitsStore(
            own_place(identity), identity.digest, images.names, value.bits,
            description=identity.description, parents=identity.parents,
        )
        def give(parts: Mapping[str, Any]) -> Give:
            if isinstance(value, Logits):
                return lambda numbers: logits_of(parts["run"].method, images.take(numbers))
            if isinstance(value, BoxLabels):
                return lambda numbers: drawn(value, images, numbers)
            primary, ancillary = parts["primary"], parts["ancillary"]
            return lambda numbers: mixed(primary, ancillary, images, numbers, value.alpha)

        return self._find_or_write(identity, store, anew, give)

    def _pseudo_labels(self, value: PseudoLabels, anew: bool) -> PseudoLabelStore:
        identity, data = self._identity(value), self.inputs.data(value)
        images = labelled_by(value, data)
        store = PseudoLabelStore(
            own_place(identity), identity.digest, images.names, len(data.classes),
            description=identity.description, parents=identity.parents,
        )

        def give(parts: Mapping[str, Any]) -> Give:
            teacher = parts["teacher"].chosen()

            def probabilities(some: ImageSet) -> Iterator[torch.Tensor]:
                return predict_probabilities(teacher.method, some, value.protocol)

            @cache  # in the writing process, when it starts to write
            def thresholds() -> torch.Tensor:
                return class_thresholds(value.selection, probabilities(images), len(data.classes))

            return lambda numbers: (
                select(one, thresholds()) for one in probabilities(images.take(numbers))
            )

        return self._find_or_write(identity, store, anew, give)

    def _find_or_write(
        self, identity: Identity[V], own: Labels, anew: bool,
        give: Callable[[Mapping[str, Any]], Give],
    ) -> Labels:
        """Return a complete store; the main process writes what is missing or damaged.

        Args:
            identity: of what is stored.
            own: the store in the work folder.
            anew: write all of it.
            give: from what the value builds on to what computes the labels.
        """
        def store(path: Path) -> Store:
            return replace(own, folder=path).store

        path = _answer_of_main(lambda: None if anew else self._found(identity, store))
        if path is not None:
            self._warn_of_parents(identity.value)
            warn_of_other_states(path, stored_states(path), code_of(run_of(identity.value)))
            return replace(own, folder=path)
        parts = self._parts(identity.value)
        sources, made = sources_of(parts), give(parts)
        new = replace(own, folder=place_anew(identity)) if anew else own

        def write() -> None:
            with locked(new.folder):  # one command at a time checks what is stored, and writes
                if anew:
                    new.store.delete()
                elif not own.store.manifest_path.exists():
                    install(identity)
                new.begin()
                lists = lists_of(self.inputs, identity, sources)
                begun = new.store.notes.get("lists")
                if begun is None:
                    if said := explain_new_work(identity, own.folder, lists):
                        say(said, sys.stderr)
                elif begun.get("sources") != lists["sources"]:
                    new.store.delete()
                state = {"machine": state_of_machine(), "code": code_of(run_of(identity.value))}
                before = [one for one in new.store.notes.get("made with", []) if one != state]
                new.store.annotate(lists=lists, **{"made with": [*before, state]})
                new.write(made, lock=False)
                if problem := _rewritten(parts, sources):
                    new.store.delete()
                    raise ValueError(problem)
                if anew:
                    with locked(own.folder):
                        install(identity)

        _answer_of_main(write)
        return own

    def _found(self, identity: Identity[V], store: Callable[[Path], Store]) -> Path | None:
        """Return the folder of a finished store whose bytes are those that were written."""
        for path in places(identity):
            found = store(path)
            with suppress(OSError):  # of an unreadable folder
                if not found.manifest_path.exists():
                    continue
            problem = self._problem(identity, found)
            if not problem:
                return path
            if path != own_place(identity):  # that one is set aside, with a message
                say(f"{problem} It is left as it is and made again in {shown(work_root())}.",
                    sys.stderr)
        return None

    def _problem(self, identity: Identity[V], store: Store) -> str:
        """Return why a store that has a manifest cannot be used; "" if it can.

        Raises:
            OSError: it lies in the work folder and cannot be read: it may be sound.
        """
        try:
            store.verify()
        except (Damaged, Stale) as error:
            return getattr(error, "problem", str(error))
        except OSError as error:
            path = Path(error.filename or store.folder)
            problem = f"{shown(path)} cannot be read ({error.strerror or error})."
            if store.folder == own_place(identity):
                raise OSError(f"{problem} Make it readable, or move {shown(store.folder)} away, "
                              "and run the same command again.") from error
            return problem
        if not store.finished:
            return f"{shown(store.folder)} is not finished."
        return other_sources(self.inputs, identity, store.folder)


def _clear(path: Path) -> None:
    """Remove the checkpoints of a process that was killed right after it finished a run."""
    folder = RunFolder.open(path)
    if folder.has_leftovers:
        with suppress(OSError), locked(path):  # a folder that is only read keeps them
            if folder.finished:
                folder.drop_checkpoints()


def _rewritten(parts: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    """Return which stored labels were written anew while they were in use; "" for none."""
    for name, part in parts.items():
        if not isinstance(part, Trained) and digest_of_bytes(part.folder) != sources[name]:
            return (f"{shown(part.folder)} was written anew while something was made from it. Run "
                    "the same command again: it takes what is there now.")
    return ""


def _answer_of_main(question: Callable[[], T]) -> T:
    """Return the main process's result of a call; raise its error in every process."""
    state = PartialState()
    if state.num_processes == 1:
        return question()
    answer: list[Any] = [None, None]
    if state.is_main_process:
        try:
            answer[0] = question()
        except Exception as error:
            answer[1] = error
    broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]
