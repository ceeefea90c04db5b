"""Methods get, and look at, just what they declare; views without padding need no ``inside``."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from every_method import CLASSES, CONFIGS, SIZE, build
from tiny_run import image_set

from semiseg_lib import recipes
from semiseg_lib.batches.loader import Loader
from semiseg_lib.batches.options import ViewConfig
from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.datasets.sample import Boxes
from semiseg_lib.experiments import Inputs, Run, self_correction, training
from semiseg_lib.methods import PrimaryConfig

MIRRORED = ViewConfig(
    shift=8, border="mirror", brightness=0.3, contrast=0.3, saturation=0.3
)
COUNT, STEPS = 6, 20
EVERY = pytest.mark.parametrize("config", CONFIGS, ids=repr)


def drawn(seed: int, labelled: bool):
    """Images of noise with masks, if they are labelled, and with two boxes each."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (COUNT, 3, SIZE, SIZE), dtype=np.uint8)
    masks = random.integers(0, CLASSES, (COUNT, SIZE, SIZE), dtype=np.uint8)
    corners = np.sort(random.uniform(0, SIZE, (COUNT, 2, 2, 2)), axis=2).reshape(COUNT, 2, 4)
    boxes = [Boxes(one.astype(np.float32), np.arange(1, 3)) for one in corners]
    names = [f"{seed}-{number}" for number in range(COUNT)]
    return image_set(images, masks if labelled else None, CLASSES, boxes, names)


class Drawn(Inputs):
    """Inputs whose images are noise, whatever dataset a value names."""

    def data(self, value) -> SimpleNamespace:
        unlabelled = drawn(1, False)
        return SimpleNamespace(
            labelled=drawn(0, True), unlabelled=unlabelled, boxed=unlabelled,
            classes=("paper", "circle", "square"),
            names={"labelled": (), "val": (), "test": ()},
        )


def run_of(config, augment: ViewConfig = MIRRORED) -> Run:
    """A run of the method, with the stored logits that it reads."""
    method, smoke = build(config), replace(recipes.load("smoke"), augment=augment)
    train = replace(
        smoke.train_unlabelled, batch_labelled=2, validate_every=0,
        batch_unlabelled=3 if "unlabelled" in method.learns_from(config) else 0,
    )
    logits = {f"{part}_logits": self_correction.logits(smoke, 4, part)
              for part in method.needs_logits}
    return Run.of(smoke, 4, config, train, **logits)


def prepared(config) -> Loader:
    """The batches of a run of this method, as :func:`training.train` makes them."""
    run = run_of(config)
    images = Drawn().image_sets(run)
    generator = torch.Generator().manual_seed(2)
    half = SIZE // 2
    stores = {
        f"{name} logits": SimpleNamespace(
            names=images[name].names, in_memory=lambda: 3 * torch.randn(
                COUNT, CLASSES, half, half, generator=generator).half())
        for name in ("labelled", "unlabelled") if name in build(config).needs_logits
    }
    return training.make_loader(
        run, training._labelled(run, images, stores), training._unlabelled(images, stores)
    )


def losses_of_training(config, steps: int, change=lambda batch: batch) -> list[dict[str, float]]:
    """The losses of each step on changed batches."""
    method = build(config).train()
    loader = prepared(config)
    groups = [{"params": group["params"]} for group in method.parameter_groups()]
    optimizer = torch.optim.SGD(groups, lr=0.01)
    history = []
    for step in range(steps):
        optimizer.zero_grad()
        terms = method.losses(change(loader.batch(step)), step / steps)
        sum(terms.values()).backward()
        optimizer.step()
        method.after_step(step)
        history.append({name: loss.item() for name, loss in terms.items()})
    return history


