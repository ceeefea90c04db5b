"""Checkpoints, the best weights so far, and a clean stop at Ctrl-C."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

import torch
from accelerate import Accelerator

from semiseg_lib.batches.part import Batch
from semiseg_lib.core.durable import Damaged, sweep
from semiseg_lib.methods.base import Method
from semiseg_lib.training.run_folder import RunFolder, best_of


class TrainingDiverged(RuntimeError):
    """Error of a training whose loss or weights became NaN or infinite."""


class Progress:
    """The history of a run, what a checkpoint holds, and when the next one is due.

    Only the main process writes; every process reads.

    Args:
        method: the method being trained.
        others: the optimizer and other objects with a ``state_dict``, by name.
        folder: the run folder to write to.
        accelerator: knows which process this is.
    """

    def __init__(
        self, method: Method, others: dict[str, Any], folder: RunFolder, accelerator: Accelerator
    ) -> None:
        self.method = method
        self.parts = {"method": method, **others}
        self.folder, self.accelerator = folder, accelerator
        self.history: list[dict[str, float]] = []
        self.sums: dict[str, float] = {}
        self.counted = 0
        self.running_loss = float("nan")
        self.seconds_before = 0.0
        self.started = self.saved = time.perf_counter()

    def restore(self) -> int:
        """Load the checkpoint, if there is one, and return the next step.

        Raises:
            RuntimeError: the processes do not see the same checkpoint.
        """
        state = self._readable_state()
        if state is not None:
            for name, part in self.parts.items():
                if name in state:  # the scaler is missing where the run began without one
                    part.load_state_dict(state[name])
            self.history, self.sums = state["history"], state["sums"]
            self.counted, self.seconds_before = state["counted"], state["seconds"]
        step = state["step"] if state else 0
        self._compare(step)
        if self.accelerator.is_main_process:
            sweep(self.folder.path)
        self._write_best(step)  # a kill may have come between the checkpoint and this
        return step

    def _readable_state(self) -> dict | None:
        """Return the newest state whose best weights are there too; None to start at step 0."""
        state = self.folder.read_checkpoint()
        best = best_of(state["history"]) if state else None
        if best and best["step"] != state["step"]:
            try:
                self.folder.read_best(best["step"])
            except Damaged as error:
                self.accelerator.print(f"{error.problem} The run starts again from its first step.")
                return None
        return state

    def save(self, step: int) -> None:
        """Write a checkpoint from which step ``step`` comes next.

        Raises:
            TrainingDiverged: a weight is NaN or infinite; the last checkpoint is kept.
        """
        if not self.accelerator.is_main_process:
            return
        refuse_non_finite(self.method, step, self.folder)
        state = {name: part.state_dict() for name, part in self.parts.items()}
        self.folder.write_checkpoint({
            **state, "step": step, "history": self.history, "sums": self.sums,
            "counted": self.counted, "seconds": self.seconds,
        })
        self.saved = time.perf_counter()

    def save_if_due(self, step: int, every: float) -> None:
        """Write a checkpoint if the last one is more than ``every`` seconds old."""
        if time.perf_counter() - self.saved > every:
            self.save(step)

    @property
    def seconds(self) -> float:
        """Return the seconds spent on this run, without interruptions."""
        return self.seconds_before + time.perf_counter() - self.started

    def add(self, losses: dict[str, float]) -> None:
        """Add one step's losses to the running means."""
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + loss
        self.counted += 1
        self.running_loss = sum(self.sums.values()) / self.counted

    def close_row(
        self, step: int, lr: float, score: Callable[[Method], float] | None = None
    ) -> None:
        """Append a row to the history after ``step`` steps, with a score if ``score`` is given."""
        means = {f"loss_{name}": value / self.counted for name, value in self.sums.items()}
        row = {"step": step, "seconds": self.seconds, "lr": lr, **means}
        self.history.append(row)
        self.sums, self.counted = {}, 0
        if score is not None:
            self.method.eval()
            with torch.no_grad():
                row["score"] = float(score(self.method))
            self.method.train()
            if self._is_best(step):
                # The checkpoint first: restore() finds in it weights that a kill left unwritten.
                self.save(step)
                self._write_best(step)
        self.accelerator.log({name: one for name, one in row.items() if name != "step"}, step)

    def _is_best(self, step: int) -> bool:
        best = best_of(self.history)
        return best is not None and best["step"] == step

    def _write_best(self, step: int) -> None:
        if self.accelerator.is_main_process and self._is_best(step):
            self.folder.write_best(self.method.state_dict(), step)

    def _compare(self, step: int) -> None:
        """Wait for all processes; raise RuntimeError if they read different checkpoints."""
        if self.accelerator.num_processes == 1:
            return
        own = torch.tensor(float(step), device=self.accelerator.device)
        if self.accelerator.reduce(own.clone(), "mean").item() != own.item():
            raise RuntimeError(
                f"the processes of this run continue from different steps, this one from {step}. "
                f"Every machine must see the same folder {self.folder.path}."
            )


def refuse_non_finite(method: Method, step: int, folder: RunFolder) -> None:
    """Raise :class:`TrainingDiverged` if a weight or buffer of ``method`` is not finite."""
    broken = [
        name for name, value in method.state_dict().items()
        if value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if broken:
        raise TrainingDiverged(
            f"step {step}: {len(broken)} weights are NaN or infinite, the first: {broken[0]}. "
            f"Stopped; nothing of them was written to {folder.path}. Lower lr, or set clip."
        )


def explain_divergence(
    step: int, losses: dict[str, float], batch: Batch, folder: RunFolder, accelerator: Accelerator
) -> str:
    """Return the message for a NaN or infinite loss; save the batch for inspection."""
    terms = ", ".join(f"{name} = {loss:g}" for name, loss in losses.items())
    if math.isfinite(sum(losses.values())):
        return (f"step {step}: {terms}, finite here; NaN or infinite in another process, see its "
                "output.")
    saved = folder.write_batch(batch, accelerator.process_index)
    return (
        f"step {step}: {terms}. Stopped; the batch is saved in {saved}. Labelled images: "
        f"{', '.join(batch.labelled.names)}. Lower lr, or look at these images and their labels."
    )


class Interruption:
    """Context in which Ctrl-C and SIGTERM (a cluster's time limit) end a training between steps.

    Inside the ``with`` block the first signal sets :attr:`wanted` and nothing else. A second
    Ctrl-C raises KeyboardInterrupt at once. Outside the main thread, handlers are not changed.
    """

    AGAIN = 0.5
    """Seconds after which a second Ctrl-C counts: launchers forward the first one again."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.before: dict[int, Any] = {}

    @property
    def wanted(self) -> bool:
        """Return whether a stop was requested."""
        return self.since is not None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:  # nohup, a job in the background
                    self.before[number] = signal.signal(number, self._received)
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _received(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number == signal.SIGINT and self.wanted and now - self.since > self.AGAIN:
            raise KeyboardInterrupt("stopped at once; the last checkpoint stays")
        self.since = now if self.since is None else self.since


def outlast_signals(_worker: int = 0) -> None:
    """Keep a data-loading process alive on signals: the training process decides when to stop.

    A terminal or a cluster signals all processes of a job. Ctrl-C is ignored here, and SIGTERM
    ends this process ten seconds later, when the training has received its last batches.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(10))
