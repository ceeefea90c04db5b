"""Curves of the learning rate and kinds of optimiser, in closed form and against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_run import built

from semiseg_lib.training.optimizer import learning_rate_curve, make_optimizer
from semiseg_lib.training.options import TrainConfig


@pytest.mark.parametrize("schedule, expected", [
    ("flat", {0: 1, 500: 1, 900: 1, 950: 0.5, 990: 0.1, 1000: 0}),
    ("poly", {0: 1, 500: 0.5**0.9, 900: 0.1**0.9, 1000: 0}),
    ("one_cycle", {0: 0, 125: 0.5, 250: 1, 625: 0.5, 1000: 0}),
    ("cosine", {0: 1, 250: 0.5 + 0.125**0.5, 500: 0.5, 750: 0.5 - 0.125**0.5, 1000: 0}),
    ("constant", {0: 1, 500: 1, 999: 1, 1000: 1}),
])
def test_learning_rate_curves(schedule, expected):
    factor = learning_rate_curve(TrainConfig(steps=1000, schedule=schedule))
    assert {step: factor(step) for step in expected} == pytest.approx(expected, abs=1e-9)
    assert all(0 <= factor(step) <= 1 and math.isfinite(factor(step)) for step in range(1001))


@pytest.mark.parametrize("lr_end", [0.0, 1e-6, 2e-3])
def test_the_cosine_is_torchs_also_with_an_end_a_larger_batch_and_groups(lr_end):
    """lr_end is in units of lr: both are scaled by the batch, here to an eighth, and by group."""
    config = TrainConfig(steps=40, batch_labelled=1, batch_unlabelled=1, lr=4e-3, lr_batch=16,
                         schedule="cosine", lr_end=lr_end)
    factor, method = learning_rate_curve(config), built()
    weights = list(method.parameters())
    method.parameter_groups = lambda: [{"params": weights, "lr_scale": 0.25}]
    ours, theirs = (make_optimizer(method, config) for _ in range(2))
    curve = torch.optim.lr_scheduler.LambdaLR(ours, factor)
    expected = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 40, eta_min=lr_end / 8 / 4)
    for _ in range(40):
        assert curve.get_last_lr() == pytest.approx(expected.get_last_lr(), rel=1e-9)
        for optimizer, schedule in ((ours, curve), (theirs, expected)):
            optimizer.step()
            schedule.step()
    assert curve.get_last_lr() == [pytest.approx(lr_end / 32, abs=1e-15)]


@pytest.mark.parametrize("options, message", [
    ({"schedule": "flat", "lr_end": 1e-4}, r'only schedule "cosine" ends at it, not "flat"'),
    ({"schedule": "constant", "lr_end": 1e-4}, r'only schedule "cosine"'),
    ({"schedule": "cosine", "lr_end": -1e-4}, r"lr_end is -0\.0001; it must be in \[0, "),
    ({"schedule": "cosine", "lr": 0.01, "lr_end": 0.02}, r"lr_end is 0\.02.* in \[0, 0\.01\]"),
])
def test_an_end_that_cannot_be_reached_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)


@pytest.mark.parametrize("name, moved", [("adam", (-0.01, 0.01)), ("adamw", (-0.004, 0.006))])
def test_adams_decay_is_part_of_the_gradient_and_adamws_is_not(name, moved):
    """Adam's first step is lr times the sign of what it takes for the gradient.

    Two weights of 2, with the gradients 0 and -0.5 and decay 0.2. Adam's sums are 0.4 and -0.1.
    AdamW shrinks both by lr * 0.2 * 2 = 0.004, and moves the second by lr = 0.01 beside.
    """
    method = torch.nn.ParameterList([torch.tensor(2.0), torch.tensor(2.0)])
    method.parameter_groups = lambda: [{"params": list(method), "lr_scale": 1.0}]
    for weight, gradient in zip(method, (0.0, -0.5), strict=True):
        weight.grad = torch.tensor(gradient)
    make_optimizer(method, TrainConfig(optimizer=name, lr=0.01, weight_decay=0.2)).step()
    assert [weight.item() - 2 for weight in method] == pytest.approx(moved, rel=1e-4)


def test_a_warm_up_rises_in_a_line_to_the_curve():
    factor = learning_rate_curve(TrainConfig(steps=1000, warmup=0.1))
    assert {n: factor(n) for n in (0, 49, 99, 100, 500)} == pytest.approx(
        {0: 0.01, 49: 0.5, 99: 1, 100: 1, 500: 1}
    )


@pytest.mark.parametrize("name, kind", [
    ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD), ("adam", torch.optim.Adam),
])
def test_groups_scale_the_rate_and_every_parameter_decays(name, kind):
    method = built()
    rest, head = list(method.network[0].parameters()), list(method.network[3].parameters())
    method.parameter_groups = lambda: [
        {"params": rest, "lr_scale": 0.1}, {"params": head, "lr_scale": 1.0}
    ]
    optimizer = make_optimizer(
        method, TrainConfig(optimizer=name, lr=0.01, weight_decay=0.3, lr_batch=8)
    )
    assert type(optimizer) is kind  # AdamW is a kind of Adam
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.002, 0.02])
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.3}
