"""A primary whose labels keep to the boxes, from the profile to the stored run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from semiseg_lib import recipes
from semiseg_lib.experiments import Inputs, open_run, resolve, self_correction
from semiseg_lib.methods import PrimaryConfig

SMOKE = recipes.load("smoke")


@pytest.fixture(scope="module", autouse=True)
def work(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(tmp_path_factory.mktemp("constrained")))
        yield


def test_a_constrained_run_is_another_run_and_the_default_one_stays_what_it_was():
    inputs = Inputs()
    free, constrained, default = (
        inputs.identity(self_correction.primary(SMOKE, 11, options)).digest for options in
        (PrimaryConfig(constrain=False), PrimaryConfig(constrain=True), PrimaryConfig())
    )
    assert free != constrained
    assert free == default


def test_it_trains_from_end_to_end_and_learns_something_else():
    options = replace(SMOKE.primary, constrain=True)
    run = self_correction.primary(SMOKE, 11, options)
    constrained = resolve(run, "cpu")
    free = resolve(self_correction.primary(SMOKE, 11), "cpu")
    assert constrained.folder.path != free.folder.path
    stored = open_run(constrained.folder.path, "cpu").run
    assert stored == run and stored.method == options
    assert constrained.method.reads == {"allowed"}
    losses = [[row["loss_unlabelled"] for row in one.history] for one in (constrained, free)]
    assert all(loss > 0 for loss in losses[0]) and losses[0] != losses[1]
    assert 0 <= constrained.evaluate().mean_iou <= 1
    labels = resolve(run.unlabelled_logits, "cpu")
    hasty = replace(SMOKE, train_ancillary=replace(SMOKE.train_ancillary, checkpoint_seconds=1.0))
    same = resolve(self_correction.logits(hasty, 11), "cpu")
    assert same.folder == labels.folder and same.complete, "what decides no result is set aside"
    again = resolve(run, "cpu")
    assert again.record == constrained.record and again.method.config == options
