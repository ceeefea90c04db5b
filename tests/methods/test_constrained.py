"""A primary whose labels keep to the boxes, from the profile to the stored run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from semiseg_lib import profiles
from semiseg_lib.methods import PrimaryConfig
from semiseg_lib.runs import RunFolder, fingerprint
from semiseg_lib.stages import Pipeline, RunConfig


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(tmp_path_factory.mktemp("constrained")))
        yield Pipeline(profiles.load("smoke"), 11, "cpu")


def test_a_constrained_run_is_another_run_and_the_default_one_stays_what_it_was(pipeline):
    free, constrained = (
        pipeline.config(PrimaryConfig(constrain=on), pipeline.profile.train_primary, "a")
        for on in (False, True)
    )
    assert fingerprint(free) != fingerprint(constrained)
    default = pipeline.config(PrimaryConfig(), pipeline.profile.train_primary, "a")
    assert fingerprint(free) == fingerprint(default)


def test_it_trains_from_end_to_end_and_learns_something_else(pipeline):
    options = replace(pipeline.profile.primary, constrain=True)
    constrained, free = pipeline.primary(options), pipeline.primary()
    assert constrained.folder.path != free.folder.path
    stored = RunFolder(constrained.folder.path).read_config(RunConfig)
    assert stored.method == options and constrained.method.reads == {"allowed"}
    losses = [[row["loss_unlabelled"] for row in one.history] for one in (constrained, free)]
    assert all(loss > 0 for loss in losses[0]) and losses[0] != losses[1]
    assert 0 <= pipeline.evaluate(constrained).mean_iou <= 1
    again = pipeline.primary(options)
    assert again.record == constrained.record and again.method.config == options
