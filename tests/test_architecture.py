"""Arrows go one way, files stay short, and a profile is data: read off the syntax trees."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from types import ModuleType

import pytest

import semiseg_lib
from semiseg_lib import methods
from semiseg_lib.datasets.dataset import SHIPPED

LIBRARY = Path(__file__).resolve().parents[1] / "semiseg_lib"
MODULES = sorted(LIBRARY.rglob("*.py"))
LONGEST_FILE = 450

# Lower layers may not import higher ones. A package stands for all of its modules.
LAYERS = [
    ("core",),
    ("datasets", "models"),
    ("batches", "stores"),
    ("methods",),
    ("evaluation", "training"),
    ("recipes",),
    ("experiments", "notebook"),
    ("studies",),
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
    inside = dotted(path) if path.is_relative_to(LIBRARY) else ""
    package = inside if path.name == "__init__.py" else inside.rpartition(".")[0]
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
            if not own and other not in ("", "core"):
                yield f"imports {name}"
            if own and other in RANK and other != own and RANK[other] > RANK[own]:
                yield f"imports {name}, which stands above it"

    assert complaints(upwards) == []
    parts = {part_of(dotted(path)) for path in MODULES} - {""}
    assert parts == set(RANK), "give every part of the library its place in LAYERS"


def test_an_arrow_that_goes_up_would_be_noticed():
    """Imports are found in every spelling: relative, inside a function, of a package's name."""
    path = LIBRARY / "datasets" / "lists.py"
    for spelling in ("from semiseg_lib.training.loop import fit",
                     "import semiseg_lib.training.loop", "from ..training.loop import fit",
                     "def f():\n    from semiseg_lib import training"):
        names = imports_of(path, spelling)
        assert {part_of(name) for name in names} == {"training"}, spelling


def test_batches_stand_between_datasets_and_methods():
    assert RANK["datasets"] < RANK["batches"] < RANK["methods"]
    used = {part_of(name) for path in (LIBRARY / "batches").glob("*.py")
            for name in imports_of(path)}
    assert "datasets" in used and used <= {"batches", "datasets", "core", ""}
    used = {part_of(name) for path in (LIBRARY / "methods").rglob("*.py")
            for name in imports_of(path)}
    assert "batches" in used


def test_datasets_and_models_know_nothing_of_batches_methods_and_training():
    allowed = {"datasets": {"datasets", "core", ""}, "models": {"models", "core", ""}}
    for package, parts in allowed.items():
        for path in (LIBRARY / package).rglob("*.py"):
            assert {part_of(name) for name in imports_of(path)} <= parts, dotted(path)


SHARED = {"averaging", "base", "losses", "options", "projector", "registry"}
"""What the methods share: the files of ``methods`` that are no room."""
ROOMS = sorted(path.parent for path in (LIBRARY / "methods").glob("*/__init__.py"))


def test_no_method_imports_another():
    """A method is a room; pieces that two of them need are files beside the rooms."""
    names = {path.name for path in ROOMS}
    assert {"supervised", "self_correcting", "cps"} <= names and not names & SHARED
    files = {path.stem for path in (LIBRARY / "methods").glob("*.py")} - {"__init__"}
    assert files == SHARED
    for path in (LIBRARY / "methods").rglob("*.py"):
        if path != LIBRARY / "methods" / "__init__.py":
            own = path.relative_to(LIBRARY / "methods").with_suffix("").parts[0]
            others = {name.split(".")[2] for name in imports_of(path)
                      if name.startswith("semiseg_lib.methods.")}
            assert others <= SHARED | {own}, dotted(path)


def test_reading_all_declarations_imports_no_torch():
    """The options of every method, network and view are read in a fraction of a second."""
    program = ("import sys, semiseg_lib.methods, semiseg_lib.models, semiseg_lib.batches.options\n"
               "found = semiseg_lib.methods.declared()\n"
               "assert all(one.options() for one in found) and len(found) > 8\n"
               "assert not {'torch', 'torchvision', 'timm'} & {*sys.modules}")
    subprocess.run([sys.executable, "-c", program], check=True, cwd=LIBRARY.parent)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_declares_its_methods_apart_from_their_code(room):
    package = f"semiseg_lib.methods.{room.name}"
    imported = imports_of(room / "__init__.py")
    assert not [name for name in imported if name.split(".")[0] in ("torch", "torchvision", "timm")]
    assert not [name for name in imported if name.startswith(package)]
    shipped = importlib.import_module(package).DECLARED
    assert shipped and all(one in methods.declared() for one in shipped)
    for one in shipped:
        assert one.options.__module__ == package
        assert one.load().__module__ == f"{package}.method"


