"""The work folder, the datasets and the shared folders are where the environment says."""

from __future__ import annotations

import os

import pytest

from semiseg_lib.core import paths


def test_the_work_root_is_the_chosen_folder_else_the_checkouts(monkeypatch, tmp_path, checkout):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    assert paths.work_root() == tmp_path
    monkeypatch.delenv("SEMISEG_WORK")
    assert paths.work_root() == checkout / "data"
    monkeypatch.setattr(paths, "CHECKOUT", tmp_path)  # as in an installed wheel
    assert "semiseg" in paths.work_root().parts and paths.work_root().is_absolute()


def test_the_dataset_root_is_the_chosen_folder_or_none(monkeypatch, tmp_path):
    monkeypatch.delenv("SEMISEG_DATA", raising=False)
    assert paths.dataset_root() is None
    monkeypatch.setenv("SEMISEG_DATA", str(tmp_path))
    assert paths.dataset_root() == tmp_path


def test_paths_in_the_checkout_are_shown_relative_to_it(checkout, tmp_path):
    assert paths.shown(checkout / "data" / "runs" / "a") == "data/runs/a"
    assert paths.shown(tmp_path / "a") == (tmp_path / "a").as_posix()


def test_shared_work_folders_are_listed_as_in_path(monkeypatch, tmp_path):
    monkeypatch.delenv("SEMISEG_SHARED", raising=False)
    assert paths.shared_roots() == ()
    folders = (tmp_path / "a", tmp_path / "b")
    monkeypatch.setenv("SEMISEG_SHARED", os.pathsep.join(map(str, folders)) + os.pathsep)
    assert paths.shared_roots() == folders


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch, tmp_path):
    def no_home(*_: object, **__: object) -> None:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("SEMISEG_WORK", raising=False)
    monkeypatch.setattr(paths, "CHECKOUT", tmp_path)  # as in an installed wheel
    monkeypatch.setattr(paths.platformdirs, "user_data_path", no_home)
    with pytest.raises(RuntimeError, match="set SEMISEG_WORK to a folder"):
        paths.work_root()


@pytest.mark.parametrize("name", ["SEMISEG_WORK", "SEMISEG_DATA", "SEMISEG_SHARED"])
def test_the_home_folder_of_nobody_is_refused_by_the_name_of_what_was_set(monkeypatch, name):
    monkeypatch.setenv(name, "~nosuchuser/x")
    read = {"SEMISEG_WORK": paths.work_root, "SEMISEG_DATA": paths.dataset_root,
            "SEMISEG_SHARED": paths.shared_roots}[name]
    with pytest.raises(RuntimeError, match=f"{name} is '~nosuchuser/x', but there is no such home"):
        read()
