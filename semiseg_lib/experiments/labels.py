"""Corrected labels of unlabelled images, and scores of such labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from semiseg_lib.batches.data import Data
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.part import required
from semiseg_lib.batches.weak_view import stored_stride
from semiseg_lib.core import escaping
from semiseg_lib.core.paths import shown
from semiseg_lib.evaluation.metrics import Evaluation
from semiseg_lib.evaluation.predict import logits_of
from semiseg_lib.experiments.identity import Inputs
from semiseg_lib.experiments.places import other_sources
from semiseg_lib.experiments.refusals import refuse_labels_of_others, refuse_other_inputs
from semiseg_lib.experiments.resolving import resolve
from semiseg_lib.experiments.trained import Trained
from semiseg_lib.methods.losses import enlarge
from semiseg_lib.methods.self_correcting import PrimaryConfig
from semiseg_lib.methods.self_correcting.method import ConvPrimary, corrected
from semiseg_lib.stores.logits import LogitsStore
from semiseg_lib.training.run_folder import CONFIG


@dataclass(frozen=True)
class CorrectedLogits(Iterable[torch.Tensor]):
    """Logits (C, h, w) of the corrected labels of images, computed one by one when iterated.

    Attributes:
        primary: the run that corrects.
        ancillary: the stored logits that it corrects.
        images: the images, in order.
    """

    primary: Trained
    ancillary: LogitsStore
    images: ImageSet

    @torch.no_grad()
    def __iter__(self) -> Iterator[torch.Tensor]:
        device = next(self.primary.method.parameters()).device
        for number, own in enumerate(logits_of(self.primary.method, self.images)):
            logits, logits_ancillary = (
                one[None].float().to(device) for one in (own, self.ancillary[number])
            )
            allowed = required(self.images.part([number]).allowed, "allowed classes").to(device)
            yield _corrected(self.primary, logits, logits_ancillary, allowed)[0].cpu()


def corrected_logits(primary: Trained) -> CorrectedLogits:
    """Return the logits (C, h, w) of the corrected label of each unlabelled image.

    The images are those with boxes (``data.boxed``), in order. The ancillary's logits that the
    primary learnt from are made again if they are gone.

    Args:
        primary: a run that learnt from the ancillary's stored logits.

    Raises:
        ValueError: it learnt from none, or from other logits or images than those here, or it was
            trained anew since it was opened.
    """
    value, folder = primary.run.unlabelled_logits, primary.folder
    if value is None:
        raise ValueError(f"{primary.run.method.name} learns from no stored logits to correct.")
    primary.refuse_if_trained_anew()
    inputs = Inputs(primary.machine.root)
    refuse_other_inputs(folder.description, folder.path / CONFIG, primary.run, inputs)
    store = resolve(value, primary.machine)
    if said := other_sources(inputs, inputs.identity(primary.run), folder.path):
        raise ValueError(
            f"{said} Train it again: `semiseg run {escaping.shell(shown(folder.path))}`."
        )
    images = inputs.data(primary.run).boxed.with_fields("allowed")
    return CorrectedLogits(primary, store, images)


def evaluate_unlabelled(
    data: Data, logits: Iterable[torch.Tensor] | LogitsStore | CorrectedLogits,
    images: ImageSet | None = None,
) -> Evaluation:
    """Score labels of unlabelled images, logits (C, h, w) each, on their hidden masks.

    Args:
        data: the images.
        logits: in the order of the images. A :class:`LogitsStore` and :class:`CorrectedLogits`
            know the images that they belong to; plain tensors do not.
        images: the images of the labels; None for all unlabelled images.

    Raises:
        ValueError: the logits are known to be those of other images.
    """
    images = images or data.unlabelled
    store = logits.ancillary if isinstance(logits, CorrectedLogits) else logits
    if isinstance(store, LogitsStore):
        refuse_labels_of_others(store, data, images)
    pairs = zip(data.truth_of(images), logits, strict=True)
    return Evaluation.of(
        ((truth, most_likely_classes(one, truth.shape)) for truth, one in pairs), data.classes
    )


def most_likely_classes(logits: torch.Tensor, size: Sequence[int]) -> np.ndarray:
    """Return the most likely class of every pixel (H, W), from stored logits (C, h, w)."""
    stride = stored_stride(size, logits.shape[-2:])
    covered = tuple(side * stride for side in logits.shape[-2:])
    large = enlarge(logits[None].float(), covered)[0, :, : size[0], : size[1]]
    return large.argmax(dim=0).numpy()


def _corrected(
    primary: Trained, logits: torch.Tensor, logits_ancillary: torch.Tensor, allowed: torch.Tensor
) -> torch.Tensor:
    """Correct logits as a finished primary does: by its module or with its last alpha.

    Args:
        primary: the run.
        logits, logits_ancillary: (1, C, h, w).
        allowed: bool (1, C, H, W).
    """
    if isinstance(primary.method, ConvPrimary):
        return primary.method.corrected(logits, logits_ancillary)
    options: PrimaryConfig = primary.run.method
    return corrected(
        options, logits, logits_ancillary,
        options.alpha.at(primary.run.steps / primary.run.train.steps),
        allowed if options.constrain else None,
    )
