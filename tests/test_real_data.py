"""Every stage on real photographs, by the command in README.md, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from semiseg_lib import methods
from semiseg_lib.cli import main

ROOT = os.environ.get("SEMISEG_DATA", "")
SMOKE = ["--profile", "smoke", "--seed", "5", "--device", "cpu"]

pytestmark = pytest.mark.skipif(
    not (Path(ROOT) / "VOCdevkit").is_dir(),
    reason="needs real photographs: SEMISEG_DATA names no folder with VOCdevkit",
)


def test_one_command_runs_all_stages_on_voc(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    monkeypatch.delenv("SEMISEG_DATA")
    assert main(["pipeline", "--dataset", "voc", "--root", ROOT, *SMOKE]) == 0
    printed = capsys.readouterr().out
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(table) == 7
    runs = sorted(path.name.rsplit("-", 2)[0] for path in (tmp_path / "runs").iterdir())
    assert runs == ["ancillary"] * 2 + ["conv-primary"] * 2 + ["primary"] * 2 + ["supervised"]
    assert all((run / "lists.json").is_file() for run in (tmp_path / "runs").iterdir())


def test_voc_is_sound_in_the_checkers_eyes(capsys):
    assert main(["data", "audit", "voc", "--root", ROOT, "--sample", "40"]) == 0
    printed = capsys.readouterr().out
    assert "FAIL" not in printed.replace("0 FAIL", "") and "cat" in printed


def test_camvid_trains_where_nothing_has_boxes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    if not (Path(ROOT) / "camvid").is_dir():
        pytest.skip("needs CamVid under SEMISEG_DATA")
    arguments = ["train", "supervised", "--dataset", "camvid", "--root", ROOT, *SMOKE]
    assert main(arguments) == 0
    assert "bicyclist" in capsys.readouterr().out.lower()
    assert main(["pipeline", "--dataset", "camvid", "--root", ROOT, *SMOKE]) == 1
    assert "camvid has no boxes on" in capsys.readouterr().err


@pytest.fixture(scope="module")
def works(tmp_path_factory):
    """A folder a dataset, so that methods share the supervised run that they start with."""
    return {dataset: tmp_path_factory.mktemp(dataset) for dataset in ("voc", "camvid")}


TRIED = [(method, ("voc", "camvid")[number % 2])
         for number, method in enumerate(["pseudo-label", *methods.named_options(unlabelled=True)])]
"""Every method on one of the two datasets, in turn: only the reader tells them apart."""


@pytest.mark.parametrize(("method", "dataset"), TRIED)
def test_every_method_without_boxes_trains_from_one_command(
    method, dataset, works, monkeypatch, capsys
):
    monkeypatch.setenv("SEMISEG_WORK", str(works[dataset]))
    if dataset == "camvid" and not (Path(ROOT) / "camvid").is_dir():
        pytest.skip("needs CamVid under SEMISEG_DATA")
    assert main(["train", method, "--dataset", dataset, "--root", ROOT, *SMOKE]) == 0
    assert "mIoU on val:" in capsys.readouterr().out
    if method == "pseudo-label":
        (labels,) = (works[dataset] / "pseudo_labels").glob("train_pseudoIt1-*")
        assert len(list(labels.rglob("*.png"))) == 3
