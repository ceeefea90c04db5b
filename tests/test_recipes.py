"""A recipe is a flat file: found by its folder, read as a profile, refused where it is wrong."""

from __future__ import annotations

import re
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
import yaml
from reachable import named_profiles

from semiseg_lib import datasets, methods, recipes
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.batches.weak_view import ViewConfig
from semiseg_lib.cli import main
from semiseg_lib.core.fingerprint import digest, dump
from semiseg_lib.core.fingerprint import load as restored
from semiseg_lib.datasets.dataset import SHIPPED, Dataset
from semiseg_lib.experiments import resolve
from semiseg_lib.experiments import self_correction as story
from semiseg_lib.recipes import Profile, for_dataset, load

LIBRARY = Path(__file__).resolve().parents[1] / "semiseg_lib"
ALL = named_profiles()
FILES = {f"{name}/{one.path.stem}": one for name in recipes.names() for one in recipes.of(name)}
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
    assert not profile.asserts_claims or len(profile.seeds) >= 3


def test_the_profiles_of_the_book_are_there(checkout):
    assert recipes.names() == ["smoke", "laptop", "gpu", "paper"]
    assert set(DRAWN) == {"smoke", "laptop"}
    for key, one in ALL.items():
        assert key.startswith(f"{one.name}/") and key.endswith(one.data.dataset)
    described = yaml.safe_load((checkout / "book.yml").read_text(encoding="utf-8"))
    assert set(recipes.names()) <= set(described["profiles"])


def test_a_profile_cannot_be_changed_by_a_chapter():
    with pytest.raises(AttributeError):
        load("smoke").seeds = (1,)
    other = load("smoke").in_world("harder")
    worlds = [one.data.options.world for one in (other, load("smoke"))]
    assert worlds == ["harder", "hurried"]
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
    with pytest.raises(ValueError, match=r"no recipe for 'folder'.*folder: smoke, laptop, gpu"):
        load("paper", "folder")
    for asked in ("gpu", "smoke"):
        with pytest.raises(ValueError, match=r"dataset .imagenet.; choose from minivoc, voc"):
            load(asked, "imagenet")
    assert all(for_dataset(name) for name in SHIPPED)
    with pytest.raises(ValueError, match="the dataset voc has no option 'world'; it has none"):
        load("gpu", "voc").in_world("harder")


def test_a_dataset_without_numbers_of_its_own_runs_with_the_folders(monkeypatch):
    monkeypatch.setattr(datasets.dataset, "_registered", {})
    datasets.register(Dataset("herbarium", "Leaves", open=lambda *_: None))
    own, folders = for_dataset("herbarium"), for_dataset("folder")
    assert list(own) == list(folders) == ["smoke", "laptop", "gpu"]
    for name, profile in own.items():
        assert profile.data == DataConfig("herbarium") and load(name, "herbarium") == profile
        assert replace(profile, data=folders[name].data) == folders[name]
    with pytest.raises(ValueError, match=r"no recipe for 'herbarium'.*herbarium: smoke, laptop"):
        load("paper", "herbarium")


@pytest.mark.parametrize("key", FILES)
def test_a_profile_has_options_for_every_method_or_the_command_says_for_which(key, capsys):
    """A method that compares pixels has nothing to do where an image has one label."""
    name, dataset = key.split("/")
    there = FILES[key].profile.unlabelled
    every = methods.named_options(unlabelled=True)
    alone = {one for file in FILES.values() if not file.methods for one in file.profile.unlabelled}
    assert set(there) <= set(every)
    for method in every.keys() - alone:
        assert any(method in file.methods for file in FILES.values()), "it has no recipe"
    whole = dataset in ("digits", "cifar10")
    if not whole and not FILES[key].methods:
        assert set(there) == alone
    elif name == "smoke":
        assert main(["train", "cac", "--dataset", dataset, "--profile", name]) == 2
        said = capsys.readouterr().err
        assert f"the profile 'smoke' has no recipe of cac for '{dataset}'." in said
        assert f"For {dataset} it has recipes of fixmatch" in said


@pytest.mark.parametrize("profile", ALL.values(), ids=ALL)
def test_a_profile_survives_json(profile, tmp_path):
    """Its runs do too; see tests/experiments/test_values.py."""
    again = restored(Profile, dump(profile), tmp_path)
    assert again == profile and digest(again) == digest(profile)
    assert digest(replace(profile, asserts_claims=not profile.asserts_claims)) != digest(profile)


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
    # Whether a file's hash is known depends on how long ago it was written, and networks are
    # built once per process.
    return {one for one in called
            if not one.startswith(("datasets/digest.py:", "core/compat.py:"))}


