"""The optimizer, the learning-rate schedule, and options that contradict each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from accelerate import Accelerator

from semiseg_lib.batches.loader import Loader
from semiseg_lib.core.compat import make_torchvision_importable
from semiseg_lib.methods.base import Method
from semiseg_lib.training.options import TrainConfig


def make_optimizer(method: Method, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimizer over the method's parameter groups, each with its own rate.

    Args:
        method: what is trained.
        config: optimizer, learning rate and weight decay.
    """
    rate = config.learning_rate
    groups = [
        {"params": group["params"], "lr": rate * group["lr_scale"]}
        for group in method.parameter_groups()
    ]
    kinds = {
        "sgd": partial(torch.optim.SGD, momentum=0.9),
        "adamw": torch.optim.AdamW,
        "adam": torch.optim.Adam,
    }
    return kinds[config.optimizer](groups, rate, weight_decay=config.weight_decay)


def learning_rate_curve(config: TrainConfig) -> Callable[[int], float]:
    """Return the factor on the learning rate as a function of the step."""
    end = config.lr_end / config.lr if config.lr_end else 0.0
    shapes: dict[str, Callable[[float], float]] = {
        "flat": lambda progress: min(1.0, (1 - progress) / 0.1),
        "poly": lambda progress: (1 - progress) ** 0.9,
        "one_cycle": lambda progress: min(progress / 0.25, (1 - progress) / 0.75),
        "cosine": lambda progress: end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2,
        "constant": lambda progress: 1.0,
    }
    shape, warmup = shapes[config.schedule], config.warmup * config.steps

    def factor(step: int) -> float:
        risen = min(1.0, (step + 1) / warmup) if warmup else 1.0
        return risen * shape(min(step / config.steps, 1.0))

    return factor


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
        accelerator.print(
            f"lr {config.lr:g} is for {config.lr_batch} images per step; {config.images} here, "
            f"so {config.learning_rate:g}"
        )
    if config.precision == "fp16" and accelerator.device.type == "cpu":
        accelerator.print("fp16 needs a GPU; training in full precision.")


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
            accelerator.print(
                "SyncBatchNorm exists on CUDA only: each process uses its own batch "
                "statistics."
            )
    if config.compile:
        for network in method.children():
            if any(parameter.requires_grad for parameter in network.parameters()):
                network.compile()
