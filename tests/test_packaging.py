"""What an installation gets: versions that fit every Python that is allowed, and one number."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import semiseg_lib

CHECKOUT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = dict(re.findall(r"^([\w.-]+)==(\S+)$",
                       (CHECKOUT / "requirements.lock").read_text(encoding="utf-8"), re.M))
LEAST_PYTHON = "3.11.2"
"""That of Debian 12."""


def asked_for() -> list[Requirement]:
    """Return every package that the project asks for, with those of its extras."""
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(one) for group in (PROJECT["dependencies"], *extras) for one in group]


@pytest.mark.parametrize("one", asked_for(), ids=lambda one: one.name)
def test_what_is_asked_for_is_in_the_lock_and_fits(one):
    locked = {canonicalize_name(name): version for name, version in LOCK.items()}
    assert one.specifier.contains(locked[canonicalize_name(one.name)])


FROM_EXTRAS = {"semiseg_lib": {"av": "video", "cv2": "grabcut"}, "bookkit": {}, "tests": {}}
"""Modules that only some need, and the extra that brings each, by the folder that imports them."""
EXTRAS = {"semiseg_lib": (), "bookkit": ("book", "lab"),
          "tests": ("test", "book", "lab", "browser")}


def imported(folder: str) -> set[str]:
    """The names of the top-level modules that the files of a folder import, anywhere in them."""
    names = set()
    for path in (CHECKOUT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {one.name for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module)
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)


@pytest.mark.parametrize("folder", EXTRAS)
def test_what_is_imported_is_asked_for_by_its_own_name(folder):
    """No package is relied on because another one happens to bring it today."""
    brings = importlib.metadata.packages_distributions()
    extras = PROJECT["optional-dependencies"]
    asked = {canonicalize_name(Requirement(one).name) for group in (
        PROJECT["dependencies"], *(extras[name] for name in EXTRAS[folder])) for one in group}
    unasked = {
        name for name in imported(folder) & brings.keys() - {"semiseg_lib", "bookkit"}
        if not {canonicalize_name(one) for one in brings[name]} & asked
    }
    assert unasked == FROM_EXTRAS[folder].keys()
    for name, extra in FROM_EXTRAS[folder].items():
        named = {canonicalize_name(Requirement(one).name) for one in extras[extra]}
        assert {canonicalize_name(one) for one in brings[name]} & named


def test_every_locked_package_takes_debians_python():
    too_new, tried = [], 0
    for name, version in LOCK.items():
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of another system or extra
        takes = SpecifierSet(found.metadata.get("Requires-Python") or "")
        if found.version == version:
            tried += 1
            if not takes.contains(LEAST_PYTHON):
                too_new.append(f"{name}=={version} needs Python {takes}")
    assert too_new == [] and tried > 0.8 * len(LOCK)


def test_the_version_stands_in_one_place():
    assert PROJECT["dynamic"] == ["version"] and "version" not in PROJECT
    assert importlib.metadata.version("semiseg_lib") == semiseg_lib.__version__


def test_type_checkers_know_the_version():
    stub = ast.parse((CHECKOUT / "semiseg_lib" / "__init__.pyi").read_text(encoding="utf-8"))
    assert "__version__: str" in map(ast.unparse, stub.body)


def test_environment_yml_installs_what_make_setup_installs():
    given = yaml.safe_load((CHECKOUT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, below = given["dependencies"]
    name, _, version = python.partition("=")
    assert name == "python" and pip == "pip"
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    asked = re.search(r"install --quiet (-c requirements\.lock) (-e) \"(\S+)\"", makefile)
    assert below["pip"] == [asked[1], f"{asked[2]} {asked[3]}"]
    assert (CHECKOUT / "requirements.lock").is_file()


def test_the_workflow_tries_every_python_every_system_and_the_lowest_versions():
    file = CHECKOUT / ".github" / "workflows" / "tests.yml"
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["tests"]["strategy"]["matrix"]
    assert [one.split("-")[0] for one in matrix["os"]] == ["ubuntu", "macos", "windows"]
    tried = {*matrix["python"], *(one["python"] for one in matrix["include"])}
    assert tried == {"3.11", "3.12", "3.13", "3.14"}
    assert "lowest-direct" in str(workflow["jobs"]["lowest"])
    assert any(".ci/wheel" in str(step) for step in workflow["jobs"]["tests"]["steps"])


def test_the_checkout_and_its_history_stay_small():
    """20 MB of files, 90 MB of history."""
    if not (CHECKOUT / ".git").exists():
        pytest.skip("no clone")

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True,
                              check=True).stdout

    files = [CHECKOUT / name for name in git("ls-files", "-z").split("\0") if name]
    assert sum(path.stat().st_size for path in files if path.is_file()) <= 20e6
    kilobytes = dict(line.split(": ") for line in git("count-objects", "-v").splitlines())
    assert int(kilobytes["size-pack"]) + int(kilobytes["size"]) <= 90_000