@EVERY
def test_a_part_holds_what_the_losses_read_and_nothing_more(config):
    method = build(config)
    batch = prepared(config).batch(0)
    assert method.reads <= {"box_maps", "allowed"}
    assert method.uses_boxes == ("box_maps" in method.reads) == (config.name == "ancillary")
    assert ("allowed" in method.reads) == (config == PrimaryConfig(constrain=True))
    for name in method.learns_from(config):
        part = getattr(batch, name)
        for given in ("box_maps", "allowed"):
            assert (getattr(part, given) is not None) == (given in method.reads), given
        assert (part.logits_ancillary is not None) == (name in method.needs_logits)
        assert (part.masks is not None) == (name == "labelled")
    assert (batch.unlabelled is None) == ("unlabelled" not in method.learns_from(config))


@EVERY
def test_it_trains_on_the_parts_that_a_run_prepares(config):
    history = losses_of_training(config, 2)
    assert all(np.isfinite(list(row.values())).all() for row in history)
    assert history[0] != history[1] and history[0]["labelled"] > 0


@EVERY
def test_no_boxes_are_opened_for_a_method_that_reads_none(config):
    method = build(config)
    images = Drawn().image_sets(run_of(config))
    assert images.keys() == method.learns_from(config)
    for one in images.values():
        assert (one.sample(0).boxes is None) == (not method.reads)


def watched(part: Part, forbidden: set[str]) -> Part:
    """The same part; whoever reads a forbidden field of it, or of a copy, fails."""

    class Watched(Part):
        def __getattribute__(self, name: str):
            asking = sys._getframe(1).f_globals.get("__name__")
            if name in forbidden and asking != "dataclasses":  # which copies all fields
                raise AssertionError(f"{name} was read")
            return super().__getattribute__(name)

    return Watched(**vars(part))


@EVERY
def test_no_field_is_read_that_was_not_declared(config, make_batch):
    """CAC crops whatever masks a part has; those of unlabelled images must not matter."""
    batch, method = make_batch(), build(config)
    hidden = replace(batch.unlabelled, masks=torch.full((3, SIZE, SIZE), 99))
    forbidden = {"labelled": set(), "unlabelled": set() if config.name == "cac" else {"masks"}}
    for name, fields in forbidden.items():
        fields |= {"box_maps", "allowed"} - method.reads
        if name not in method.needs_logits:
            fields.add("logits_ancillary")
        if name not in method.learns_from(config):
            fields |= {"images", "inside", "masks"}
    parts = {name: watched(part, forbidden[name])
             for name, part in (("labelled", batch.labelled), ("unlabelled", hidden))}
    with pytest.raises(AssertionError, match="logits_ancillary was read"):
        assert watched(hidden, {"logits_ancillary"}).logits_ancillary is None
    for progress in (0.0, 0.5, 1.0):
        expected = build(config).train().losses(batch, progress)
        found = build(config).train().losses(replace(batch, **parts), progress)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        sum(found.values()).backward()


@EVERY
def test_what_is_declared_is_read(config, make_batch):
    method, batch = build(config).train(), make_batch()
    for field in method.reads:
        without = {name: replace(getattr(batch, name), **{field: None})
                   for name in ("labelled", "unlabelled")}
        with pytest.raises((ValueError, AttributeError, TypeError)):
            method.losses(replace(batch, **without), 0.5)


def no_padding(batch: Batch) -> Batch:
    parts = {name: part and replace(part, inside=None)
             for name, part in vars(batch).items() if name != "seed"}
    return replace(batch, **parts)


@EVERY
def test_mirrored_views_teach_what_views_without_padding_do(config):
    """All of them show the image alone; only the order of a sum may differ."""
    shown = []

    def seen(batch: Batch) -> Batch:
        parts = [part for part in (batch.labelled, batch.unlabelled) if part is not None]
        shown.extend(bool(part.inside.all()) for part in parts)
        return batch

    with_inside = losses_of_training(config, STEPS, seen)
    without = losses_of_training(config, STEPS, no_padding)
    assert shown and all(shown)
    for step, (one, other) in enumerate(zip(with_inside, without, strict=True)):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-6), step
