"""The training loop of every method, on any device, in one or several processes."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState, is_initialized
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from torch.utils.data import DataLoader

from semiseg_lib.batches.loader import Loader
from semiseg_lib.batches.part import Batch
from semiseg_lib.core import escaping
from semiseg_lib.core.terminal import progress_bar, say
from semiseg_lib.methods.base import Method
from semiseg_lib.training.checkpoints import (
    Interruption,
    Progress,
    TrainingDiverged,
    explain_divergence,
    outlast_signals,
    refuse_non_finite,
)
from semiseg_lib.training.optimizer import (
    announce,
    learning_rate_curve,
    make_optimizer,
    make_ready,
    refuse_contradictions,
)
from semiseg_lib.training.options import TrainConfig
from semiseg_lib.training.run_folder import RunFolder

__all__ = [
    "TrainingDiverged", "fit", "learning_rate_curve", "make_accelerator",
    "make_optimizer",
]

SHARED_MEMORY = Path("/dev/shm")
"""Where workers hand batches over on Linux."""
SHARED_MEMORY_ADVICE = (
    "If a container has little shared memory, give it more (docker run --shm-size=2g), or ask for "
    "fewer workers."
)


def check_trackers(trackers: Iterable[str]) -> None:
    """Raise ValueError if a name is no tracker of accelerate, or its package is not installed."""
    known = {str(name) for name in get_available_trackers()}
    for name in trackers:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise ValueError(
                f"{name!r} is not a tracker; choose from {', '.join(LOGGER_TYPE_TO_CLASS)}."
            )
        if name not in known:
            package = name.replace("_", "-")
            raise ValueError(f"the tracker {name} is not installed: pip install {package}")


def make_accelerator(
    config: TrainConfig,
    device: str | None = None,
    trackers: tuple[str, ...] = (),
    folder: Path | None = None,
) -> Accelerator:
    """Return an accelerator for this run; it replaces any earlier one of this process.

    Args:
        config: sets the precision.
        device: "cpu" forces the CPU; None selects the best available device.
        trackers: experiment trackers by accelerate's names: ``tensorboard``, ``wandb`` ...
        folder: where trackers write.

    Raises:
        ValueError: a name is not a tracker of accelerate, or its package is not installed.
    """
    check_trackers(trackers)
    if "wandb" in trackers:
        os.environ.setdefault("WANDB_MODE", "offline")
    on_cpu = device == "cpu" or not torch.accelerator.is_available()
    _forget_other_settings(config, on_cpu)
    return Accelerator(
        cpu=on_cpu,  # said, or accelerate lets the processes of a job run each for itself
        mixed_precision=config.precision,
        log_with=list(trackers) or None,
        project_dir=folder,
        # The other processes wait while the main one stores the logits of a whole dataset.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=6))],
    )


def fit(
    method: Method,
    loader: Loader,
    config: TrainConfig,
    folder: RunFolder,
    accelerator: Accelerator,
    title: str = "training",
    stop_at: int | None = None,
    score: Callable[[Method], float] | None = None,
    workers: int = 0,
) -> list[dict[str, float]]:
    """Train ``method`` in place, from the folder's checkpoint if there is one.

    Several processes together do what one would with the same batch, as far as their losses are
    means over equally many pixels: gradients are averaged over processes, so a process with more
    void counts no less than the others. Only the main process writes, except bad batches.

    Args:
        method: what to train; it ends up on the accelerator's device.
        loader: the batches, by step.
        config: how long and how fast.
        folder: where checkpoints go.
        accelerator: device, precision and processes.
        title: label of the progress bar.
        stop_at: stop after this many steps, as if interrupted; None to run to the end.
        score: returns the validation mIoU in percent. Every process calls it, so that none
            waits longer than a collective operation may last; the main one's value is used.
        workers: processes that prefetch batches; 0 reads the same batches in this one.

    Returns:
        The history: one row every ``log_every`` steps and at each score, with step, seconds,
        learning rate, mean losses since the last row, and ``score`` if there is one.

    Raises:
        TrainingDiverged: a loss or weight became NaN or infinite; the message names the step.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the checkpoint was saved after the current step.
        ValueError: the options contradict each other.
    """
    refuse_contradictions(loader, config, accelerator, score)
    announce(config, accelerator)
    make_ready(method, config, accelerator)
    optimizer = make_optimizer(method, config)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate_curve(config))
    accelerator.ddp_handler = DistributedDataParallelKwargs(
        find_unused_parameters=not method.uses_all_weights
    )
    wrapped = accelerator.prepare_model(_LossModule(method))
    optimizer = accelerator.prepare_optimizer(optimizer)
    others = {"optimizer": optimizer, "schedule": schedule}
    if accelerator.scaler is not None:
        others["scaler"] = accelerator.scaler
    state = Progress(method, others, folder, accelerator)
    first = done = state.restore()
    end = config.steps if stop_at is None else max(first, min(stop_at, config.steps))
    method.train()
    numbers = range(first * config.accumulate, end * config.accumulate)
    with (
        Interruption() as stop,
        _tracked(accelerator, config, folder),
        closing(_read(loader, numbers, workers, accelerator.device)) as batches,
        progress_bar(range(first, end), initial=first, total=config.steps, desc=title, unit="step",
                     mininterval=0.5, disable=not accelerator.is_local_main_process) as bar,
    ):
        for step in bar:
            _seed(loader, step, accelerator)
            losses, batch = _add_gradients(wrapped, batches, step, config, accelerator)
            means, stopping = _over_all_processes(losses, stop.wanted, accelerator)
            if not math.isfinite(sum(means.values())):
                raise TrainingDiverged(explain_divergence(step, losses, batch, folder, accelerator))
            if config.clip:
                accelerator.clip_grad_norm_(method.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad()
            if not optimizer.step_was_skipped:  # fp16: the gradients overflowed
                schedule.step()
            method.after_step(step)
            state.add(means)
            if _due(step + 1, config.validate_every, config.steps):
                state.close_row(step + 1, schedule.get_last_lr()[0], score)
            elif _due(step + 1, config.log_every, config.steps):
                state.close_row(step + 1, schedule.get_last_lr()[0])
            bar.set_postfix_str(f"loss {state.running_loss:.3f}", refresh=False)
            done = step + 1
            if stopping:
                break
            state.save_if_due(done, config.checkpoint_seconds)
        _, stopping = _over_all_processes({}, stop.wanted, accelerator)
        refuse_non_finite(method, done, folder)
        if stopping or stop_at is not None:
            state.save(done)
        accelerator.wait_for_everyone()
    if stopping:
        raise KeyboardInterrupt(
            f"saved at step {done} of {config.steps}; the same command continues"
        )
    return state.history


def _add_gradients(
    wrapped: torch.nn.Module, batches: Iterator[Batch], step: int, config: TrainConfig,
    accelerator: Accelerator,
) -> tuple[dict[str, float], Batch]:
    """Run the passes of one step; return the local losses and the batch of a non-finite one."""
    losses: dict[str, float] = {}
    broken = None
    for share in range(config.accumulate):
        batch = next(batches).to(accelerator.device)
        last_share = share + 1 == config.accumulate
        with nullcontext() if last_share else accelerator.no_sync(wrapped):
            terms = wrapped(batch, step / config.steps)
            accelerator.backward(sum(terms.values()) / config.accumulate)
        for name, term in terms.items():
            losses[name] = losses.get(name, 0.0) + term.item() / config.accumulate
        if broken is None and not math.isfinite(sum(losses.values())):
            broken = batch
    return losses, broken or batch


def _over_all_processes(
    losses: dict[str, float], stop: bool, accelerator: Accelerator
) -> tuple[dict[str, float], bool]:
    """Return the mean losses and whether any process must stop: all end after the same step."""
    if accelerator.num_processes == 1:
        return losses, stop
    names = sorted(losses)
    own = torch.tensor([*(losses[name] for name in names), float(stop)], device=accelerator.device)
    *means, stopping = accelerator.reduce(own, "mean").tolist()
    return dict(zip(names, means, strict=True)), stopping > 0


def _due(done: int, every: int, steps: int) -> bool:
    """Return whether ``done`` is a multiple of the period or the last step; period 0 is never."""
    return every > 0 and (done % every == 0 or done == steps)


class _LossModule(torch.nn.Module):
    """Module whose ``forward`` computes a method's losses, for wrappers such as DDP."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch, progress: float) -> dict[str, torch.Tensor]:
        return self.method.losses(batch, progress)