def cited_beside_code(path: Path) -> list[str]:
    """Return the comments of a file that stand at the end of a line of code."""
    with tokenize.open(path) as file:
        return [one.string for one in tokenize.generate_tokens(file.readline)
                if one.type == tokenize.COMMENT and one.line[:one.start[1]].strip()]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_method_numbers_its_equations_and_cites_each_beside_a_line(room):
    """A line of a file that methods share cites "(E1) of mean_teacher"."""
    source = (room / "method.py").read_text(encoding="utf-8")
    numbered = [int(number) for number in re.findall(
        r"^ *\(E(\d+)\)  ", ast.get_docstring(ast.parse(source)), flags=re.M
    )]
    assert numbered == list(range(1, len(numbered) + 1)) and numbered
    own = [text for path in room.glob("*.py") for text in cited_beside_code(path)]
    shared = [text for path in room.parent.glob("*.py") for text in cited_beside_code(path)]
    cited = re.findall(r"\(E(\d+)\)", "\n".join(own))
    cited += re.findall(rf"\(E(\d+)\) of {room.name}\b", "\n".join(shared))
    assert {*map(int, cited)} == {*numbered}
    for path in room.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert {*map(int, re.findall(r"\(E(\d+)\)", text))} <= {*numbered}, path.name


def test_only_a_comment_beside_code_cites_an_equation(tmp_path):
    path = tmp_path / "one.py"
    path.write_text('"""(E1)"""\n# (E2)\nx = "# (E3)"  # y of (E4)\n', encoding="utf-8")
    assert cited_beside_code(path) == ["# y of (E4)"]


@pytest.mark.parametrize("name", [
    "training/loop.py", "training/checkpoints.py", "training/optimizer.py", "training/memory.py",
    "training/run_folder.py", "evaluation/metrics.py", "evaluation/predict.py", "stores/logits.py",
])
def test_what_serves_every_method_knows_none_by_name(name):
    path = LIBRARY / name
    imported = {n for n in imports_of(path) if n.startswith("semiseg_lib.methods")}
    assert imported <= {"semiseg_lib.methods.base.Method"}
    rooms = {path.name for path in ROOMS}
    words = {n.value for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(n, ast.Constant)}
    assert not words & {*rooms, "supervised", "ancillary", "primary"}


def outside(path: Path):
    """What a file imports of the book around the library: builder, chapters, tests."""
    for name in imports_of(path):
        top = name.split(".")[0]
        if top in ("bookkit", "notebooks", "tests", "conftest") or top[:1].isdigit():
            yield f"imports {name}"


