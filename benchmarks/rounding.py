"""What rounding does to one laptop training: threads and instructions against test mIoU.

    python benchmarks/rounding.py [--seed 11]

The same run, masks alone on mini-VOC, is trained in processes of their own, each with an empty work
folder. The first state is tried twice: what its two trainings differ by is not the state's doing.
oneDNN computes the convolutions; ``ONEDNN_MAX_CPU_ISA`` names the newest instructions that it may
use.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile

from tqdm import tqdm

from semiseg_lib import recipes
from semiseg_lib.core.provenance import OVERRIDES, code_version, in_words, state_of_machine
from semiseg_lib.experiments import resolve, self_correction
from semiseg_lib.notebook.tables import markdown_table

STATES = (
    {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2"},
    {"OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "SSE41"},
)
"""What is set in the environment of each training; none of ``OVERRIDES`` beside it."""


def main() -> None:
    """Train in every state and print the table, or train here."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--here", action="store_true", help="train in this process, print JSON")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(trained_here(options.seed)))
    else:
        print(table(options.seed))


def trained_here(seed: int) -> dict[str, object]:
    """Train the run and return its score, the SHA-256 of its weights, and the machine's state."""
    profile = recipes.load("laptop")
    trained = resolve(self_correction.supervised(profile, seed), "cpu")
    weights = hashlib.sha256()
    for name, tensor in sorted(trained.method.state_dict().items()):
        weights.update(name.encode() + tensor.numpy().tobytes())
    score = 100 * trained.evaluate("test", profile.protocol).mean_iou
    return {"test": score, "weights": weights.hexdigest(), "machine": state_of_machine()}


def table(seed: int) -> str:
    """Train once in each state; return the scores."""
    found = [trained_in(state, seed) for state in tqdm(STATES, desc="training", unit="run")]
    first, rows = found[0], []
    for state, one in zip(STATES, found, strict=True):
        newest = state.get("ONEDNN_MAX_CPU_ISA")
        rows.append({
            "threads": str(one["machine"]["threads"]),
            "instructions": f"up to {newest}" if newest else "all",
            "mIoU on test (%)": str(one["test"]),
            "against the first": f"{one['test'] - first['test']:+.3f}",
            "weights": "equal" if one["weights"] == first["weights"] else "others",
        })
    said = f"{in_words(first['machine'])}, code {code_version()}, seed {seed}"
    return f"The first: {said}\n\n{markdown_table(rows)}"


def trained_in(state: dict[str, str], seed: int) -> dict:
    """Return what a process of its own finds in one state."""
    kept = {key: value for key, value in os.environ.items() if key not in OVERRIDES}
    command = [sys.executable, __file__, "--here", "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as work:
        environment = {**kept, **state, "SEMISEG_WORK": work}
        said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(said.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
