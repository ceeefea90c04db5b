"""Run chapters in parallel, up to one per core, each after the chapters that it needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event

import psutil
import torch

from bookkit.description import Chapter

MOST_JOBS = 4
MEMORY_OF_A_CHAPTER = 1.5e9  # bytes: the largest chapters, with some room


def default_jobs() -> int:
    """Return how many chapters to run at once, each with one thread.

    As many as there are cores, at most 4, and fewer if memory is short. One, with all threads, if
    there is an accelerator, whose memory the chapters would compete for.
    """
    if torch.accelerator.is_available():
        return 1
    room = int(psutil.virtual_memory().available // MEMORY_OF_A_CHAPTER)
    return max(1, min(os.cpu_count() or 1, MOST_JOBS, room))


def run_together(
    chapters: Sequence[Chapter], run: Callable[[Chapter], float], jobs: int, stop: Event
) -> Iterator[tuple[Chapter, float]]:
    """Run chapters, up to ``jobs`` at once, and yield each as it ends with what ``run`` returned.

    A chapter starts when those of ``chapters`` that it needs have ended, otherwise in reading
    order. After a failure none is started, and the first failure is raised when the running ones
    have ended.

    Args:
        chapters: in reading order.
        run: runs one chapter; it is called in a thread.
        jobs: at least 1.
        stop: set when this function exits early, as by Ctrl-C: ``run`` should then end soon.
    """
    waiting = list(chapters)
    running: dict[Future[float], Chapter] = {}
    failures: list[BaseException] = []
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while running or (waiting and not failures):
                for chapter in [] if failures else _ready(waiting, running.values(), jobs):
                    waiting.remove(chapter)
                    running[pool.submit(run, chapter)] = chapter
                # The time-out lets Ctrl-C through on Windows.
                ended, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
                for future in sorted(ended, key=lambda one: running[one].file):
                    chapter = running.pop(future)
                    if error := future.exception():
                        failures.append(error)
                    else:
                        yield chapter, future.result()
        except BaseException:
            stop.set()
            raise
    if failures:
        raise failures[0]


def _ready(
    waiting: Sequence[Chapter], running: Iterable[Chapter], jobs: int
) -> list[Chapter]:
    """Return the chapters that can start now, at most ``jobs`` minus the running ones."""
    running = list(running)
    missing = {chapter.file for chapter in [*waiting, *running]}
    free = [chapter for chapter in waiting if not missing & set(chapter.needs)]
    return free[: jobs - len(running)]