def test_tests_share_helpers_and_never_import_each_other():
    """What a test file defines is its own: ``tests/helpers`` holds what several use."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    shared = {path.stem for path in files if path.parent.name == "helpers"}
    for path in files:
        neighbours = {p.stem for p in files if p.stem not in (*shared, "conftest")}
        assert not {name.split(".")[0] for name in imports_of(path)} & neighbours, path


def test_the_library_knows_no_builder_no_notebook_and_no_test():
    assert complaints(outside) == []


def test_chapters_and_examples_use_the_library_alone(checkout):
    """A reader has the library; the builder is for authors. (``conf.py`` is Sphinx's.)"""
    chapters = sorted((checkout / "notebooks").glob("[0-9]*.py"))
    examples = sorted((checkout / "examples").glob("*.py"))
    assert chapters and examples
    for path in (*chapters, *examples):
        assert [*outside(path)] == [], path.name


def test_a_file_can_be_read_in_one_sitting():
    lengths = {dotted(p): len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES}
    assert {name: count for name, count in lengths.items() if count >= LONGEST_FILE} == {}


def unmended(source: str) -> list[str]:
    """Imports of torchvision or timm that no call of ``make_torchvision_importable`` precedes."""
    found = []

    def visit(body: list[ast.stmt], mended: bool) -> None:
        for node in body:
            if ast.unparse(node) == "make_torchvision_importable()":
                mended = True
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [
                node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if {name.split(".")[0] for name in names} & {"torchvision", "timm"} and not mended:
                found.append(ast.unparse(node))
            for field in ("body", "orelse", "finalbody", "handlers"):
                visit(getattr(node, field, []), mended)

    visit(ast.parse(source).body, False)
    return found


def test_torchvision_is_made_importable_before_anything_imports_it():
    """Every module that imports torchvision, or timm which does, mends the import first."""
    def first(path: Path):
        yield from unmended(path.read_text(encoding="utf-8"))

    assert complaints(first) == []
    for path in [*(LIBRARY.parent / "benchmarks").glob("*.py"),
                 *(LIBRARY.parent / "examples").glob("*.py")]:
        assert not unmended(path.read_text(encoding="utf-8")), path.name
    users = {dotted(path) for path in MODULES
             if {name.split(".")[0] for name in imports_of(path)} & {"torchvision", "timm"}}
    assert {"semiseg_lib.batches.weak_view", "semiseg_lib.models.encoders"} <= users
    assert "semiseg_lib.core.compat" not in users


@pytest.mark.parametrize("source", [
    "import torchvision", "from timm.layers import x\nmake_torchvision_importable()",
    "def f():\n    import timm", "if a:\n    make_torchvision_importable()\nimport timm.models",
])
def test_an_import_that_is_not_mended_would_be_noticed(source):
    assert unmended(source)
    assert not unmended(f"make_torchvision_importable()\n{source}")


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


DECODERS = ("Image.open", "ElementTree.parse", "json.loads", "np.fromfile", "np.load", "av.open",
            "tarfile.open", "zipfile.ZipFile", "loadmat", "read_field", ".read_text")
"""What decodes a file of a dataset, by the end of its name."""


def unguarded(source: str) -> list[str]:
    """Return the calls of decoders outside ``with decoding(...)``."""
    found = []

    def visit(node: ast.AST, guarded: bool) -> None:
        if isinstance(node, ast.With):
            guarded = guarded or any("decoding(" in ast.unparse(one) for one in node.items)
        decodes = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(DECODERS)
        if decodes and not guarded:
            found.append(ast.unparse(node))
        for one in ast.iter_child_nodes(node):
            visit(one, guarded)

    visit(ast.parse(source), False)
    return found


def test_the_files_of_a_dataset_are_decoded_within_the_guard():
    def outside(path: Path):
        if part_of(dotted(path)) == "datasets":
            yield from unguarded(path.read_text(encoding="utf-8"))

    assert complaints(outside) == []


@pytest.mark.parametrize("source", [
    "Image.open(path)", "with Image.open(path) as image: pass", "x = json.loads(text)",
    "with locked(path):\n    lines = path.read_text(encoding='utf-8')", "read_field(content)",
])
def test_a_decoder_outside_the_guard_would_be_noticed(source):
    assert unguarded(source)
    inner = source.replace("\n", "\n    ")
    assert not unguarded(f"with decoding(path):\n    {inner}")
    assert not unguarded("with decoding(path), Image.open(path) as image: pass")


def compared(node: ast.AST) -> list[ast.AST]:
    """What a comparison or a ``case`` compares; nothing for other nodes."""
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.match_case):
        return [node.pattern]
    return []


def naming(
    source: str, parts: Callable[[ast.AST], Sequence[ast.AST]], words: Set[str]
) -> list[str]:
    """The nodes of a file with one of ``words`` as a string in their ``parts``."""
    return [
        ast.unparse(node) for node in ast.walk(ast.parse(source))
        if any(isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value in words
               for part in parts(node) for n in ast.walk(part))
    ]


def profile_names_compared(source: str) -> list[str]:
    """Comparisons and matches with a profile's name, in any expression."""
    return naming(source, compared, {"smoke", "laptop", "gpu", "paper"})


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


DICTIONARIES = {
    "semiseg_lib.studies.entries": "COMPARISONS",
    "semiseg_lib.cli.data": "the command that draws mini-VOC has its name",
}
"""Where a dictionary may have datasets as its keys, beside ``datasets``."""


def dataset_names_tested(source: str, dictionaries: bool = True) -> list[str]:
    """Whatever does one thing for this dataset and another for that, by its name.

    Args:
        source: the text of a file.
        dictionaries: also those whose keys are names of datasets.
    """

    def parts(node: ast.AST) -> Sequence[ast.AST]:
        if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            return [node.test]
        if isinstance(node, ast.comprehension):
            return node.ifs
        if isinstance(node, ast.Dict) and dictionaries:
            return [key for key in node.keys if key is not None]
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) != "Literal":
            return [node.slice]
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            (".get", ".pop", ".startswith", ".endswith")
        ):
            return node.args
        return compared(node)

    return naming(source, parts, {*SHIPPED})


