"""Training options, their validation, the optimizer and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from accelerate import Accelerator

from semiseg_lib.batches.loader import Loader
from semiseg_lib.core.compat import make_torchvision_importable
from semiseg_lib.core.fingerprint import Configuration, Schema
from semiseg_lib.core.terminal import say_once
from semiseg_lib.methods.base import Method


@dataclass(frozen=True)
class TrainConfig(Configuration):
    """Options of a training: length, batch, optimizer and learning rate.

    Attributes:
        steps: optimizer steps.
        batch_labelled, batch_unlabelled: images of each kind per step, over all processes together.
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
            :attr:`learning_rate`.
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
        for name in ("steps", "batch_labelled", "accumulate", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name} is {getattr(self, name)}; it must be >= 1.")
        for name in ("batch_unlabelled", "lr_batch", "warmup", "clip", "validate_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"train.{name} is {getattr(self, name)}; it must be >= 0.")
        if self.warmup > 1:
            raise ValueError(f"train.warmup is {self.warmup}; it must be in [0, 1].")
        if not 0 <= self.lr_end <= self.lr:
            raise ValueError(f"train.lr_end is {self.lr_end}; it must be in [0, {self.lr}].")
        if self.lr_end and self.schedule != "cosine":
            raise ValueError(
                f'train.lr_end is {self.lr_end}, but only schedule "cosine" ends at it, not '
                f'"{self.schedule}".'
            )

    @property
    def images(self) -> int:
        """Return the images per optimizer step: all processes, all accumulated passes."""
        return (self.batch_labelled + self.batch_unlabelled) * self.accumulate

    @property
    def learning_rate(self) -> float:
        """Return the rate for this batch: ``lr``, scaled by its images if ``lr_batch`` is set.

        The linear scaling rule of arXiv 1706.02677, section 2.1, in both directions.
        """
        return self.lr * self.images / self.lr_batch if self.lr_batch else self.lr


def make_optimizer(method: Method, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimizer over the method's parameter groups, each with its own rate."""
    rate = config.learning_rate
    groups = [
        {"params": group["params"], "lr": rate * group["lr_scale"]}
        for group in method.parameter_groups()
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, rate, momentum=0.9, weight_decay=config.weight_decay)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimizer]
    return kind(groups, rate, weight_decay=config.weight_decay)


def learning_rate_curve(config: TrainConfig) -> Callable[[int], float]:
    """Return the factor on the learning rate as a function of the step."""

    def factor(step: int) -> float:
        progress = min(step / config.steps, 1.0)
        if config.schedule == "poly":
            return (1 - progress) ** 0.9
        if config.schedule == "one_cycle":
            rise = 0.25
            return progress / rise if progress < rise else (1 - progress) / (1 - rise)
        if config.schedule == "cosine":
            end = config.lr_end / config.lr if config.lr_end else 0.0
            return end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2
        if config.schedule == "constant":
            return 1.0
        return min(1.0, (1 - progress) / 0.1)

    def risen(step: int) -> float:
        steps = config.warmup * config.steps
        return factor(step) * min(1.0, (step + 1) / steps)

    return risen if config.warmup else factor


def refuse_contradictions(
    loader: Loader, config: TrainConfig, accelerator: Accelerator, score: Callable | None
) -> None:
    """Raise ValueError if options, loader, processes and precision are inconsistent."""
    processes = accelerator.num_processes
    for name in ("batch_labelled", "batch_unlabelled"):
        if getattr(config, name) % processes:
            raise ValueError(
                f"train.{name} is {getattr(config, name)}, which {processes} processes cannot "
                "share equally; take a multiple."
            )
    if loader.processes != processes:
        raise ValueError(
            f"the loader deals batches out to {loader.processes} processes, but there are "
            f"{processes}. Make it with process=accelerator.process_index and "
            "processes=accelerator.num_processes."
        )
    if accelerator.mixed_precision != config.precision:
        raise ValueError(
            f"the accelerator computes in {accelerator.mixed_precision!r}, the run asks for "
            f"{config.precision!r}. Call make_accelerator(config) right before fit."
        )
    if config.validate_every and score is None:
        raise ValueError("train.validate_every is set, but fit got no score to compute.")


def announce(config: TrainConfig, accelerator: Accelerator) -> None:
    """Print how the run interprets its options."""
    if config.lr_batch:
        say_once(
            f"lr {config.lr:g} is for {config.lr_batch} images per step; {config.images} here, "
            f"so {config.learning_rate:g}"
        )
    if config.precision == "fp16" and accelerator.device.type == "cpu":
        say_once("fp16 needs a GPU; training in full precision.")


def make_ready(method: Method, config: TrainConfig, accelerator: Accelerator) -> None:
    """Apply memory format, SyncBatchNorm and compilation; the names of weights do not change."""
    if config.channels_last:
        method.to(memory_format=torch.channels_last)
    normed = any(isinstance(module, torch.nn.BatchNorm2d) for module in method.modules())
    if config.sync_batchnorm and normed and accelerator.num_processes > 1:
        if accelerator.device.type == "cuda":
            make_torchvision_importable()
            from timm.layers import convert_sync_batchnorm  # timm takes half a second

            convert_sync_batchnorm(method)  # timm's also keeps activations that sit in its layers
        else:
            say_once(
                "SyncBatchNorm exists on CUDA only: each process uses its own batch "
                "statistics."
            )
    if config.compile:
        for network in method.children():
            if any(parameter.requires_grad for parameter in network.parameters()):
                network.compile()
