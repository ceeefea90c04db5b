"""The environment in which every test and every chapter runs under pytest."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

# More threads than idle cores make small models many times slower, so one each; set before torch
# is imported, and inherited by pytest's workers and by the notebooks' kernels.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("SEMISEG_PROFILE", "smoke")
os.environ["MPLBACKEND"] = "agg"

# A command that a shell starts in the background inherits an ignored Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Runs and drawn pictures go to a new folder each time: a cached run would hide a broken change.
# The workers of pytest-xdist inherit the variable and share the folder.
IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not IS_WORKER:
    os.environ["SEMISEG_WORK"] = tempfile.mkdtemp(prefix="semiseg-test-")
WORK = Path(os.environ["SEMISEG_WORK"])

# tests/book/test_exercises.py runs them as scripts.
collect_ignore_glob = ["notebooks/solutions/*"]


def pytest_unconfigure() -> None:
    """Remove what this run made."""
    if not IS_WORKER:
        shutil.rmtree(WORK, ignore_errors=True)