def test_smoke_and_laptop_run_the_same_functions(tmp_path, monkeypatch):
    """The laptop's values, shrunk only in what costs time: nothing else is run than in smoke."""
    smoke, laptop = load("smoke"), load("laptop")
    quick = {
        f"train_{stage}": replace(getattr(laptop, f"train_{stage}"), steps=2)
        for stage in ("supervised", "ancillary", "primary")
    }
    small = replace(laptop, **quick, data=smoke.data, model=smoke.model)
    for one in methods.declared():
        one.load()  # or the first profile would run the bodies of modules, too
    called = functions_called(small, tmp_path / "laptop", monkeypatch)
    assert called == functions_called(smoke, tmp_path / "smoke", monkeypatch)
    assert {"training/loop.py:fit", "methods/self_correcting/method.py:linear_correction"} <= called


SMALL = """
purpose: a test
asserts_claims: false
seeds: [1, 2]
data.dataset: voc
model.width: 4
augment.crop: 32
train.steps: 7
train_primary.steps: 9
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder of recipes with a profile ``own`` beside those of the library's laptop."""
    monkeypatch.setattr(recipes, "FOLDER", tmp_path)
    write(tmp_path / "own" / "voc.yml", SMALL)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def refused(folder: Path, text: str) -> str:
    """Return why a recipe is refused."""
    write(folder / "own" / "bad.yml", text)
    with pytest.raises(ValueError) as raised:
        load("own", "voc")
    return str(raised.value)


def test_a_file_in_the_folder_is_found_and_nothing_else_is_edited(folder, capsys):
    assert recipes.names() == ["own"]
    profile = load("own", "voc")
    assert profile.name == "own" and profile.model.width == 4 and profile.unlabelled == {}
    assert profile.train_primary.steps == 9
    assert profile.train_ancillary.steps == profile.rounds.pretrain.steps == 7
    write(folder / "another" / "camvid.yml", """
base: own/voc
methods: [cutmix-cps]
data.dataset: camvid
method.weight: {value: 2.5, source: code, place: train.py}
""")
    assert recipes.names() == ["another", "own"]
    options = load("another", "camvid", "cutmix-cps").unlabelled["cutmix-cps"]
    assert options.weight == 2.5 and options.cutmix.boxes == 3
    with pytest.raises(SystemExit) as left:
        main(["train", "cutmix-cps", "--profile", "another", "--dataset", "camvid", "--help"])
    said = capsys.readouterr().out
    assert left.value.code == 0 and "--method.weight" in said and "2.5" in said
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert "another, own" in capsys.readouterr().out


@pytest.mark.parametrize("line, message", [
    ("train_primary.stesp: 1", r"own/bad.yml: there is no train_primary.stesp; .* has steps,"),
    ("trian.steps: 1", r"own/bad.yml: there is no trian; a recipe has name, purpose"),
    ("model.decoder_width: many", r"bad.yml: model.decoder_width is 'many'. Input should be a"),
    ("train.lr: 1e-3", r"train_supervised.lr is '1e-3'.* write 1.0e-3"),
    ("augment.scale: 2", r"augment.scale is 2\. Input should be a valid array"),
    ("train.schedule: steep", r"train_supervised.schedule is 'steep'. Input should be 'flat'"),
    ("train.warmup: 2", r"own/bad.yml, train_supervised: train.warmup is 2"),
    ("unlabelled.cpss.weight: 1", r"no method 'cpss'; there are supervised, .* cps"),
    ("data.options.world: tight", r"no data.options.world; data.options has"),
    ("asserts_claims.much: true",
     r"bad.yml: asserts_claims.much lies below a key that has a value"),
    ("model.rates: {value: [1], source: hearsay}",
     r"model.rates.source is 'hearsay'. Input should be '', 'slides'"),
    ("model.rates: {source: code}", r"bad.yml: model.rates.value is missing"),
    ("model.rates: {value: [1], sauce: code}",
     r"there is no model.rates.sauce; model.rates has value,"),
    ("model.width: 5", r"bad.yml is not YAML: the key 'model.width' stands twice"),
    ("methods: primary", r"methods is 'primary'. Input should be a valid array"),
    ("methods: [cps]\ndiffers:\n  - It ends: soon.", r"`differs` begins with 'It ends', which is"),
    ("methods: [cps]\ndiffers:\n  - cac: No.", r"'cac', which is none of its methods cps"),
    ("sources: {hearsay: a}", r"bad.yml: sources is .*Input should be 'slides'"),
])
def test_what_is_wrong_in_a_recipe_is_named_with_its_file(folder, line, message):
    assert re.search(message, refused(folder, SMALL + line))


def test_a_recipe_without_what_it_needs_is_refused(folder):
    assert "train_primary is missing" in refused(
        folder, "data.dataset: voc\npurpose: x\nasserts_claims: false\nseeds: [1]\n"
                "model.width: 4\naugment.crop: 32\ntrain_supervised.steps: 3\n"
                "train_ancillary.steps: 3\n")
    assert "data.dataset is missing" in refused(folder, "purpose: x")
    assert "must consist of lines KEY: VALUE" in refused(folder, "- 1")
    assert "there is no recipe" in refused(folder, "base: own/gone")


