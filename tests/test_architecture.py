"""Arrows go one way, files stay short, and a profile is data: read off the syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "semiseg_lib"
MODULES = sorted(LIBRARY.rglob("*.py"))
LONGEST_FILE = 300

# Lower layers may not import higher ones. A package stands for all of its modules.
LAYERS = [
    ("compat", "options", "paths"),
    ("datasets", "models"),
    ("runs", "logits", "pseudo_labels"),
    ("methods",),
    ("optimisers",),
    ("checkpoints", "inference"),
    ("confidence", "evaluate", "memory", "train"),
    ("profiles", "plots", "tables"),
    ("launch",),
    ("stages", "predicting", "checks"),
    ("unlabelled", "rounds"),
    ("studies", "widgets", "book"),
    ("chapter", "doctor"),
    ("cli", "__main__"),
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def dotted(path: Path) -> str:
    parts = path.relative_to(LIBRARY.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, source: str | None = None) -> set[str]:
    """Dotted names of everything a file imports, also inside functions and relatively."""
    source = path.read_text(encoding="utf-8") if source is None else source
    names: set[str] = set()
    package = dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, node.module or ""]).strip(".") if node.level else node.module
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def part_of(name: str) -> str:
    """The part of the library that a dotted name belongs to: ``datasets``, ``train`` ..."""
    pieces = name.split(".")
    return pieces[1] if len(pieces) > 1 and pieces[0] == "semiseg_lib" else ""


def complaints(check) -> list[str]:
    """What a check has to say about each file of the library."""
    return [f"{dotted(path)}: {one}" for path in MODULES for one in check(path)]


def test_arrows_go_one_way():
    def upwards(path: Path):
        own = part_of(dotted(path))
        for name in imports_of(path):
            other = part_of(name)
            if not own and other not in ("", "compat"):
                yield f"imports {name}"
            if own and other in RANK and other != own and RANK[other] > RANK[own]:
                yield f"imports {name}, which stands above it"

    assert complaints(upwards) == []
    parts = {part_of(dotted(path)) for path in MODULES} - {""}
    assert parts == set(RANK), "give every part of the library its place in LAYERS"


def test_an_arrow_that_goes_up_would_be_noticed():
    """Imports are found in every spelling: relative, inside a function, of a package's name."""
    path = LIBRARY / "datasets" / "boxes.py"
    for spelling in ("from semiseg_lib.train import fit", "import semiseg_lib.train",
                     "def f():\n    from semiseg_lib import train", "from ..train import fit"):
        names = imports_of(path, spelling)
        assert {part_of(name) for name in names} == {"train"}, spelling


def test_datasets_and_models_know_nothing_of_methods_and_training():
    allowed = {"datasets": {"datasets", "options", "paths", ""},
               "models": {"models", "options", ""}}
    for package, parts in allowed.items():
        for path in (LIBRARY / package).rglob("*.py"):
            assert {part_of(name) for name in imports_of(path)} <= parts, dotted(path)


def test_no_method_imports_another():
    """Pieces that two methods need live in ``parts``; only the package knows them all."""
    files = [path for path in (LIBRARY / "methods").glob("*.py") if path.stem != "__init__"]
    assert {"base", "parts", "supervised", "self_correcting"} <= {path.stem for path in files}
    for path in files:
        others = {name.split(".")[2] for name in imports_of(path)
                  if name.startswith("semiseg_lib.methods.")}
        assert others <= {"base", "parts"} - {path.stem}, dotted(path)


@pytest.mark.parametrize("name", [
    "train.py", "checkpoints.py", "optimisers.py", "evaluate.py", "inference.py", "memory.py",
    "logits.py", "runs.py",
])
def test_what_serves_every_method_knows_none_by_name(name):
    path = LIBRARY / name
    imported = {n for n in imports_of(path) if n.startswith("semiseg_lib.methods")}
    assert imported <= {"semiseg_lib.methods.base.Method"}
    methods = {p.stem for p in (LIBRARY / "methods").glob("*.py")} - {"__init__", "base", "parts"}
    words = {n.value for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(n, ast.Constant)}
    assert not words & {*methods, "supervised", "ancillary", "primary"}


def test_nothing_imports_a_notebook_or_a_test():
    def outside(path: Path):
        for name in imports_of(path):
            top = name.split(".")[0]
            if top in ("notebooks", "tests", "conftest") or top[:1].isdigit():
                yield f"imports {name}"

    assert complaints(outside) == []


def test_a_file_can_be_read_in_one_sitting():
    lengths = {dotted(p): len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES}
    assert {name: count for name, count in lengths.items() if count >= LONGEST_FILE} == {}


def test_torchvision_is_made_importable_before_anything_imports_it():
    """The package mends the import before any of its modules is run."""
    body = ast.parse((LIBRARY / "__init__.py").read_text(encoding="utf-8")).body
    statements = [ast.unparse(node) for node in body[1:]]
    assert statements[0] == "from semiseg_lib import compat as _compat"
    assert statements[1] == "_compat.make_torchvision_importable()"
    assert not [n for n in imports_of(LIBRARY / "compat.py") if n.startswith("torchvision")]


def calls(path: Path) -> list[ast.Call]:
    """Every call of a method or of a module's function."""
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]


def test_every_draw_names_its_generator():
    drawing = {"rand", "randn", "randint", "randperm", "normal", "shuffle", "choice", "uniform",
               "random", "seed"}

    def from_a_global_generator(path: Path):
        for call in calls(path):
            owner = ast.unparse(call.func.value)
            named = "generator" in {keyword.arg for keyword in call.keywords}
            if owner in ("torch", "np.random", "numpy.random", "random") and not named \
                    and call.func.attr in drawing:
                yield f"line {call.lineno}: {ast.unparse(call)}"

    assert complaints(from_a_global_generator) == []


def test_text_files_are_read_and_written_as_utf_8():
    """On Windows the default is another encoding, and an α or a ✓ would break it."""

    def without_encoding(path: Path):
        for call in calls(path):
            if call.func.attr in ("read_text", "write_text") and "utf-8" not in ast.unparse(call):
                yield f"line {call.lineno}: {ast.unparse(call)}"

    assert complaints(without_encoding) == []


def profile_names_compared(source: str) -> list[str]:
    """Comparisons and matches with a profile's name, in any expression."""
    found = []
    for node in ast.walk(ast.parse(source)):
        parts = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.match_case):
            parts = [node.pattern]
        words = {n.value for part in parts for n in ast.walk(part)
                 if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        if words & {"smoke", "laptop", "gpu", "paper"}:
            found.append(ast.unparse(node))
    return found


def test_nothing_branches_on_the_name_of_a_profile(checkout):
    def branches(path: Path):
        return profile_names_compared(path.read_text(encoding="utf-8"))

    assert complaints(branches) == []
    for path in sorted((checkout / "notebooks").glob("[0-9]*.py")):
        assert branches(path) == [], path.name


@pytest.mark.parametrize("source", [
    'x = 1 if profile.name == "smoke" else 2', 'if "laptop" != name: pass',
    'y = profile.name in ("gpu", "paper")', 'match name:\n    case "smoke":\n        pass',
])
def test_a_branch_on_a_profile_would_be_noticed(source):
    assert profile_names_compared(source)
