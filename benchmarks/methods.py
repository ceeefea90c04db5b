"""What a training step of each method costs: time against the supervised step, and memory.

    OMP_NUM_THREADS=1 python benchmarks/methods.py [--dataset voc] [--profile gpu] [--blocks 15]

All methods take turns in every block, so that a machine that slows down slows all of them; the
ratio to the supervised step is taken within a block, and the median over the blocks is reported.
Images are random: no dataset is needed, and reading images is not counted. Every term of the
losses is switched on (half of the training is done).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from semiseg_lib import methods, recipes, studies
from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.core.durable import atomic_write
from semiseg_lib.core.paths import shown
from semiseg_lib.core.provenance import code_version, in_words, state_of_machine
from semiseg_lib.methods import MethodConfig
from semiseg_lib.methods.base import Method
from semiseg_lib.notebook.tables import markdown_table
from semiseg_lib.recipes import Profile
from semiseg_lib.training import memory
from semiseg_lib.training.loop import make_accelerator
from semiseg_lib.training.optimizer import make_optimizer, make_ready
from semiseg_lib.training.options import TrainConfig

CLASSES = {"voc": 21, "camvid": 11, "cityscapes": 19}
FIRST = "supervised"
PROGRESS = 0.5
STEPS_OF_PEAK = 8


def main() -> None:
    """Measure, print the table and store the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", default="minivoc", choices=("minivoc", *CLASSES))
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--steps", type=int, default=8, help="of each method in a block")
    parser.add_argument("--device", choices=("cpu",))
    parser.add_argument("--only", nargs="+", help="methods; none given: all")
    parser.add_argument("--out", type=Path, help="the record; unset: cost-... beside the others")
    parser.add_argument("--peak", help=argparse.SUPPRESS)  # one method, in a process of its own
    options = parser.parse_args()
    profile = recipes.load(options.profile, options.dataset)
    entries = {name: entry for name, entry in contestants(profile).items()
               if name in (FIRST, *(options.only or [name]))}
    if options.peak:
        print(json.dumps(peak(lambda: Stepper(profile, *entries[options.peak], options.device))))
        return
    rows = measure(profile, entries, options)
    print(as_table(rows))
    out = options.out or studies.record_path(
        "cost" if options.dataset == "minivoc" else f"cost {options.dataset}", profile.name
    )
    write(out, rows, profile, options)
    print(f"record: {shown(out)}")


def contestants(profile: Profile) -> dict[str, tuple[MethodConfig, TrainConfig]]:
    """Every method of the profile with as many images a step, the supervised one first."""
    train = profile.train_unlabelled
    images = train.batch_labelled + train.batch_unlabelled
    alone = replace(train, batch_labelled=images, batch_unlabelled=0)
    found = {FIRST: (profile.supervised, alone)}
    if "fixmatch" in profile.unlabelled:
        views = profile.unlabelled["fixmatch"]
        strong = replace(profile.supervised, strong=views.strong, cutmix=views.cutmix)
        found["strong"] = (strong, alone)
    found["linear"] = (profile.primary, train)
    return found | {name: (config, train) for name, config in profile.unlabelled.items()}


