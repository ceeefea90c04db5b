"""The memory estimate against what the same step keeps with real tensors, and by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from semiseg_lib import methods, recipes
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.options import THREE_BOXES, CutMixConfig, StrongConfig, ViewConfig
from semiseg_lib.batches.part import Batch
from semiseg_lib.experiments import self_correction, training
from semiseg_lib.methods import (
    AncillaryConfig,
    CACConfig,
    CPSConfig,
    ELNConfig,
    FixMatchConfig,
    MeanTeacherConfig,
    PrimaryConfig,
    PseudoLabelConfig,
    S4MCConfig,
    SupervisedConfig,
)
from semiseg_lib.methods.base import Method
from semiseg_lib.methods.options import HardPixels
from semiseg_lib.models import ModelConfig
from semiseg_lib.training.memory import MemoryEstimate, estimate, example_batch, saved_bytes

CONFIGS = [SupervisedConfig(), AncillaryConfig(), PrimaryConfig()]
UNLABELLED = [
    FixMatchConfig(), FixMatchConfig(views=2, feature_dropout=0.5, hard=HardPixels(least=100)),
    CPSConfig(), CPSConfig(cutmix=THREE_BOXES), PseudoLabelConfig(),
    CPSConfig(cutmix=THREE_BOXES, label_passes="eval", hard=HardPixels(least=100)),
    SupervisedConfig(strong=StrongConfig(), cutmix=CutMixConfig()),
    MeanTeacherConfig(), S4MCConfig(), S4MCConfig(strong=None, hard=HardPixels(least=100)),
    S4MCConfig(indicator_of="unmixed", indicator="entropy", neighbours=8, support=2),
    CACConfig(crop=0.5, channels=8, negatives=100),
    CACConfig(crop=0.75, stride=4, channels=8, bank=0, hard=HardPixels(least=100)),
    ELNConfig(error=ModelConfig(width=4), unlabelled_from=0.3, channels=8),
    ELNConfig(error=ModelConfig(width=4), contrast=0.0, unlabelled_from=0.3),
]


def build(config, width: int = 8) -> Method:
    torch.manual_seed(0)
    return methods.build(config, ModelConfig(width=width), 6)


def real(batch: Batch) -> Batch:
    """The same shapes with values."""
    parts = [part and replace(part, **{
        name: torch.ones(value.shape, dtype=value.dtype)
        for name, value in vars(part).items() if isinstance(value, torch.Tensor)
    }) for part in (batch.labelled, batch.unlabelled)]
    return Batch(*parts)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("precision, off", [("no", 0), ("bf16", 0.01)])
def test_the_activations_are_those_of_real_tensors(config, precision, off):
    method = build(config)
    batch = example_batch(method, 6, labelled=2, unlabelled=3, size=(64, 64))
    exact = saved_bytes(build(config).train(), real(batch), precision)
    assert estimate(method, batch, precision).activations == pytest.approx(exact, rel=off)


def test_the_count_is_the_closed_form_of_a_chain():
    """ReLU of a convolution: the image and the ReLU's result are kept, and the loss's input."""

    class Chain(Method):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(3, 5, 1)

        def head_logits(self, images, box_maps=None):
            return self.convolution(images).relu()

        def losses(self, batch, progress):
            return {"square": self.head_logits(batch.labelled.images).square().sum()}

    method = Chain()
    found = estimate(method, example_batch(method, 5, labelled=2, unlabelled=0, size=(16, 16)))
    assert found.activations == 4 * 2 * 16 * 16 * (3 + 5)  # ReLU's result serves the square too
    weights = 4 * (3 * 5 + 5)
    assert found == MemoryEstimate(weights, weights, 2 * weights, 0, found.activations)
    assert found.total == 4 * weights + found.activations


def test_activations_grow_by_the_same_amount_with_each_image():
    method = build(PrimaryConfig())
    sizes = [
        estimate(method, example_batch(method, 6, n, n, (64, 64))).activations for n in (1, 2, 3, 8)
    ]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] > 0
    assert sizes[3] - sizes[0] == 7 * (sizes[1] - sizes[0])
    quarter = estimate(method, example_batch(method, 6, 8, 8, (32, 32))).activations
    assert sizes[3] / quarter == pytest.approx(4, rel=0.01)


def test_the_parts_follow_from_the_number_of_weights():
    method = build(PrimaryConfig())
    learnt = 4 * sum(p.numel() for p in method.network.parameters())
    batch = example_batch(method, 6, 2, 2, (64, 64))
    adamw, sgd = (estimate(method, batch, optimizer=name) for name in ("adamw", "sgd"))
    assert (adamw.weights, adamw.gradients, adamw.optimizer) == (learnt, learnt, 2 * learnt)
    assert sgd.optimizer == learnt and sgd.activations == adamw.activations
    assert learnt < adamw.average < 1.1 * learnt, "a second copy, and batch statistics"
    assert estimate(method, batch, "bf16").activations < 0.75 * adamw.activations


def test_the_method_stays_as_it_is():
    method = build(PrimaryConfig()).eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    estimate(method, example_batch(method, 6, 2, 2, (64, 64)), "bf16")
    assert not method.training and all(p.grad is None for p in method.parameters())
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())


def test_a_batch_too_large_for_any_machine_costs_nothing_to_estimate():
    method = build(SupervisedConfig(), width=64)
    batch = example_batch(method, 6, labelled=4096, unlabelled=0, size=(1024, 1024))
    found = estimate(method, batch)
    assert found.total > 1e12 and str(found).startswith(f"about {found.total / 1e12:.2f}TB: act")


def test_losses_that_read_values_are_named():
    class Reading(Method):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def head_logits(self, images, box_maps=None):
            return images * self.scale

        def losses(self, batch, progress):
            return {"odd": self.scale if batch.labelled.images.mean() > 0 else -self.scale}

    method = Reading()
    with pytest.raises(RuntimeError, match="memory of Reading cannot be counted"):
        estimate(method, example_batch(method, 3, 1, 0, (16, 16)))


@pytest.mark.parametrize("config", UNLABELLED, ids=repr)
def test_methods_without_boxes_can_be_counted(config):
    """Their strong views and masks are drawn, and hard pixels sorted, without any values."""
    method = build(config)
    batch = example_batch(method, 6, labelled=2, unlabelled=3, size=(64, 64))
    found = estimate(method, batch)
    exact = saved_bytes(build(config).train(), real(batch))
    assert found.activations == pytest.approx(exact, rel=0.02)
    learnt = 4 * sum(p.numel() for p in method.network.parameters())
    beside = 4 * sum(
        p.numel() for name, p in method.named_parameters()
        if name.startswith(("projector", "auxiliary", "error"))
    )
    assert (beside > 0) == (config.name in ("cac", "eln"))
    assert found.weights == (2 if config.name == "cps" else 1) * learnt + beside


def test_a_second_network_and_a_second_view_cost_what_they_should():
    def activations(config) -> int:
        method = build(config)
        return estimate(method, example_batch(method, 6, 4, 4, (64, 64))).activations

    supervised, cps = activations(SupervisedConfig()), activations(CPSConfig())
    assert 3.5 < cps / supervised < 4.5, "two networks on twice the images"
    one, two = (activations(FixMatchConfig(views=views)) for views in (1, 2))
    assert 1.35 < two / one < 1.65, "three views of four images instead of two"


def test_smaller_crops_and_fewer_phases_cost_less():
    def activations(config) -> int:
        method = build(config)
        return estimate(method, example_batch(method, 6, 4, 4, (64, 64))).activations

    half, whole = (
        activations(CACConfig(crop=crop, channels=8, negatives=50, bank=0)) for crop in (0.5, 1.0)
    )
    assert 3.5 < whole / half < 4.5, "crops of a quarter of the pixels"
    eln = ELNConfig(error=ModelConfig(width=4), channels=8)
    before, after = (
        activations(replace(eln, auxiliary_from=start, unlabelled_from=start))
        for start in (0.9, 0.0)
    )
    assert before == activations(SupervisedConfig()) < after / 3


@pytest.mark.parametrize("crop, said", [(0, ""), (48, ""), (512, "about ")])
def test_the_step_of_a_large_batch_is_announced_and_that_of_a_small_one_is_not(crop, said, capsys):
    """What a step takes is worth a line only where it could be too much."""
    profile = replace(recipes.load("smoke"), augment=ViewConfig(crop=crop))
    run, data = self_correction.supervised(profile, 0), Data(profile.data, 0)
    method = methods.build(run.method, run.model, 5)
    loader = training.make_loader(run, data.labelled.without_boxes(), None)
    training._announce_memory(method, loader, run, 5)
    printed = capsys.readouterr().out
    assert printed.startswith(said) and bool(printed) == bool(said)
