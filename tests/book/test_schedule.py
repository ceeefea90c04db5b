"""Chapters that run at the same time: in which order, how many, and what a failure leaves."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from bookkit import Chapter, load
from bookkit.schedule import default_jobs, run_together

MINUTES = {"smoke": 1.0, "laptop": 1.0}


def chapter(number, *needs):
    return Chapter(f"{number:02d}_c", "T", "Q?", MINUTES, tuple(f"{n:02d}_c" for n in needs))


class Runner:
    """Fake chapters that end when the test says so, and what was running when."""

    def __init__(self, seconds=None, failing=()):
        self.seconds, self.failing = seconds or {}, failing
        self.started, self.ended, self.at_once = [], [], 0
        self.lock = threading.Lock()

    def __call__(self, one):
        with self.lock:
            self.started.append(one.number)
            self.at_once = max(self.at_once, len(self.started) - len(self.ended))
        time.sleep(self.seconds.get(one.number, 0.02))
        with self.lock:
            self.ended.append(one.number)
        if one.number in self.failing:
            raise RuntimeError(f"{one.number} is broken")
        return float(one.number)


def order(chapters, jobs, runner):
    return [(c.number, minutes) for c, minutes in
            run_together(chapters, runner, jobs, threading.Event())]


def test_one_at_a_time_keeps_the_reading_order():
    runner = Runner()
    chapters = [chapter(0), chapter(1), chapter(2, 0)]
    assert order(chapters, 1, runner) == [("00", 0.0), ("01", 1.0), ("02", 2.0)]
    assert runner.at_once == 1


def test_a_chapter_waits_for_what_it_needs_and_another_takes_its_turn():
    """01 needs the slow 00, so 02 starts in its place; nothing waits that could run."""
    runner = Runner({"00": 0.4, "02": 0.1, "03": 0.1})
    order([chapter(0), chapter(1, 0), chapter(2), chapter(3)], 2, runner)
    assert runner.started == ["00", "02", "03", "01"] and runner.at_once == 2
    assert runner.ended.index("00") < runner.ended.index("01")


def test_what_is_not_part_of_this_build_is_not_waited_for():
    assert order([chapter(4, 0, 3)], 2, Runner()) == [("04", 4.0)]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_the_book_itself_is_run_whole_and_never_before_its_needs(jobs):
    chapters = load().chapters
    runner = Runner(dict.fromkeys((c.number for c in chapters), 0.005))
    order(chapters, jobs, runner)
    assert sorted(runner.started) == [c.number for c in chapters] and runner.at_once <= jobs
    for one in chapters:
        for needed in one.needs:
            assert runner.ended.index(needed[:2]) < runner.started.index(one.number) + jobs
            assert runner.started.index(needed[:2]) < runner.started.index(one.number)


def test_a_failure_lets_the_running_ones_end_and_starts_no_other():
    runner = Runner({"00": 0.3, "01": 0.05}, failing={"01"})
    done = []
    with pytest.raises(RuntimeError, match="01 is broken"):
        for one, _ in run_together(
            [chapter(n) for n in range(5)], runner, 2, threading.Event()
        ):
            done.append(one.number)
    assert done == ["00"] and runner.started == ["00", "01"]


def test_leaving_early_tells_the_running_ones_to_stop():
    stop = threading.Event()

    def run(one):
        return 1.0 if one.number == "00" else float(stop.wait(10))

    started = time.monotonic()
    running = run_together([chapter(0), chapter(1)], run, 2, stop)
    assert next(running)[0].number == "00"
    running.close()
    assert stop.is_set() and time.monotonic() - started < 5


def test_the_default_is_one_for_each_core_as_far_as_memory_goes(monkeypatch):
    module = "bookkit.schedule."
    monkeypatch.setattr(module + "torch.accelerator.is_available", lambda: False)
    memory = type("Memory", (), {"available": 64e9})
    monkeypatch.setattr(module + "psutil.virtual_memory", lambda: memory)
    for cores, expected in ((None, 1), (1, 1), (2, 2), (64, 4)):
        monkeypatch.setattr(module + "os.cpu_count", lambda cores=cores: cores)
        assert default_jobs() == expected
    memory.available = 3.2e9
    assert default_jobs() == 2
    memory.available = 1e8
    assert default_jobs() == 1
    monkeypatch.setattr(module + "torch.accelerator.is_available", lambda: True)
    assert default_jobs() == 1


BUILD = """
import sys, json
from pathlib import Path
from bookkit import Book, Chapter, Part, build
folder = Path(sys.argv[1])
build.SOURCES = folder
chapters = tuple(Chapter(f"0{n}_c", "T", "Q?", {"smoke": 1.0}) for n in (1, 2, 3))
book = Book("T", "S", "intro", {"smoke": ""}, (Part("P", chapters),), "B", ())
build.execute(book, "smoke", folder / "out", jobs=2)
"""
CHAPTER = """# %%
import os, time
from pathlib import Path
Path("{name}.pid").write_text(str(os.getpid()))
Path("{name}.threads").write_text(os.environ["OMP_NUM_THREADS"])
{last}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process")
def test_ctrl_c_ends_the_kernels_and_keeps_what_was_done(tmp_path):
    for name, last in (("01_c", "1"), ("02_c", "time.sleep(300)"), ("03_c", "time.sleep(300)")):
        (tmp_path / f"{name}.py").write_text(CHAPTER.format(name=name, last=last))
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    started = subprocess.Popen(
        [sys.executable, "-c", BUILD, str(tmp_path)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "03_c.threads").is_file():
        assert started.poll() is None and time.monotonic() < deadline, started.communicate()
        time.sleep(0.1)
    started.send_signal(signal.SIGINT)
    printed, errors = started.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert "01_c" in printed and "done in" in printed and "failed" not in printed
    assert '"01_c"' in (tmp_path / "out" / "executed.json").read_text(encoding="utf-8")
    assert {path.read_text() for path in tmp_path.glob("*.threads")} == {"1"}
    for path in tmp_path.glob("*.pid"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.read_text()), 0)
    assert not list((tmp_path / "out").glob("*.failed.ipynb"))
