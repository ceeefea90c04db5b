"""The one training loop, for every method, on any device, in one process or many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from accelerate import Accelerator
from tqdm import tqdm

from semiseg_lib.datasets.loaders import TrainingLoader
from semiseg_lib.methods.base import Method
from semiseg_lib.runs import RunFolder


@dataclass(frozen=True)
class TrainConfig:
    """How long and how fast to learn.

    Attributes:
        steps: optimiser steps.
        batch_labelled, batch_weak: pictures of each in a step, over all processes together.
        optimizer: ``adamw`` or ``sgd`` (with momentum 0.9).
        lr: learning rate; a method may scale it by group.
        weight_decay: of every parameter.
        schedule: ``flat`` holds the rate and lets it fall to 0 over the last tenth; ``poly`` falls
            as (1 - progress) ** 0.9; ``one_cycle`` rises and falls once.
        accumulate: forward passes whose gradients are added up for one step.
        precision: ``no``, ``fp16`` or ``bf16`` autocast.
        channels_last: keep tensors in NHWC order, which is faster on most devices.
        log_every: steps between two rows of the history.
        checkpoint_seconds: seconds between two checkpoints.
    """

    steps: int = 1000
    batch_labelled: int = 6
    batch_weak: int = 10
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-2
    weight_decay: float = 1e-2
    schedule: Literal["flat", "poly", "one_cycle"] = "flat"
    accumulate: int = 1
    precision: Literal["no", "fp16", "bf16"] = "no"
    channels_last: bool = True
    log_every: int = 10
    checkpoint_seconds: float = 20.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_labelled", "accumulate", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name} is {getattr(self, name)}; it must be at least 1.")


class TrainingDiverged(RuntimeError):
    """A loss became NaN or infinite."""


def make_accelerator(config: TrainConfig, device: str | None = None) -> Accelerator:
    """An accelerator for this run; ``device`` "cpu" forces the CPU, None takes the best."""
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision=config.precision,
    )


def fit(
    method: Method,
    loader: TrainingLoader,
    config: TrainConfig,
    folder: RunFolder,
    accelerator: Accelerator,
    title: str = "training",
    stop_at: int | None = None,
) -> list[dict[str, float]]:
    """Train ``method`` in place, continuing from the folder's checkpoint where there is one.

    Args:
        method: what to train; it ends up on the accelerator's device.
        loader: the batches, by step.
        config: how long and how fast.
        folder: where checkpoints go.
        accelerator: device, precision and processes.
        title: what the progress bar calls it.
        stop_at: leave after this many steps, as an interruption would; None to run to the end.

    Returns:
        The history: a row each ``log_every`` steps, with step, seconds, learning rate and losses
        averaged since the last row.

    Raises:
        TrainingDiverged: a loss became NaN or infinite; the message names the step and pictures.
    """
    if config.channels_last:
        method.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(method, config)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate_curve(config))
    wrapped = accelerator.prepare_model(_LossModule(method))
    optimizer = accelerator.prepare_optimizer(optimizer)
    state = _Progress(method, optimizer, schedule, folder)
    first = state.restore()
    method.train()
    bar = tqdm(range(first, config.steps), initial=first, total=config.steps, desc=title,
               unit="step", mininterval=0.5, disable=not accelerator.is_local_main_process)
    for step in bar:
        if stop_at is not None and step >= stop_at:
            break
        torch.manual_seed(loader.seed * 1_000_003 + step)  # dropout repeats itself on resume
        losses: dict[str, float] = {}
        for share in range(config.accumulate):
            batch = loader.batch(step * config.accumulate + share).to(accelerator.device)
            last_share = share + 1 == config.accumulate
            with nullcontext() if last_share else accelerator.no_sync(wrapped):
                terms = wrapped(batch, step / config.steps)
                accelerator.backward(sum(terms.values()) / config.accumulate)
            for name, term in terms.items():
                losses[name] = losses.get(name, 0.0) + term.item() / config.accumulate
            if not math.isfinite(sum(losses.values())):
                raise TrainingDiverged(_diverged(step, losses, batch, folder))
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        method.after_step(step)
        state.record(step, losses, schedule.get_last_lr()[0], last=step + 1 == config.steps,
                     every=config.log_every)
        bar.set_postfix_str(f"loss {state.running_loss:.3f}", refresh=False)
        if accelerator.is_main_process and state.due(config.checkpoint_seconds):
            state.save(step + 1)
    bar.close()
    if stop_at is not None and accelerator.is_main_process:
        state.save(max(first, min(stop_at, config.steps)))
    return state.history


def make_optimizer(method: Method, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser over the method's parameter groups, each with its share of the rate."""
    groups = [
        {"params": group["params"], "lr": config.lr * group["lr_scale"]}
        for group in method.parameter_groups()
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, config.lr, momentum=0.9, weight_decay=config.weight_decay)
    return torch.optim.AdamW(groups, config.lr, weight_decay=config.weight_decay)