def test_an_edited_recipe_is_read_again_in_the_same_process(folder):
    """Its own lines and those of its base; an unchanged one is the same object."""
    other = folder / "other" / "voc.yml"
    write(other, "base: own/voc\n")
    before = recipes.of("other")[0]
    assert recipes.of("other")[0] is before
    edited = SMALL.replace("a test", "another test")
    assert edited != SMALL
    write(folder / "own" / "voc.yml", edited)
    assert recipes.of("other")[0].profile.purpose == "another test"
    write(other, "base: own/voc\npurpose: a third\n")
    assert recipes.of("other")[0].profile.purpose == "a third"


def test_a_base_is_one_deep(folder):
    write(folder / "own" / "camvid.yml", "base: own/voc\ndata.dataset: camvid")
    assert "own/camvid.yml, has a base itself" in refused(folder, "base: own/camvid")
    for key, one in FILES.items():
        content = yaml.safe_load(one.path.read_text(encoding="utf-8"))
        if "base" in content:
            base = FILES[content["base"]].path.read_text(encoding="utf-8")
            assert "base" not in yaml.safe_load(base), key


def test_a_key_takes_the_place_of_all_below_and_above_it(folder):
    write(folder / "own" / "voc.yml", SMALL + "unlabelled.s4mc.strong.blur: 0.1\n"
                                              "unlabelled.s4mc.hard: null\n")
    write(folder / "own" / "camvid.yml", "base: own/voc\ndata.dataset: camvid\n"
          "unlabelled.s4mc.strong: null\nunlabelled.s4mc.hard.least: 5\n")
    assert load("own", "voc").unlabelled["s4mc"].strong.blur == 0.1
    changed = load("own", "camvid").unlabelled["s4mc"]
    assert changed.strong is None and changed.hard.least == 5


def test_two_recipes_for_the_same_are_refused(folder):
    write(folder / "own" / "one.yml", SMALL + "methods: [cps]")
    assert load("own", "voc", "cps").unlabelled and not load("own", "voc").unlabelled
    write(folder / "own" / "two.yml", SMALL + "methods: [cps]")
    with pytest.raises(ValueError, match=r"own/one\.yml and own/two\.yml are both for 'voc'"):
        load("own", "voc", "cps")
    assert "own/bad.yml and own/voc.yml are both for 'voc'" in refused(folder, SMALL)


@pytest.mark.parametrize("method", ["mean-teacher", "supervised"])
def test_a_method_without_a_published_recipe_is_refused_with_those_there_are(method, capsys):
    assert main(["train", method, "--dataset", "voc", "--profile", "paper"]) == 2
    said = capsys.readouterr().err
    assert f"no recipe of {method} for 'voc'. It has none of {method} for any dataset." in said
    others = said.partition("For voc it has recipes of ")[2].partition(".")[0].split(", ")
    assert {"primary", "cps", "cutmix-cps", "s4mc"} < set(others)
    assert not {"pseudo-label", "mean-teacher", "supervised"} & set(others)
    assert f"Profiles with a recipe of {method} for voc: smoke, laptop, gpu (--profile gpu)" in said
    assert main(["pipeline", "--dataset", "camvid", "--profile", "paper"]) == 2
    said = capsys.readouterr().err
    assert "no recipe of primary for 'camvid'. It has one for cityscapes, voc" in said


def test_a_refusal_names_the_method_and_says_what_to_type_instead(capsys):
    assert main(["train", "mean-teacher", "--profile", "paper"]) == 2
    assert capsys.readouterr().err.endswith(
        "the profile 'paper' has no recipe of mean-teacher for 'minivoc'. It has none of "
        "mean-teacher for any dataset. Profiles with a recipe of mean-teacher for minivoc: smoke, "
        "laptop (--profile laptop).\n`semiseg train --help` says what it takes.\n")
    assert main(["train", "cps", "--profile", "paper"]) == 2
    assert (
        "no recipe of cps for 'minivoc'. It has one for cityscapes, voc (--dataset cityscapes). "
        "Profiles with a recipe of cps for minivoc: smoke, laptop (--profile laptop)."
    ) in capsys.readouterr().err


def test_what_a_refusal_says_to_type_is_not_refused(folder):
    write(folder / "alone" / "camvid.yml", SMALL.replace("voc", "camvid") + "methods: [cac]")
    with pytest.raises(ValueError, match=r"own.*--dataset voc") as raised:
        load("own", "camvid", "primary")
    assert "Profiles with" not in str(raised.value)
    load("own", "voc", "primary")
    with pytest.raises(ValueError, match=r"'own' has no recipe of cac for 'camvid'.* alone"):
        load("own", "camvid", "cac")
    assert load("alone", "camvid", "cac").unlabelled["cac"].weight == 0.1


def test_a_recipe_is_a_flat_file_that_anyone_can_read():
    for key, one in FILES.items():
        text = one.path.read_text(encoding="utf-8")
        assert not re.search(r"(^|[ \[])[&*]\w|<<:|!!", text, re.MULTILINE), key
        assert max(map(len, text.splitlines())) <= 100, key
        for name, value in yaml.safe_load(text).items():
            flat = not isinstance(value, dict) or "value" in value or name == "sources"
            assert flat, f"{key}: {name}"