def test_nothing_branches_on_the_name_of_a_dataset():
    """A dataset says what it is in its declaration; nobody else asks which one it is."""
    def branches(path: Path):
        if part_of(dotted(path)) != "datasets":
            yield from dataset_names_tested(
                path.read_text(encoding="utf-8"), dotted(path) not in DICTIONARIES
            )

    assert complaints(branches) == []
    for name, reason in DICTIONARIES.items():
        path = LIBRARY.parent / f"{name.replace('.', '/')}.py"
        text = path.read_text(encoding="utf-8")
        assert len(dataset_names_tested(text)) == 1, (name, reason)


@pytest.mark.parametrize("source", [
    'x = 1 if data.config.dataset == "voc" else 2', 'if "folder" != name: pass',
    'y = name in ("camvid", "cityscapes")', 'match name:\n    case "digits":\n        pass',
    'TABLE = {"minivoc": 1, **rest}', 'x = TABLE["cifar10"]', 'x = TABLE.get("voc")',
    'if name.startswith("voc"): pass', 'z = [one for one in all if f(one, "camvid")]',
])
def test_a_branch_on_a_dataset_would_be_noticed(source):
    assert dataset_names_tested(source)
    assert not dataset_names_tested(re.sub(f"'?\\b({'|'.join(SHIPPED)})\\b", "another", source))


def test_a_name_that_decides_nothing_is_no_branch():
    for source in ('DataConfig("voc", labelled=100)', 'x: Literal["minivoc", "voc"]',
                   'dataset: str = "minivoc"', 'SHIPPED = ("minivoc", "voc")'):
        assert not dataset_names_tested(source), source


DATA_WORLD = {"Data", "DataConfig", "ImageSet", "Reader", "Source", "DatasetOptions"}
HOLDERS = {"data", "source", "reader", "image_set", "images", "labelled", "unlabelled", "boxed",
           "val", "test", "everything", "declared"}
"""What variables and fields that hold something of the data world are called."""


def data_kinds() -> set[str]:
    """The classes of the data world: those that the library names, and each dataset's own."""
    return DATA_WORLD | {
        node.name
        for folder in ("datasets", "batches") for path in (LIBRARY / folder).rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        and re.search("(Options|Source|Reader|Dataset|Config)$|^(Cached|Joined|Relabelled)$",
                      node.name)
        and node.name not in ("ViewConfig", "StrongConfig", "CutMixConfig")
    }


def held(node: ast.expr, typed: set[str]) -> bool:
    """Whether an expression holds something of the data world, by its name or annotation."""
    if isinstance(node, ast.Attribute) and node.attr == "options":
        return held(node.value, typed) or ast.unparse(node.value).endswith("data.config")
    last = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return last in HOLDERS or (isinstance(node, ast.Name) and last in typed)


def kinds_tested(source: str, kinds: set[str]) -> list[str]:
    """Questions which class of the data world a value has, or whether it has an attribute."""
    found, tree = [], ast.parse(source)
    typed = {
        node.arg for node in ast.walk(tree) if isinstance(node, ast.arg) and node.annotation
        and {n.id for n in ast.walk(node.annotation) if isinstance(n, ast.Name)} & kinds
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.match_case):
            names = {ast.unparse(n.cls) for n in ast.walk(node.pattern)
                     if isinstance(n, ast.MatchClass)}
            if {name.rpartition(".")[2] for name in names} & kinds:
                found.append(ast.unparse(node))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            asked = [side for side in sides if isinstance(side, ast.Call)
                     and ast.unparse(side.func) == "type"]
            if asked and (names_in(node) & kinds or any(held(a, typed) for s in asked
                                                        for a in s.args)):
                found.append(ast.unparse(node))
        if not isinstance(node, ast.Call):
            continue
        function = ast.unparse(node.func)
        if function in ("isinstance", "issubclass") and len(node.args) == 2 and (
            names_in(node.args[1]) & kinds
        ):
            found.append(ast.unparse(node))
        tries = function == "hasattr" or (function == "getattr" and len(node.args) == 3)
        if tries and held(node.args[0], typed):
            found.append(ast.unparse(node))
    return found