def _read(
    loader: Loader, numbers: Sequence[int], workers: int, device: torch.device
) -> Iterator[Batch]:
    """Yield the batches with these numbers, in this order."""
    if workers and numbers:
        first = loader.batch(numbers[0])
        yield first
        numbers, workers = numbers[1:], _workers_that_fit(workers, first)
    if workers == 0:
        yield from map(loader.batch, numbers)
    elif numbers:
        _refuse_unguarded_main()
        batches = iter(DataLoader(
            loader, sampler=numbers, batch_size=None, num_workers=workers,
            pin_memory=device.type == "cuda", worker_init_fn=outlast_signals, collate_fn=_shared,
            generator=torch.Generator(),  # the global one is the method's
        ))
        read = 0
        try:
            for batch in batches:
                yield batch
                read += 1
        except RuntimeError as error:
            say(f"A worker ended ({escaping.visible(str(error).splitlines()[-1])}): this process "
                f"reads the batches itself. {SHARED_MEMORY_ADVICE}", sys.stderr)
        finally:
            batches._shutdown_workers()  # an error keeps its frames alive, and them with it
        yield from map(loader.batch, numbers[read:])


def _shared(batch: Batch) -> Batch:
    """Return a batch in shared memory.

    torch does so in a thread of the worker, where an error is lost and the parent waits for ever.
    """
    return batch.changed(torch.Tensor.share_memory_)


