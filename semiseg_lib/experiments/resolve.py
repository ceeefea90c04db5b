"""Find what a value stands for on disk, or make it and everything that it needs.

:func:`resolve` is the one way to a result: chapters, commands and studies all take it. What is
there is used only where its identity is the value's, digests of the images included, and where its
bytes are those that were written; a damaged result is set aside and made again.

Of several commands that ask for the same result one makes it, and the others wait. Of the processes
of one distributed job the main one looks, decides, locks and writes; the others hear what it found.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from semiseg_lib.batches.data import Data
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.durable import Damaged, held
from semiseg_lib.evaluate import evaluate, predict_probabilities
from semiseg_lib.experiments.identity import Identity, Inputs, boxed_part, run_of
from semiseg_lib.experiments.lists import difference, lists_of
from semiseg_lib.experiments.machine import Machine
from semiseg_lib.experiments.trained import Trained, open_run
from semiseg_lib.experiments.training import train
from semiseg_lib.experiments.values import Logits, MixedLogits, PseudoLabels, Run, Value
from semiseg_lib.inference import logits_of
from semiseg_lib.methods.base import Method
from semiseg_lib.methods.pseudo_label import select
from semiseg_lib.methods.self_correcting import linear_correction
from semiseg_lib.paths import shared_roots, shown, work_root
from semiseg_lib.runs import RunFolder
from semiseg_lib.stores.logits import LogitsStore
from semiseg_lib.stores.pseudo_labels import PseudoLabelStore
from semiseg_lib.stores.store import Store
from semiseg_lib.train import make_accelerator

T = TypeVar("T")
S = TypeVar("S", LogitsStore, PseudoLabelStore)
FOLDERS = {Run: "runs", Logits: "logits", MixedLogits: "logits", PseudoLabels: "pseudo_labels"}


@overload
def resolve(value: Run, machine: Machine | str | None = ..., anew: bool = ...) -> Trained: ...
@overload
def resolve(
    value: Logits | MixedLogits, machine: Machine | str | None = ..., anew: bool = ...
) -> LogitsStore: ...
@overload
def resolve(
    value: PseudoLabels, machine: Machine | str | None = ..., anew: bool = ...
) -> PseudoLabelStore: ...
def resolve(value, machine=None, anew=False):
    """Return what a value stands for; find it on disk, continue it, or make it.

    Args:
        value: a run, logits or pseudo-labels. What it builds on is resolved first, where it is
            needed.
        machine: what to compute on; also just a device's name.
        anew: make this value again even where it is there; what it builds on is kept.

    Returns:
        The opened run, or the store.

    Raises:
        FileNotFoundError: the dataset or an encoder's weights are not there.
        ValueError: the images do not suit the method, or options contradict each other.
    """
    machine = Machine.of(machine)
    # The processes of a distributed job meet on the right device before the first question.
    make_accelerator(run_of(value).train, machine.device)
    return _Resolver(machine).resolve(value, anew)


class _Resolver:
    """Resolves values over the same opened images."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.inputs = Inputs(machine.root)

    def resolve(self, value: Value, anew: bool = False) -> Trained | LogitsStore | PseudoLabelStore:
        if isinstance(value, Run):
            return self._run(value, anew)
        if isinstance(value, PseudoLabels):
            return self._pseudo_labels(value, anew)
        return self._logits(value, anew)

    def _run(self, run: Run, anew: bool) -> Trained:
        identity = self.inputs.identity(run)
        path = _answer_of_main(lambda: None if anew else self._whole(identity))
        if path is None:
            path = own_place(identity)
            self._make_run(identity, path, anew)
        return open_run(path, self.machine, inputs=self.inputs)

    def _whole(self, identity: Identity) -> Path | None:
        """Return the folder of a finished run whose bytes are those that were written."""
        for path in places(identity):
            folder = RunFolder(path, identity.description, identity.parents)
            try:
                if folder.finished:
                    folder.store.verify()
                    return path
            except Damaged as error:
                print(error, file=sys.stderr)
        return None

    def _make_run(self, identity: Identity, path: Path, anew: bool) -> None:
        """Train, from the folder's checkpoint where there is one, and store the result."""
        run, data = identity.value, self.inputs.data(identity.value)
        parts = {name: self.resolve(one) for name, one in run.parents().items()}
        folder = RunFolder(path, identity.description, identity.parents)
        accelerator = make_accelerator(
            run.train, self.machine.device, trackers=self.machine.trackers, folder=path
        )
        with ExitStack() as lock:

            def is_due() -> bool:
                lock.enter_context(held(path))
                return self._is_due(identity, folder, anew)

            if not _answer_of_main(is_due):
                return
            method, record = train(
                run, folder, data, self.inputs.image_sets(run), parts, self.machine, accelerator,
                self._score(run, data),
            )

            def finish() -> None:
                self._refuse_changed_images(identity)
                folder.finish(method.state_dict(), record)

            _answer_of_main(finish)

    def _is_due(self, identity: Identity, folder: RunFolder, anew: bool) -> bool:
        """Whether a run must be trained; its folder is made ready for that."""
        if anew:
            folder.delete()
        elif folder.finished and _is_whole(folder.store):
            return False  # another command has finished it meanwhile
        elif folder.store.manifest_path.is_file():
            print(f"{shown(folder.path)} is damaged. It is set aside as "
                  f"{shown(folder.set_aside())}.", file=sys.stderr)
        lists = lists_of(self.inputs, identity.value)
        if said := difference(identity, folder.path, lists):
            print(said, file=sys.stderr)
        folder.begin(lists)
        return True

    def _refuse_changed_images(self, identity: Identity) -> None:
        """Raise ValueError where a file changed while it was learnt from."""
        now = Inputs(self.machine.root).identity(identity.value)
        if now.digest != identity.digest:
            changed = [role for role, one in identity.images.items()
                       if now.images.get(role) != one]
            raise ValueError(
                f"the {' and '.join(changed) or 'inputs'} of {identity.name} changed while it was "
                "trained. Nothing was stored as finished; run the same command again: it trains on "
                "what is there now."
            )

    def _score(self, run: Run, data: Data):
        """The validation mIoU in percent; None for a run that is not validated."""
        if run.validation is None:
            return None

        def score(method: Method) -> float:
            return 100 * evaluate(method, data.val, data.classes, run.validation).mean_iou

        return score

    def _logits(self, value: Logits | MixedLogits, anew: bool) -> LogitsStore:
        identity, data = self.inputs.identity(value), self.inputs.data(value)
        part = value.part if isinstance(value, Logits) else value.ancillary.part
        images = boxed_part(data, part)

        def store(path: Path) -> LogitsStore:
            return LogitsStore(
                path, identity.digest, images.names, value.bits, identity.description,
                identity.parents,
            )

        give = self._own_logits if isinstance(value, Logits) else self._mixed_logits
        return self._stored(identity, store, anew, lambda: give(value, images))

    def _own_logits(self, value: Logits, images: ImageSet):
        trained = self.resolve(value.run)
        return lambda numbers: logits_of(trained.method, images.take(numbers))

    def _mixed_logits(self, value: MixedLogits, images: ImageSet):
        primary, ancillary = self.resolve(value.primary), self.resolve(value.ancillary)
        return lambda numbers: mixed(primary, ancillary, images, numbers, value.alpha)

    def _pseudo_labels(self, value: PseudoLabels, anew: bool) -> PseudoLabelStore:
        identity, data = self.inputs.identity(value), self.inputs.data(value)
        images = data.unlabelled

        def store(path: Path) -> PseudoLabelStore:
            return PseudoLabelStore(
                path, identity.digest, images.names, len(data.classes), identity.description,
                identity.parents,
            )

        def give():
            teacher = self.resolve(value.teacher).chosen()

            def probabilities(some: ImageSet) -> Iterator[torch.Tensor]:
                return predict_probabilities(teacher.method, some, value.protocol)

            @cache  # in the process that writes, when it begins to
            def thresholds() -> torch.Tensor:
                return value.selection.thresholds(probabilities(images), len(data.classes))

            return lambda numbers: (
                select(one, thresholds()) for one in probabilities(images.take(numbers))
            )

        return self._stored(identity, store, anew, give)

    def _stored(
        self, identity: Identity, store: Callable[[Path], S], anew: bool, give: Callable[[], Any]
    ) -> S:
        """A store in one of the folders; the main process writes what is missing in its own one."""

        def complete() -> Path | None:
            return next((path for path in places(identity) if store(path).complete), None)

        path = _answer_of_main(lambda: None if anew else complete())
        if path is not None:
            return store(path)
        own, made = store(own_place(identity)), give()

        def write() -> None:
            if anew:
                own.delete()
            own.write(made)

        _answer_of_main(write)
        return own


def mixed(
    primary: Trained, ancillary: LogitsStore, images: ImageSet, numbers: Sequence[int],
    alpha: float,
) -> Iterator[torch.Tensor]:
    """Yield the linear correction (C, h, w) of a primary's and an ancillary's logits, per image."""
    own = logits_of(primary.method, images.take(numbers))
    for number, one in zip(numbers, own, strict=True):
        yield linear_correction(one[None].float(), ancillary[number][None].float(), alpha)[0]


def own_place(identity: Identity) -> Path:
    """Return the folder of a value in the work folder."""
    return places(identity)[0]


def places(identity: Identity) -> list[Path]:
    """Return the folders in which a value may lie: in the work folder, then in shared ones."""
    below = Path(FOLDERS[type(identity.value)]) / identity.name
    return [root / below for root in (work_root(), *shared_roots())]


def _is_whole(store: Store) -> bool:
    try:
        store.verify()
    except Damaged:
        return False
    return True


def _answer_of_main(question: Callable[[], T]) -> T:
    """Return what the main process answers; an error of it is raised in every process."""
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