def names_in(node: ast.AST) -> set[str]:
    """Every name in an expression, of ``a.b`` the last."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
        n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)
    }


QUESTIONS = {
    "semiseg_lib.batches.options": [
        "isinstance(value, DatasetOptions)", "type(self.options) is not kind",
    ],
    "semiseg_lib.datasets.dataset": [
        "isinstance(dataset, Dataset)", "issubclass(dataset.options, DatasetOptions)",
    ],
}
"""Who may ask: a configuration, whether the options fit the dataset; the registry."""


def test_nothing_asks_what_kind_of_data_it_was_given():
    """One data world: what works with one dataset works with every other."""
    kinds = data_kinds()
    assert kinds >= DATA_WORLD | {"MiniVOCOptions", "ReaderSource", "FolderDataset"}
    asked = {dotted(path): found for path in MODULES
             if (found := kinds_tested(path.read_text(encoding="utf-8"), kinds))}
    for name, allowed in QUESTIONS.items():
        asked[name] = [one for one in asked.get(name, []) if one not in allowed]
        source = (LIBRARY.parent / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert all(one in source for one in allowed), name
    assert {name: found for name, found in asked.items() if found} == {}


@pytest.mark.parametrize("source", [
    "if isinstance(self.data, Data): pass", "x = isinstance(config, DataConfig | None)",
    "x = isinstance(one, (int, image_set.ImageSet))", "hasattr(data, 'world')",
    "getattr(pipeline.data.config.options, 'recipe', '')", "hasattr(self.source, 'boxed')",
    "type(options) is MiniVOCOptions", "getattr(profile.data, 'dataset', 'minivoc')",
    "match source:\n    case ReaderSource():\n        pass", "x = type(reader) == kind",
    "def f(which: ImageSet | None): return hasattr(which, 'box_maps')",
    "x = issubclass(kind, DatasetOptions)", "x = getattr(images, 'stored', None)",
])
def test_a_question_for_the_kind_of_data_would_be_noticed(source):
    assert kinds_tested(source, data_kinds())


def test_other_questions_are_allowed():
    for source in ("isinstance(method, ConvPrimary)", "getattr(options, 'weight', 1)",
                   "getattr(self.data, split)", "images = data.val", "type(images).__name__"):
        assert not kinds_tested(source, data_kinds()), source


def file_of_datasets(name: str) -> str:
    """``semiseg_lib.datasets.voc.VOC_CLASSES`` to ``voc``; else ""."""
    pieces = name.split(".")
    return pieces[2] if pieces[:2] == ["semiseg_lib", "datasets"] and len(pieces) > 2 else ""


def test_no_dataset_knows_another():
    """A dataset is one file, or one folder; what two need is a file beside them."""
    users = set()
    for path in (LIBRARY / "datasets").rglob("*.py"):
        own = file_of_datasets(dotted(path))
        files = {file_of_datasets(name) for name in imports_of(path)} - {own}
        assert not files & {*SHIPPED}, dotted(path)
        users |= {own} if "devkit" in files else set()
    assert {"voc", "minivoc", "folder"} <= users
    assert users <= {"voc", "minivoc", "folder", "acquire", "audit", "devkit"}


def test_a_dataset_that_knows_another_would_be_noticed():
    path = LIBRARY / "datasets" / "camvid" / "colours.py"
    for spelling in ("from semiseg_lib.datasets.voc import VOC_CLASSES",
                     "from semiseg_lib.datasets import voc", "import semiseg_lib.datasets.voc",
                     "def f():\n    from ..voc import VOC_CLASSES", "from .. import voc"):
        files = {file_of_datasets(name) for name in imports_of(path, spelling)}
        assert files & {*SHIPPED} == {"voc"}, spelling


def public_names(folder: Path = LIBRARY) -> dict[str, str]:
    """Return the names of the public face, or of a room, with the modules that they come from."""
    stub = ast.parse((folder / "__init__.pyi").read_text(encoding="utf-8"))
    return {alias.name: node.module or "" for node in stub.body
            if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_the_public_face_is_there_and_costs_nothing_before_it_is_used():
    program = ("import sys, semiseg_lib\n"
               "assert 'torch' not in sys.modules\n"
               f"assert {sorted(public_names())} == sorted(semiseg_lib.__all__)\n"
               "for name in semiseg_lib.__all__: getattr(semiseg_lib, name)")
    subprocess.run([sys.executable, "-c", program], check=True, cwd=LIBRARY.parent)


def test_a_type_checker_sees_the_methods_that_are_there():
    """The other stubs make the names of their rooms; this one repeats what the rooms declare."""
    stub = public_names(LIBRARY / "methods")
    assert sorted(stub) == sorted(methods.__all__)
    for name, module in stub.items():
        origin = importlib.import_module(f"semiseg_lib.methods.{module}".rstrip("."))
        assert getattr(methods, name) is getattr(origin, name), name


def test_the_type_checker_reads_every_module_that_defines_a_name_of_the_face(checkout):
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    defining = set()
    for name, module in public_names().items():
        value = getattr(semiseg_lib, name)
        is_file = isinstance(value, ModuleType)
        home = value.__name__ if is_file else getattr(value, "__module__", f"semiseg_lib.{module}")
        path = checkout / home.replace(".", "/")
        ways = (path / "__init__.pyi", path / "__init__.py", path.with_suffix(".py"))
        found = next(way for way in ways if way.is_file())
        defining.add(found.relative_to(checkout).as_posix())
    assert len(defining) > 40
    assert defining - {*project["tool"]["mypy"]["files"]} == set()


def test_a_wrong_type_within_the_face_would_be_noticed(checkout, tmp_path):
    source = "semiseg_lib/evaluation/metrics.py"
    right = "return Evaluation.of(zip(truth, prediction, strict=True), classes)"
    text = (checkout / source).read_text(encoding="utf-8")
    assert text.count(right) == 1
    planted = tmp_path / "metrics.py"
    planted.write_text(text.replace(right, "return 3"), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "mypy", "--shadow-file", source, str(planted)],
                          capture_output=True, text=True, cwd=checkout)
    assert done.returncode == 1, done.stderr
    (error, _) = done.stdout.splitlines()
    assert '(got "int", expected "Evaluation")' in error


def imports_of_readers(checkout: Path) -> dict[str, list[tuple[str, str]]]:
    """Return what chapters, pages and examples import from the library: (module, name)."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in [
        *(checkout / "notebooks").glob("[0-9]*.py"), *(checkout / "examples").glob("*.py"),
    ]}
    for page in (checkout / "notebooks").glob("*.md"):
        code = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        sources[page.name] = "\n".join(code)
    return {
        file: [(node.module or "", one.name) for node in ast.walk(ast.parse(source))
               if isinstance(node, ast.ImportFrom)
               and (node.module or "").split(".")[0] == "semiseg_lib" for one in node.names]
        for file, source in sources.items()
    }


