"""A profile is data: one schema, one call path, other numbers."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
import yaml

from semiseg_lib import datasets
from semiseg_lib.batches.data import DataConfig
from semiseg_lib.batches.weak_view import ViewConfig
from semiseg_lib.cli import main
from semiseg_lib.cli.commands import UNLABELLED
from semiseg_lib.core.fingerprint import digest, dump
from semiseg_lib.core.fingerprint import load as restored
from semiseg_lib.datasets.dataset import SHIPPED, Dataset
from semiseg_lib.experiments import resolve
from semiseg_lib.experiments import self_correction as story
from semiseg_lib.profiles import PROFILES, RECIPES, Profile, for_dataset, load

LIBRARY = Path(__file__).resolve().parents[1] / "semiseg_lib"
ALL = {f"{name} {dataset}": profile
       for name, chosen in PROFILES.items() for dataset, profile in chosen.items()}
ALL |= {f"paper {dataset} {method}": profile
        for method, of in RECIPES.items() for dataset, profile in of.items()}
DRAWN = for_dataset("minivoc")


def schema(value) -> dict:
    """The field names and types of a nested dataclass."""
    return {
        field.name: schema(inner) if is_dataclass(inner) else type(inner).__name__
        for field in fields(value) for inner in [getattr(value, field.name)]
    }


def numbers_as_one(tree):
    if isinstance(tree, dict):
        return {key: numbers_as_one(value) for key, value in tree.items()}
    return "number" if tree in ("int", "float") else tree


@pytest.mark.parametrize("profile", ALL.values(), ids=ALL)
def test_all_profiles_have_the_schema_of_the_laptops(profile):
    """Field by field, the images and their views too, but for the options of a dataset."""
    assert type(profile) is Profile
    laptop, own = numbers_as_one(schema(DRAWN["laptop"])), numbers_as_one(schema(profile))
    for tree in (laptop, own):
        del tree["data"]["options"]
    assert own == laptop
    assert (type(profile.data), type(profile.augment)) == (DataConfig, ViewConfig)
    assert type(profile.data.options) is datasets.find(profile.data.dataset).options
    assert len(set(profile.seeds)) == len(profile.seeds) >= 2
    assert not profile.judges or len(profile.seeds) >= 3


def test_the_profiles_of_the_book_are_there(checkout):
    assert set(PROFILES) == {"smoke", "laptop", "gpu", "paper"}
    assert set(DRAWN) == {"smoke", "laptop"}
    assert all(f"{key} ".startswith(f"{one.name} {one.data.dataset} ") for key, one in ALL.items())
    described = yaml.safe_load((checkout / "book.yml").read_text(encoding="utf-8"))
    assert set(PROFILES) <= set(described["profiles"])


def test_a_profile_cannot_be_changed_by_a_chapter():
    with pytest.raises(AttributeError):
        load("smoke").seeds = (1,)
    other = load("smoke").in_world("tight")
    worlds = [one.data.options.world for one in (other, load("smoke"))]
    assert worlds == ["tight", "hurried"]
    assert replace(other, data=load("smoke").data) == load("smoke")


@pytest.mark.parametrize("asked, variable, expected", [
    ("smoke", "laptop", "smoke"), (None, "smoke", "smoke"), (None, "", "laptop"),
    (None, None, "laptop"), ("laptop", None, "laptop"),
])
def test_the_argument_wins_over_the_variable_over_the_default(
    monkeypatch, asked, variable, expected
):
    monkeypatch.delenv("SEMISEG_PROFILE", raising=False)
    if variable is not None:
        monkeypatch.setenv("SEMISEG_PROFILE", variable)
    assert load(asked).name == expected


@pytest.mark.parametrize("variable", [False, True])
def test_an_unknown_profile_lists_those_there_are(monkeypatch, variable):
    monkeypatch.setenv("SEMISEG_PROFILE", "desktop" if variable else "smoke")
    with pytest.raises(ValueError, match=r"no profile 'desktop'; there are smoke, laptop"):
        load(None if variable else "desktop")


def test_a_profile_that_a_dataset_lacks_names_those_it_has():
    with pytest.raises(ValueError, match=r"'paper' has nothing for 'folder'.*: smoke, laptop, gpu"):
        load("paper", "folder")
    for asked in ("gpu", "smoke"):
        with pytest.raises(ValueError, match=r"unknown dataset 'imagenet'; .* minivoc, voc, city"):
            load(asked, "imagenet")
    assert all(for_dataset(name) for name in SHIPPED)
    with pytest.raises(ValueError, match="the dataset voc has no option 'world'; it has none"):
        load("gpu", "voc").in_world("tight")


def test_a_dataset_without_numbers_of_its_own_runs_with_the_folders(monkeypatch):
    monkeypatch.setattr(datasets.dataset, "_registered", {})
    datasets.register(Dataset("herbarium", "Leaves", open=lambda *_: None))
    own, folders = for_dataset("herbarium"), for_dataset("folder")
    assert list(own) == list(folders) == ["smoke", "laptop", "gpu"]
    for name, profile in own.items():
        assert profile.data == DataConfig("herbarium") and load(name, "herbarium") == profile
        assert replace(profile, data=folders[name].data) == folders[name]
    with pytest.raises(ValueError, match=r"'paper' has nothing for 'herbarium'.*: smoke, laptop"):
        load("paper", "herbarium")


@pytest.mark.parametrize("name, dataset", [
    (name, dataset) for name, chosen in PROFILES.items() for dataset in chosen
])
def test_a_profile_has_options_for_every_method_or_the_command_says_for_which(
    name, dataset, capsys
):
    """A method that compares pixels has nothing to do where an image has one label."""
    there = load(name, dataset).unlabelled
    assert set(there) <= set(UNLABELLED)
    whole = dataset in ("digits", "cifar10")
    if not whole and name != "paper":
        assert list(there) == list(UNLABELLED)
    elif name == "smoke":
        assert main(["train", "cac", "--dataset", dataset, "--profile", name]) == 1
        said = capsys.readouterr().err
        assert f"the profile 'smoke' has no cac for '{dataset}'; it has fixmatch" in said


@pytest.mark.parametrize("profile", ALL.values(), ids=ALL)
def test_a_profile_survives_json(profile, tmp_path):
    """Its runs do too; see tests/experiments/test_values.py."""
    again = restored(Profile, dump(profile), tmp_path)
    assert again == profile and digest(again) == digest(profile)
    assert digest(replace(profile, judges=not profile.judges)) != digest(profile)


def functions_called(profile: Profile, work: Path, monkeypatch) -> set[str]:
    """The library's functions that the storyline of this profile runs."""
    monkeypatch.setenv("SEMISEG_WORK", str(work))
    for module in [m for name, m in sys.modules.items() if name.startswith("semiseg_lib")]:
        for cached in vars(module).values():
            getattr(cached, "cache_clear", lambda: None)()
    called: set[str] = set()

    def note(frame, event, _argument):
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(str(LIBRARY)):
            called.add(f"{Path(file).relative_to(LIBRARY)}:{frame.f_code.co_qualname}")

    sys.setprofile(note)
    try:
        resolve(story.supervised(profile, 5), "cpu")
        resolve(story.primary(profile, 5), "cpu").evaluate("test", profile.protocol)
    finally:
        sys.setprofile(None)
    return called


def test_smoke_and_laptop_run_the_same_functions(tmp_path, monkeypatch):
    """The laptop's values, shrunk only in what costs time: nothing else is run than in smoke."""
    smoke, laptop = load("smoke"), load("laptop")
    quick = {
        f"train_{stage}": replace(getattr(laptop, f"train_{stage}"), steps=2)
        for stage in ("supervised", "ancillary", "primary")
    }
    small = replace(laptop, **quick, data=smoke.data, model=smoke.model)
    called = functions_called(small, tmp_path / "laptop", monkeypatch)
    assert called == functions_called(smoke, tmp_path / "smoke", monkeypatch)
    assert "training/loop.py:fit" in called and "methods/self_correcting.py:linear_correction" in called
