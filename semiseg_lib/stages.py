"""The stages of the main storyline: each loads what is on disk, or makes it and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from semiseg_lib.batches.data import Data
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.weak_view import stored_stride
from semiseg_lib.evaluate import Evaluation, evaluate, evaluate_labels
from semiseg_lib.inference import logits_of
from semiseg_lib.launch import Machine, RunConfig, Stores, Trained, open_run, run
from semiseg_lib.methods import ConvPrimaryConfig, MethodConfig, PrimaryConfig
from semiseg_lib.methods.base import Method
from semiseg_lib.methods.parts import enlarge, restrict
from semiseg_lib.methods.self_correcting import ConvPrimary, Primary, linear_correction
from semiseg_lib.paths import work_root
from semiseg_lib.profiles import Profile
from semiseg_lib.runs import RunFolder, fingerprint
from semiseg_lib.stores.logits import LogitsStore
from semiseg_lib.stores.pseudo_labels import PseudoLabelStore
from semiseg_lib.train import TrainConfig

Correction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""From the logits of primary and ancillary (B, C, h, w), and the allowed classes (B, C, H, W), to
the logits of the corrected label."""


class Pipeline:
    """The stages for one profile and one seed.

    A stage that was run before with the same configuration is loaded, an interrupted one is
    continued, and a missing one is run. So stages can be called in any order, from any chapter.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        machine: what to compute on; also just a device's name.
    """

    def __init__(
        self,
        profile: Profile,
        seed: int,
        machine: Machine | str | None = None,
    ) -> None:
        self.profile, self.seed = profile, seed
        self.machine = machine if isinstance(machine, Machine) else Machine(machine)

    @cached_property
    def data(self) -> Data:
        """The images; drawn or found on first use."""
        return Data(self.profile.data, self.seed, self.machine.root)

    def supervised(self, draw: int = 0) -> Trained:
        """The model that learns from the masks alone; further draws of its fresh weights differ."""
        config = self.config(self.profile.supervised, self.profile.train_supervised)
        return self.train(replace(config, draw=draw))

    def ancillary(self) -> Trained:
        """The model that sees boxes: trained on the labelled images.

        Raises:
            ValueError: the dataset has no boxes.
        """
        self.need_boxes("labelled")
        profile = self.profile
        return self.train(self.config(profile.ancillary, profile.train_ancillary))

    def halves_of_labelled(self) -> tuple[ImageSet, ImageSet]:
        """The labelled images in two halves; :meth:`half_ancillary` sees the first."""
        labelled = self.data.labelled
        order = np.random.default_rng([self.seed, 2]).permutation(len(labelled)).tolist()
        middle = max(len(labelled) // 2, 1)
        return labelled.take(sorted(order[:middle])), labelled.take(sorted(order[middle:]))

    def half_ancillary(self) -> Trained:
        """An ancillary that has seen only half of the labelled images.

        On the other half it errs as it does on new images: what a correction learns from.
        """
        profile, (half, _) = self.profile, self.halves_of_labelled()
        config = self.config(profile.ancillary, profile.train_ancillary, "half of the masks")
        return self.train(config, labelled=half)

    def logits(self, part: str = "unlabelled", ancillary: Trained | None = None) -> LogitsStore:
        """The ancillary's logits of every unlabelled image with boxes (or labelled one), stored.

        Args:
            part: ``unlabelled`` or ``labelled``.
            ancillary: whose; None takes :meth:`ancillary`, trained only if logits are missing.

        Raises:
            ValueError: the dataset has no boxes, or no such images.
        """
        config = (
            ancillary.config if ancillary
            else self.config(self.profile.ancillary, self.profile.train_ancillary)
        )
        suffix = "" if part == "unlabelled" else f"-{part}"
        self.need_boxes(part)
        images = self.data.boxed if part == "unlabelled" else self.data.labelled
        store = self._store(fingerprint(config) + suffix, images)
        if incomplete(store):
            ancillary = ancillary or self.ancillary()
            with PartialState().main_process_first():
                store.write(
                    lambda numbers: logits_of(ancillary.method, images.take(numbers)),
                    title="ancillary logits",
                )
        return store

    def mixed_logits(self, primary: Trained, alpha: float) -> LogitsStore:
        """What a finished primary and the ancillary agree on for the unlabelled images, stored.

        The corrected labels as fixed targets: what a second round learns from.
        """
        store = self._store(f"{fingerprint(primary.config)}-mixed-{alpha:g}", self.data.boxed)
        if incomplete(store):
            def correct(logits, logits_ancillary, _):
                return linear_correction(logits, logits_ancillary, alpha)

            with PartialState().main_process_first():
                store.write(
                    lambda numbers: self._corrected(primary, correct, numbers),
                    title="mixed logits",
                )
        return store

    def primary(
        self,
        options: PrimaryConfig | ConvPrimaryConfig | None = None,
        labels: LogitsStore | None = None,
    ) -> Trained:
        """The model that is deployed: learns from masks and from (corrected) ancillary labels.

        Args:
            options: the correction; None takes the profile's.
            labels: logits to learn the unlabelled images from; None takes the ancillary's.
        """
        options = options or self.profile.primary
        if isinstance(options, ConvPrimaryConfig):
            return self._conv_primary(options)
        labels = labels or self.logits()
        config = self.config(options, self.profile.train_primary, labels.source)
        return self.train(config, {"unlabelled": labels})

    def _conv_primary(self, options: ConvPrimaryConfig) -> Trained:
        """The three stages of convolutional self-correction."""
        half = self.half_ancillary()
        seen = self.logits("labelled", half)
        first = self.config(
            replace(options, stage="start"), self.profile.train_start, seen.source
        )
        start = self.train(first, {"labelled": seen})
        if options.stage == "start":
            return start
        stores = {"labelled": self.logits("labelled"), "unlabelled": self.logits()}
        config = self.config(
            options, self.profile.train_primary, stores["unlabelled"].source, fingerprint(first)
        )
        return self.train(config, stores, start=[start])

    def evaluate(self, trained: Trained, split: str = "test") -> Evaluation:
        """Score the deployed model on ``val`` or ``test``."""
        return self._evaluate(trained.method, split)

    def judges_fairly(self, split: str) -> bool:
        """Whether a choice made on the validation images can be scored on ``split``."""
        names = self.data.names
        return split != "val" and not set(names[split]) & set(names["val"])

    def corrected_logits(self, primary: Trained) -> Iterator[torch.Tensor]:
        """Logits (C, h, w) of the label that correction ends up with, one unlabelled image each."""
        return self._corrected(primary, _correction(primary.method), range(len(self.data.boxed)))

    def evaluate_unlabelled(
        self, logits: Iterable[torch.Tensor], images: ImageSet | None = None
    ) -> Evaluation:
        """Score labels of unlabelled images, logits (C, h, w) each, on their hidden masks.

        Args:
            logits: in the order of the images.
            images: whose labels they are; None for all unlabelled images.
        """
        truth = self.data.truth_of(images or self.data.unlabelled)
        pairs = zip(truth, logits, strict=True)
        total = sum(
            evaluate_labels([truth], [_label(one, truth.shape)], self.data.classes).confusion
            for truth, one in pairs
        )
        return Evaluation(total, self.data.classes)

    def config(
        self,
        method: MethodConfig,
        train: TrainConfig,
        labels_from: str = "",
        starts_from: str = "",
    ) -> RunConfig:
        """The run of a method under this profile and seed."""
        profile = self.profile
        return RunConfig(
            method, profile.data, profile.model, profile.augment, train, self.seed, labels_from,
            self.data.lists_digest, starts_from,
        )

    def train(
        self,
        config: RunConfig,
        labels: Stores | None = None,
        labelled: ImageSet | None = None,
        start: Sequence[Trained] = (),
    ) -> Trained:
        """Load the run of this configuration, or run it.

        Args:
            config: the run.
            labels: stored logits, for methods that need them.
            labelled: images with masks, where not the seed's own choice.
            start: the runs whose weights to start with, one for each network of the method.
        """
        folder = RunFolder.of(config.method.name, config)
        if not folder.finished:
            run(
                config, folder, self.data, self.machine, labels or {}, labelled, start,
                self.validation_score,
            )
        return self.open(folder, config)

    def open(self, folder: RunFolder, config: RunConfig, which: str = "last") -> Trained:
        """Load a finished run: its ``last`` weights, or the ``best`` on the validation images."""
        return open_run(folder, config, self.machine.device, which)

    def validation_score(self, method: Method) -> float:
        """mIoU in percent on the validation images."""
        return 100 * self._evaluate(method, "val").mean_iou

    def chosen(self, trained: Trained) -> Trained:
        """A run with its best weights on the validation images, where it was validated."""
        if "best" not in trained.record:
            return trained
        return self.open(trained.folder, trained.config, "best")

    def _evaluate(self, method: Method, split: str) -> Evaluation:
        images = getattr(self.data, split)
        return evaluate(method, images, self.data.classes, self.profile.protocol)

    @torch.no_grad()
    def _corrected(
        self, primary: Trained, correct: Correction, numbers: Sequence[int]
    ) -> Iterator[torch.Tensor]:
        store = self.logits()
        device = next(primary.method.parameters()).device
        images = self.data.boxed.giving("allowed")
        own = logits_of(primary.method, images.take(numbers))
        for number, one in zip(numbers, own, strict=True):
            both = (logits[None].float().to(device) for logits in (one, store[number]))
            yield correct(*both, images.part([number]).allowed.to(device))[0].cpu()

    def need_boxes(self, part: str) -> None:
        """Raise ValueError where an ancillary has no boxes to learn, or nothing to label.

        Args:
            part: the images that it is to label, ``labelled`` or ``unlabelled``.
        """
        data, lack = self.data, ""
        for name in ("labelled", "val", "test"):
            members = data.names[name]
            if lacking := [one for one in members if not data.knows_boxes(one)]:
                lack = (f"no boxes on {len(lacking)} of its {len(members)} {name} images, such as "
                        f"{lacking[0]}")
                break
        if not lack and not len(data.boxed if part == "unlabelled" else data.labelled):
            lack = f"no {part} images with boxes"
        if lack:
            raise ValueError(
                f"{data.config.dataset} has {lack}, so no ancillary can label them. Add boxes (the "
                "background must be the first class), or train `supervised` or a method that "
                "learns from unlabelled images."
            )

    def _store(self, source: str, images: ImageSet) -> LogitsStore:
        return LogitsStore(
            work_root() / "logits" / source, source, images.names, self.profile.logits_bits
        )


def incomplete(store: LogitsStore | PseudoLabelStore) -> bool:
    """Whether a store must still be written; all processes get the main one's answer."""
    answer = [not store.complete]
    broadcast_object_list(answer)
    return answer[0]


def _correction(method: Primary | ConvPrimary) -> Correction:
    """How a finished primary corrects: its own module, or the end of its schedule."""
    def correct(logits, logits_ancillary, allowed):
        if isinstance(method, ConvPrimary):
            return method.corrected(logits, logits_ancillary)
        mixed = linear_correction(logits, logits_ancillary, method.config.alpha.end)
        return restrict(mixed, allowed) if method.config.constrain else mixed

    return correct


def _label(logits: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """The most likely class of every pixel of an image (H, W), from stored logits (C, h, w)."""
    stride = stored_stride(size, logits.shape[-2:])
    covered = tuple(side * stride for side in logits.shape[-2:])
    large = enlarge(logits[None].float(), covered)[0, :, : size[0], : size[1]]
    return large.argmax(dim=0).numpy()