@dataclass
class Stepper:
    """A method that can take training steps."""

    profile: Profile
    config: MethodConfig
    train: TrainConfig
    device: str | None = None

    def __post_init__(self) -> None:
        accelerator = make_accelerator(self.train, self.device)
        self.place = accelerator.device
        torch.manual_seed(0)
        model = replace(self.profile.model, weights="")
        self.method: Method = methods.build(self.config, model, class_count(self.profile))
        self.shapes = memory.example_batch(
            self.method, class_count(self.profile), self.train.batch_labelled,
            self.train.batch_unlabelled, (side(self.profile),) * 2,
        )
        self.estimate = memory.estimate(
            self.method, self.shapes, self.train.precision, self.train.optimizer
        )
        self.method.to(self.place).train()
        make_ready(self.method, self.train, accelerator)
        self.optimizer = make_optimizer(self.method, self.train)
        self.batches = [
            filled(self.shapes, class_count(self.profile), seed).to(self.place)
            for seed in range(2)
        ]
        self.done = 0

    def step(self) -> None:
        """Run one step of :func:`semiseg_lib.training.loop.fit`: losses to averages."""
        batch = replace(self.batches[self.done % 2], seed=self.done)
        dtype = memory.AUTOCAST.get(self.train.precision)
        with torch.autocast(self.place.type, dtype, enabled=dtype is not None):
            losses = self.method.losses(batch, PROGRESS)
        sum(losses.values()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.method.after_step(self.done)
        self.done += 1

    def seconds(self, steps: int) -> float:
        """The mean time of a step, over some steps."""
        self._wait()
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        self._wait()
        return (time.perf_counter() - start) / steps

    def operations(self) -> int:
        """Floating-point operations of convolutions and matrix products in one step."""
        with FlopCounterMode(display=False) as counter:
            self.step()
        return counter.get_total_flops()

    def _wait(self) -> None:
        if self.place.type == "cuda":
            torch.cuda.synchronize()


def class_count(profile: Profile) -> int:
    """C of a profile's dataset, background included."""
    if profile.augment.crop:
        return len(profile.data.keep) or CLASSES[profile.data.dataset]
    return 1 + len(profile.data.options.generated_world().classes)


def side(profile: Profile) -> int:
    """The side of a view in pixels."""
    return -(-profile.augment.crop // 16) * 16 or profile.data.options.generated_world().side


def filled(shapes: Batch, classes: int, seed: int) -> Batch:
    """A batch of these shapes with random images; masks of blocks, as objects have."""
    generator = torch.Generator().manual_seed(seed)

    def blocks(count: int, height: int, width: int) -> Tensor:
        coarse = torch.randint(0, classes, (count, 8, 8), generator=generator)
        rows, columns = (torch.arange(n) * 8 // n for n in (height, width))
        return coarse[:, rows][:, :, columns]

    def part(one: Part) -> Part:
        images = torch.rand(one.images.shape, generator=generator)
        return Part(
            names=one.names, images=images,
            masks=None if one.masks is None else blocks(len(images), *images.shape[-2:]),
            logits_ancillary=torch.randn(one.logits_ancillary.shape, generator=generator),
            inside=torch.ones(one.inside.shape, dtype=torch.bool),
        )

    return Batch(part(shapes.labelled), shapes.unlabelled and part(shapes.unlabelled))


def measure(profile: Profile, entries: dict, options: argparse.Namespace) -> dict[str, dict]:
    """A row for each method: time, ratio to the supervised step, operations, memory."""
    peaks = {name: peak_of(name, profile, options) for name in tqdm(entries, desc="memory")}
    steppers = {name: Stepper(profile, *entry, options.device) for name, entry in entries.items()}
    operations = {name: one.operations() for name, one in steppers.items()}
    for one in steppers.values():
        one.seconds(max(2, options.steps // 2))  # not counted: caches fill, banks and buffers too
    order, times = np.random.default_rng(0), {name: [] for name in steppers}
    for _ in tqdm(range(options.blocks), desc="blocks"):
        for name in order.permutation(list(steppers)).tolist():
            times[name].append(steppers[name].seconds(options.steps))
    rows = {}
    for name, one in steppers.items():
        ratios = np.divide(times[name], times[FIRST])
        low, high = np.quantile(ratios, (0.25, 0.75))
        rows[name] = {
            "seconds": float(np.median(times[name])), "ratio": float(np.median(ratios)),
            "ratio low": float(low), "ratio high": float(high),
            "operations": operations[name], "networks": one.method.networks,
            "estimated bytes": one.estimate.total, "activations": one.estimate.activations,
            "peak bytes": peaks[name],
        }
    return rows


def peak_of(name: str, profile: Profile, options: argparse.Namespace) -> int | None:
    """How many bytes a process grows by when this method trains; None where it cannot be told."""
    command = [sys.executable, __file__, "--peak", name, "--dataset", options.dataset,
               "--profile", profile.name]
    command += ["--device", options.device] if options.device else []
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(said.splitlines()[-1])


def peak(make: Callable[[], Stepper]) -> int | None:
    """The peak over a few steps, above what the process held before the method was built."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    on_card = torch.cuda.is_available()
    if not on_card and not status.is_file():
        return None
    before = psutil.Process().memory_info().rss
    stepper = make()
    if stepper.place.type != "cuda":
        reset.write_text("5", encoding="utf-8")  # start the high-water mark afresh
    stepper.seconds(STEPS_OF_PEAK)
    if stepper.place.type == "cuda":
        return torch.cuda.max_memory_allocated()
    (line,) = (x for x in status.read_text(encoding="utf-8").splitlines() if x.startswith("VmHWM"))
    return 1024 * int(line.split()[1]) - before


def as_table(rows: dict[str, dict]) -> str:
    """The rows in Markdown."""
    return markdown_table([
        {
            "method": name, "ms a step": f"{1e3 * row['seconds']:.0f}",
            "supervised = 1": f"{row['ratio']:.2f}",
            "half of the blocks": f"{row['ratio low']:.2f} to {row['ratio high']:.2f}",
            "operations": f"{row['operations'] / rows[FIRST]['operations']:.2f}",
            "kept (MB)": f"{row['estimated bytes'] / 1e6:.0f}",
            "process grows by (MB)":
                f"{row['peak bytes'] / 1e6:.0f}" if row["peak bytes"] is not None else "–",
        }
        for name, row in rows.items()
    ])


def write(out: Path, rows: dict, profile: Profile, options: argparse.Namespace) -> None:
    """Store the rows with the machine and the sizes that they hold for."""
    train, machine = profile.train_unlabelled, state_of_machine()
    content = {
        "rows": rows, "dataset": options.dataset, "profile": profile.name,
        "blocks": options.blocks, "steps": options.steps, "side": side(profile),
        "images": f"{train.batch_labelled} + {train.batch_unlabelled}",
        "precision": train.precision,
        "made with": f"{in_words(machine)}, code {code_version()}", "machine": machine,
    }
    with atomic_write(out) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