def learning_rate_curve(config: TrainConfig) -> Callable[[int], float]:
    """The factor on the learning rate at each step."""

    def factor(step: int) -> float:
        progress = min(step / config.steps, 1.0)
        if config.schedule == "poly":
            return (1 - progress) ** 0.9
        if config.schedule == "one_cycle":
            rise = 0.25
            return progress / rise if progress < rise else (1 - progress) / (1 - rise)
        return min(1.0, (1 - progress) / 0.1)

    return factor


class _LossModule(torch.nn.Module):
    """Lets wrappers that count on ``forward`` (DDP) run a method's losses."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch, progress: float) -> dict[str, torch.Tensor]:
        return self.method.losses(batch, progress)


class _Progress:
    """What a checkpoint holds besides the weights, and when the next one is due."""

    def __init__(self, method, optimizer, schedule, folder: RunFolder) -> None:
        self.parts = {"method": method, "optimizer": optimizer, "schedule": schedule}
        self.folder = folder
        self.history: list[dict[str, float]] = []
        self.sums: dict[str, float] = {}
        self.counted = 0
        self.running_loss = float("nan")
        self.seconds_before = 0.0
        self.started = self.saved = time.perf_counter()

    def restore(self) -> int:
        """Continue from the checkpoint; return the step to do next."""
        state = self.folder.read_checkpoint()
        if state is None:
            return 0
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.history, self.sums, self.counted = state["history"], state["sums"], state["counted"]
        self.seconds_before = state["seconds"]
        return state["step"]

    def save(self, step: int) -> None:
        """Write a checkpoint from which step ``step`` comes next."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        self.folder.write_checkpoint({
            **state, "step": step, "history": self.history, "sums": self.sums,
            "counted": self.counted, "seconds": self.seconds,
        })
        self.saved = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time spent on this run, interruptions left out."""
        return self.seconds_before + time.perf_counter() - self.started

    def due(self, every: float) -> bool:
        return time.perf_counter() - self.saved > every

    def record(
        self, step: int, losses: dict[str, float], lr: float, last: bool, every: int
    ) -> None:
        """Add one step's losses to the running means; close a full row of the history."""
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + loss
        self.counted += 1
        self.running_loss = sum(self.sums.values()) / self.counted
        if (step + 1) % every == 0 or last:
            means = {f"loss_{name}": value / self.counted for name, value in self.sums.items()}
            self.history.append({"step": step + 1, "seconds": self.seconds, "lr": lr, **means})
            self.sums, self.counted = {}, 0


def _diverged(step: int, losses: dict[str, float], batch, folder: RunFolder) -> str:
    terms = ", ".join(f"{name} = {loss:g}" for name, loss in losses.items())
    saved = folder.write_batch(batch)
    return (
        f"step {step}: {terms}. Stopped; the batch is saved in {saved}. Labelled pictures: "
        f"{', '.join(batch.labelled.names)}. Lower lr, or look at these pictures and their labels."
    )
