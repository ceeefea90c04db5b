"""What a training step costs beside the passes of its networks.

    OMP_NUM_THREADS=1 python benchmarks/passes.py [--dataset voc] [--profile gpu] [--blocks 5]

For every method of the profile: a whole step, and the bare passes, which are as many forward passes
of the same networks on as many images, and the backward pass of the mean of their outputs. The rest
is views, losses, and the update (optimiser and moving average), which is also timed alone. All take
turns in every block; ratios are taken within a block, and the median over the blocks is printed. It
is the processor's time of this process, so that other programs on the machine count for little.

Images are random and every term of the losses is switched on, as in ``methods.py``. CAC is given
the threshold 0, so that all cells which two crops share are moved: it costs at most this much.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from methods import CLASSES, PROGRESS, Stepper, class_count, contestants, side
from torch import Tensor
from tqdm import tqdm

from semiseg_lib import recipes
from semiseg_lib.methods.cac.crop_pairs import crop_size
from semiseg_lib.notebook.tables import markdown_table


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", default="minivoc", choices=("minivoc", *CLASSES))
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="of each in a block")
    parser.add_argument("--only", nargs="+", help="methods; none given: all")
    options = parser.parse_args()
    profile = recipes.load(options.profile, options.dataset)
    steppers = {}
    for name, (config, train) in contestants(profile).items():
        if name in (options.only or [name]):
            config = replace(config, threshold=0.0) if config.name == "cac" else config
            steppers[name] = Stepper(profile, config, train, "cpu")
    print(as_table(measure(steppers, options.blocks, options.steps)))


def passes(stepper: Stepper) -> Iterator[Tensor]:
    """Run the forward passes of a step; yield the outputs that take a gradient."""
    method, config, width = stepper.method, stepper.config, side(stepper.profile)
    labelled, unlabelled = stepper.train.batch_labelled, stepper.train.batch_unlabelled

    def drawn(count: int, channels: int = 3, size: tuple[int, int] = (width, width)) -> Tensor:
        return torch.rand(count, channels, *size)

    if config.name == "cac":
        crop = crop_size((width, width), config.crop, config.stride)
        yield method.network(drawn(labelled + 2 * unlabelled, size=crop))
    elif config.name == "eln":
        scales = method.network.encode(drawn(labelled + 2 * unlabelled))
        yield method.network.decode(scales)
        scales = [one[:labelled].detach() for one in scales]
        yield from (decoder.decode(scales) for decoder in method.auxiliary)
        count, maps = (1 + len(method.auxiliary)) * labelled, class_count(stepper.profile)
        yield method.error(drawn(count), drawn(count, maps))
        with torch.no_grad():
            method.average(drawn(unlabelled))
            method.error.eval()(drawn(unlabelled), drawn(unlabelled, maps))
            method.error.train()
    elif config.name == "cps":
        networks = (method.network, method.second)
        if config.cutmix:
            with torch.no_grad():
                for network in networks:
                    network(drawn(unlabelled))
            yield from (network(drawn(labelled)) for network in networks)
            yield from (network(drawn(unlabelled)) for network in networks)
        else:
            yield from (network(drawn(labelled + unlabelled)) for network in networks)
    else:
        teachers = {"fixmatch": 1, "mean-teacher": 1, "s4mc": 1}.get(config.name, 0)
        teachers += config.name == "s4mc" and bool(config.cutmix) and config.indicator_of == "mixed"
        with torch.no_grad():
            for _ in range(teachers):
                method.average(drawn(unlabelled))
        views = getattr(config, "views", 1) * unlabelled
        yield method.network(drawn(labelled + views))


def bare(stepper: Stepper) -> None:
    """Run the passes of a step, forward and backward."""
    sum(one.mean() for one in passes(stepper)).backward()
    stepper.optimizer.zero_grad()


def update(stepper: Stepper) -> None:
    """Run what follows the losses: the optimiser and the moving average."""
    stepper.optimizer.step()
    stepper.method.after_step(stepper.done)


def seconds(run: Callable[[Stepper], None], stepper: Stepper, steps: int) -> float:
    """Return the processor's mean time of a call, over some calls."""
    start = time.process_time()
    for _ in range(steps):
        run(stepper)
    return (time.process_time() - start) / steps


def measure(steppers: dict[str, Stepper], blocks: int, steps: int) -> dict[str, np.ndarray]:
    """Return seconds (3, blocks) for each method: a step, its bare passes, its update."""
    times = {name: [] for name in steppers}
    for _ in tqdm(range(blocks + 1), desc="blocks"):
        for name, one in steppers.items():
            whole = seconds(Stepper.step, one, steps)
            alone = seconds(bare, one, steps)
            sum(one.method.losses(one.batches[0], PROGRESS).values()).backward()
            times[name].append((whole, alone, seconds(update, one, steps)))
            one.optimizer.zero_grad()
    return {name: np.array(rows[1:]).T for name, rows in times.items()}  # the first warms up


def as_table(times: dict[str, np.ndarray]) -> str:
    """Return the rows in Markdown."""
    return markdown_table([
        {
            "method": name, "ms a step": f"{1e3 * np.median(whole):.0f}",
            "bare passes": f"{1e3 * np.median(alone):.0f}",
            "update": f"{1e3 * np.median(after):.1f}",
            "step / passes": f"{np.median(whole / alone):.2f}",
            "half of the blocks": " to ".join(
                f"{one:.2f}" for one in np.quantile(whole / alone, (0.25, 0.75))
            ),
            "step / (passes + update)": f"{np.median(whole / (alone + after)):.2f}",
        }
        for name, (whole, alone, after) in times.items()
    ])


if __name__ == "__main__":
    main()
