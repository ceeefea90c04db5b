"""Options of a training; importing them imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from semiseg_lib.core.fingerprint import Configuration, Schema


@dataclass(frozen=True)
class TrainConfig(Configuration):
    """Options of a training: length, batch, optimizer and learning rate.

    Attributes:
        steps: optimizer steps.
        batch_labelled: labelled images per step, over all processes together.
        batch_unlabelled: unlabelled images per step, over all processes together.
        optimizer: ``adamw``, ``sgd`` (with momentum 0.9) or ``adam``.
        lr: learning rate; a method may scale it by group.
        weight_decay: of every parameter. ``adamw`` shrinks the weights themselves; ``sgd`` and
            ``adam`` add it to the gradient, which Adam then rescales with the rest.
        schedule: ``flat`` holds the rate and lets it fall to 0 over the last tenth; ``poly`` falls
            as (1 - progress) ** 0.9; ``one_cycle`` rises and falls once; ``cosine`` falls from
            ``lr`` to ``lr_end`` along half a cosine wave; ``constant`` holds the rate to the end.
        accumulate: forward passes whose gradients are added up for one step.
        precision: ``no``, ``fp16`` or ``bf16`` autocast.
        channels_last: keep tensors in NHWC order, which is faster on most devices.
        log_every: steps between two rows of the history.
        checkpoint_seconds: seconds between two checkpoints.
        lr_batch: the images per step for which ``lr`` is meant; 0 uses ``lr`` unscaled. See
            ``learning_rate``.
        warmup: fraction of the steps, in [0, 1], over which the rate first rises from near 0.
        clip: largest L2 norm of the gradient of all parameters together; 0 for no limit.
        validate_every: steps between two scores on the validation images, plus one at the end;
            0 for none.
        compile: compile the trained networks (slow to start, then faster).
        sync_batchnorm: with several processes on CUDA, batch statistics of all of them together.
        lr_end: final rate of ``cosine``, in [0, ``lr``]; scaled as ``lr`` is, by batch and group.
            Only ``cosine`` reads it.
    """

    SCHEMA = Schema(aside=frozenset({"checkpoint_seconds"}))

    steps: int = 1000
    batch_labelled: int = 6
    batch_unlabelled: int = 10
    optimizer: Literal["adamw", "sgd", "adam"] = "adamw"
    lr: float = 1e-2
    weight_decay: float = 1e-2
    schedule: Literal["flat", "poly", "one_cycle", "cosine", "constant"] = "flat"
    accumulate: int = 1
    precision: Literal["no", "fp16", "bf16"] = "no"
    channels_last: bool = True
    log_every: int = 10
    checkpoint_seconds: float = 20.0
    lr_batch: int = 0
    warmup: float = 0.0
    clip: float = 0.0
    validate_every: int = 0
    compile: bool = False
    sync_batchnorm: bool = True
    lr_end: float = 0.0

    def __post_init__(self) -> None:
        self.check_ranges(
            "train", lr=(0, inf), steps=(1, inf), batch_labelled=(1, inf),
            batch_unlabelled=(0, inf), accumulate=(1, inf), log_every=(1, inf), lr_batch=(0, inf),
            warmup=(0, 1), clip=(0, inf), validate_every=(0, inf), lr_end=(0, self.lr),
        )
        if self.lr_end and self.schedule != "cosine":
            raise ValueError(
                f'train.lr_end is {self.lr_end}, but only schedule "cosine" ends at it, not '
                f'"{self.schedule}".'
            )

    @property
    def images(self) -> int:
        """Return the images per optimizer step, over all processes and accumulated passes."""
        return (self.batch_labelled + self.batch_unlabelled) * self.accumulate

    @property
    def learning_rate(self) -> float:
        """Return the rate for this batch, ``lr`` scaled by its images if ``lr_batch`` is set.

        The linear scaling rule of arXiv 1706.02677, section 2.1, in both directions.
        """
        return self.lr * self.images / self.lr_batch if self.lr_batch else self.lr