def test_chapters_and_examples_import_the_face_and_whole_files_only(checkout):
    """Names come from ``semiseg_lib``; other modules give whole files, such as that of a paper."""
    for file, imported in imports_of_readers(checkout).items():
        for module, name in imported:
            if file.endswith(".py"):
                assert module == "semiseg_lib" or is_module(f"{module}.{name}"), (file, name)
                assert public_names().get(name) != module.removeprefix("semiseg_lib."), (file, name)


def is_module(dotted_name: str) -> bool:
    path = LIBRARY.parent / dotted_name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_every_name_of_the_face_has_several_users(checkout):
    """What one chapter alone uses is written with its room: ``training.RunFolder``."""
    users = {name: set() for name in public_names()}
    for file, imported in imports_of_readers(checkout).items():
        for module, name in imported:
            if module == "semiseg_lib":
                users[name].add(file)
    for name, module in public_names().items():
        origin = f"semiseg_lib.{module}.{name}".replace("..", ".")
        few = 1 if is_module(origin) else 2
        assert len(users[name]) >= few, f"{name}: {sorted(users[name])}"


def test_the_house_stays_small():
    """At most 15 rooms, no siblings with a common prefix; LAYERS holds floors and circles."""
    rooms = {path.stem for path in LIBRARY.iterdir()
             if path.suffix == ".py" or (path / "__init__.py").exists()} - {"__init__", "__main__"}
    assert len(rooms) <= 15 and len(LAYERS) <= 10
    for folder in {path.parent for path in MODULES}:
        stems = [path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")]
        first = [stem.lstrip("_").split("_")[0] for stem in stems]
        assert len(first) == len({*first}), folder
