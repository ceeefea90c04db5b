"""The stages of the main storyline: each loads what is on disk, or makes it and what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from semiseg_lib import methods
from semiseg_lib.datasets.augment import AugmentConfig
from semiseg_lib.datasets.catalogue import Data, DataConfig
from semiseg_lib.datasets.loaders import Pool, TrainingLoader
from semiseg_lib.evaluate import Evaluation, evaluate, evaluate_labels, predict_logits
from semiseg_lib.logits import LogitsStore
from semiseg_lib.methods import MethodConfig, PrimaryConfig
from semiseg_lib.methods.base import Method
from semiseg_lib.methods.parts import enlarge
from semiseg_lib.methods.self_correcting import linear_correction
from semiseg_lib.models import ModelConfig
from semiseg_lib.paths import work_root
from semiseg_lib.profiles import Profile
from semiseg_lib.runs import RunFolder, fingerprint
from semiseg_lib.train import TrainConfig, fit, make_accelerator


@dataclass(frozen=True)
class RunConfig:
    """All that decides the result of one training run, and with it the name of its folder.

    Attributes:
        labels_from: whose labels are learnt where they are not the seed's own masks: a logits
            store's source, or a word for another labelled pool; "" for none.
    """

    method: MethodConfig
    data: DataConfig
    model: ModelConfig
    augment: AugmentConfig
    train: TrainConfig
    seed: int
    labels_from: str = ""


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        config: what was asked for.
        folder: where it lies.
        method: the trained method, in evaluation mode.
        record: ``history`` (rows), ``seconds``, ``classes``.
    """

    config: RunConfig
    folder: RunFolder
    method: Method
    record: dict

    @property
    def history(self) -> list[dict[str, float]]:
        return self.record["history"]


class Pipeline:
    """The stages for one profile and one seed.

    A stage that was run before with the same configuration is loaded, an interrupted one is
    continued, and a missing one is run. So stages can be called in any order, from any chapter.

    Args:
        profile: the numbers.
        seed: draws the labelled pictures, the initial weights and the batches.
        device: "cpu" to stay on the CPU; None takes the best device there is.
    """

    def __init__(self, profile: Profile, seed: int, device: str | None = None) -> None:
        self.profile, self.seed, self.device = profile, seed, device

    @cached_property
    def data(self) -> Data:
        """The pictures; drawn on first use."""
        return Data(self.profile.data, self.seed)

    def supervised(self) -> Trained:
        """The model that learns from the masks alone."""
        profile = self.profile
        return self.train(self.config(profile.supervised, profile.train_supervised))

    def ancillary(self) -> Trained:
        """The model that sees boxes: trained on the labelled pictures."""
        profile = self.profile
        return self.train(self.config(profile.ancillary, profile.train_ancillary))

    def logits(self) -> LogitsStore:
        """The ancillary's logits of every weak picture, stored."""
        config = self.config(self.profile.ancillary, self.profile.train_ancillary)
        store = self._store(fingerprint(config))
        if not store.complete:
            ancillary = self.ancillary()
            store.write(
                lambda numbers: predict_logits(ancillary.method, _take(self.data.weak, numbers)),
                title="ancillary logits",
            )
        return store

    def mixed_logits(self, primary: Trained, alpha: float) -> LogitsStore:
        """What a finished primary and the ancillary agree on for the weak pictures, stored.

        The corrected labels as fixed targets: what a second round learns from.
        """
        store = self._store(f"{fingerprint(primary.config)}-mixed-{alpha:g}")
        if not store.complete:
            mixed = linear_correction(
                predict_logits(primary.method, self.data.weak), self.logits().read().float(), alpha
            )
            store.write(lambda numbers: mixed[list(numbers)], title="mixed logits")
        return store

    def primary(
        self, options: PrimaryConfig | None = None, labels: LogitsStore | None = None
    ) -> Trained:
        """The model that is deployed: learns from masks and from (corrected) ancillary labels.

        Args:
            options: the correction; None takes the profile's.
            labels: logits to learn the weak pictures from; None takes the ancillary's.
        """
        labels = labels or self.logits()
        config = self.config(
            options or self.profile.primary, self.profile.train_primary, labels.source
        )
        return self.train(config, labels)

    def evaluate(self, trained: Trained, split: str = "test") -> Evaluation:
        """Score the deployed model on ``val`` or ``test``."""
        return evaluate(trained.method, getattr(self.data, split), self.data.classes)

    def evaluate_weak_labels(self, logits: torch.Tensor) -> Evaluation:
        """Score labels of the weak pictures, as logits (N, C, h, w), on their hidden masks."""
        truth = self.data.weak_truth
        labels = enlarge(logits.float(), truth.shape[-2:]).argmax(dim=1).numpy()
        return evaluate_labels(truth, labels, self.data.classes)

    def config(
        self, method: MethodConfig, train: TrainConfig, labels_from: str = ""
    ) -> RunConfig:
        """The run of a method under this profile and seed."""
        profile = self.profile
        return RunConfig(
            method, profile.data, profile.model, profile.augment, train, self.seed, labels_from
        )

    def train(
        self, config: RunConfig, labels: LogitsStore | None = None, labelled: Pool | None = None
    ) -> Trained:
        """Load the run of this configuration, or run it.

        Args:
            config: the run.
            labels: logits of the weak pictures, for methods that need them.
            labelled: pictures with masks, where not the seed's own choice.
        """
        folder = RunFolder.of(config.method.name, config)
        if not folder.finished:
            self._run(config, folder, labels, labelled)
        return self.open(folder, config)

    def open(self, folder: RunFolder, config: RunConfig) -> Trained:
        """Load a finished run."""
        record = folder.read_record()
        method = methods.build(config.method, config.model, len(record["classes"]))
        folder.load_weights(method)
        device = make_accelerator(config.train, self.device).device
        return Trained(config, folder, method.to(device).eval(), record)

    def _run(
        self,
        config: RunConfig,
        folder: RunFolder,
        labels: LogitsStore | None,
        labelled: Pool | None,
    ) -> None:
        folder.write_config(config)
        torch.manual_seed(config.seed)
        method = methods.build(config.method, config.model, len(self.data.classes))
        accelerator = make_accelerator(config.train, self.device)
        if method.needs_logits and labels is None:
            raise ValueError(f"{config.method.name} learns from stored logits; pass labels.")
        loader = TrainingLoader(
            labelled=labelled or self.data.labelled,
            weak=self._weak(labels) if "weak" in method.learns_from else None,
            batch_labelled=config.train.batch_labelled,
            batch_weak=config.train.batch_weak,
            augment=config.augment,
            seed=config.seed,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )
        title = f"{config.method.name} (seed {config.seed})"
        history = fit(method, loader, config.train, folder, accelerator, title)
        if accelerator.is_main_process:
            record = {
                "history": history,
                "seconds": history[-1]["seconds"],
                "classes": self.data.classes,
            }
            folder.finish(method.state_dict(), record)
        accelerator.wait_for_everyone()

    def _weak(self, labels: LogitsStore | None) -> Pool:
        weak = self.data.weak
        logits = labels.read() if labels is not None else None
        return Pool(weak.names, weak.images, box_maps=None, logits_ancillary=logits)

    def _store(self, source: str) -> LogitsStore:
        return LogitsStore(work_root() / "logits" / source, source, self.data.weak.names)


def _take(pool: Pool, numbers) -> Pool:
    chosen = list(numbers)
    return Pool(
        tuple(pool.names[i] for i in chosen), pool.images[chosen], box_maps=pool.box_maps[chosen]
    )
