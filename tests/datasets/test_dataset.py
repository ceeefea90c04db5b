"""Declarations: those that are shipped, those of a script, those of another package."""

from __future__ import annotations

import sys
from dataclasses import dataclass, is_dataclass
from pathlib import Path

import pytest

from semiseg_lib.datasets import dataset as registry
from semiseg_lib.datasets.acquire import Download
from semiseg_lib.datasets.audit import audit_dataset
from semiseg_lib.datasets.dataset import (
    LISTS,
    SHIPPED,
    Dataset,
    DatasetOptions,
    find,
    names,
    register,
    usable,
)
from semiseg_lib.datasets.minivoc import MiniVOCOptions, Sizes

SMALL = MiniVOCOptions(sizes=Sizes(4, 3, 2, 2))


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a test registers or installs is forgotten after it."""
    monkeypatch.setattr(registry, "_registered", {})
    registry._installed.cache_clear()
    yield
    registry._installed.cache_clear()


def opened(request, root, seed):
    raise AssertionError("nothing opens this dataset")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_dataset_declares_itself(name):
    declared = find(name)
    assert declared.name == name and declared.title and declared.licence.endswith(".")
    assert issubclass(declared.options, DatasetOptions) and is_dataclass(declared.options)
    assert set(declared.lists) <= set(LISTS)
    assert all(isinstance(one, Download) for one in declared.downloads.values())
    assert declared.needs_root == (name not in ("minivoc", "digits"))
    assert declared.cached == (name in ("minivoc", "digits", "cifar10"))
    assert (declared.audit is None) == (name in ("digits", "cifar10"))
    assert bool(declared.place) == bool(declared.marks)
    assert set(declared.options().counts()) <= set(LISTS)


def test_the_names_are_those_of_the_shipped_ones():
    assert names()[: len(SHIPPED)] == SHIPPED
    with pytest.raises(ValueError, match=r"unknown dataset 'coco'; .* minivoc, voc, .*cifar10"):
        find("coco")


@pytest.mark.parametrize("name", ["minivoc", "digits"])
def test_sources_and_readers_are_as_described(name, tmp_path, monkeypatch, ask):
    """What needs no files at hand; the others are tested beside their readers."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    request = ask(name, **({"options": SMALL} if name == "minivoc" else {}))
    source = find(name).source(request, None, 0)
    assert source.boxed.shape == (len(source.classes),) and source.boxed.dtype == bool
    for which in (*LISTS, "hidden"):
        reader = source.reader(which, masks=True, boxes=True)
        assert list(reader.names) == list(source.names(which)) and len(reader) > 0
        assert reader.classes == source.classes
        sample, content = reader[1], list(reader.content(1))
        assert sample.mask is not None and sample.mask.shape == sample.image.shape[1:]
        assert (sample.boxes is not None) == source.has_boxes(sample.name) == reader.boxes
        assert len(content) == 2 + reader.boxes
        assert all(one.is_file() if isinstance(one, Path) else one for one in content)
        assert isinstance(dict(reader.canonical), dict)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_list_that_is_fixed_is_refused(name, ask):
    declared = find(name)
    declared.refuse_lists(ask(name))
    for which in LISTS:
        request = ask(name, **{which: "some"})
        if which in declared.lists:
            declared.refuse_lists(request)
            continue
        with pytest.raises(ValueError, match=rf"{name} does not support data\.{which}"):
            declared.source(request, None, 0)


@pytest.mark.parametrize("name", [name for name in SHIPPED if find(name).place])
def test_the_folder_is_the_place_below_the_root_or_the_root(name, tmp_path):
    declared = find(name)
    with pytest.raises(FileNotFoundError, match=rf"no folder was named.*semiseg data {name}"):
        declared.folder(None)
    with pytest.raises(FileNotFoundError, match=rf"is not a folder.*semiseg data {name}"):
        declared.folder(tmp_path / "nowhere")
    place = tmp_path / declared.place
    place.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=rf"holds neither {declared.place}"):
        declared.folder(tmp_path)
    (place / declared.marks[0]).mkdir(parents=True)
    assert declared.folder(tmp_path) == declared.folder(place) == place


def test_a_script_registers_a_dataset_and_may_do_so_again():
    register(Dataset("mine", "first", opened))
    register(Dataset("mine", "second", opened))
    assert find("mine").title == "second" and names() == (*SHIPPED, "mine")
    with pytest.raises(ValueError, match="the dataset mine has no audit; choose from minivoc"):
        audit_dataset("mine", Path.cwd())


@dataclass
class Loose:
    """Options that do not derive from DatasetOptions."""


@pytest.mark.parametrize(("declared", "complaint"), [
    ("mine", "is not a Dataset"),
    (Dataset("voc", "", opened), "'voc' is the name of a shipped dataset"),
    (Dataset("My Set", "", opened), "use lower-case letters, digits, hyphens"),
    (Dataset("mine", "", opened, options=Loose), "derive a frozen dataclass from DatasetOptions"),
])
def test_what_is_no_declaration_is_refused(declared, complaint):
    with pytest.raises(ValueError, match=complaint):
        register(declared)


def install(folder: Path, name: str, module: str, source: str) -> None:
    """Write a package whose entry point names the ``DATASET`` of its module."""
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
                                   encoding="utf-8")
    (info / "entry_points.txt").write_text(
        f"[semiseg_lib.datasets]\n{name} = {module}:DATASET\n", encoding="utf-8")


def test_a_dataset_of_another_package_is_found_by_its_entry_point(tmp_path, monkeypatch):
    install(
        tmp_path, "herbarium", "herbarium",
        "from semiseg_lib.datasets.dataset import Dataset\n\n\n"
        "DATASET = Dataset('herbarium', 'Leaves', lambda request, root, seed: None)\n",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "herbarium" in names() and "herbarium" not in sys.modules, "named without an import"
    assert find("herbarium").title == "Leaves" and find("herbarium") is find("herbarium")
    monkeypatch.delitem(sys.modules, "herbarium")


@pytest.mark.parametrize("module, words", [
    ("raise ImportError('no such thing')", "cannot be imported from"),
    ("DATASET = 5", "not a Dataset of this name"),
    ("from semiseg_lib.datasets import Dataset\n"
     "DATASET = Dataset('other', 'Other', lambda request, root, seed: None)",
     "not a Dataset of this name"),
])
def test_a_broken_package_is_named_and_hides_no_other_dataset(
    tmp_path, monkeypatch, module, words
):
    install(tmp_path, "broken", "brokenmod", module)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=words):
        find("broken")
    assert {one.name for one in usable()} >= set(SHIPPED) and "broken" in names()
    monkeypatch.delitem(sys.modules, "brokenmod", raising=False)