def _refuse_unguarded_main() -> None:
    """Raise RuntimeError if a started process runs the main script anew, and fails at that.

    So a script without a main guard ends with a message. Without this, Python would write the
    loader into a pipe that no one reads any more, and wait forever.
    """
    if multiprocessing.get_start_method() == "fork":
        return
    probe = multiprocessing.Process(target=_do_nothing)
    probe.start()
    probe.join()
    if probe.exitcode:
        raise RuntimeError("a worker process could not start; its message stands above.")


def _do_nothing() -> None:
    pass


def _workers_that_fit(workers: int, batch: Batch) -> int:
    """Return ``workers``, or 0 with a warning if the batches that wait have no room.

    Workers hand batches over in ``/dev/shm``, of which a container may have 64 kB only; a worker
    that finds it full is killed, and its parent waits for it.
    """
    if not SHARED_MEMORY.is_dir():
        return workers
    waiting = 2 * workers + 1  # torch's prefetch_factor, and the one that is learnt from
    needed = waiting * sum(
        value.nbytes for part in (batch.labelled, batch.unlabelled) if part is not None
        for value in vars(part).values() if isinstance(value, torch.Tensor)
    )
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed <= free:
        return workers
    say(f"{SHARED_MEMORY} has {free / 1e6:.1f} MB free, and {workers} workers need about "
        f"{needed / 1e6:.1f} MB: this process reads the batches itself. {SHARED_MEMORY_ADVICE}",
        sys.stderr)
    return 0


@contextmanager
def _tracked(accelerator: Accelerator, config: TrainConfig, folder: RunFolder) -> Iterator[None]:
    """Open the experiment trackers, if any, and finish them at the end."""
    if accelerator.log_with:
        place = {"dir": str(folder.path), "name": folder.path.name}
        accelerator.init_trackers("semiseg", asdict(config), init_kwargs={"wandb": place})
    try:
        yield
    finally:
        # Not end_training(): it also ends the processes' connection, which the next run needs.
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.trackers = []


def _forget_other_settings(config: TrainConfig, on_cpu: bool) -> None:
    """Reset accelerate's state in this process if it is for another precision or device.

    accelerate keeps one state per process and refuses to change it; its own tests do the same.
    """
    if not is_initialized():
        return
    state = AcceleratorState()
    moves = on_cpu != (state.device.type == "cpu") and state.num_processes == 1
    if moves or state.mixed_precision != config.precision:
        AcceleratorState._reset_state(reset_partial_state=moves)


def _seed(loader: Loader, step: int, accelerator: Accelerator) -> None:
    """Seed dropout so that it repeats on resume and differs between processes."""
    torch.manual_seed(loader.seed * 1_000_003 + step + (accelerator.process_index << 40))
